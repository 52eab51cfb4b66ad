# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the commands print: tables of text, and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from tf_embedding.tools.errors import ToolError


def define_format(values: flags.FlagValues) -> None:
    """Adds --format."""
    flags.DEFINE_enum(
        "format", "text", ["text", "json"], "How the result is printed.", flag_values=values
    )


def define_table(values: flags.FlagValues) -> None:
    """Adds --table."""
    flags.DEFINE_string(
        "table", None, "Which table; may be left out where there is one.", flag_values=values
    )


def need_args(args: Sequence[str], names: str, count: int, more: bool = False) -> None:
    """Raises ToolError unless there are so many arguments, or more where that is allowed."""
    if len(args) < count or (len(args) > count and not more):
        raise ToolError(f"takes {names}, and was given {len(args)} arguments: {' '.join(args)}")


def print_table(rows: Sequence[Sequence[Any]], head: Sequence[str]) -> None:
    """Prints columns, numbers to the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(head), *texts]) for i in range(len(head))]
    numeric = [
        bool(rows) and all(isinstance(row[i], (int, float, np.number)) for row in rows)
        for i in range(len(head))
    ]
    for row in [list(head), *texts]:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric)
        ]
        print("  ".join(cells).rstrip())


def print_json(thing: Any) -> None:
    """Prints JSON; numbers that JSON lacks (NaN, infinity) become text."""
    print(json.dumps(_plain(thing), indent=2))


def _plain(thing: Any) -> Any:
    if isinstance(thing, dict):
        return {str(key): _plain(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [_plain(value) for value in thing]
    if isinstance(thing, np.ndarray):
        return _plain(thing.tolist())
    if isinstance(thing, np.generic):
        return _plain(thing.item())
    if isinstance(thing, float) and not math.isfinite(thing):
        return str(thing)
    return thing


def vector_text(vector: np.ndarray, limit: int = 6) -> str:
    """A vector in brackets, cut behind its first values."""
    cells = [f"{value:.6g}" for value in vector[:limit]]
    return "[" + " ".join(cells + (["..."] if len(vector) > limit else [])) + "]"


def bytes_text(count: int) -> str:
    """A number of bytes in the unit that fits."""
    size, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.0f} {units[0]}" if units[0] == "B" else f"{size:.1f} {units[0]}"
