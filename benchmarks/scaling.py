# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Benchmark "scaling": this package against itself, in turns.

More keys, other optimizers, a second thread: what changes, and nothing else. Where
the floor can make the same change, it makes it in the same turns: what the machine
leaves of a rate, whoever works on it.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping, Optional

import measure
import tables
from contest import Contestant, Result, compete
from report import Context, Report, Section
from spec import Spec

_Line = tuple[str, str, Mapping[str, Any], Mapping[str, Any], Optional[Contestant]]

# Name in the CSV file, what is compared, the change, the base, the floor.
_LINES: tuple[_Line, ...] = (
    (
        "lookup_keys", "lookup, 3e7 keys / 1e6",
        {"keys": 30_000_000}, {"work": "lookup"}, tables.BY_KEY,
    ),
    (
        "train_keys", "train, 3e7 keys / 1e6",
        {"keys": 30_000_000}, {"work": "train"}, tables.BY_KEY,
    ),
    ("ftrl", "train, FTRL / Adagrad", {"rule": "ftrl"}, {"work": "train"}, None),
    ("adam", "train, Adam / Adagrad", {"rule": "adam"}, {"work": "train"}, None),
    (
        "lookup_threads", "lookup, 2 threads / 1",
        {}, {"work": "lookup", "threads": 1}, tables.BY_KEY,
    ),
    (
        "train_threads", "train, 2 threads / 1",
        {}, {"work": "train", "threads": 1}, tables.BY_KEY,
    ),
)  # fmt: skip


def run(context: Context) -> Report:
    """A contest of two for each line."""
    rows, csv_rows = [], []
    for name, title, change, base, floor in _LINES:
        spec = Spec(**base)
        if context.quick:
            spec = dataclasses.replace(spec, keys=10_000, batch=4096)
            change = {**change, **({"keys": 100_000} if "keys" in change else {})}
        # One that differs in nothing else has the second thread.
        changed = dataclasses.replace(spec, **{"threads": 2, **change})
        pairs = [
            dataclasses.replace(who, title=who.title + when, changes=changes)
            for who in (tables.TABLE, floor)
            if who is not None
            for when, changes in ((" with", changed.to_dict()), (" without", {}))
        ]
        context.progress(title)
        results = compete(context.workers, pairs, spec, context.turns, context.seconds)
        line, csv_row = [title], {"name": name, "title": title}
        for who, prefix in ((tables.TABLE, ""), (floor, "floor_")):
            if who is None:
                line.append("-")
                continue
            after, before = results[who.title + " with"], results[who.title + " without"]
            if not prefix:
                line += [tables.cells(after), tables.cells(before)]
            line.append(tables.ratio(after, before))
            csv_row |= {prefix + k: v for k, v in _figures(after, before).items()}
        rows.append(line)
        csv_rows.append(csv_row)
    return Report(
        "scaling",
        "tf_embedding against itself, M rows/s",
        "Dim 16, 65,536 uniform ids a batch, 1e6 keys, Adagrad, 2 threads, but for what a line "
        "says. A ratio is that of the medians, and in brackets the median of the turns' ratios. "
        "The floor by key makes the same change.",
        [Section("", ["what", "with", "without", "ratio", "the floor's ratio"], rows)],
        csv_rows,
    )


def _figures(after: Result, before: Result) -> dict[str, Any]:
    if not after.rates or not before.rates:
        return {"note": after.note or before.note}
    return {
        "ratio_of_medians": measure.ratio_of_medians(after.rates, before.rates),
        "median_of_ratios": measure.median_of_ratios(after.rates, before.rates),
    }
