# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""TableSummaryHook and te.report in sessions: what they say, beside what is in the table."""

from __future__ import annotations

from typing import Any, Optional

import event_files
import numpy as np
import pytest
import tensorflow as tf
from v1.graph import session, v1, variable

import tf_embedding as te

BATCHES = [np.arange(n) % (n // 2 + 1) for n in (3, 9, 6, 12, 20, 4, 40)]


def train(hook: Any, parts: Optional[int] = None, directory: Any = None) -> Any:
    """Trains a variable on BATCHES under a hook; returns what it holds at the end."""
    with tf.Graph().as_default():
        var = variable(parts=parts)
        ids = v1.placeholder(tf.int64, [None])
        loss = tf.reduce_sum(tf.nn.embedding_lookup(var, ids))
        step = v1.train.create_global_step()
        update = te.train.AdagradOptimizer(0.1).minimize(loss, global_step=step)
        rows = var.export()
        with v1.train.MonitoredTrainingSession(
            hooks=[hook], checkpoint_dir=directory, save_checkpoint_steps=1000,
            save_summaries_steps=None, save_summaries_secs=None, log_step_count_steps=None,
        ) as run:  # fmt: skip
            for batch in BATCHES:
                run.run(update, {ids: batch})
            return run.run(rows)


@pytest.mark.parametrize("parts", [None, 2])
def test_the_hook_writes_what_the_table_holds(tmp_path: Any, parts: Optional[int]) -> None:
    hook = te.train.TableSummaryHook(save_steps=3, output_dir=str(tmp_path))
    rows = train(hook, parts)
    scalars = event_files.scalars(tmp_path)
    # At the first step, then every third, and at the end.
    assert sorted(scalars) == [1, 4, 7]
    for step, found in scalars.items():
        trained = np.concatenate(BATCHES[:step])
        assert found["var/keys"] == found["var/inserted"] == len(np.unique(trained))
        assert found["var/lookups"] == len(trained)
    histograms = event_files.histograms(tmp_path)
    for step, found in histograms.items():
        trained = np.concatenate(BATCHES[:step])
        keys, counts = np.unique(trained, return_counts=True)
        event_files.check_histogram(found["var/frequency"], counts)
        last = {key: i for i in range(step) for key in BATCHES[i]}
        event_files.check_histogram(found["var/age"], [step - last[key] for key in keys])
    norms = np.sqrt((rows.values.astype(np.float64) ** 2).sum(axis=1))
    event_files.check_histogram(histograms[7]["var/norm"], norms)


def test_a_writer_of_ones_own_and_no_histograms(tmp_path: Any) -> None:
    with tf.Graph().as_default():
        writer = v1.summary.FileWriter(str(tmp_path))
    train(te.train.TableSummaryHook(save_secs=1e6, summary_writer=writer, histograms=False))
    assert sorted(event_files.scalars(tmp_path)) == [1, 7]
    assert event_files.histograms(tmp_path) == {}


def test_a_run_that_goes_on(tmp_path: Any) -> None:
    for _ in range(2):
        hook = te.train.TableSummaryHook(save_steps=100, output_dir=str(tmp_path / "logs"))
        train(hook, directory=str(tmp_path / "model"))
    scalars = event_files.scalars(tmp_path / "logs")
    assert sorted(scalars) == [1, 7, 8, 14]
    keys = len(np.unique(np.concatenate(BATCHES)))
    # The rows of the checkpoint were not inserted here; all that come again were there.
    assert scalars[14]["var/keys"] == keys and scalars[14]["var/inserted"] == 0


def test_report_in_a_session() -> None:
    with session() as run:
        var = variable(parts=2)
        ids = tf.constant([3, 3, 2**62, -1], tf.int64)
        loss = tf.reduce_sum(tf.nn.embedding_lookup(var, ids))
        update = te.train.AdagradOptimizer(0.1).minimize(loss)
        run.run(v1.global_variables_initializer())
        run.run(update)
        found = te.report(print_fn=None).tables[0]
        assert (found.name, found.num_parts, found.stats.keys) == ("var", 2, 3)
        graph = run.graph
        other = v1.Session(graph=graph)
        other.run(v1.global_variables_initializer())
        assert te.report(graph, session=other, print_fn=None).tables[0].stats.keys == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"output_dir": "x"}, "save_steps is None and save_secs is None; give exactly one"),
        ({"output_dir": "x", "save_steps": 1, "save_secs": 1}, "give exactly one"),
        ({"output_dir": "x", "save_steps": 0}, "save_steps is 0; it must be above 0"),
        ({"output_dir": "x", "save_secs": -1.0}, "save_secs is -1.0"),
        ({"save_steps": 1}, "output_dir is None and summary_writer is None; give exactly one"),
    ],
)
def test_arguments_are_checked(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        te.train.TableSummaryHook(**arguments)


def test_what_the_graph_lacks_is_said(tmp_path: Any) -> None:
    hook = te.train.TableSummaryHook(save_steps=1, output_dir=str(tmp_path))
    with tf.Graph().as_default():
        with pytest.raises(ValueError, match="needs a global step"):
            hook.begin()
        v1.train.create_global_step()
        with pytest.raises(ValueError, match="holds no embedding variables"):
            hook.begin()
