# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""How far a long command is: a bar by tqdm where that is installed, else lines of text."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Optional, TypeVar

T = TypeVar("T")

_shown: Optional[bool] = None


def show(shown: Optional[bool]) -> None:
    """Whether progress is shown; None: where standard error is a terminal."""
    global _shown
    _shown = shown


def progress(things: Iterable[T], total: Optional[int], what: str) -> Iterator[T]:
    """The same things, told on standard error one by one.

    Args:
      things: what a command goes through.
      total: how many there are; None: not known.
      what: the command does with them.
    """
    if not (sys.stderr.isatty() if _shown is None else _shown):
        yield from things
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield from _lines(things, total, what)
        return
    yield from tqdm(things, total=total, desc=what, file=sys.stderr)


def _lines(things: Iterable[T], total: Optional[int], what: str) -> Iterator[T]:
    """A line for each tenth of the way."""
    told = 0
    for count, thing in enumerate(things, 1):
        yield thing
        tenth = 10 * count // total if total else 0
        if tenth > told:
            told = tenth
            print(f"{what}: {10 * tenth} %", file=sys.stderr)
