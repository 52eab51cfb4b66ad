# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Callbacks under Keras 2: what they write, beside what was trained."""

from __future__ import annotations

import event_files
import numpy as np
import pytest
from keras2 import harness

import tf_embedding as te
from tf_embedding import keras2

keras = harness.keras

BATCH, STEPS = 8, 5
IDS = np.random.default_rng(0).zipf(1.5, size=(BATCH * STEPS, 3)) % 200
LABELS = (IDS.sum(axis=1) % 2).astype(np.float32)


def fit(callback, epochs=2, **kwargs):
    model = keras.Sequential(
        [
            keras.Input((3,), dtype="int64"),
            keras2.layers.Embedding(4, name="items"),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras2.optimizers.Adagrad(0.1), "mse", **kwargs)
    model.fit(
        IDS, LABELS, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0,
        callbacks=[callback],
    )  # fmt: skip
    return model


def check(directory, model, steps):
    """That summaries are there of these steps, and right."""
    scalars = event_files.scalars(directory / "tables")
    histograms = event_files.histograms(directory / "tables")
    assert sorted(scalars) == sorted(histograms) == steps
    name = model.layers[0].variable.name.split(":")[0]
    for step in steps:
        keys = np.resize(IDS, (BATCH * step, 3))
        unique, counts = np.unique(keys, return_counts=True)
        assert scalars[step][f"{name}/keys"] == len(unique)
        event_files.check_histogram(histograms[step][f"{name}/frequency"], counts)
    rows = model.layers[0].variable.export()
    event_files.check_histogram(histograms[steps[-1]][f"{name}/age"], steps[-1] - rows.version)
    norms = np.sqrt((rows.values.numpy().astype(np.float64) ** 2).sum(axis=1))
    event_files.check_histogram(histograms[steps[-1]][f"{name}/norm"], norms)
    for field, value in model.layers[0].variable.stats()._asdict().items():
        assert scalars[steps[-1]][f"{name}/{field}"] == np.float32(value), field


def test_each_epoch(tmp_path):
    model = fit(keras2.callbacks.TableSummaries(tmp_path))
    check(tmp_path, model, [STEPS, 2 * STEPS])
    # A second fit goes on counting.
    model.fit(
        IDS, LABELS, batch_size=BATCH, shuffle=False, verbose=0,
        callbacks=[keras2.callbacks.TableSummaries(tmp_path)],
    )  # fmt: skip
    check(tmp_path, model, [STEPS, 2 * STEPS, 3 * STEPS])


def test_every_so_many_steps_and_at_the_end(tmp_path):
    model = fit(keras2.callbacks.TableSummaries(str(tmp_path), update_freq=3))
    check(tmp_path, model, [3, 6, 9, 10])


def test_several_steps_in_one_execution(tmp_path):
    callback = keras2.callbacks.TableSummaries(tmp_path, update_freq=3, histograms=False)
    fit(callback, epochs=1, steps_per_execution=2)
    # Executions end at 2, 4 and 5.
    assert sorted(event_files.scalars(tmp_path / "tables")) == [4, 5]
    assert event_files.histograms(tmp_path / "tables") == {}


def test_what_is_wrong_is_said(tmp_path):
    for wrong in (0, -1, "batch", True):
        with pytest.raises(ValueError, match="update_freq is"):
            keras2.callbacks.TableSummaries(tmp_path, update_freq=wrong)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="holds no embedding variables"):
        model.fit(
            np.ones([4, 2]), np.ones([4]), verbose=0,
            callbacks=[keras2.callbacks.TableSummaries(tmp_path)],
        )  # fmt: skip


def test_report_of_a_model(tmp_path):
    model = fit(keras2.callbacks.TableSummaries(tmp_path))
    (table,) = te.report(model, print_fn=None).tables
    assert table.stats.keys == len(np.unique(IDS)) and table.dim == 4
