# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Blocks of rows, and the base of the readers that make them."""

from __future__ import annotations

import dataclasses
from typing import Dict, Iterator, List, Optional, Tuple

import numpy as np
import pandas as pd

CHUNK = 65536  # Rows read from a file at a time.


@dataclasses.dataclass(frozen=True)
class Block:
    """Consecutive rows of the stream.

    ids: one array [n] per categorical column, int64 or object (of str).
    dense: float32 [n, number of dense columns].
    labels: float32 [n], each 0 or 1.
    """

    ids: Dict[str, np.ndarray]
    dense: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


class Reader:
    """Base of the readers: cuts a format's frames into blocks of exact size.

    A subclass sets the four attributes and defines `_frames(start)`, which
    yields labelled rows from row `start` on as DataFrames of any length, and
    `_count()`. `_prepare` turns a frame's raw columns into the named ones.
    """

    categorical: Tuple[str, ...] = ()
    dense: Tuple[str, ...] = ()
    crosses: Tuple[Tuple[str, ...], ...] = ()
    label: str = "label"
    time: Optional[str] = None

    def __init__(self, path: str):
        self.path = path
        self._num_rows: Optional[int] = None

    @property
    def num_rows(self) -> int:
        """Number of labelled rows; found by one quick pass, then remembered."""
        if self._num_rows is None:
            self._num_rows = self._count()
        return self._num_rows

    def blocks(self, size: int, start: int = 0, stop: Optional[int] = None) -> Iterator[Block]:
        """Yields rows [start, stop) in blocks of `size`; the last may be short.

        Raises:
          ValueError: size is not positive, or the rows are not in time order.
        """
        if size <= 0:
            raise ValueError(f"size must be positive, got {size}.")
        left = self.num_rows - start if stop is None else stop - start
        waiting: List[pd.DataFrame] = []
        rows = 0
        latest = None
        for frame in self._frames(start):
            if left <= 0:
                return
            frame = frame.iloc[:left]
            left -= len(frame)
            latest = self._check_order(frame, latest)
            waiting.append(frame)
            rows += len(frame)
            if rows < size and left > 0:
                continue
            joined = pd.concat(waiting, ignore_index=True) if len(waiting) > 1 else waiting[0]
            whole = rows if left <= 0 else rows - rows % size
            for begin in range(0, whole, size):
                yield self._to_block(joined.iloc[begin : min(begin + size, whole)])
            waiting, rows = [joined.iloc[whole:]], rows - whole
        if rows:
            yield self._to_block(pd.concat(waiting, ignore_index=True))

    def _check_order(self, frame: pd.DataFrame, latest):
        if self.time is None or not len(frame):
            return latest
        times = frame[self.time]
        if not times.is_monotonic_increasing or (latest is not None and times.iloc[0] < latest):
            raise ValueError(
                f"{self.path}: column {self.time!r} goes back in time; a model tested on it"
                " would have seen the future. Sort the file by that column first."
            )
        return times.iloc[-1]

    def _to_block(self, frame: pd.DataFrame) -> Block:
        frame = self._prepare(frame)
        ids = {}
        for name in self.categorical:
            column = frame[name]
            if pd.api.types.is_integer_dtype(column.dtype) and not column.hasnans:
                ids[name] = column.to_numpy(dtype=np.int64)
            else:
                # A missing category is a category of its own: the empty string.
                filled = column.astype(object).where(column.notna(), "")
                ids[name] = filled.astype(str).to_numpy(dtype=object)
        dense = np.zeros((len(frame), len(self.dense)), np.float32)
        for i, name in enumerate(self.dense):
            dense[:, i] = frame[name].to_numpy(dtype=np.float32, na_value=0.0)
        labels = frame[self.label].to_numpy(dtype=np.float32)
        return Block(ids, dense, labels)

    def _prepare(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame

    def _frames(self, start: int) -> Iterator[pd.DataFrame]:
        raise NotImplementedError

    def _count(self) -> int:
        raise NotImplementedError


def slices(frame: pd.DataFrame, start: int) -> Iterator[pd.DataFrame]:
    """Yields a frame's rows from `start` on, CHUNK at a time."""
    for begin in range(start, len(frame), CHUNK):
        yield frame.iloc[begin : begin + CHUNK]
