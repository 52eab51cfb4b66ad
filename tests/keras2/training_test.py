# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rows train as the oracle says in every way that Keras 2 has to train a model."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from keras2 import harness

import tf_embedding as te
from tf_embedding.keras2 import layers, optimizers

keras = harness.keras

# How rows get their optimizer: with the model, or their own under a stock one.
COMPILED, OWN = "compiled", "own"
ROUTES = pytest.mark.parametrize("route", [COMPILED, OWN])


def made(route, **kwargs):
    """A table, the optimizer to compile with, and those of the oracle."""
    if route == COMPILED:
        table = harness.embedding(**kwargs)
        return table, optimizers.Adam(0.05), (keras.optimizers.Adam(0.05), None)
    table = harness.embedding(optimizer=keras.optimizers.Adagrad(0.3), **kwargs)
    return (
        table,
        keras.optimizers.Adam(0.05),
        (keras.optimizers.Adam(0.05), keras.optimizers.Adagrad(0.3)),
    )


class Subclassed(keras.Model):
    def __init__(self, table):
        super().__init__()
        self.table = table
        self.dense = keras.layers.Dense(
            1, kernel_initializer=keras.initializers.RandomNormal(seed=5)
        )

    def call(self, ids):
        return self.dense(tf.reshape(self.table(ids), [-1, harness.LENGTH * harness.DIM]))


class OwnTrainStep(Subclassed):
    """Written by hand, with clipping that must reach the rows."""

    def train_step(self, batch):
        ids, targets = batch
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(ids, training=True) - targets) ** 2)
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        return {"loss": loss}


class DecoratedCall(Subclassed):
    """Gradients go through the backward function of another function."""

    @tf.function
    def call(self, ids):
        return super().call(ids)


def functional(table):
    ids = keras.Input((harness.LENGTH,), dtype="int64")
    head = keras.layers.Dense(1, kernel_initializer=keras.initializers.RandomNormal(seed=5))
    return keras.Model(ids, head(keras.layers.Flatten()(table(ids))))


@ROUTES
@pytest.mark.parametrize(
    "build", [harness.model_of, functional, Subclassed, OwnTrainStep, DecoratedCall]
)
def test_kinds_of_model(build, route):
    table, optimizer, stock = made(route)
    model = build(table)
    model(harness.data()[0][:2])
    oracle = harness.Oracle(model, table).train(*stock)
    model.compile(optimizer, "mse")
    harness.fit(model)
    oracle.check(model, table)


@ROUTES
@pytest.mark.parametrize(
    "kwargs", [{"run_eagerly": True}, {"steps_per_execution": harness.STEPS}]
)
def test_ways_to_compile(kwargs, route):
    table, optimizer, stock = made(route)
    model = harness.model_of(table)
    oracle = harness.Oracle(model, table).train(*stock, epochs=2)
    model.compile(optimizer, "mse", **kwargs)
    harness.fit(model, epochs=2)
    oracle.check(model, table)


def test_jit_compile_true_fails_loudly():
    model = harness.model_of(harness.embedding())
    model.compile(optimizers.SGD(), "mse", jit_compile=True)
    with pytest.raises((tf.errors.OpError, ValueError, NotImplementedError)):
        harness.fit(model)


def twice(table):
    ids = keras.Input((harness.LENGTH,), dtype="int64")
    both = table(ids) * table(tf.reverse(ids, [1]))
    head = keras.layers.Dense(1, kernel_initializer=keras.initializers.RandomNormal(seed=5))
    return keras.Model(ids, head(keras.layers.Flatten()(both)))


@ROUTES
def test_layer_called_twice_in_a_step(route):
    table, optimizer, stock = made(route)
    model = twice(table)
    with mock.patch.object(harness, "model_of", twice):
        oracle = harness.Oracle(model, table).train(*stock)
    model.compile(optimizer, "mse")
    harness.fit(model)
    oracle.check(model, table)


@ROUTES
def test_frozen(route):
    table, optimizer, _ = made(route)
    model = harness.model_of(table)
    table.trainable = False
    model.compile(optimizer, "mse")
    harness.fit(model)
    assert int(table.variable.size()) == 0
    table.trainable = True
    model.compile(optimizers.SGD(0.1) if route == COMPILED else "sgd", "mse")
    harness.fit(model)
    assert int(table.variable.size()) == harness.VOCABULARY


@ROUTES
def test_evaluation_and_prediction_change_nothing(route):
    table, optimizer, _ = made(route)
    model = harness.model_of(table)
    model.compile(optimizer, "mse")
    model.evaluate(*harness.data(), verbose=0)
    model.predict(harness.data()[0], verbose=0)
    assert int(table.variable.size()) == 0


@ROUTES
def test_one_replica_of_a_strategy(route):
    with tf.distribute.MirroredStrategy(["/cpu:0"]).scope():
        table, optimizer, _ = made(route)
        model = harness.model_of(table)
        model.compile(optimizer, "mse")
    oracle = harness.Oracle(model, table).train(*made(route)[2])
    harness.fit(model)
    oracle.check(model, table)


def test_more_replicas_are_refused():
    two = mock.PropertyMock(return_value=2)
    with mock.patch.object(tf.distribute.Strategy, "num_replicas_in_sync", two):
        with pytest.raises(NotImplementedError, match="2 replicas of"):
            harness.model_of(harness.embedding())
        rows = te.EmbeddingVariable(2)
        gradient = tf.IndexedSlices(tf.ones([1, 2]), tf.constant([1], tf.int64))
        with pytest.raises(NotImplementedError, match="2 replicas of"):
            optimizers.SGD().apply_gradients([(gradient, rows)])


@pytest.fixture
def mixed_float16():
    keras.mixed_precision.set_global_policy("mixed_float16")
    yield
    keras.mixed_precision.set_global_policy("float32")


def test_mixed_precision(mixed_float16):
    table, optimizer, stock = made(COMPILED)
    model = harness.model_of(table)
    assert model.layers[0](harness.data()[0][:1]).dtype == tf.float16
    twin = harness.Oracle(model, table)
    ids, targets = harness.data()
    twin.model.compile(stock[0], "mse")
    harness.fit(twin.model)
    model.compile(optimizer, "mse")
    assert isinstance(model.optimizer, keras.mixed_precision.LossScaleOptimizer)
    harness.fit(model)
    assert table.variable.dtype == tf.float32
    # float16 sums in one order or another.
    twin.check(model, table, tolerance=2e-3)


# optimizer= on a layer, under a stock optimizer.


@pytest.mark.parametrize(
    "own, stock, compiled",
    [
        ("sgd", lambda: keras.optimizers.SGD(), "Adamax"),
        (lambda: keras.optimizers.SGD(0.3, clipnorm=0.1), None, "Adagrad"),
        (lambda: optimizers.Adam(0.05), lambda: keras.optimizers.Adam(0.05), "RMSprop"),
        (
            lambda: keras.optimizers.Adam(
                keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
            ),
            None,
            "Ftrl",
        ),
    ],
)
def test_own_optimizer_under_stock_ones(own, stock, compiled):
    table = harness.embedding(optimizer=own if isinstance(own, str) else own())
    model = harness.model_of(table)
    oracle = harness.Oracle(model, table, one_hot=True)
    oracle.train(getattr(keras.optimizers, compiled)(0.02), (stock or own)())
    model.compile(getattr(keras.optimizers, compiled)(0.02), "mse")
    harness.fit(model)
    oracle.check(model, table)
    assert [float(w) for w in table.trainable_weights] == [0.0]


def test_own_optimizer_under_one_of_te():
    table = harness.embedding(optimizer=optimizers.SGD(0.2))
    model = harness.model_of(table)
    oracle = harness.Oracle(model, table)
    oracle.train(keras.optimizers.Adam(0.05), keras.optimizers.SGD(0.2))
    model.compile(optimizers.Adam(0.05), "mse")
    harness.fit(model)
    oracle.check(model, table)


def _gradients(model, ids, targets):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(ids, training=True) - targets) ** 2)
    return tape.gradient(loss, model.trainable_variables)


@pytest.mark.parametrize("graph", [False, True])
def test_own_optimizer_trains_when_gradients_are_applied(graph):
    table = harness.embedding(optimizer=keras.optimizers.Adam(0.05))
    model = harness.model_of(table)
    oracle = harness.Oracle(model, table)
    compiled = keras.optimizers.SGD(0.1)
    ids, targets = (tf.constant(a[: harness.BATCH]) for a in harness.data())

    def computed(ids, targets):
        return _gradients(model, ids, targets)

    def applied(*gradients):
        compiled.apply_gradients(zip(gradients, model.trainable_variables))

    if graph:
        computed, applied = tf.function(computed), tf.function(applied)
    gradients = computed(ids, targets)
    assert int(table.variable.size()) == 0
    applied(*gradients)
    assert int(table.variable.size()) == harness.VOCABULARY
    with mock.patch.object(harness, "data", lambda: (ids.numpy(), targets.numpy())):
        oracle.train(keras.optimizers.SGD(0.1), keras.optimizers.Adam(0.05))
    oracle.check(model, table)
    # A gradient that is not applied would go with the next one: an error.
    computed(ids, targets)
    with pytest.raises(tf.errors.InvalidArgumentError, match="was not applied.*te.optimizers.SGD"):
        computed(ids, targets)


def test_own_optimizer_and_two_gradients_through_one_call():
    table = harness.embedding(optimizer="sgd")
    ids = tf.constant([[1, 2, 3]])
    weights = tf.Variable(1.0)
    table(ids)
    with tf.GradientTape(persistent=True) as tape:
        loss = tf.reduce_sum(table(ids) * weights)
    tape.gradient(loss, weights)
    with pytest.raises(ValueError, match="was not applied.*te.optimizers.SGD"):
        tape.gradient(loss, table.trainable_weights)


def test_own_optimizer_of_a_weighted_bag_leaves_the_weights_their_gradient():
    bag = layers.EmbeddingBag(2, combiner="sum", optimizer="sgd", initializer="ones")
    weights = tf.Variable([[2.0, 3.0]])
    bag(tf.constant([[1, 2]]), weights=weights)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(bag(tf.constant([[1, 2]]), weights=weights))
    variables = [weights, *bag.trainable_weights]
    gradients = tape.gradient(loss, variables)
    assert gradients[0].numpy().tolist() == [[2.0, 2.0]]
    keras.optimizers.SGD(1.0).apply_gradients(zip(gradients, variables))
    got = bag.variable.sparse_read([1, 2]).numpy()
    np.testing.assert_allclose(got, [[0.98, 0.98], [0.97, 0.97]], rtol=1e-6)


# Errors.


@pytest.mark.parametrize("compiled", ["adam", "ftrl"])
def test_stock_optimizer_alone(compiled):
    model = harness.model_of(harness.embedding(name="users"))
    model.compile(compiled, "mse")
    with pytest.raises(ValueError, match=r"(?s)'users.*te.optimizers.SGD.*optimizer='adagrad'"):
        harness.fit(model)


def test_legacy_optimizer_alone():
    model = harness.model_of(harness.embedding(name="users"))
    model.compile(keras.optimizers.legacy.SGD(), "mse")
    with pytest.raises(ValueError, match=r"(?s)'users.*te.optimizers.SGD.*optimizer='adagrad'"):
        harness.fit(model)


@pytest.mark.parametrize(
    "compiled, message",
    [
        (lambda: keras.optimizers.SGD(0.1, global_clipnorm=1.0), "global_clipnorm=1.0"),
        (lambda: keras.optimizers.legacy.SGD(0.1), "a legacy Keras optimizer"),
        (
            lambda: keras.mixed_precision.LossScaleOptimizer(keras.optimizers.SGD(0.1)),
            "a loss scale",
        ),
        (
            lambda: keras.mixed_precision.LossScaleOptimizer(keras.optimizers.legacy.SGD(0.1)),
            "a legacy Keras optimizer",
        ),
    ],
)
def test_own_optimizer_under_what_cannot_cover_it(compiled, message):
    model = harness.model_of(harness.embedding(optimizer="adagrad", name="users"))
    model.compile(compiled(), "mse")
    with pytest.raises(ValueError, match=rf"(?s){message}.*'users.*te.optimizers.SGD"):
        harness.fit(model)
    assert int(model.layers[0].variable.size()) == 0


def test_own_optimizer_under_mixed_float16(mixed_float16):
    model = harness.model_of(harness.embedding(optimizer="adagrad"))
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match="(?s)a loss scale.*te.optimizers.SGD"):
        harness.fit(model)
