# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What `te.callbacks` does, whichever Keras calls it."""

from __future__ import annotations

import os
from typing import Any, Mapping, Optional, Union

import tensorflow as tf

from tf_embedding import monitoring


class WritesTableSummaries:
    """Writes what the tables of a model hold, for TensorBoard: see `te.monitoring`.

    After each epoch or every so many training steps, and at the end of training. The
    step of a summary is the optimizer's count of its updates, as in the versions of rows,
    so a run that goes on from a checkpoint goes on in the picture.

    Args:
      log_dir: where the event files go, into the folder `tables` of it, beside those of
        `keras.callbacks.TensorBoard`.
      update_freq: "epoch", or a number of training steps, 1 or more.
      histograms: whether to write those too. They read every row once.

    Raises:
      ValueError: update_freq is something else. While training: the model holds no
        embedding variables.

    >>> callback = TableSummaries("logs", update_freq=1000)
    """

    model: Any

    def __init__(
        self,
        log_dir: Union[str, os.PathLike[str]] = "logs",
        update_freq: Union[str, int] = "epoch",
        histograms: bool = True,
    ) -> None:
        super().__init__()
        every = None if update_freq == "epoch" else update_freq
        if every is not None and (isinstance(every, (bool, str)) or every < 1):
            raise ValueError(
                f'update_freq is {update_freq!r}; it must be "epoch" or a number of steps'
            )
        self._log_dir = os.path.join(os.fspath(log_dir), "tables")
        self._every = every
        self._histograms = histograms
        self._writer: Any = None
        self._written: Optional[int] = None

    def _step(self) -> int:
        return int(self.model.optimizer.iterations.numpy())

    def _write(self) -> None:
        step = self._step()
        if step == self._written:
            return
        with self._writer.as_default():
            monitoring.write_summaries(self.model, step, self._histograms)
        self._writer.flush()
        self._written = step

    def on_train_begin(self, logs: Optional[Mapping[str, Any]] = None) -> None:
        """Opens the event file."""
        self._writer = tf.summary.create_file_writer(self._log_dir)
        self._written = None
        self._began = self._step()

    def on_train_batch_end(self, batch: int, logs: Optional[Mapping[str, Any]] = None) -> None:
        """Writes, if so many steps are done."""
        if self._every is None:
            return
        # Several steps may be done in one execution.
        last = self._began if self._written is None else self._written
        if self._step() - last >= self._every:
            self._write()

    def on_epoch_end(self, epoch: int, logs: Optional[Mapping[str, Any]] = None) -> None:
        """Writes, if it is asked for each epoch."""
        if self._every is None:
            self._write()

    def on_train_end(self, logs: Optional[Mapping[str, Any]] = None) -> None:
        """Writes the last state, unless it is written, and closes the event file."""
        self._write()
        self._writer.close()
