# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Benchmark "scaling": this package against itself, in turns.

More keys, other optimizers, a second thread: what changes, and nothing else.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping

import measure
import tables
from contest import Contestant, Result, compete
from report import Context, Report, Section
from spec import Spec

# Name in the CSV file, what is compared, the change, the base.
_LINES: tuple[tuple[str, str, Mapping[str, Any], Mapping[str, Any]], ...] = (
    ("lookup_keys", "lookup, 3e7 keys / 1e6", {"keys": 30_000_000}, {"work": "lookup"}),
    ("train_keys", "train, 3e7 keys / 1e6", {"keys": 30_000_000}, {"work": "train"}),
    ("ftrl", "train, FTRL / Adagrad", {"rule": "ftrl"}, {"work": "train"}),
    ("adam", "train, Adam / Adagrad", {"rule": "adam"}, {"work": "train"}),
    ("lookup_threads", "lookup, 2 threads / 1", {}, {"work": "lookup", "threads": 1}),
    ("train_threads", "train, 2 threads / 1", {}, {"work": "train", "threads": 1}),
)


def run(context: Context) -> Report:
    """A contest of two for each line."""
    rows, csv_rows = [], []
    for name, title, change, base in _LINES:
        spec = Spec(**base)
        if context.quick:
            spec = dataclasses.replace(spec, keys=10_000, batch=4096)
            change = {**change, **({"keys": 100_000} if "keys" in change else {})}
        # One that differs in nothing else has the second thread.
        changed = dataclasses.replace(spec, **{"threads": 2, **change})
        pair = [
            Contestant("with", "tf", "tables_tf", "table", tables.hash_bytes, changed.to_dict()),
            Contestant("base", "tf", "tables_tf", "table", tables.hash_bytes),
        ]
        context.progress(title)
        results = compete(context.workers, pair, spec, context.turns, context.seconds)
        after, before = results["with"], results["base"]
        rows.append([title, tables.cells(after), tables.cells(before), tables.ratio(after, before)])
        csv_rows.append({"name": name, "title": title, **_figures(after, before)})
    return Report(
        "scaling",
        "tf_embedding against itself, M rows/s",
        "Dim 16, 65,536 uniform ids a batch, 1e6 keys, Adagrad, 2 threads, but for what a line "
        "says. A ratio is that of the medians, and in brackets the median of the turns' ratios.",
        [Section("", ["what", "with", "without", "ratio"], rows)],
        csv_rows,
    )


def _figures(after: Result, before: Result) -> dict[str, Any]:
    if not after.rates or not before.rates:
        return {"note": after.note or before.note}
    return {
        "ratio_of_medians": measure.ratio_of_medians(after.rates, before.rates),
        "median_of_ratios": measure.median_of_ratios(after.rates, before.rates),
    }
