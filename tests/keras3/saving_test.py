# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keras 3 saves, restores, exports and shows tables: vectors, slots, frequencies, versions."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras3 import oracle

import tf_embedding as te

IDS = oracle.full_ids()
LABELS = oracle.labels(IDS)


def state_of(layer):
    """The content in the order of the keys; as bytes, to compare exactly."""
    rows = layer.variable.export()
    order = np.argsort(rows.keys)
    content = {name: value.numpy()[order] for name, value in rows._asdict().items()}
    return {**content, "rule": layer.variable.rule(), "unseen": layer.variable.sparse_read([-5])}


def assert_same(layer, other):
    mine, its = state_of(layer), state_of(other)
    for name, value in mine.items():
        np.testing.assert_array_equal(value, its[name], err_msg=name)


def train(optimizer="adam", epochs=1, seed=7, build=oracle.functional, layer=None):
    layer = layer or te.layers.Embedding(oracle.DIM, seed=seed)
    return oracle.train(layer, optimizer, IDS, epochs=epochs, build=build)


def further(model):
    """One more epoch, as `train` does it."""
    model.fit(IDS, LABELS, batch_size=oracle.BATCH, verbose=0, shuffle=False)
    return model


def test_weights_file(tmp_path):
    model = train()
    model.save_weights(tmp_path / "w.weights.h5")
    other = train(epochs=0, seed=8)
    other.load_weights(tmp_path / "w.weights.h5")
    assert_same(model.layers[1], other.layers[1])
    # Restoring replaces: what has been trained since is gone.
    other.layers[1].variable.upsert([77], np.ones((1, oracle.DIM)))
    other.load_weights(tmp_path / "w.weights.h5")
    assert_same(model.layers[1], other.layers[1])


def test_a_damaged_weights_file_is_named(tmp_path):
    path = tmp_path / "w.weights.h5"
    train().save_weights(path)
    data = bytearray(path.read_bytes())
    data[data.index(b"TFEBLOCK") + 200] ^= 1
    path.write_bytes(data)
    model = train(epochs=0, seed=8)
    before = state_of(model.layers[1])
    # Keras makes a ValueError of it.
    with pytest.raises(ValueError, match=f"{path}, table of .*is damaged: its checksum"):
        model.load_weights(path)
    for name, value in state_of(model.layers[1]).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_weights_file_of_another_layer(tmp_path):
    inputs = keras.Input((3,), dtype="int64")
    keras.Model(inputs, keras.layers.Embedding(5, oracle.DIM)(inputs)).save_weights(
        tmp_path / "w.weights.h5"
    )
    layer = te.layers.Embedding(oracle.DIM)
    with pytest.raises(ValueError, match="holds no table|0_keys"):
        keras.Model(inputs, layer(inputs)).load_weights(tmp_path / "w.weights.h5")


@pytest.mark.parametrize("optimizer", ["adam", te.optimizers.Adagrad(0.1, global_clipnorm=1.0)])
def test_keras_file_resumes_to_the_same_bits(tmp_path, optimizer):
    model = train(optimizer)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert_same(model.layers[1], again.layers[1])
    assert_same(further(model).layers[1], further(again).layers[1])
    for mine, its in zip(model.optimizer.variables, again.optimizer.variables):
        np.testing.assert_array_equal(mine.numpy(), its.numpy())


def test_keras_file_in_a_fresh_process(tmp_path):
    model = train()
    model.save(tmp_path / "m.keras")
    code = f"""
import keras, numpy as np, tf_embedding.keras3
model = keras.models.load_model({str(tmp_path / "m.keras")!r})
ids = np.arange(12).reshape(4, 3)
print(model.predict(ids, verbose=0).tobytes().hex(), int(model.layers[1].variable.size()))
"""
    expected = model.predict(oracle.KEYS.reshape(4, 3), verbose=0)
    found, rows = oracle.run(code).split()
    np.testing.assert_array_equal(np.frombuffer(bytes.fromhex(found), np.float32), expected[:, 0])
    assert int(rows) == oracle.VOCABULARY


class Subclassed(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.embedding = layer
        self.out = keras.layers.Dense(1, activation="sigmoid")

    def call(self, ids):
        return self.out(tf.reshape(self.embedding(ids), [-1, 3 * oracle.DIM]))


def test_checkpoint_resumes_to_the_same_bits(tmp_path):
    model = train(build=Subclassed)
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "c"))
    # Built first: Keras 3 itself does not restore all that is made later.
    again = train(build=Subclassed, seed=8)
    status = tf.train.Checkpoint(model=again).restore(path)
    status.assert_existing_objects_matched()
    assert_same(model.embedding, again.embedding)
    assert_same(further(model).embedding, further(again).embedding)


def test_checkpoint_manager(tmp_path):
    model = train()
    checkpoint = tf.train.Checkpoint(model=model)
    manager = tf.train.CheckpointManager(checkpoint, str(tmp_path), max_to_keep=1)
    manager.save()
    before = state_of(model.layers[1])
    further(model)
    checkpoint.restore(manager.latest_checkpoint).assert_consumed()
    np.testing.assert_array_equal(state_of(model.layers[1])["values"], before["values"])


@pytest.mark.parametrize("name", ["m.keras", "w.weights.h5"])
def test_model_checkpoint(tmp_path, name):
    only_weights = name.endswith(".h5")
    callback = keras.callbacks.ModelCheckpoint(
        tmp_path / name, save_weights_only=only_weights, monitor="loss", save_best_only=True
    )
    layer = oracle.embedding()
    model = oracle.train(layer, "sgd", IDS, callbacks=[lambda: callback])
    if only_weights:
        again = train("sgd", epochs=0, seed=8)
        again.load_weights(tmp_path / name)
    else:
        again = keras.models.load_model(tmp_path / name)
    # Plain SGD at its small default rate improves in each epoch.
    assert_same(model.layers[1], again.layers[1])


def test_backup_and_restore(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise InterruptedError

    def fit(model, *callbacks):
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        arguments = {"batch_size": oracle.BATCH, "epochs": 4, "shuffle": False, "verbose": 0}
        return model.fit(IDS, LABELS, callbacks=[backup, *callbacks], **arguments)

    with pytest.raises(InterruptedError):
        fit(train(epochs=0), Stop())
    resumed = train(epochs=0, seed=8)
    assert fit(resumed).epoch == [2, 3]
    through = train(epochs=4)
    assert_same(through.layers[1], resumed.layers[1])


def test_early_stopping_restores_the_best_weights():
    class Remember(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                self.state = state_of(self.model.layers[1])

    remember = Remember()
    stop = keras.callbacks.EarlyStopping("loss", mode="max", patience=1, restore_best_weights=True)
    # The loss falls, so by mode="max" the first epoch is the best.
    model = oracle.train(
        oracle.embedding(), "adagrad", IDS, epochs=5, callbacks=[lambda: remember, lambda: stop]
    )
    assert stop.stopped_epoch == 1
    found = state_of(model.layers[1])
    for name, value in remember.state.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_get_and_set_weights():
    model = train()
    weights = model.get_weights()
    assert repr(weights[0]) == f"<Snapshot of {oracle.VOCABULARY} rows, dim {oracle.DIM}>"
    other = train(epochs=0, seed=8)
    other.set_weights(weights)
    assert_same(model.layers[1], other.layers[1])
    with pytest.raises(ValueError, match="not compatible"):
        te_layer = te.layers.Embedding(oracle.DIM + 1)
        te_layer.build(None)
        te_layer.set_weights(weights[:1])


def test_export_in_a_fresh_process(tmp_path):
    model = train()
    model.export(tmp_path / "exported", verbose=False)
    tf.saved_model.save(model, str(tmp_path / "saved"))
    # The library alone brings the ops; no Keras.
    code = f"""
import numpy as np, tensorflow as tf, tf_embedding
ids = tf.reshape(tf.range(12, dtype=tf.int64), [4, 3])
exported = tf.saved_model.load({str(tmp_path / "exported")!r})
saved = tf.saved_model.load({str(tmp_path / "saved")!r})
first = exported.serve(ids)
(second,) = saved.signatures["serving_default"](ids).values()
print(first.numpy().tobytes().hex(), second.numpy().tobytes().hex())
"""
    expected = model.predict(oracle.KEYS.reshape(4, 3), verbose=0)
    for found in oracle.run(code).split():
        found = np.frombuffer(bytes.fromhex(found), np.float32)
        np.testing.assert_allclose(found, expected[:, 0], rtol=1e-6)


def summary_of(model):
    lines = []
    model.summary(print_fn=lines.append, line_length=78)
    return "\n".join(lines)


def test_summary_shows_the_table():
    model = train(epochs=0)
    assert "embedding" in summary_of(model) and "Embedding" in summary_of(model)
    further(model)
    rows = oracle.VOCABULARY * oracle.DIM
    dense = sum(int(np.prod(v.shape)) for v in model.trainable_variables[1:])
    text = summary_of(model)
    assert f" {rows} " in text
    assert f"Trainable params: {rows + dense}" in text
    assert repr(model.trainable_variables[0]).startswith("<RowsVariable path=embedding")


# Of a filter that admits every id, and of one that does not.
EVERY_KEY = te.EmbeddingVariableOption(filter_option=te.CounterFilter(1))
FILTERED = te.EmbeddingVariableOption(
    filter_option=te.CBFFilter(3, 10, 0.01, tf.uint8),
    init_option=te.InitializerOption("ones", default_value_no_permission=0.5),
)


def tables_layer():
    items = te.TableConfig(4, "items", keras.initializers.RandomNormal(seed=3), optimizer="sgd")
    users = te.TableConfig(2, "users", "ones", seed=5, ev_option=EVERY_KEY)
    return te.layers.EmbeddingTables(
        [
            te.FeatureConfig("clicked", items, combiner="sqrtn", max_norm=2.0),
            te.FeatureConfig("user", users, combiner=None),
            te.FeatureConfig("shown", items),
        ],
        name="tables",
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: te.layers.Embedding(4, "zeros", "adagrad", mask_zero=True, seed=3, name="e"),
        lambda: te.layers.Embedding(
            4,
            keras.initializers.RandomUniform(-1, 1, seed=2),
            te.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 9)),
            dtype="mixed_bfloat16",
            trainable=False,
        ),
        lambda: te.layers.EmbeddingBag(4, "sqrtn", 0.5, keras.optimizers.SGD(0.25)),
        lambda: te.layers.EmbeddingBag(4, ev_option=FILTERED),
        tables_layer,
    ],
)
def test_config_round_trip(make):
    layer = make()
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()
    for each in (layer, again):
        each.build(None)
        assert not each.supports_jit
    for mine, its in zip(layer._rows, again._rows):
        read = [x.rows.sparse_read([1, 2]) for x in (mine, its)]
        np.testing.assert_array_equal(*read)
        assert type(mine.own_optimizer) is type(its.own_optimizer)


def test_tables_layer_saves_each_table(tmp_path):
    layer = tables_layer()
    inputs = {
        "clicked": keras.Input((2,), dtype="int64", name="clicked"),
        "user": keras.Input((), dtype="string", name="user"),
        "shown": keras.Input((1,), dtype="int32", name="shown"),
    }
    model = keras.Model(inputs, keras.layers.Concatenate()(list(layer(inputs).values())))
    model.compile("adam", "mse")
    data = {
        "clicked": np.array([[1, 2], [3, 3]]),
        "user": tf.constant(["ann", "bob"]),
        "shown": np.array([[1], [9]], np.int32),
    }
    model.fit(data, np.zeros((2, 10)), verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    for variables in (layer.variables_by_feature, again.get_layer("tables").variables_by_feature):
        assert variables["clicked"] is variables["shown"]
        assert int(variables["clicked"].size()) == 4 and int(variables["user"].size()) == 2
    np.testing.assert_array_equal(model.predict(data, verbose=0), again.predict(data, verbose=0))


@pytest.mark.parametrize("optimizer", ["adam", te.optimizers.Adagrad(0.1)])
def test_a_filter_and_its_counts_survive(tmp_path, optimizer):
    ids = oracle.some_ids()
    counts = np.bincount(ids.ravel(), minlength=oracle.VOCABULARY)
    least = int(np.median(counts)) + 1
    option = te.EmbeddingVariableOption(filter_option=te.CounterFilter(least))
    layer = te.layers.Embedding(oracle.DIM, seed=7, ev_option=option)
    model = oracle.train(layer, optimizer, ids, epochs=1)
    rows, admitted = layer.variable, counts >= least
    assert 0 < admitted.sum() < oracle.VOCABULARY
    np.testing.assert_array_equal(rows.contains(oracle.KEYS), admitted)
    np.testing.assert_array_equal(rows.frequency(oracle.KEYS), counts)
    moved = (oracle.rows_of(layer) != oracle.initial_rows()).any(axis=1)
    np.testing.assert_array_equal(moved, admitted)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    for each in (model, again):
        each.fit(ids, oracle.labels(ids), batch_size=oracle.BATCH, verbose=0, shuffle=False)
        frequency = each.layers[1].variable.frequency(oracle.KEYS)
        np.testing.assert_array_equal(frequency, 2 * counts)
    assert_same(layer, again.layers[1])


def test_clone_has_rows_of_its_own():
    model = train()
    clone = keras.models.clone_model(model)
    assert int(clone.layers[1].variable.size()) == 0
    np.testing.assert_array_equal(oracle.rows_of(clone.layers[1]), oracle.initial_rows())
