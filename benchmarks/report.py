# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a benchmark is given, what it returns, and the files made of that."""

from __future__ import annotations

import dataclasses
import datetime
import math
import os
import platform
import subprocess
from typing import Any, Mapping, Sequence

import environments
import measure
from contest import Workers

RESULTS = os.path.join(environments.ROOT, "benchmarks", "results")


@dataclasses.dataclass
class Context:
    """How to run.

    Attributes:
      workers: the contestants' processes.
      quick: small sizes, to see that everything works; the figures mean nothing.
      bars: only the lines that bars.py reads.
      full: the whole grid.
      turns: of each contestant.
      seconds: that a turn lasts at least.
      max_keys: of a table in "lookup" and "train"; what has more is left out.
    """

    workers: Workers
    quick: bool
    bars: bool
    full: bool
    turns: int
    seconds: float
    max_keys: float = math.inf

    def progress(self, text: str) -> None:
        print(text, flush=True)


@dataclasses.dataclass(frozen=True)
class Section:
    """A table, and a sentence above it or none."""

    text: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of one benchmark."""

    name: str
    title: str
    text: str
    sections: Sequence[Section]
    csv: Sequence[Mapping[str, Any]]


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", environments.ROOT, *arguments]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    # What is measured is the code; results of benchmarks before are not.
    outputs = (":!benchmarks/results", ":!README.md", ":!docs/images")
    changed = git("status", "--porcelain", "--", *outputs)
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" and changes" if changed else "")


def _machine() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "?")
    with open("/proc/meminfo", encoding="utf-8") as lines:
        memory = int(next(lines).split()[1]) / 2**20
    kernel = platform.release().split("-")[0]
    return f"{model}, {os.cpu_count()} CPUs, {memory:.0f} GiB, Linux {kernel}"


def conditions(context: Context) -> list[str]:
    """Machine, commit, versions, date, turns."""
    lines = [
        f"Machine: {_machine()}.",
        f"Commit: {_commit()}. Date: {datetime.date.today().isoformat()}.",
    ]
    for name in environments.ENVIRONMENTS:
        lines.append(f"Environment {name}: {environments.versions(name)}.")
    lines.append(
        f"Turns: {context.turns} of each contestant, alternating, {context.seconds:g} s or more "
        "each. Figures: median (lowest-highest)."
    )
    if context.quick:
        lines.append("**A quick run, on small sizes: to see that it works. Not figures.**")
    return lines


def write(report: Report, context: Context, command: str, folder: str = RESULTS) -> None:
    """Writes folder/NAME.md and folder/NAME.csv."""
    os.makedirs(folder, exist_ok=True)
    lines = [f"# {report.title}", "", report.text, "", f"Command: `{command}`", ""]
    lines += [f"- {line}" for line in conditions(context)]
    for section in report.sections:
        lines += ["", *([section.text, ""] if section.text else [])]
        lines.append(measure.markdown(section.head, section.rows))
    with open(os.path.join(folder, report.name + ".md"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    measure.write_csv(os.path.join(folder, report.name + ".csv"), report.csv)
