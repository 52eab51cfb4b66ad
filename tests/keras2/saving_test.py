# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keras 2 saves and loads rows, slots and steps, and resumes to the same bits."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from keras2 import harness

import tf_embedding as te
from tf_embedding.keras2 import layers, optimizers

keras = harness.keras


def compiled(own=False, epochs=1):
    """A model, compiled and trained."""
    table = harness.embedding(optimizer=keras.optimizers.Adam(0.05) if own else None)
    model = harness.model_of(table)
    model.compile(keras.optimizers.SGD(0.1) if own else optimizers.Adam(0.05), "mse")
    if epochs:
        harness.fit(model, epochs)
    return model


def state(model):
    """The state of the first layer's rows, sorted by key."""
    values = {k: np.asarray(v) for k, v in model.layers[0].variable.state().items()}
    order = np.argsort(values["keys"])
    for key in ("keys", "values", "slots", "frequency", "version"):
        values[key] = values[key][order]
    return values


def same(a, b):
    for key, value in a.items():
        np.testing.assert_array_equal(value, b[key], err_msg=key)
    assert len(a["keys"]) == harness.VOCABULARY


def tf_checkpoint(model, path):
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(path)


def from_tf_checkpoint(model, path):
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    checkpoint.read(path).assert_existing_objects_matched()


WEIGHTS = {
    "h5": (
        lambda m, p: m.save_weights(p + ".weights.h5"),
        lambda m, p: m.load_weights(p + ".weights.h5"),
    ),
    "tf": (lambda m, p: m.save_weights(p), lambda m, p: m.load_weights(p)),
    "checkpoint": (tf_checkpoint, from_tf_checkpoint),
}


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights(kind, own, tmp_path):
    save, load = WEIGHTS[kind]
    model = compiled(own)
    save(model, str(tmp_path / "w"))
    other = compiled(own, epochs=2)
    load(other, str(tmp_path / "w"))
    same(state(model), state(other))
    # On to the same bits: slots and the count of steps came back too.
    for one in (model, other):
        harness.fit(one)
    same(state(model), state(other))


def test_a_damaged_weights_file_is_named(tmp_path):
    path = tmp_path / "w.weights.h5"
    compiled().save_weights(str(path))
    data = bytearray(path.read_bytes())
    data[data.index(b"TFEBLOCK") + 200] ^= 1
    path.write_bytes(data)
    model = compiled()
    before = state(model)
    with pytest.raises(tf.errors.DataLossError, match=f"{path}.*is damaged: its checksum"):
        model.load_weights(str(path))
    same(before, state(model))


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("kind", ["keras", "tf"])
def test_whole_model(kind, own, tmp_path):
    model = compiled(own)
    path = str(tmp_path / ("m.keras" if kind == "keras" else "m"))
    model.save(path, save_format=kind)
    other = keras.models.load_model(path)
    same(state(model), state(other))
    ids = harness.data()[0]
    np.testing.assert_array_equal(
        model.predict(ids, verbose=0), other.predict(ids, verbose=0)
    )
    if not own:
        assert type(other.optimizer) is optimizers.Adam
        if kind == "tf":  # Keras leaves the compiled optimizer's state out.
            return
    for one in (model, other):
        harness.fit(one)
    same(state(model), state(other))


def test_saved_model_in_a_fresh_process(tmp_path):
    model = compiled()
    path = str(tmp_path / "m")
    model.save(path, save_format="tf")
    ids = harness.data()[0]
    np.save(tmp_path / "ids.npy", ids)
    np.save(tmp_path / "out.npy", model.predict(ids, verbose=0))
    script = (
        "import sys, numpy as np, tensorflow as tf, tf_embedding\n"
        "path = sys.argv[1]\n"
        "loaded = tf.saved_model.load(path + '/m')\n"
        "out = loaded(tf.constant(np.load(path + '/ids.npy')))\n"
        "np.testing.assert_allclose(out, np.load(path + '/out.npy'), rtol=1e-6)\n"
    )
    root = os.path.dirname(os.path.dirname(te.__file__))
    environment = {**os.environ, "PYTHONPATH": root, "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, "-c", script, str(tmp_path)]
    subprocess.run(command, check=True, env=environment)


def test_legacy_h5_says_what_to_use(tmp_path):
    with pytest.raises(TypeError, match="legacy .h5.*weights.h5"):
        compiled().save_weights(str(tmp_path / "w.h5"))


def test_file_of_another_model(tmp_path):
    path = str(tmp_path / "w.weights.h5")
    stock = harness.model_of(keras.layers.Embedding(harness.VOCABULARY, harness.DIM))
    stock.save_weights(path)
    with pytest.raises(ValueError, match="written by another kind of layer"):
        harness.model_of(harness.embedding()).load_weights(path)


def test_get_and_set_weights():
    model = compiled()
    kept = state(model)
    weights = model.get_weights()
    harness.fit(model)
    assert np.abs(state(model)["values"] - kept["values"]).max() > 1e-4
    model.set_weights(weights)
    same(kept, state(model))
    with pytest.raises(TypeError, match="upsert"):
        model.layers[0].set_weights([np.zeros([3, harness.DIM], np.float32)])


def test_early_stopping_restores_the_best_rows():
    model = compiled(epochs=0)
    kept = []

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kept.append(state(self.model))

    class Worse(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["score"] = epoch

    stop = keras.callbacks.EarlyStopping("score", patience=2, mode="min", restore_best_weights=True)
    harness.fit(model, epochs=9, callbacks=[Keep(), Worse(), stop])
    assert len(kept) == 3 and np.abs(kept[0]["values"] - kept[2]["values"]).max() > 1e-4
    same(kept[0], state(model))


@pytest.mark.parametrize(
    "name, weights_only, own",
    [
        ("m.keras", False, False),
        ("m", False, True),
        ("w.weights.h5", True, True),
        ("w", True, False),
    ],
)
def test_model_checkpoint(name, weights_only, own, tmp_path):
    model = compiled(own, epochs=0)
    path = str(tmp_path / name)
    keep = keras.callbacks.ModelCheckpoint(path, save_weights_only=weights_only)
    harness.fit(model, callbacks=[keep])
    if weights_only:
        other = compiled(own, epochs=0)
        other.load_weights(path)
    else:
        other = keras.models.load_model(path)
    same(state(model), state(other))


@pytest.mark.parametrize("own", [False, True])
def test_backup_and_restore(own, tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def backup():
        return keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))

    whole = compiled(own, epochs=3)
    model = compiled(own, epochs=0)
    with pytest.raises(KeyboardInterrupt):
        harness.fit(model, epochs=3, callbacks=[backup(), Interrupt()])
    again = compiled(own, epochs=0)
    harness.fit(again, epochs=3, callbacks=[backup()])
    same(state(whole), state(again))


@pytest.mark.parametrize("own", [False, True])
def test_a_filter_and_its_counts_survive(own, tmp_path):
    counts = np.bincount(harness.data()[0].ravel())
    least = int(np.median(counts)) + 1
    option = te.EmbeddingVariableOption(filter_option=te.CounterFilter(least))
    table = harness.embedding(
        optimizer=keras.optimizers.Adam(0.05) if own else None, ev_option=option
    )
    model = harness.model_of(table)
    model.compile(optimizers.Adam(0.05), "mse")
    model.build([None, harness.LENGTH])
    before = harness.rows(table)
    harness.fit(model)
    rows, admitted = table.variable, counts >= least
    assert 0 < admitted.sum() < harness.VOCABULARY
    np.testing.assert_array_equal(rows.contains(harness.IDS), admitted)
    np.testing.assert_array_equal(rows.frequency(harness.IDS), counts)
    moved = (harness.rows(table) != before).any(axis=1)
    np.testing.assert_array_equal(moved, admitted)
    model.save(str(tmp_path / "m.keras"))
    other = keras.models.load_model(str(tmp_path / "m.keras"))
    for one in (model, other):
        harness.fit(one)
        frequency = one.layers[0].variable.frequency(harness.IDS)
        np.testing.assert_array_equal(frequency, 2 * counts)
    same(state(model), state(other))


def test_tables_survive(tmp_path):
    shared = te.TableConfig(name="shared", dim=2)
    other = te.TableConfig(name="other", dim=3, optimizer="adagrad")
    tables = layers.EmbeddingTables(
        [
            te.FeatureConfig("a", shared, combiner="sum"),
            te.FeatureConfig("b", shared, combiner=None),
            te.FeatureConfig("c", other, combiner="sum"),
        ]
    )
    inputs = {name: keras.Input((2,), dtype="int64", name=name) for name in "abc"}
    outputs = tables(inputs)
    flat = [keras.layers.Flatten()(outputs[name]) for name in "abc"]
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Concatenate()(flat)))
    model.compile(optimizers.Adagrad(0.1), "mse")
    ids = {name: np.arange(8).reshape(4, 2) + i for i, name in enumerate("abc")}
    model.fit(ids, np.ones([4, 1]), verbose=0)
    for path in ("m.keras", "m"):
        model.save(str(tmp_path / path))
        loaded = keras.models.load_model(str(tmp_path / path))
        np.testing.assert_array_equal(
            model.predict(ids, verbose=0), loaded.predict(ids, verbose=0)
        )
        (layer,) = [x for x in loaded.layers if isinstance(x, layers.EmbeddingTables)]
        rows = layer.variables_by_feature
        assert rows["a"] is rows["b"] and rows["a"] is not rows["c"]
        assert int(rows["a"].size()) == 9 and int(rows["c"].size()) == 8
        assert rows["c"].rule() == tables.variables_by_feature["c"].rule() != ""
