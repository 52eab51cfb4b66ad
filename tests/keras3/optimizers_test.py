# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""te.optimizers of Keras 3 honour for rows what stock Keras does for a dense table."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras3 import oracle

import tf_embedding as te

STOCK = keras.optimizers
OURS = te.optimizers
PAIRED = ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW", "Ftrl"]


def compare(name, *args, oracle_args=None, **kwargs):
    train_args = kwargs.pop("train", {})
    return oracle.compare(
        lambda: getattr(OURS, name)(*args, **kwargs),
        lambda: getattr(STOCK, name)(*args, **kwargs),
        **train_args,
    )


@pytest.mark.parametrize(
    "name, kwargs",
    [
        ("SGD", {"learning_rate": 0.3}),
        ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
        ("Adagrad", {"learning_rate": 0.1}),
        ("RMSprop", {"learning_rate": 0.01, "centered": True, "epsilon": 1e-4}),
        ("Adam", {"learning_rate": 0.02}),
        ("Adam", {"learning_rate": 0.02, "weight_decay": 0.1}),
        ("AdamW", {"learning_rate": 0.02, "weight_decay": 0.2}),
        ("Ftrl", {"learning_rate": 0.1, "beta": 0.1, "l1_regularization_strength": 1e-3}),
        # What a stock optimizer cannot do for rows:
        ("SGD", {"learning_rate": 0.3, "global_clipnorm": 0.02}),
        ("Adam", {"learning_rate": 0.02, "global_clipnorm": 0.02}),
        ("Adagrad", {"learning_rate": 0.1, "clipnorm": 0.01}),
        ("Adagrad", {"learning_rate": 0.1, "clipvalue": 0.002}),
        ("Adagrad", {"learning_rate": 0.1, "loss_scale_factor": 128.0, "global_clipnorm": 0.02}),
        ("SGD", {"learning_rate": 0.3, "gradient_accumulation_steps": 2}),
        (
            "Adam",
            {"learning_rate": 0.02, "gradient_accumulation_steps": 4, "global_clipnorm": 0.02},
        ),
        (
            "Adagrad",
            {"learning_rate": 0.1, "gradient_accumulation_steps": 2, "loss_scale_factor": 8.0},
        ),
    ],
)
def test_equals_stock_on_a_dense_table(name, kwargs):
    compare(name, **kwargs)


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_accumulation_on_a_changing_set_of_ids(run_eagerly):
    kwargs = {"learning_rate": 0.3, "gradient_accumulation_steps": 2}
    ids = oracle.some_ids()
    model = compare("SGD", **kwargs, train={"ids": ids, "run_eagerly": run_eagerly})
    # Occurrences are counted through the accumulator.
    keys, counts = np.unique(ids, return_counts=True)
    np.testing.assert_array_equal(model.layers[1].variable.frequency(keys), 2 * counts)


def test_accumulation_writes_at_the_boundary_only():
    ids = oracle.full_ids()[: oracle.BATCH]
    layer = oracle.embedding()
    optimizer = OURS.SGD(0.3, gradient_accumulation_steps=2)
    model = oracle.train(layer, optimizer, ids, epochs=1)
    assert int(layer.variable.size()) == 0
    model.fit(ids, oracle.labels(ids), batch_size=oracle.BATCH, verbose=0)
    assert int(layer.variable.size()) == oracle.VOCABULARY


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_schedule_and_steps_per_execution(steps_per_execution):
    schedule = STOCK.schedules.ExponentialDecay(0.2, 3, 0.5)
    compare("Adagrad", schedule, train={"steps_per_execution": steps_per_execution})


@pytest.mark.parametrize("inner", [OURS.SGD, STOCK.SGD, OURS.Adam, STOCK.Adam])
def test_mixed_float16(inner):
    stock_inner = getattr(STOCK, inner.__name__)
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = oracle.compare(
            lambda: OURS.LossScaleOptimizer(inner(0.05), initial_scale=256.0),
            lambda: STOCK.LossScaleOptimizer(stock_inner(0.05), initial_scale=256.0),
            tolerances={"rtol": 2e-2, "atol": 4e-3},
        )
        assert type(model.optimizer) is OURS.LossScaleOptimizer
    finally:
        keras.mixed_precision.set_global_policy("float32")


def test_loss_scale_skips_a_step_that_is_not_finite():
    layer = te.layers.Embedding(2, initializer="ones")
    model = keras.Sequential([layer])
    optimizer = OURS.LossScaleOptimizer(OURS.SGD(0.5), initial_scale=16.0)
    # The gradient of a row is the sum of its targets.
    model.compile(optimizer, lambda y, p: tf.reduce_sum(y * p), run_eagerly=False)
    ids, y = np.array([[1]]), np.array([[[1.0, 1.0]]], np.float32)
    model.train_on_batch(ids, y * np.inf)
    assert int(layer.variable.size()) == 0
    assert float(optimizer.dynamic_scale) == 8.0
    model.train_on_batch(ids, y)
    np.testing.assert_array_equal(layer.variable.sparse_read([1]), [[0.5, 0.5]])


def numpy_rowwise_adagrad(w, a, g, lr, epsilon):
    a = a + np.mean(g**2, axis=1)
    return w - lr * g / (np.sqrt(a) + epsilon)[:, None], a


def raw_steps(optimizer, rows, gradients):
    for gradient in gradients:
        slices = tf.IndexedSlices(
            tf.constant(gradient, tf.float32), tf.range(len(gradient), dtype=tf.int64)
        )
        optimizer.apply_gradients([(slices, rows)])
    return rows.sparse_read(np.arange(len(gradients[0]))).numpy()


GRADIENTS = np.random.RandomState(3).randn(5, 4, 3)


def test_rowwise_adagrad():
    found = raw_steps(
        OURS.RowwiseAdagrad(0.1), te.EmbeddingVariable(3, initializer="ones"), GRADIENTS
    )
    w, a = np.ones((4, 3)), np.full(4, 0.1)
    for gradient in GRADIENTS:
        w, a = numpy_rowwise_adagrad(w, a, gradient, 0.1, 1e-7)
    np.testing.assert_allclose(found, w, rtol=1e-5)


def test_adagrad_decay():
    optimizer = OURS.AdagradDecay(0.1, accumulator_decay_step=2, accumulator_decay_rate=0.5)
    found = raw_steps(optimizer, te.EmbeddingVariable(3, initializer="ones"), GRADIENTS)
    w, a = np.ones((4, 3)), np.full((4, 3), 0.1)
    for step, gradient in enumerate(GRADIENTS):
        if step and step % 2 == 0:
            a = np.maximum(0.5 * a, 0.1)
        a = a + gradient**2
        w = w - 0.1 * gradient / np.sqrt(a)
    np.testing.assert_allclose(found, w, rtol=1e-5)


def test_group_ftrl():
    l1, l2 = 4.0, 0.5
    optimizer = OURS.GroupFtrl(
        0.1, l1_regularization_strength=l1, l2_regularization_strength=l2, beta=0.2
    )
    # The first row's gradients are too small for the penalty.
    gradients = GRADIENTS * np.array([0.1, 1.0, 1.0, 1.0])[:, np.newaxis]
    found = raw_steps(optimizer, te.EmbeddingVariable(3, initializer="ones"), gradients)
    w, n, z = np.ones((4, 3)), np.full((4, 3), 0.1), np.zeros((4, 3))
    for gradient in gradients:
        new_n = n + gradient**2
        z = z + gradient - (np.sqrt(new_n) - np.sqrt(n)) / 0.1 * w
        n = new_n
        norm = np.sqrt((z**2).sum(axis=1, keepdims=True))
        quadratic = (np.sqrt(n) + 0.2) / 0.1 + 2 * l2
        w = np.where(norm > l1, (l1 / norm - 1) * z / quadratic, 0.0)
    np.testing.assert_allclose(found, w, rtol=1e-4, atol=1e-6)
    # The penalty is on rows as a whole: a row is zero everywhere or nowhere.
    assert {0, 3} == set((found == 0).sum(axis=1))


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("name", PAIRED)
def test_custom_loop_on_all_kinds_of_variables(name, traced):
    """One step on a raw variable, a layer's, a keras.Variable and a tf.Variable."""
    start = np.full((2, 3), 0.5, np.float32)
    layer = te.layers.Embedding(3, initializer=0.5)
    layer.build(None)
    raw = te.EmbeddingVariable(3, initializer=0.5)
    shown = layer.trainable_variables[0]
    dense, plain = keras.Variable(start), tf.Variable(start)
    variables = [dense, shown, plain, raw]
    optimizer = getattr(OURS, name)(0.1, global_clipnorm=2.0)

    def step():
        with tf.GradientTape() as tape:
            looked_up = te.nn.embedding_lookup(raw, [0, 1]), layer(tf.constant([0, 1]))
            tensors = [*looked_up, dense.value, plain]
            loss = tf.add_n([tf.reduce_sum(t * t) for t in tensors])
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables))

    step = tf.function(step) if traced else step
    for _ in range(3):
        step()
    assert np.abs(plain.numpy() - start).max() > 1e-3
    for found in (dense.numpy(), raw.sparse_read([0, 1]), layer.variable.sparse_read([0, 1])):
        # Keras computes Adam's bias correction in float32, which shows.
        np.testing.assert_allclose(found, plain.numpy(), rtol=5e-5)
    assert int(optimizer.iterations) == 3


def test_rows_alone_count_the_steps():
    rows = te.EmbeddingVariable(3)
    optimizer = OURS.Adam(0.1)
    raw_steps(optimizer, rows, GRADIENTS)
    assert int(optimizer.iterations) == len(GRADIENTS)
    assert set(rows.export().version.numpy()) == {len(GRADIENTS) - 1}


def test_missing_gradient_is_left_out():
    rows, plain = te.EmbeddingVariable(3), tf.Variable([1.0])
    optimizer = OURS.SGD(0.5)
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply_gradients([(None, rows), (tf.constant([1.0]), plain)])
    assert float(plain[0]) == 0.5 and int(rows.size()) == 0
    with pytest.raises(ValueError, match="No gradients provided"):
        optimizer.apply_gradients([(None, rows), (None, plain)])


def test_layer_optimizer_under_ours():
    """Joint clipping leaves rows with an optimizer of their own out; accumulation does not."""
    layer = te.layers.EmbeddingBag(2, "sum", initializer="zeros", optimizer=STOCK.SGD(0.5))
    model = keras.Sequential([layer])
    compiled = OURS.Adam(0.01, global_clipnorm=1e-3, gradient_accumulation_steps=2)
    model.compile(compiled, lambda y, p: tf.reduce_sum(p))
    ids = np.array([[1, 2], [2, 3], [1, 2], [1, 1]])
    model.fit(ids, np.zeros(4), batch_size=1, shuffle=False, verbose=0)
    # Two updates, each by the mean of two gradients.
    rows = layer.variable.sparse_read([1, 2, 3]).numpy()[:, 0]
    np.testing.assert_allclose(rows, -0.5 * np.array([0.5 + 1.5, 1.0 + 0.5, 0.5]))


@pytest.mark.parametrize("name", [*PAIRED, "RowwiseAdagrad", "GroupFtrl", "AdagradDecay"])
def test_config_round_trip(name):
    cls = getattr(OURS, name)
    optimizer = cls(0.25, clipnorm=2.0)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is cls
    assert again.get_config() == optimizer.get_config()
    scaled = OURS.LossScaleOptimizer(optimizer, initial_scale=4.0)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(scaled))
    assert type(again) is OURS.LossScaleOptimizer and type(again.inner_optimizer) is cls


@pytest.mark.parametrize("name", [*PAIRED, "LossScaleOptimizer"])
def test_signature_is_the_stock_one(name):
    ours, stock = getattr(OURS, name), getattr(STOCK, name)
    assert inspect.signature(ours) == inspect.signature(stock)


def test_accumulators_resume(tmp_path):
    """Saved between two micro-batches: the resumed run ends at the same bits."""
    ids = oracle.full_ids()
    ids, y = ids[: oracle.BATCH], oracle.labels(ids[: oracle.BATCH])

    def start():
        layer = oracle.embedding()
        optimizer = OURS.Adagrad(0.1, gradient_accumulation_steps=2)
        return oracle.train(layer, optimizer, ids, epochs=0)

    through = start()
    through.fit(ids, y, batch_size=oracle.BATCH, verbose=0, shuffle=False)
    through.save(tmp_path / "m.keras")
    checkpoint = tf.train.Checkpoint(model=through).save(str(tmp_path / "c"))
    through.fit(ids, y, batch_size=oracle.BATCH, verbose=0, shuffle=False)
    resumed = start()
    resumed.optimizer.build(resumed.trainable_variables)
    tf.train.Checkpoint(model=resumed).restore(checkpoint).assert_existing_objects_matched()
    for again in (resumed, keras.models.load_model(tmp_path / "m.keras")):
        assert int(again.layers[1].variable.size()) == 0
        again.fit(ids, y, batch_size=oracle.BATCH, verbose=0, shuffle=False)
        found = oracle.rows_of(again.layers[1])
        np.testing.assert_array_equal(found, oracle.rows_of(through.layers[1]))
