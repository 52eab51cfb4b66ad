# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Stock Keras 3 optimizers train the rows of te layers, as a dense table would train."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras3 import oracle

import tf_embedding as te

OPTIMIZERS = keras.optimizers


@pytest.mark.parametrize("name", ["adam", "adagrad", "ftrl", "sgd", "rmsprop", "adamw"])
def test_compiled_by_name(name):
    # The default learning rates are small: more steps.
    oracle.compare(lambda: name, epochs=10, tolerances={"atol": 5e-6})


@pytest.mark.parametrize(
    "make",
    [
        lambda: OPTIMIZERS.SGD(0.3),
        lambda: OPTIMIZERS.SGD(0.1, momentum=0.9),
        lambda: OPTIMIZERS.SGD(0.1, momentum=0.9, nesterov=True),
        lambda: OPTIMIZERS.Adagrad(0.1, initial_accumulator_value=0.2, epsilon=1e-2),
        lambda: OPTIMIZERS.RMSprop(0.01, rho=0.8, epsilon=1e-4),
        lambda: OPTIMIZERS.RMSprop(0.01, momentum=0.5, centered=True, epsilon=1e-4),
        lambda: OPTIMIZERS.Adam(0.02, beta_1=0.8, beta_2=0.99, epsilon=1e-4),
        lambda: OPTIMIZERS.Adam(0.02, weight_decay=0.1),
        lambda: OPTIMIZERS.AdamW(0.02, weight_decay=0.2),
        lambda: OPTIMIZERS.Ftrl(0.1, beta=0.2, l1_regularization_strength=1e-3),
        lambda: OPTIMIZERS.Ftrl(
            0.1,
            learning_rate_power=-0.7,
            l2_regularization_strength=1e-2,
            l2_shrinkage_regularization_strength=1e-2,
        ),
        lambda: OPTIMIZERS.SGD(0.3, clipnorm=0.01),
        lambda: OPTIMIZERS.Adagrad(0.1, clipvalue=0.002),
        lambda: OPTIMIZERS.Adagrad(0.1, loss_scale_factor=64.0, clipvalue=0.002),
        lambda: OPTIMIZERS.Adam(OPTIMIZERS.schedules.ExponentialDecay(0.05, 3, 0.5)),
    ],
)
def test_hyper_parameters(make):
    oracle.compare(make)


@pytest.mark.parametrize(
    "make", [lambda: OPTIMIZERS.SGD(0.3), lambda: OPTIMIZERS.Adagrad(0.1, clipnorm=0.02)]
)
def test_exact_rules_on_a_changing_set_of_ids(make):
    model = oracle.compare(make, ids=oracle.some_ids())
    variable = model.layers[1].variable
    assert int(variable.size()) == len(np.unique(oracle.some_ids()))
    # Duplicates are summed; each occurrence is counted, in each epoch.
    ids, counts = np.unique(oracle.some_ids(), return_counts=True)
    np.testing.assert_array_equal(variable.frequency(ids), 2 * counts)


def test_version_is_the_step_of_the_last_update():
    model = oracle.compare(lambda: OPTIMIZERS.SGD(0.3))
    assert set(model.layers[1].variable.export().version.numpy()) == {7}


@pytest.mark.parametrize("kind", ["callback", "attribute"])
def test_learning_rate_is_live(kind):
    class Halve(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            optimizer = self.model.optimizer
            optimizer.learning_rate = float(optimizer.learning_rate.numpy()) * 0.8

    def scheduler():
        return keras.callbacks.LearningRateScheduler(lambda epoch, lr: lr * 0.5)

    make = scheduler if kind == "callback" else Halve
    oracle.compare(lambda: OPTIMIZERS.Adagrad(0.1), callbacks=[make])


def sequential(layer):
    return keras.Sequential(
        [layer, keras.layers.Flatten(), keras.layers.Dense(1, activation="sigmoid")]
    )


class Subclassed(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.embedding = layer
        self.out = keras.layers.Dense(1, activation="sigmoid")

    def call(self, ids):
        return self.out(tf.reshape(self.embedding(ids), [-1, 3 * oracle.DIM]))


class CustomStep(Subclassed):
    def train_step(self, data):
        ids, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(y=y, y_pred=self(ids, training=True))
        variables = self.trainable_variables
        gradients = tape.gradient(loss, variables)
        gradients = [tf.clip_by_norm(g, 1.0) for g in gradients]
        self.optimizer.apply_gradients(zip(gradients, variables))
        return {"loss": loss}


class Twice(Subclassed):
    def call(self, ids):
        found = self.embedding(ids) + 2.0 * self.embedding(ids[:, ::-1])
        return self.out(tf.reshape(found, [-1, 3 * oracle.DIM]))


def sequential_with_input(layer):
    return keras.Sequential([keras.Input((3,), dtype="int64"), *sequential(layer).layers])


@pytest.mark.parametrize(
    "build", [sequential, sequential_with_input, Subclassed, CustomStep, Twice]
)
def test_kinds_of_models(build):
    oracle.compare(lambda: OPTIMIZERS.Adagrad(0.1), build=build)


@pytest.mark.parametrize(
    "arguments", [{"steps_per_execution": 4}, {"run_eagerly": True}, {"jit_compile": "auto"}]
)
def test_ways_to_run(arguments):
    model = oracle.compare(lambda: OPTIMIZERS.Adam(0.02), **arguments)
    assert not model.jit_compile


def test_jit_compile_true_is_turned_off_by_keras():
    with pytest.warns(UserWarning, match="jit_compile"):
        model = oracle.train(
            oracle.embedding(), "sgd", oracle.full_ids(), epochs=1, jit_compile=True
        )
    assert not model.jit_compile


def test_mixed_bfloat16():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = oracle.compare(
            lambda: OPTIMIZERS.Adagrad(0.1), tolerances={"rtol": 1e-2, "atol": 2e-3}
        )
        assert model.layers[1](oracle.full_ids()).dtype == tf.bfloat16
    finally:
        keras.mixed_precision.set_global_policy("float32")


def test_mask_reaches_the_gradient():
    def build(layer):
        inputs = keras.Input((3,), dtype="int64")
        vectors = layer(inputs)
        if isinstance(layer, oracle.Dense):
            mask = keras.ops.not_equal(inputs, 0)
            pooled = keras.layers.GlobalAveragePooling1D()(vectors, mask=mask)
        else:
            pooled = keras.layers.GlobalAveragePooling1D()(vectors)
        return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(pooled))

    layer = oracle.embedding(mask_zero=True)
    oracle.compare(lambda: OPTIMIZERS.SGD(0.3), layer=layer, build=build)
    # Padding was looked up but its rows got a gradient of zero.
    np.testing.assert_array_equal(oracle.rows_of(layer)[0], oracle.initial_rows()[0])


def test_not_trainable_is_frozen():
    layer = oracle.embedding()
    layer.trainable = False
    oracle.train(layer, "sgd", oracle.full_ids())
    assert int(layer.variable.size()) == 0
    layer.trainable = True
    oracle.compare(lambda: OPTIMIZERS.SGD(0.3), layer=layer)


def test_constructed_not_trainable():
    layer = oracle.embedding(trainable=False)
    model = oracle.train(layer, "sgd", oracle.full_ids())
    assert int(layer.variable.size()) == 0
    assert not any(v.name == "embeddings" for v in model.trainable_variables)


def numpy_sgd(rows, gradients, rates):
    for gradient, rate in zip(gradients, rates):
        rows = rows - rate * gradient
    return rows


def test_optimizer_of_the_layer_overrides():
    schedule = OPTIMIZERS.schedules.PiecewiseConstantDecay([1], [0.5, 0.25])
    own = OPTIMIZERS.SGD(schedule, clipvalue=0.75)
    layer = te.layers.EmbeddingBag(2, "sum", initializer="zeros", optimizer=own)
    model = keras.Sequential([layer])
    # The loss is the sum of the outputs: each occurrence of an id has gradient 1.
    model.compile(OPTIMIZERS.Adam(0.01, global_clipnorm=1e-3), lambda y, p: tf.reduce_sum(p))
    ids = np.array([[1, 2], [2, 3]])
    model.fit(ids, np.zeros(2), batch_size=2, epochs=3, shuffle=False, verbose=0)
    rows = layer.variable.sparse_read([1, 2, 3]).numpy()[:, 0]
    expected = numpy_sgd(np.zeros(3), [np.full(3, 0.75)] * 3, [0.5, 0.5, 0.25])
    np.testing.assert_allclose(rows, expected, rtol=1e-6)
    assert set(layer.variable.export().version.numpy()) == {2}


def test_layers_name_of_an_optimizer():
    def build(layer):
        # The dense part is frozen, so the rows are alike under all of them.
        model = oracle.functional(layer)
        model.layers[-1].trainable = False
        return model

    dense = oracle.dense()
    oracle.train(dense, "adagrad", oracle.full_ids(), build=build, epochs=10)
    for compiled in ("adam", "lion"):
        layer = oracle.embedding(optimizer="adagrad")
        oracle.train(layer, compiled, oracle.full_ids(), build=build, epochs=10)
        assert np.abs(oracle.rows_of(layer) - oracle.initial_rows()).max() > 1e-3
        np.testing.assert_allclose(oracle.rows_of(layer), oracle.rows_of(dense), atol=5e-6)


def test_two_models_share_a_layer():
    layer = oracle.embedding()
    model = oracle.train(layer, OPTIMIZERS.SGD(0.3), oracle.full_ids())
    before = oracle.rows_of(layer)
    oracle.train(layer, OPTIMIZERS.SGD(0.3), oracle.full_ids())
    assert np.abs(oracle.rows_of(layer) - before).max() > 1e-3
    assert model.layers[1] is layer
