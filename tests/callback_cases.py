# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What callbacks write, beside what was trained: the tests of both Keras faces."""

from __future__ import annotations

from typing import Any

import event_files
import numpy as np
import pytest

import tf_embedding as te

BATCH, STEPS = 8, 5
IDS = np.random.default_rng(0).zipf(1.5, size=(BATCH * STEPS, 3)) % 200
LABELS = (IDS.sum(axis=1) % 2).astype(np.float32)


class CallbackCases:
    """A face's test derives from it, and says which Keras and which face it is."""

    keras: Any
    face: Any

    def fit(self, callback, epochs=2, **kwargs):
        model = self.keras.Sequential(
            [
                self.keras.Input((3,), dtype="int64"),
                self.face.layers.Embedding(4, name="items"),
                self.keras.layers.Flatten(),
                self.keras.layers.Dense(1),
            ]
        )
        model.compile(self.face.optimizers.Adagrad(0.1), "mse", **kwargs)
        model.fit(
            IDS, LABELS, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0,
            callbacks=[callback],
        )  # fmt: skip
        return model

    def check(self, directory, model, steps):
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

    def test_each_epoch(self, tmp_path):
        model = self.fit(self.face.callbacks.TableSummaries(tmp_path))
        self.check(tmp_path, model, [STEPS, 2 * STEPS])
        # A second fit goes on counting.
        model.fit(
            IDS, LABELS, batch_size=BATCH, shuffle=False, verbose=0,
            callbacks=[self.face.callbacks.TableSummaries(tmp_path)],
        )  # fmt: skip
        self.check(tmp_path, model, [STEPS, 2 * STEPS, 3 * STEPS])

    def test_every_so_many_steps_and_at_the_end(self, tmp_path):
        model = self.fit(self.face.callbacks.TableSummaries(str(tmp_path), update_freq=3))
        self.check(tmp_path, model, [3, 6, 9, 10])

    def test_several_steps_in_one_execution(self, tmp_path):
        callback = self.face.callbacks.TableSummaries(tmp_path, update_freq=3, histograms=False)
        self.fit(callback, epochs=1, steps_per_execution=2)
        # Executions end at 2, 4 and 5.
        assert sorted(event_files.scalars(tmp_path / "tables")) == [4, 5]
        assert event_files.histograms(tmp_path / "tables") == {}

    def test_what_is_wrong_is_said(self, tmp_path):
        for wrong in (0, -1, "batch", True):
            with pytest.raises(ValueError, match="update_freq is"):
                self.face.callbacks.TableSummaries(tmp_path, update_freq=wrong)
        model = self.keras.Sequential([self.keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        with pytest.raises(ValueError, match="holds no embedding variables"):
            model.fit(
                np.ones([4, 2]), np.ones([4]), verbose=0,
                callbacks=[self.face.callbacks.TableSummaries(tmp_path)],
            )  # fmt: skip

    def test_report_of_a_model(self, tmp_path):
        model = self.fit(self.face.callbacks.TableSummaries(tmp_path))
        (table,) = te.report(model, print_fn=None).tables
        assert table.stats.keys == len(np.unique(IDS)) and table.dim == 4
