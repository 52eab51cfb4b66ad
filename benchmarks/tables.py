# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks "lookup" and "train": one table beside its peers.

Two contests for each line: one with everybody but TFRA, and, because TFRA needs
an older TensorFlow, one of it and this package there. Ratios are within a contest.
"""

from __future__ import annotations

import dataclasses
from typing import Iterator, Mapping

import measure
from contest import Contestant, Result, compete
from report import Context, Report, Section
from spec import SLOTS, Spec

RULES = ("adagrad", "rowwise_adagrad", "ftrl", "adam")
OURS, OLD = "tf_embedding", "tf_embedding, TF 2.16"

# Bytes of a table. Rows of a hash table: index, frequency, version, and room to grow.


def hash_bytes(spec: Spec) -> float:
    """Of an embedding variable, and of the keys that it was filled from."""
    return spec.keys * (1.15 * (spec.row_bytes + 24) + 8)


def _static_bytes(spec: Spec) -> float:
    slots = SLOTS[spec.rule] if spec.work == "train" else 0
    return spec.keys * spec.dim * 4.0 * (1 + slots)


def _tfra_bytes(spec: Spec) -> float:
    # A table for the rows and one for each slot, up to 2.9 times their values as it doubles.
    slots = SLOTS[spec.rule] if spec.work == "train" else 0
    return spec.keys * ((spec.dim * 4.0 + 8) * 2.9 * (1 + slots) + 8)


TABLE = Contestant(OURS, "tf", "tables_tf", "table", hash_bytes)
_variable = Contestant("tf.Variable", "tf", "tables_tf", "static", _static_bytes)
_fbgemm = Contestant("FBGEMM", "fbgemm", "tables_fbgemm", "fbgemm", _static_bytes)
_fbgemm_rowwise = dataclasses.replace(
    _fbgemm, title="FBGEMM, row-wise", changes={"rule": "rowwise_adagrad"}
)
FLOOR = Contestant("floor", "tf", "tables_floor", "floor", lambda s: s.keys * s.row_bytes)
BY_KEY = Contestant(
    "floor, by key", "tf", "tables_floor", "by_key", lambda s: s.keys * (s.row_bytes + 72.0)
)
_old = dataclasses.replace(TABLE, title=OLD, environment="tfra")
_tfra_table = Contestant("TFRA", "tfra", "tables_tfra", "tfra", _tfra_bytes)


def contests(spec: Spec) -> list[list[Contestant]]:
    """Who runs against whom."""
    first, second = [TABLE, _variable], [_old]
    if spec.work == "lookup" or spec.rule in ("adagrad", "rowwise_adagrad"):
        first.append(_fbgemm)
    if spec.work == "train" and spec.rule == "adagrad":
        first.append(_fbgemm_rowwise)
    if spec.rule == "adagrad":
        first += [FLOOR, BY_KEY]
    if spec.work == "lookup" or spec.rule != "rowwise_adagrad":
        second.append(_tfra_table)
    return [first, second]


# Larger tables need the memory that processes keep of those before.
_FRESH_FROM = 10_000_000


def grid(work: str, context: Context) -> Iterator[Spec]:
    """The specs of a benchmark: the bars' and one axis at a time, or all."""
    base = Spec(work)
    if context.quick:
        yield dataclasses.replace(base, keys=100_000, batch=4096, threads=2)
        if work == "train":
            yield dataclasses.replace(base, rule="adam", keys=100_000, batch=4096)
        return
    if context.bars:
        yield base
        yield dataclasses.replace(base, zipf=1.05)
        if work == "train":
            for rule in RULES[1:]:
                yield dataclasses.replace(base, rule=rule)
        return
    rules = RULES if work == "train" else ("adagrad",)
    if context.full:
        for rule in rules:
            for keys in (10_000, 1_000_000, 30_000_000):
                for dim in (8, 16, 32, 64, 128):
                    for batch in (4096, 65536, 1 << 20):
                        for zipf in (0.0, 1.05):
                            for threads in (1, 2):
                                yield Spec(work, rule, keys, dim, batch, zipf, threads)
        return
    for rule in rules:
        for threads in (2, 1):
            for keys in (1_000_000, 30_000_000):
                yield dataclasses.replace(base, rule=rule, keys=keys, threads=threads)
    yield dataclasses.replace(base, keys=10_000)
    for zipf_keys in (1_000_000, 30_000_000):
        yield dataclasses.replace(base, zipf=1.05, keys=zipf_keys)
    for batch in (4096, 1 << 20):
        yield dataclasses.replace(base, batch=batch)
    for dim in (8, 32, 64, 128):
        yield dataclasses.replace(base, dim=dim)


def cells(result: Result) -> str:
    """A contestant's cell: rates in M/s, or why there are none."""
    if not result.rates:
        return f"**{result.note}**"
    return measure.spread(measure.summarize([rate / 1e6 for rate in result.rates]))


def ratio(ours: Result, theirs: Result) -> str:
    if not ours.rates or not theirs.rates:
        return "-"
    return (
        f"{measure.number(measure.ratio_of_medians(ours.rates, theirs.rates))} "
        f"({measure.number(measure.median_of_ratios(ours.rates, theirs.rates))})"
    )


def csv_row(spec: Spec, title: str, result: Result, ours: Result) -> dict[str, object]:
    """The line of a contestant in the CSV file."""
    row: dict[str, object] = {**spec.to_dict(), "contestant": title}
    if result.rates:
        row.update(zip(("median", "low", "high"), measure.summarize(result.rates)))
        row["turns"] = len(result.rates)
    if result.rates and ours.rates:
        row["ratio_of_medians"] = measure.ratio_of_medians(ours.rates, result.rates)
        row["median_of_ratios"] = measure.median_of_ratios(ours.rates, result.rates)
    row["note"] = result.note
    return row


def _ids(spec: Spec) -> str:
    return f"Zipf {spec.zipf:g}" if spec.zipf else "uniform"


def run(work: str, context: Context) -> Report:
    """Runs the grid of "lookup" or "train"."""
    titles = ["tf.Variable", "FBGEMM", "TFRA", FLOOR.title, BY_KEY.title]
    if work == "train":
        titles.insert(2, _fbgemm_rowwise.title)
    head = ["keys", "dim", "batch", "ids", "threads", OURS, *titles, *(f"x {t}" for t in titles)]
    rows, csv_rows = [], []
    for spec in grid(work, context):
        if spec.keys > context.max_keys:
            continue
        if spec.keys > _FRESH_FROM:
            context.workers.stop()
        context.progress(f"{spec}")
        ours: dict[str, Result] = {}
        found: dict[str, Result] = {}
        for contestants in contests(spec):
            results = compete(context.workers, contestants, spec, context.turns, context.seconds)
            mine = results[contestants[0].title]
            for title, result in results.items():
                found[title], ours[title] = result, mine
                csv_rows.append(csv_row(spec, title, result, mine))
        line = [measure.count(spec.keys), str(spec.dim), measure.count(spec.batch)]
        line += [_ids(spec), str(spec.threads), cells(found[OURS])]
        line += [cells(found[t]) if t in found else "-" for t in titles]
        line += [ratio(ours[t], found[t]) if t in found else "-" for t in titles]
        rows.append(([spec.rule] if work == "train" else []) + line)
        context.progress("  " + " | ".join(f"{t} {cells(r)}" for t, r in found.items()))
    head = (["rule"] if work == "train" else []) + head
    return Report(work, _TITLES[work], _TEXTS[work], [Section("", head, rows)], csv_rows)


_TITLES: Mapping[str, str] = {
    "lookup": "Lookup, M rows/s",
    "train": "Lookup + gradient + update, M rows/s",
}
_RATIOS = (
    "A ratio is tf_embedding's median over the peer's, and in brackets the median of the ratios "
    "turn by turn; above 1, tf_embedding is faster. That of TFRA is against tf_embedding in its "
    "process, on its TensorFlow."
)
_TEXTS: Mapping[str, str] = {
    "lookup": "A batch of ids to its rows; 8 batches in a call of a `tf.function`. All ids are in "
    "the table; tf_embedding's rows have Adagrad's slots beside them. The floor copies rows by "
    "number out of huge pages; the floor by key finds each first in a bare hash table of 16 bytes "
    "a key, half full, which has no locks, cannot grow and keeps nothing else of a key. " + _RATIOS,
    "train": "Rows of the batch, gradient = 2 x the rows, equal ids summed, update of the rows. "
    "The floor copies rows and runs Adagrad on each occurrence, without sums; the floor by key "
    "finds the rows in a bare hash table, once, and counts their uses. FBGEMM "
    "has no FTRL and Adam on the CPU, TFRA no row-wise Adagrad; the columns of FBGEMM are for the "
    "rule of the line, and for its row-wise Adagrad. " + _RATIOS,
}
