# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks "pooled" and "many": bags of ids, and many small tables."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Callable, Sequence

import measure
import tables
from contest import Contestant, compete
from report import Context, Report, Section
from spec import Spec

OURS = tables.OURS
AT_ONCE, EACH = "in one op", "one by one"


def _contestant(title: str, name: str) -> Contestant:
    return Contestant(title, "tf", "features_tf", name, lambda spec: spec.keys * 200.0)


_POOLED = (
    _contestant(OURS, "pooled_table"),
    _contestant("tf.Variable", "pooled_static"),
    Contestant("FBGEMM", "fbgemm", "tables_fbgemm", "fbgemm", lambda spec: spec.keys * 80.0),
)
_MANY = (
    _contestant(AT_ONCE, "many_at_once"),
    _contestant(EACH, "many_each"),
    _contestant("tf.Variable, one by one", "many_static"),
)


def _compare(
    context: Context,
    name: str,
    title: str,
    text: str,
    contestants: Sequence[Contestant],
    specs: Sequence[Spec],
    columns: dict[str, Callable[[Spec], str]],
) -> Report:
    """A table with a line for each spec; the first contestant is compared with the others."""
    titles = [c.title for c in contestants]
    rows, csv_rows = [], []
    for spec in specs:
        context.progress(f"{spec}")
        results = compete(context.workers, contestants, spec, context.turns, context.seconds)
        ours = results[titles[0]]
        line = [column(spec) for column in columns.values()]
        line += [tables.cells(results[t]) for t in titles]
        line += [tables.ratio(ours, results[t]) for t in titles[1:]]
        rows.append(line)
        csv_rows += [tables.csv_row(spec, t, results[t], ours) for t in titles]
    head = [*columns, *titles, *(f"x {t}" for t in titles[1:])]
    return Report(name, title, text, [Section("", head, rows)], csv_rows)


def pooled(context: Context) -> Report:
    """Sum and mean over bags, with and without weights."""
    base = Spec("pooled")
    if context.quick:
        base = dataclasses.replace(base, keys=10_000, batch=4096)
    specs = []
    for threads in (2,) if context.quick else (2, 1):
        for bag in (8, 64):
            for combiner, weighted in (("sum", False), ("mean", False), ("sum", True)):
                specs.append(
                    dataclasses.replace(
                        base, threads=threads, bag=bag, combiner=combiner, weighted=weighted
                    )
                )
    return _compare(
        context,
        "pooled",
        "Pooled lookups, M ids/s",
        "`tf.nn.embedding_lookup_sparse`, stock, on an embedding variable and on a `tf.Variable`; "
        "FBGEMM's pooled lookup. The ids of tf_embedding and `tf.Variable` are sparse tensors.",
        _POOLED,
        specs,
        {
            "keys": lambda s: measure.count(s.keys),
            "ids": lambda s: measure.count(s.batch),
            "in a bag": lambda s: str(s.bag),
            "combiner": lambda s: s.combiner + (", weights" if s.weighted else ""),
            "threads": lambda s: str(s.threads),
        },
    )


def many(context: Context) -> Report:
    """26 and 200 small tables."""
    specs = []
    short = context.quick or context.bars
    for threads in (2,) if short else (2, 1):
        for tables_ in (26,) if short else (26, 200):
            for ids, concat in itertools.product(
                (256,) if context.quick else (128, 1024), (False, True)
            ):
                specs.append(
                    Spec(
                        "many",
                        keys=tables_ * 10_000,
                        batch=tables_ * ids,
                        threads=threads,
                        tables=tables_,
                        concat=concat,
                    )
                )
    return _compare(
        context,
        "many",
        "Many small tables, M ids/s",
        "Tables of 10,000 rows, looked up in one `tf.function`: all in one op of "
        "tf_embedding, or with a `tf.nn.embedding_lookup` each. Vectors go table by table, or side "
        "by side in one tensor, by the op itself or a `tf.concat`. Ratios are those of the one op.",
        _MANY,
        specs,
        {
            "tables": lambda s: str(s.tables),
            "ids for each": lambda s: measure.count(s.batch // s.tables),
            "vectors": lambda s: "side by side" if s.concat else "by table",
            "threads": lambda s: str(s.threads),
        },
    )
