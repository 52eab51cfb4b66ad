# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""`tf-embedding diff`: two checkpoints, read in step, a range of hashes at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from tf_embedding.tools import errors, output, tables
from tf_embedding.tools.progress import progress

FIELDS = ("vector", "slots", "frequency", "version")


def define_diff(values: flags.FlagValues) -> None:
    """The flags of diff."""
    output.define_format(values)
    flags.DEFINE_string("table", None, "Only this table, of that name in both.", flag_values=values)
    flags.DEFINE_integer(
        "limit", 10, "How many of the rows that changed most to show.", flag_values=values
    )
    flags.DEFINE_float(
        "tolerance",
        0.0,
        "Values that differ by no more count as equal.",
        lower_bound=0.0,
        flag_values=values,
    )
    flags.DEFINE_bool(
        "vectors_only", False, "Slots, frequencies and versions may differ.", flag_values=values
    )


def compare(a: tables.Table, b: tables.Table, tolerance: float, limit: int) -> dict[str, Any]:
    """What differs between two tables.

    Rows of the same key are compared field by field, by bits or within a tolerance; slots
    only where both tables are of the same rule.
    """
    same_dim, same_rule = a.dim == b.dim, a.footer.rule == b.footer.rule
    same_width = same_dim and a.footer.slot_width == b.footer.slot_width
    counts = {"only_a": 0, "only_b": 0, "both": 0, **{field: 0 for field in FIELDS}}
    most: list[tuple[float, int]] = []
    largest = total = 0.0
    num_ranges = max(a.num_blocks, b.num_blocks)
    both = progress(
        zip(a.ranges(num_ranges), b.ranges(num_ranges)), num_ranges, f"diff {a.name}"
    )
    for (_, rows_a), (_, rows_b) in both:
        _, in_a, in_b = np.intersect1d(
            rows_a["key"], rows_b["key"], assume_unique=True, return_indices=True
        )
        counts["only_a"] += len(rows_a) - len(in_a)
        counts["only_b"] += len(rows_b) - len(in_b)
        counts["both"] += len(in_a)
        rows_a, rows_b = rows_a[in_a], rows_b[in_b]
        for field in ("frequency", "version"):
            counts[field] += int((rows_a[field] != rows_b[field]).sum())
        if same_width and same_rule:
            counts["slots"] += int(_differ(rows_a["slots"], rows_b["slots"], tolerance)[0].sum())
        if same_dim and len(rows_a):
            differ, distance = _differ(rows_a["vector"], rows_b["vector"], tolerance)
            counts["vector"] += int(differ.sum())
            total += float(distance.sum())
            largest = max(largest, float(distance.max()))
            keys = rows_a["key"]
            for place in np.lexsort((keys, -distance))[:limit]:
                if differ[place]:
                    most.append((float(distance[place]), int(keys[place])))
            most = sorted(most, key=lambda pair: (-pair[0], pair[1]))[:limit]
    return {
        "table": a.name,
        "rows": [counts["only_a"] + counts["both"], counts["only_b"] + counts["both"]],
        "dim": [a.dim, b.dim],
        "rule": [a.footer.rule, b.footer.rule],
        "step": [a.step, b.step],
        **counts,
        "largest_change": largest,
        "mean_change": total / counts["both"] if counts["both"] else 0.0,
        "not_compared": sorted({*a.other_kinds, *b.other_kinds}),
        "most_changed": [{"key": key, "change": change} for change, key in most],
    }


def _differ(a: np.ndarray, b: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Whether each row differs, and its largest change."""
    if a.shape[1] == 0:
        return np.zeros(len(a), bool), np.zeros(len(a))
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        change = np.abs(wide_a - wide_b)
    same_bits = a.view("<u4") == b.view("<u4")
    change[same_bits] = 0.0
    change[np.isnan(change)] = np.inf
    differ = np.asarray(~same_bits if tolerance == 0 else change > tolerance)
    return np.asarray(differ.any(axis=1)), np.asarray(change.max(axis=1))


def _is_same(found: dict[str, Any], vectors_only: bool) -> bool:
    if found["dim"][0] != found["dim"][1]:
        return False
    fields = ["only_a", "only_b", "vector"]
    if not vectors_only:
        fields += ["slots", "frequency", "version"]
        if found["rule"][0] != found["rule"][1]:
            return False
    return not any(found[field] for field in fields)


def run_diff(args: Sequence[str], values: flags.FlagValues) -> int:
    """usage: tf-embedding diff A B [FLAGS]

    Compares the tables of two checkpoints: keys that only one has, and rows that differ in
    vector, slots, frequency or version. Exits with 0 where all is the same and with 1 where
    something differs.
    """
    output.need_args(args, "A B", 2)
    a, b = (tables.open_checkpoint(path) for path in args)
    names = [values.table] if values.table else sorted({*a.tables, *b.tables})
    found, only = [], []
    for name in names:
        if values.table or (name in a.tables and name in b.tables):
            found.append(compare(a.select(name), b.select(name), values.tolerance, values.limit))
        else:
            only.append({"table": name, "in": args[0] if name in a.tables else args[1]})
    same = not only and all(_is_same(each, values.vectors_only) for each in found)
    if values.format == "json":
        output.print_json({"same": same, "tables": found, "only_in_one": only})
    else:
        _print(found, only)
        print("the same" if same else "different")
    return errors.OK if same else errors.DIFFERENT


def _print(found: Sequence[dict[str, Any]], only: Sequence[dict[str, Any]]) -> None:
    head = ["table", "only A", "only B", "both", *FIELDS, "largest", "mean"]
    rows = [
        [
            f["table"],
            *(f[name] for name in ("only_a", "only_b", "both", *FIELDS)),
            f"{f['largest_change']:.6g}",
            f"{f['mean_change']:.6g}",
        ]
        for f in found
    ]
    output.print_table(rows, head)
    for f in found:
        for what in ("dim", "rule"):
            if f[what][0] != f[what][1]:
                print(f"{f['table']}: {what} {f[what][0] or '-'} and {f[what][1] or '-'}")
        if f["not_compared"]:
            print(f"{f['table']}: {', '.join(f['not_compared'])} beside rows are not compared")
        if f["most_changed"]:
            print(f"\n{f['table']}: changed most")
            lines = [[m["key"], f"{m['change']:.6g}"] for m in f["most_changed"]]
            output.print_table(lines, ["key", "change"])
    for each in only:
        print(f"table {each['table']} is only in {each['in']}")
