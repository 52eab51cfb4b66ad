# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The session hook that writes summaries of tables; its public home is `te.train`."""

from __future__ import annotations

from typing import Any, Optional

import tensorflow as tf

from tf_embedding import monitoring

_v1 = tf.compat.v1


class TableSummaryHook(tf.compat.v1.train.SessionRunHook):  # type: ignore[misc]
    """Writes what the tables of a graph hold, for TensorBoard: see `te.monitoring`.

    As `tf.compat.v1.train.SummarySaverHook`, for a `MonitoredTrainingSession` or the
    `hooks` of an estimator's `train`: at the first step, then every so many steps or
    seconds, and at the end. The figures are of the moment after the step. With several
    workers give it to the chief alone.

    Args:
      save_steps: write every so many global steps, 1 or more.
      save_secs: write every so many seconds; exactly one of the two is given.
      output_dir: where the event files go; the file is shared with the other hooks that
        write there.
      summary_writer: a `tf.compat.v1.summary.FileWriter`; exactly one of the two is given.
      model: whose tables, see `te.monitoring.variables_of`; None for those of the graph.
      histograms: whether to write those too. They read every row once.

    Raises:
      ValueError: not exactly one of two is given, or one is out of its range. In `begin`:
        the graph has no global step, or no embedding variables.

    >>> hook = TableSummaryHook(save_steps=100, output_dir="logs")
    """

    def __init__(
        self,
        save_steps: Optional[int] = None,
        save_secs: Optional[float] = None,
        output_dir: Optional[str] = None,
        summary_writer: Any = None,
        model: Any = None,
        histograms: bool = True,
    ) -> None:
        if (save_steps is None) == (save_secs is None):
            raise ValueError(
                f"save_steps is {save_steps!r} and save_secs is {save_secs!r}; give exactly one"
            )
        for name, value in (("save_steps", save_steps), ("save_secs", save_secs)):
            if value is not None and value <= 0:
                raise ValueError(f"{name} is {value!r}; it must be above 0")
        if (output_dir is None) == (summary_writer is None):
            raise ValueError(
                f"output_dir is {output_dir!r} and summary_writer is {summary_writer!r}; give "
                "exactly one"
            )
        self._timer = _v1.train.SecondOrStepTimer(every_secs=save_secs, every_steps=save_steps)
        self._output_dir = output_dir
        self._writer = summary_writer
        self._model = model
        self._histograms = histograms
        self._written: Optional[int] = None

    def begin(self) -> None:
        """Adds what is asked for to the graph."""
        self._step = _v1.train.get_global_step()
        if self._step is None:
            raise ValueError(
                "TableSummaryHook needs a global step: tf.compat.v1.train.create_global_step()"
            )
        variables = monitoring.variables_of(self._model)
        self._names = monitoring.names_of(variables)
        self._asked = []
        for variable in variables:
            look = monitoring.look_at(variable, self._step, self._histograms)
            self._asked.append((look.stats, dict(look.histograms)))
        if self._writer is None:
            self._writer = _v1.summary.FileWriterCache.get(self._output_dir)
        self._timer.reset()
        self._written = None

    def before_run(self, run_context: Any) -> Any:
        """Asks for the global step."""
        return _v1.train.SessionRunArgs(self._step)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """Writes, if it is time."""
        # What came with the run may be of before the update or after it. It tells
        # cheaply that nothing can be due.
        if self._timer.should_trigger_for_step(run_values.results + 1):
            step = int(run_context.session.run(self._step))
            if self._timer.should_trigger_for_step(step):
                self._timer.update_last_triggered_step(step)
                self._write(run_context.session, step)

    def end(self, session: Any) -> None:
        """Writes the last state, unless it is written."""
        step = int(session.run(self._step))
        if step != self._written:
            self._write(session, step)
        self._writer.flush()

    def _write(self, session: Any, step: int) -> None:
        for name, (stats, histograms) in zip(self._names, session.run(self._asked)):
            look = monitoring.Look(stats, histograms)
            self._writer.add_summary(monitoring.summary_of(name, look), step)
        self._written = step
