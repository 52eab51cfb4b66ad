# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keras 2 optimizers train rows as the stock ones train a dense table."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf
from keras2 import harness

import tf_embedding as te
from tf_embedding.keras2 import _keras, optimizers

keras = harness.keras
schedules = keras.optimizers.schedules

STOCK = [
    ("SGD", {"learning_rate": 0.3}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adagrad", {"learning_rate": 0.3, "initial_accumulator_value": 0.01, "epsilon": 1e-3}),
    ("RMSprop", {"learning_rate": 0.05, "epsilon": 1e-3}),
    ("RMSprop", {"learning_rate": 0.05, "centered": True, "momentum": 0.5, "rho": 0.8}),
    ("Adam", {"learning_rate": 0.05, "beta_1": 0.8, "epsilon": 1e-4}),
    ("Adam", {"learning_rate": 0.05, "weight_decay": 0.1}),
    ("AdamW", {"learning_rate": 0.05, "weight_decay": 0.2}),
    ("Ftrl", {"learning_rate": 0.3, "beta": 0.2}),
    (
        "Ftrl",
        {
            "learning_rate": 0.3,
            "learning_rate_power": -0.7,
            "l1_regularization_strength": 0.01,
            "l2_regularization_strength": 0.02,
            "l2_shrinkage_regularization_strength": 0.03,
        },
    ),
    ("Adam", {"learning_rate": schedules.ExponentialDecay(0.1, 1, 0.5), "jit_compile": True}),
]
# The gradient of each step is well above and below these.
CLIPPED = [
    ("SGD", {"learning_rate": 0.5, "clipnorm": 0.1}),
    ("SGD", {"learning_rate": 0.5, "clipvalue": 0.02}),
    ("SGD", {"learning_rate": 0.5, "global_clipnorm": 0.1}),
    ("Adam", {"learning_rate": 0.05, "epsilon": 0.1, "global_clipnorm": 0.1}),
]


def pair(name, kwargs):
    return getattr(optimizers, name)(**kwargs), getattr(keras.optimizers, name)(**kwargs)


@pytest.mark.parametrize("name, kwargs", STOCK + CLIPPED)
def test_fit_trains_as_stock(name, kwargs):
    ours, stock = pair(name, kwargs)
    table = harness.embedding()
    model = harness.model_of(table)
    # A stock table clips before it sums duplicates; a dense gradient is the sum.
    oracle = harness.Oracle(model, table, one_hot=any("clip" in key for key in kwargs))
    oracle.train(stock)
    model.compile(ours, "mse")
    harness.fit(model)
    oracle.check(model, table)
    assert int(ours.iterations) == harness.STEPS


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("name, kwargs", [STOCK[6], CLIPPED[3]])
def test_custom_loop_trains_rows_and_dense_alike(name, kwargs, graph):
    ours, stock = pair(name, kwargs)
    rows = te.EmbeddingVariable(harness.DIM, initializer=harness.initializer())
    dense = tf.Variable(tf.ones([harness.DIM, 1]))
    table = tf.Variable(rows.sparse_read(harness.IDS))
    twin = tf.Variable(dense)
    before = table.numpy()

    def step(ids, targets):
        with tf.GradientTape() as tape:
            vectors = te.nn.embedding_lookup(rows, ids)
            loss = tf.reduce_mean((tf.reduce_sum(vectors, 1) @ dense - targets) ** 2)
        ours.apply_gradients(zip(tape.gradient(loss, [rows, dense]), [rows, dense]))

    def oracle(ids, targets):
        with tf.GradientTape() as tape:
            vectors = tf.one_hot(ids, harness.VOCABULARY) @ table
            loss = tf.reduce_mean((tf.reduce_sum(vectors, 1) @ twin - targets) ** 2)
        stock.apply_gradients(zip(tape.gradient(loss, [table, twin]), [table, twin]))

    run = tf.function(step) if graph else step
    ids, targets = harness.data()
    for start in range(0, len(ids), harness.BATCH):
        batch = slice(start, start + harness.BATCH)
        run(tf.constant(ids[batch]), tf.constant(targets[batch]))
        oracle(ids[batch], targets[batch])
    after = rows.sparse_read(harness.IDS).numpy()
    assert np.abs(after - before).max() > 1e-4
    np.testing.assert_allclose(after, table.numpy(), rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(dense.numpy(), twin.numpy(), rtol=1e-5, atol=2e-6)


def _rowwise_adagrad(w, g, state, step):
    state[...] += np.mean(g * g, 1, keepdims=True)
    return w - 0.1 * g / (np.sqrt(state) + 1e-3)


def _adagrad_decay(w, g, state, step):
    if step and step % 2 == 0:
        state[...] = np.maximum(state * 0.5, 0.1)
    state[...] += g * g
    return w - 0.1 * g / np.sqrt(state)


def _group_ftrl(w, g, state, step):
    n, z = state
    new = n + g * g
    z += g - (np.sqrt(new) - np.sqrt(n)) / 0.1 * w
    n[...] = new
    norm = np.linalg.norm(z, axis=1, keepdims=True)
    shrunk = np.where(norm > 0.9, (0.9 - norm) / norm, 0.0) * z
    return shrunk / (np.sqrt(new) / 0.1 + 2 * 0.01)


@pytest.mark.parametrize(
    "name, kwargs, state, formula",
    [
        (
            "RowwiseAdagrad",
            {"initial_accumulator_value": 0.2, "epsilon": 1e-3},
            np.full([4, 1], 0.2),
            _rowwise_adagrad,
        ),
        (
            "AdagradDecay",
            {"accumulator_decay_step": 2, "accumulator_decay_rate": 0.5},
            np.full([4, 3], 0.1),
            _adagrad_decay,
        ),
        (
            "GroupFtrl",
            {"l1_regularization_strength": 0.9, "l2_regularization_strength": 0.01},
            np.stack([np.full([4, 3], 0.1), np.zeros([4, 3])]),
            _group_ftrl,
        ),
    ],
)
def test_rules_that_stock_lacks(name, kwargs, state, formula):
    rng = np.random.RandomState(1)
    optimizer = getattr(optimizers, name)(0.1, **kwargs)
    rows = te.EmbeddingVariable(3, initializer=harness.initializer())
    keys = np.array([5, -1, 2**62, 0])
    want = rows.sparse_read(keys).numpy().astype(np.float64)
    state = state.copy()
    for step in range(6):
        gradient = rng.normal(size=(4, 3)).astype(np.float32)
        optimizer.apply_gradients([(tf.IndexedSlices(gradient, tf.constant(keys)), rows)])
        want = formula(want, gradient.astype(np.float64), state, step)
    np.testing.assert_allclose(rows.sparse_read(keys).numpy(), want, rtol=1e-5, atol=1e-6)


def test_learning_rate_is_live():
    ours, stock = pair("SGD", {"learning_rate": 0.3})
    table = harness.embedding()
    model = harness.model_of(table)
    oracle = harness.Oracle(model, table)
    model.compile(ours, "mse")
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    harness.fit(model, epochs=3, callbacks=[halve])
    for rate in (0.15, 0.075, 0.0375):
        stock.learning_rate = rate
        oracle.train(stock)
    oracle.check(model, table)


@pytest.mark.parametrize("kwargs", [{}, {"clipnorm": 0.1}])
def test_step_and_counts_reach_the_rows(kwargs):
    optimizer = optimizers.SGD(0.1, **kwargs)
    rows = te.EmbeddingVariable(2)
    for keys in ([7, 7, 8], [7], [9, 9]):
        gradient = tf.IndexedSlices(tf.ones([len(keys), 2]), tf.constant(keys, tf.int64))
        optimizer.apply_gradients([(gradient, rows)])
    assert rows.frequency([7, 8, 9]).numpy().tolist() == [3, 1, 2]
    assert rows.version([7, 8, 9]).numpy().tolist() == [1, 0, 2]


def test_rows_alone_do_not_shut_out_dense_variables():
    optimizer = optimizers.Adam(0.1)
    rows, dense = te.EmbeddingVariable(2), tf.Variable([1.0])
    gradient = tf.IndexedSlices(tf.ones([1, 2]), tf.constant([3], tf.int64))
    optimizer.apply_gradients([(gradient, rows)])
    optimizer.apply_gradients([(gradient, rows), (tf.ones([1]), dense)])
    assert int(rows.size()) == 1 and float(dense[0]) < 1.0


@pytest.mark.parametrize("dynamic", [True, False])
def test_loss_scale(dynamic):
    wrapped = keras.mixed_precision.LossScaleOptimizer(
        optimizers.Adam(0.05), dynamic=dynamic, initial_scale=512.0
    )
    table = harness.embedding()
    model = harness.model_of(table)
    oracle = harness.Oracle(model, table).train(keras.optimizers.Adam(0.05))
    model.compile(wrapped, "mse")
    harness.fit(model)
    oracle.check(model, table)


def test_step_with_gradients_that_are_not_finite_is_skipped():
    wrapped = optimizers.LossScaleOptimizer(optimizers.SGD(0.1), initial_scale=8.0)
    rows, dense = te.EmbeddingVariable(2), tf.Variable([1.0])

    @tf.function
    def step(value):
        gradient = tf.IndexedSlices(tf.fill([1, 2], value), tf.constant([3], tf.int64))
        pairs = zip(wrapped.get_unscaled_gradients([gradient, tf.ones([1])]), [rows, dense])
        wrapped.apply_gradients(pairs)

    step(tf.constant(float("inf")))
    assert int(rows.size()) == 0 and float(dense[0]) == 1.0
    assert float(wrapped.loss_scale) == 4.0
    before = rows.sparse_read([3]).numpy()
    step(tf.constant(4.0))
    np.testing.assert_allclose(rows.sparse_read([3]).numpy(), before - 0.1, rtol=1e-6)


@pytest.mark.parametrize("name", _keras.OPTIMIZER_NAMES)
def test_config_and_serialization(name):
    cls = getattr(optimizers, name)
    made = cls(learning_rate=0.25, clipnorm=0.5)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(made))
    assert type(again) is cls and again.get_config() == made.get_config()
    stock = getattr(keras.optimizers, name, None)
    if stock is not None:
        assert isinstance(made, stock)
        assert inspect.signature(cls) == inspect.signature(stock)


def _apply(optimizer, gradient=None):
    rows = te.EmbeddingVariable(2, name="users")
    if gradient is None:
        gradient = tf.IndexedSlices(tf.ones([1, 2]), tf.constant([3], tf.int64))
    optimizer.apply_gradients([(gradient, rows)])


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"name": "SGD", "use_ema": True}, "SGD cannot apply use_ema=True"),
        ({"name": "SGD", "weight_decay": 0.1}, "use te.optimizers.AdamW"),
        ({"name": "Ftrl", "weight_decay": 0.1}, "use te.optimizers.AdamW"),
        ({"name": "Adam", "amsgrad": True}, "cannot apply amsgrad=True"),
        (
            {"name": "GroupFtrl", "l2_shrinkage_regularization_strength": 0.1},
            "l2_shrinkage_regularization_strength=0.1",
        ),
    ],
)
def test_settings_that_rows_cannot_honour(kwargs, message):
    with pytest.raises(ValueError, match=message):
        _apply(getattr(optimizers, kwargs["name"])(**kwargs))


def test_dense_gradient_for_rows():
    with pytest.raises(TypeError, match="users.*must be a tf.IndexedSlices"):
        _apply(optimizers.SGD(), tf.ones([1, 2]))


def test_rows_can_be_exempt_from_weight_decay():
    optimizer = optimizers.SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["users"])
    _apply(optimizer)
    rows = te.EmbeddingVariable(2)
    optimizer = optimizers.SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[rows])
    before = rows.sparse_read([3]).numpy()
    gradient = tf.IndexedSlices(tf.ones([1, 2]), tf.constant([3], tf.int64))
    optimizer.apply_gradients([(gradient, rows)])
    np.testing.assert_allclose(rows.sparse_read([3]).numpy(), before - 0.1, rtol=1e-6)


@pytest.mark.parametrize(
    "identifier, message",
    [
        (keras.optimizers.legacy.Adam(), "Legacy Keras optimizers cannot train.*Adam"),
        (keras.optimizers.Nadam(), "Use one of te.optimizers.SGD"),
        ("lion", "optimizer='lion'.*te.optimizers.SGD"),
    ],
)
def test_identifiers_without_a_rule(identifier, message):
    with pytest.raises(ValueError, match=message):
        optimizers.get(identifier)


def test_get_shares_the_learning_rate():
    stock = keras.optimizers.Adagrad(0.5, epsilon=1e-3)
    made = optimizers.get(stock)
    stock.learning_rate = 0.25
    assert float(made.learning_rate) == 0.25 and made.epsilon == 1e-3
    assert type(made) is optimizers.Adagrad
    assert type(optimizers.get("rowwiseadagrad")) is optimizers.RowwiseAdagrad
    assert type(optimizers.get(keras.optimizers.serialize(stock))) is optimizers.Adagrad
