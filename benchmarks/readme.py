# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The section "Speed" of the README, from the results of the last runs.

    python benchmarks/readme.py

Writes what lies between <!-- speed-figures --> and <!-- /speed-figures -->,
docs/images/speed.png and benchmarks/results/bars.md.
"""

from __future__ import annotations

import os
import subprocess
from typing import Iterable, Mapping

import bars
import environments
import fit
import measure

MARKER = "speed-figures"
_IMAGE = "docs/images/speed.png"


def _cell(rows: Iterable[Mapping[str, str]], contestant: str, unit: float) -> str:
    for row in rows:
        if row["contestant"] == contestant and row.get("median"):
            return measure.number(float(row["median"]) / unit)
    return "-"


def summary(results: Mapping[str, bars.Rows]) -> str:
    """Rates of all contestants at the bars' sizes."""
    columns = ("tf_embedding", "tf.Variable", "FBGEMM", "TFRA", "floor")
    rows = []
    for work, name, changes in (
        ("lookup", "lookup", {}),
        ("lookup, Zipf 1.05", "lookup", {"zipf": 1.05}),
        ("lookup, 3e7 keys", "lookup", {"keys": 30_000_000}),
        ("train, Adagrad", "train", {}),
        ("train, row-wise Adagrad", "train", {"rule": "rowwise_adagrad"}),
        ("train, FTRL", "train", {"rule": "ftrl"}),
        ("train, Adam", "train", {"rule": "adam"}),
        ("train, Adagrad, Zipf 1.05", "train", {"zipf": 1.05}),
        ("train, Adagrad, 3e7 keys", "train", {"keys": 30_000_000}),
    ):
        wanted = {k: str(v) for k, v in {**bars.BASE, "rule": "adagrad", **changes}.items()}
        lines = [r for r in results.get(name, []) if wanted.items() <= r.items()]
        if not lines:
            continue
        command = f"`run.py {name}`"
        rows.append([work, command, *(_cell(lines, c, 1e6) for c in columns)])
    return measure.markdown(["M rows/s", "command", *columns], rows)


def _what(name: str, row: Mapping[str, str]) -> str:
    """A line of a table, in words."""
    parts = [name] + ([row["rule"]] if name in ("train", "fit") else [])
    parts += [f"{measure.count(int(row['keys']))} keys", f"dim {row['dim']}"]
    parts += [f"batch {measure.count(int(row['batch']))}"]
    parts += [f"Zipf {row['zipf']}"] if float(row["zipf"]) else []
    parts += [f"bags of {row['bag']}, {row['combiner']}"] if name == "pooled" else []
    parts += ["weights"] if row["weighted"] == "True" else []
    parts += [f"{row['tables']} tables"] if name == "many" else []
    parts += ["side by side"] if row.get("concat") == "True" else []
    parts += [f"threads {row['threads']}"]
    return ", ".join(parts)


def losses(results: Mapping[str, bars.Rows]) -> list[str]:
    """Lines where a peer is faster: what, our rate over the peer's, and who."""
    text = []
    for name in ("lookup", "train", "pooled", "many", "fit"):
        for row in results.get(name, []):
            ratio = float(row.get("ratio_of_medians") or "inf")
            limit = row["contestant"] in fit.LIMITS
            ours = row["contestant"].startswith("te ")
            if ratio < 1 and not limit and not ours:
                rounded = measure.number(ratio)
                text.append(f"- {_what(name, row)}: {rounded}x {row['contestant']}")
    return text


def section(results: Mapping[str, bars.Rows], conditions: str) -> str:
    """All that lies between the markers."""
    lost = losses(results)
    lines = [
        f"![Rates of lookup, training and model.fit beside other libraries]({_IMAGE})",
        "",
        "Rows of dim 16, 65,536 uniform ids a batch, 1e6 keys, 2 threads, unless a line says "
        "otherwise. Everybody takes turns; figures are medians. tf.Variable and FBGEMM are static "
        "arrays by row number, TFRA a hash table; the floor copies or updates rows out of huge "
        "pages. TFRA runs on TensorFlow 2.16.2, and is compared with tf_embedding there.",
        "",
        summary(results),
        "",
    ]
    if lost:
        lines += ["Where a peer is faster, of all that was measured:", "", *lost, ""]
    elif results:
        lines += ["In no line that was measured is a peer faster.", ""]
    lines += [
        "Not all that it was built to reach is reached: [bars](benchmarks/results/bars.md). "
        "Spreads, other sizes, `model.fit`, insertion and memory: [results](benchmarks/results), "
        f"[how it measures](benchmarks/README.md). {conditions}"
    ]
    return "\n".join(lines)


def _conditions(folder: str) -> str:
    """Machine, commit and date of the training benchmark."""
    try:
        with open(os.path.join(folder, "train.md"), encoding="utf-8") as file:
            lines = [line[2:].strip() for line in file if line.startswith(("- Mach", "- Commit"))]
    except FileNotFoundError:
        return "Not measured yet."
    return " ".join(lines)


def write(folder: str = bars.RESULTS) -> None:
    """Renews README.md and the plot."""
    path = os.path.join(environments.ROOT, "README.md")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    text = measure.replace_between(text, MARKER, section(bars.load(folder), _conditions(folder)))
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(folder, "bars.md"), "w", encoding="utf-8") as file:
        file.write(f"# What it was built to reach\n\n{bars.table(bars.load(folder))}\n")
    image = os.path.join(environments.ROOT, _IMAGE)
    command = [environments.python("tf"), os.path.join(here, "plot.py"), folder, image]
    subprocess.run(command, check=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    write()
