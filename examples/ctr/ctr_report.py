# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The run's picture (report.png), page (report.html) and figures (results.json)."""

from __future__ import annotations

import base64
import html
import io
import json
import os
from typing import Any, Dict, List, Mapping, Optional, Sequence

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend comes first)
import numpy as np  # noqa: E402

_COLOURS = ("#1f77b4", "#d95f02", "#1b9e77")
_ROWS = (
    ("final_auc", "AUC, last part of the stream"),
    ("final_logloss", "log loss, last part of the stream"),
    ("stream_auc", "AUC, test-then-train before it"),
    ("stream_logloss", "log loss, test-then-train before it"),
    ("keys", "rows in the tables"),
    ("table_bytes", "memory of the tables, with optimizer slots"),
    ("examples_per_second", "examples/s, scored and trained"),
)
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; } img { max-width: 100%; }
td, th { border: 1px solid #ccc; padding: .3rem .7rem; } td + td { text-align: right; }
th { background: #f3f3f3; text-align: left; }
"""


def format_figure(name: str, value: Optional[float]) -> str:
    """A figure as text, by its name: shares with 4 digits, memory in MB, counts with commas."""
    if value is None:
        return "-"
    if name == "table_bytes":
        return f"{value / 1e6:,.1f} MB"
    return f"{value:.4f}" if name.endswith(("auc", "logloss")) else f"{value:,.0f}"


def text_table(results: Mapping[str, Mapping[str, Optional[float]]]) -> str:
    """The figures as lines of text, a column for each contestant."""
    lines = [f"{'':44}" + "".join(f"{name:>14}" for name in results)]
    for key, title in _ROWS:
        cells = "".join(f"{format_figure(key, figures[key]):>14}" for figures in results.values())
        lines.append(f"{title:44}{cells}")
    return "\n".join(lines)


def _smooth(history: Sequence[Mapping[str, float]], name: str) -> np.ndarray:
    """Mean over a window of a twentieth of the blocks so far, weighted by rows; NaN is left out."""
    values = np.array([e[name] for e in history], np.float64)
    weights = np.array([e["size"] for e in history], np.float64)
    weights[np.isnan(values)] = 0.0
    window = max(1, len(values) // 20)
    ones = np.ones(window)
    total = np.convolve(weights * np.nan_to_num(values), ones)[: len(values)]
    weight = np.convolve(weights, ones)[: len(values)]
    return np.divide(total, weight, out=np.full(len(values), np.nan), where=weight > 0)


def timed(history: Sequence[Mapping[str, float]]) -> List[Mapping[str, float]]:
    """The blocks that show the speed of scoring and training.

    Left out: the first, and those of another length, which pay for tracing
    graphs, and those that were only scored. All, if nothing else is left.
    """
    kept = [e for e in history[1:] if e["learns"] and e["size"] == history[0]["size"]]
    return kept or list(history)


def draw(histories: Mapping[str, Sequence[Mapping[str, float]]], split: int, title: str) -> bytes:
    """Draws AUC, rows in the tables, their memory and the speed over the stream; returns a PNG."""
    figure, axes = plt.subplots(4, 1, figsize=(9, 11), sharex=True, constrained_layout=True)
    for (name, history), colour in zip(histories.items(), _COLOURS):
        rows = [e["rows"] for e in history]
        axes[0].plot(rows, _smooth(history, "auc"), color=colour, label=name)
        axes[1].plot(rows, [e["keys"] for e in history], color=colour, label=name)
        axes[2].plot(rows, [e["bytes"] / 1e6 for e in history], color=colour, label=name)
        learned = timed(history)
        speed = [e["size"] / max(e["seconds"], 1e-9) for e in learned]
        axes[3].plot([e["rows"] for e in learned], speed, color=colour, label=name)
    axes[0].set_title(title)
    axes[0].set_ylabel("AUC of the next block")
    axes[0].axhline(0.5, color="#999999", linewidth=0.8)
    axes[1].set_ylabel("rows in the tables")
    axes[1].set_ylim(bottom=0)
    axes[2].set_ylabel("memory of the tables, MB")
    axes[2].set_ylim(bottom=0)
    axes[3].set_ylabel("examples/s")
    axes[3].set_ylim(bottom=0)
    axes[3].set_xlabel("rows of the stream so far")
    for axis in axes:
        axis.axvline(split, color="#999999", linestyle="--", linewidth=1)
        axis.grid(alpha=0.25)
        axis.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda y, _: f"{y:,.6g}"))
    axes[3].xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes[0].legend(loc="best")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    plt.close(figure)
    return file.getvalue()


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{html.escape(h)}</th>" for h in head)
    lines: List[str] = [f"<tr>{cells}</tr>"]
    for row in rows:
        lines.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>")
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def write(
    directory: str,
    title: str,
    results: Mapping[str, Mapping[str, Optional[float]]],
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    flags: Mapping[str, Any],
    split: int,
    note: str,
) -> Dict[str, str]:
    """Writes the three files; returns their paths by name ("png", "html", "json").

    Args:
      directory: where to.
      title: of picture and page.
      results: figures of each contestant, as Stream.results() gives them.
      histories: entries per block of each contestant.
      flags: of the run, for the page's last table.
      split: row at which the last part begins: the dashed line.
      note: a sentence for the page on how the last part was scored.
    """
    picture = draw(histories, split, title)
    figures = [
        [text, *(format_figure(key, found[key]) for found in results.values())]
        for key, text in _ROWS
    ]
    encoded = base64.b64encode(picture).decode("ascii")
    page = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>
<style>{_STYLE}</style></head>
<body><h1>{html.escape(title)}</h1>
<p>Each block of rows is scored by the model as it stands, then trained on. {html.escape(note)}</p>
{_table(["", *results], figures)}
<img alt="AUC, rows, memory and examples/s over the stream" src="data:image/png;base64,{encoded}">
<h2>Flags</h2>
{_table(["flag", "value"], [[f"--{name}", str(value)] for name, value in flags.items()])}
</body></html>
"""
    names = {"png": "report.png", "html": "report.html", "json": "results.json"}
    paths = {kind: os.path.join(directory, name) for kind, name in names.items()}
    with open(paths["png"], "wb") as file:
        file.write(picture)
    with open(paths["html"], "w", encoding="utf-8") as file:
        file.write(page)
    with open(paths["json"], "w", encoding="utf-8") as file:
        json.dump({"results": results, "flags": flags}, file, indent=2, default=str)
        file.write("\n")
    return paths
