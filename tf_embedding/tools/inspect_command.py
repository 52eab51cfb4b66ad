# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""`tf-embedding inspect`: what is in a checkpoint, its rows counted in one pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
from absl import flags

from tf_embedding.tools import errors, output, tables
from tf_embedding.tools.progress import progress

# Norms are counted in bins of a tenth of a power of ten, from 1e-12 to 1e12.
_NORM_STEPS, _NORM_LOWEST, _NORM_HIGHEST = 10, -12, 12


class PowersOfTwo:
    """Counts of integers by power of two: 0, 1, 2 to 3, 4 to 7, ..."""

    def __init__(self) -> None:
        self.counts = np.zeros(65, np.int64)
        self.lowest: Optional[int] = None
        self.highest: Optional[int] = None
        self.total = self.n = 0

    def add(self, values: np.ndarray) -> None:
        """Counts values, int64 of 0 or more."""
        if not len(values):
            return
        # The exponent of a float64 is exact: values are below 2^53.
        exponents = np.frexp(values.astype(np.float64))[1]
        self.counts += np.bincount(exponents, minlength=65)
        low, high = int(values.min()), int(values.max())
        self.lowest = low if self.lowest is None else min(low, self.lowest)
        self.highest = max(high, self.highest or 0)
        self.total += int(values.sum())
        self.n += len(values)

    def summary(self) -> dict[str, Any]:
        """Lowest, highest, mean, and the bins that are not empty."""
        bins = []
        for exponent, count in enumerate(self.counts):
            if count:
                low = 0 if exponent == 0 else 1 << (exponent - 1)
                bins.append({"from": low, "to": max(0, (1 << exponent) - 1), "rows": int(count)})
        mean = self.total / self.n if self.n else None
        return {"lowest": self.lowest, "highest": self.highest, "mean": mean, "bins": bins}


class Norms:
    """Counts of the L2 norms of vectors."""

    def __init__(self) -> None:
        self.counts = np.zeros((_NORM_HIGHEST - _NORM_LOWEST) * _NORM_STEPS, np.int64)
        self.zeros = self.not_finite = self.n = 0
        self.lowest, self.highest, self.total = math.inf, -math.inf, 0.0

    def add(self, vectors: np.ndarray) -> None:
        """Counts vectors, float32 [n, dim]."""
        norms = norms_of(vectors)
        finite = np.isfinite(norms)
        self.not_finite += int((~finite).sum())
        norms = norms[finite]
        if not len(norms):
            return
        self.n += len(norms)
        self.lowest = min(self.lowest, float(norms.min()))
        self.highest = max(self.highest, float(norms.max()))
        self.total += float(norms.sum())
        self.zeros += int((norms == 0).sum())
        places = np.floor((np.log10(norms[norms > 0]) - _NORM_LOWEST) * _NORM_STEPS)
        places = places.clip(0, len(self.counts) - 1).astype(np.int64)
        self.counts += np.bincount(places, minlength=len(self.counts))

    def summary(self) -> dict[str, Any]:
        """Lowest, highest, mean, and the bins that are not empty."""
        bins = []
        for place, count in enumerate(self.counts):
            if count:
                edges = [10 ** (_NORM_LOWEST + (place + i) / _NORM_STEPS) for i in (0, 1)]
                bins.append({"from": edges[0], "to": edges[1], "rows": int(count)})
        return {
            "lowest": self.lowest if self.n else None,
            "highest": self.highest if self.n else None,
            "mean": self.total / self.n if self.n else None,
            "zero": self.zeros,
            "not_finite": self.not_finite,
            "bins": bins,
        }


def norms_of(vectors: np.ndarray) -> np.ndarray:
    """The L2 norm of each vector, in float64."""
    wide = vectors.astype(np.float64)
    return np.asarray(np.sqrt(np.einsum("nd,nd->n", wide, wide)))


def describe(table: tables.Table, rows: bool = True) -> dict[str, Any]:
    """What `inspect` says of a table.

    Args:
      table: which.
      rows: whether to read the rows; without, what footers and sizes tell.
    """
    footer = table.footer
    found: dict[str, Any] = {
        "table": table.name,
        "tensor": table.tensor,
        "rows": table.rows,
        "dim": footer.dim,
        "dtype": footer.dtype,
        "rule": footer.rule,
        "vector_slots": list(footer.vector_slots),
        "scalar_slots": list(footer.scalar_slots),
        "initializer": footer.initializer,
        "initializer_arguments": list(footer.args),
        "seed": footer.seed,
        "step": table.step,
        "parts": len(table.parts),
        "blocks": sum(part.footer.num_blocks for part in table.parts),
        "bytes": None if table.rows is None else table.rows * table.dtype.itemsize,
    }
    if not rows:
        return found
    count, step = 0, table.step
    frequency, age, norm, slots_not_finite = PowersOfTwo(), PowersOfTwo(), Norms(), 0
    ranges = progress(table.ranges(), table.num_blocks, f"inspect {table.name}")
    for _, records in ranges:
        count += len(records)
        frequency.add(records["frequency"])
        # A row of a later step than the footer's: the save ran beside training.
        age.add(np.maximum(step - records["version"], 0))
        norm.add(records["vector"])
        slots_not_finite += int((~np.isfinite(records["slots"]).all(axis=1)).sum())
    found["rows"], found["bytes"] = count, count * table.dtype.itemsize
    found["frequency"], found["age"] = frequency.summary(), age.summary()
    found["norm"] = norm.summary()
    found["slots_not_finite"] = slots_not_finite
    found["beside_rows"] = {
        kind: sum(
            len(part.others(number)[kind])
            for part in table.parts
            for number in range(part.footer.num_blocks)
        )
        for kind in table.other_kinds
    }
    return found


def define_inspect(values: flags.FlagValues) -> None:
    """The flags of inspect."""
    output.define_format(values)
    flags.DEFINE_string("table", None, "Only this table.", flag_values=values)
    flags.DEFINE_bool(
        "rows",
        True,
        "Reads the rows, for histograms; without, footers alone are read.",
        flag_values=values,
    )
    flags.DEFINE_string("plot", None, "Draws the histograms into this file.", flag_values=values)


def run_inspect(args: Sequence[str], values: flags.FlagValues) -> int:
    """usage: tf-embedding inspect CKPT [FLAGS]

    Says what tables CKPT has (a checkpoint's prefix, a folder, a SavedModel, a .keras or
    .weights.h5 file), and for each: rows, dim, rule and slots, bytes, and histograms of
    frequency, age (steps since the last update) and norm.
    """
    output.need_args(args, "CKPT", 1)
    if values.plot and not values.rows:
        raise errors.ToolError("--plot draws the histograms of rows; leave out --norows")
    found = tables.open_checkpoint(args[0])
    chosen = [found.select(values.table)] if values.table else list(found.tables.values())
    described = [describe(table, values.rows) for table in chosen]
    if values.format == "json":
        output.print_json(described)
    else:
        _print(found.path, described)
    if values.plot:
        plot(described, values.plot)
    return errors.OK


def _print(path: str, described: Sequence[dict[str, Any]]) -> None:
    print(f"{path}: {len(described)} table{'' if len(described) == 1 else 's'}")
    head = ["table", "rows", "dim", "rule", "slots", "step", "parts", "blocks", "bytes"]
    rows = []
    for d in described:
        slots = [*d["vector_slots"], *(f"{name} (1)" for name in d["scalar_slots"])]
        rows.append(
            [
                d["table"],
                "?" if d["rows"] is None else d["rows"],
                d["dim"],
                d["rule"] or "-",
                " ".join(slots) or "-",
                d["step"],
                d["parts"],
                d["blocks"],
                "?" if d["bytes"] is None else output.bytes_text(d["bytes"]),
            ]
        )
    output.print_table(rows, head)
    for d in described:
        for field in ("frequency", "age", "norm"):
            if field in d and d[field]["bins"]:
                print(f"\n{d['table']}: {field}, mean {d[field]['mean']:.6g}")
                _print_bins(d[field]["bins"], d["rows"])
        for kind, count in d.get("beside_rows", {}).items():
            print(f"\n{d['table']}: {kind}, {count} records")
        if "norm" in d and d["norm"]["zero"]:
            print(f"\n{d['table']}: {d['norm']['zero']} vectors are zero")
        if "norm" in d and (d["norm"]["not_finite"] or d["slots_not_finite"]):
            print(
                f"\n{d['table']}: NOT FINITE: {d['norm']['not_finite']} vectors, slots of "
                f"{d['slots_not_finite']} rows"
            )


def _print_bins(bins: Sequence[dict[str, Any]], total: int) -> None:
    labels = []
    for b in bins:
        if isinstance(b["from"], float):
            labels.append(f"{b['from']:.3g} to {b['to']:.3g}")
        else:
            labels.append(f"{b['from']}" if b["from"] == b["to"] else f"{b['from']} to {b['to']}")
    width = max(len(label) for label in labels)
    most = max(b["rows"] for b in bins)
    for label, b in zip(labels, bins):
        bar = "#" * max(1, round(30 * b["rows"] / most))
        print(f"  {label:>{width}}  {bar:30}  {b['rows']} ({100 * b['rows'] / total:.1f} %)")


def plot(described: Sequence[dict[str, Any]], path: str) -> None:
    """Draws the histograms of each table into a file."""
    errors.require("matplotlib", "--plot")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fields = ("frequency", "age", "norm")
    figure = Figure(figsize=(12, 3 * max(1, len(described))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(max(1, len(described)), len(fields), squeeze=False)
    for row, d in zip(axes, described):
        for axis, field in zip(row, fields):
            bins = d[field]["bins"]
            axis.bar(range(len(bins)), [b["rows"] for b in bins], width=0.9)
            step = max(1, len(bins) // 8)
            axis.set_xticks(range(0, len(bins), step))
            axis.set_xticklabels([f"{b['from']:.3g}" for b in bins[::step]])
            axis.set_title(f"{d['table']}: {field}")
            axis.set_ylabel("rows")
    try:
        figure.savefig(path)
    except ValueError as error:
        raise errors.ToolError(f"--plot is {path!r}: {error}") from error
