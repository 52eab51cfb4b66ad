# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures from turns, and tables from figures. The standard library only."""

from __future__ import annotations

import csv
import statistics
from typing import Any, Iterable, Mapping, NamedTuple, Sequence


class Summary(NamedTuple):
    """The middle and the ends of one contestant's turns."""

    median: float
    low: float
    high: float


def summarize(values: Sequence[float]) -> Summary:
    """Raises ValueError where there are no values."""
    if not values:
        raise ValueError("values is empty; there must be one turn at least")
    return Summary(statistics.median(values), min(values), max(values))


def ratio_of_medians(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """How many times our rate is theirs."""
    return statistics.median(ours) / statistics.median(theirs)


def median_of_ratios(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The same turn by turn: what drifts with the machine cancels out.

    Raises:
      ValueError: the turns are not pairs.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"ours has {len(ours)} turns and theirs {len(theirs)}; they are pairs")
    return statistics.median(a / b for a, b in zip(ours, theirs))


def number(value: float) -> str:
    """Three significant digits, more before the point; commas between thousands."""
    if value == 0:
        return "0"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}"


def count(value: int) -> str:
    """A round count as text: 30,000,000 is 3e7, 65536 is 65,536."""
    if value >= 10000:
        mantissa, zeros = str(value).rstrip("0"), len(str(value)) - len(str(value).rstrip("0"))
        if len(mantissa) == 1:
            return f"{mantissa}e{zeros}"
    return f"{value:,}"


def spread(summary: Summary) -> str:
    """A figure as cells show it: the median, and the lowest to the highest turn."""
    return f"{number(summary.median)} ({number(summary.low)}-{number(summary.high)})"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table.

    Raises:
      ValueError: a row has another length than the head.
    """
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"row {row!r} has {len(row)} cells; the head has {len(head)}")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def write_csv(path: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows under the union of their keys, in order of first appearance."""
    fields = list(dict.fromkeys(key for row in rows for key in row))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: str) -> list[dict[str, str]]:
    """The rows of a file by write_csv; every value is text."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def replace_between(text: str, marker: str, content: str) -> str:
    """The text with new content between <!-- marker --> and <!-- /marker -->.

    Raises:
      ValueError: the markers are not there once each, in this order.
    """
    begin, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"the text must have {begin} and then {end}, once each")
    before, rest = text.split(begin)
    return f"{before}{begin}\n{content.strip()}\n{end}{rest.split(end)[1]}"
