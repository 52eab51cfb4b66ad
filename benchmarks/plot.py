# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The plot of the README, from the CSV files.

    python plot.py RESULTS_FOLDER IMAGE.png

Needs matplotlib; the driver runs it in the environment "tf".
"""

from __future__ import annotations

import sys
from typing import Sequence

import bars
import fit
import matplotlib
import measure

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend comes first)

_OURS, _PEER, _LIMIT = "#1f77b4", "#b0b0b0", "#dddddd"


def _panel(axis: plt.Axes, title: str, lines: Sequence[dict[str, str]], unit: float) -> None:
    """Bars from the top down, with the spread of the turns."""
    measured = [line for line in lines if line.get("median")]
    for y, line in enumerate(measured):
        name = line["contestant"]
        ours = name.startswith(("tf_embedding", "te "))
        limit = name in fit.LIMITS
        middle, low, high = (float(line[f]) / unit for f in ("median", "low", "high"))
        color = _OURS if ours else _LIMIT if limit else _PEER
        axis.barh(y, middle, color=color, height=0.7)
        axis.plot([low, high], [y, y], color="#333333", linewidth=1)
        axis.text(max(high, middle), y, f" {measure.number(middle)}", va="center", fontsize=9)
    axis.set_yticks(range(len(measured)), [line["contestant"] for line in measured], fontsize=9)
    axis.invert_yaxis()
    axis.set_title(title, fontsize=10, loc="left")
    axis.margins(x=0.18)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="x", alpha=0.25)
    axis.set_axisbelow(True)


def main(folder: str, image: str) -> None:
    results = bars.load(folder)
    base = {**bars.BASE, "rule": "adagrad"}

    def at(name: str, **wanted: object) -> list[dict[str, str]]:
        texts = {field: str(value) for field, value in wanted.items()}
        return [r for r in results.get(name, []) if texts.items() <= r.items()]

    figure, axes = plt.subplots(3, 1, figsize=(8, 8), constrained_layout=True)
    _panel(axes[0], "Lookup, M rows/s", at("lookup", **base), 1e6)
    _panel(axes[1], "Lookup + gradient + Adagrad, M rows/s", at("train", **base), 1e6)
    lines = at("fit", rule="adagrad", keys=1_000_000)
    _panel(axes[2], "model.fit, thousands of examples/s", lines, 1e3)
    figure.suptitle("1e6 rows of dim 16, 2 threads; longer is faster", fontsize=11)
    figure.savefig(image, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
