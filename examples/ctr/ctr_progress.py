# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""A progress bar on stderr."""

from __future__ import annotations

import sys
import time
from typing import Optional, TextIO


class ProgressBar:
    """Shows rows done, examples/s and the time left.

    On a terminal one line is redrawn; elsewhere (a log file, a pipe) a line is
    printed for each further 5 %.
    """

    def __init__(self, total: int, start: int = 0, file: Optional[TextIO] = None):
        self._total = max(total, 1)
        self._start = start
        self._file = sys.stderr if file is None else file
        self._terminal = self._file.isatty()
        self._began = time.monotonic()
        self._shown = -1

    def update(self, done: int, note: str = "") -> None:
        """Tells that `done` rows (counted from the stream's first) are behind us."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        speed = (done - self._start) / seconds
        left = (self._total - done) / speed if speed > 0 else 0.0
        share = done / self._total
        filled = int(share * 24)
        line = (
            f"[{'#' * filled}{'.' * (24 - filled)}] {share:4.0%} {done:,}/{self._total:,} rows,"
            f" {speed:,.0f} examples/s, {left:,.0f} s left {note}"
        )
        if self._terminal:
            self._file.write("\r\x1b[K" + line)
        elif int(share * 20) > self._shown:
            self._shown = int(share * 20)
            self._file.write(line + "\n")
        self._file.flush()

    def close(self) -> None:
        if self._terminal:
            self._file.write("\n")
            self._file.flush()
