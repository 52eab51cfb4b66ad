# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What rows cannot have is an error at the first step, and says what to use."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras3 import oracle

import tf_embedding as te

STOCK = keras.optimizers
OURS = te.optimizers


class OwnStep(STOCK.Adam):
    """A user's class: its update is not Adam's."""

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient)


@pytest.mark.parametrize("run_eagerly", [False, True])
@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: STOCK.SGD(0.1, global_clipnorm=1.0), "jointly.*te.optimizers.SGD"),
        (lambda: STOCK.Adam(gradient_accumulation_steps=2), "accumulate.*te.optimizers.Adam"),
        (lambda: STOCK.Adam(use_ema=True), "use_ema"),
        (lambda: OURS.Adam(use_ema=True), "use_ema"),
        (lambda: STOCK.SGD(0.1, weight_decay=0.1), "weight_decay=0.1.*Adam and AdamW"),
        (lambda: OURS.SGD(0.1, weight_decay=0.1), "weight_decay=0.1.*Adam and AdamW"),
        (lambda: STOCK.Adam(amsgrad=True), "amsgrad"),
        (lambda: OURS.Adam(amsgrad=True), "amsgrad"),
        (lambda: STOCK.Lion(), "Lion.*SGD, Adagrad, RMSprop, Adam, AdamW, Ftrl"),
        (lambda: STOCK.Nadam(), "Nadam.*SGD, Adagrad, RMSprop, Adam, AdamW, Ftrl"),
        (lambda: OwnStep(), "OwnStep.*SGD, Adagrad, RMSprop, Adam, AdamW, Ftrl"),
        (lambda: STOCK.LossScaleOptimizer(STOCK.SGD(0.1)), "te.optimizers.LossScaleOptimizer"),
        (lambda: STOCK.LossScaleOptimizer(OURS.SGD(0.1)), "te.optimizers.LossScaleOptimizer"),
        (lambda: OURS.GroupFtrl(l2_shrinkage_regularization_strength=1.0), "shrinkage"),
    ],
)
def test_refused_at_the_first_step(make, match, run_eagerly):
    layer = oracle.embedding()
    with pytest.raises(ValueError, match=match):
        oracle.train(layer, make(), oracle.full_ids(), epochs=1, run_eagerly=run_eagerly)
    assert int(layer.variable.size()) == 0


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: STOCK.Adam(gradient_accumulation_steps=2), "accumulate"),
        (lambda: STOCK.SGD(0.1, global_clipnorm=1.0), "jointly"),
        (lambda: STOCK.LossScaleOptimizer(STOCK.SGD(0.1)), "te.optimizers.LossScaleOptimizer"),
    ],
)
def test_refused_when_built_beforehand(make, match):
    """As load_model and BackupAndRestore build it: outside of apply."""
    layer = oracle.embedding()
    model = oracle.train(layer, make(), oracle.full_ids(), epochs=0)
    ids = oracle.full_ids()
    with pytest.raises(ValueError, match=match):
        model.optimizer.build(model.trainable_variables)
        model.fit(ids, oracle.labels(ids), verbose=0)
    assert int(layer.variable.size()) == 0


def test_mixed_float16_with_a_stock_optimizer():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        with pytest.raises(ValueError, match="te.optimizers.LossScaleOptimizer"):
            oracle.train(oracle.embedding(), "adam", oracle.full_ids(), epochs=1)
    finally:
        keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("kind", [STOCK, OURS])
def test_weight_decay_may_exempt_rows(kind):
    def make(kind=kind):
        optimizer = kind.SGD(0.3, weight_decay=0.1)
        optimizer.exclude_from_weight_decay(var_names=["embeddings"])
        return optimizer

    oracle.compare(make, lambda: make(STOCK))


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: "lion", "Lion"),
        (lambda: STOCK.SGD(0.1, global_clipnorm=1.0), "global_clipnorm"),
        (lambda: STOCK.SGD(0.1, gradient_accumulation_steps=2), "gradient_accumulation_steps"),
        (lambda: STOCK.SGD(0.1, loss_scale_factor=2.0), "loss_scale_factor"),
        (lambda: STOCK.SGD(0.1, weight_decay=2.0), "weight_decay"),
        (lambda: STOCK.LossScaleOptimizer(STOCK.SGD(0.1)), "LossScaleOptimizer"),
    ],
)
def test_optimizer_of_a_layer(make, match):
    with pytest.raises(ValueError, match=match):
        te.layers.Embedding(4, optimizer=make())


TWO_REPLICAS = """
import keras, tensorflow as tf, tf_embedding as te
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = keras.Sequential([te.layers.Embedding(2)])
    model.compile("sgd", "mse")
    try:
        model.fit(tf.constant([[1], [2]]), tf.zeros([2, 1, 2]), verbose=0)
    except ValueError as error:
        assert "one replica" in str(error), error
        print("refused")
"""


def test_two_replicas_are_refused():
    # In a process of its own: devices are fixed when TensorFlow starts.
    assert oracle.run(TWO_REPLICAS) == "refused"


@pytest.mark.parametrize("optimizer", [STOCK.SGD, OURS.SGD])
def test_strategy_of_one_replica(optimizer):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    ids = oracle.full_ids()
    keras.utils.set_random_seed(1)
    with strategy.scope():
        layer = oracle.embedding()
        model = oracle.functional(layer)
        model.compile(optimizer(0.3), "binary_crossentropy")
    # One fit, which builds the model: under a strategy Keras takes one batch off a distributed
    # iterator to build from, and drops the iterator. TensorFlow crashes where that comes before
    # the iterator's thread is done, as in a second fit, whose model is built.
    model.fit(ids, oracle.labels(ids), batch_size=oracle.BATCH, verbose=0, shuffle=False)
    alone = oracle.embedding()
    oracle.train(alone, optimizer(0.3), ids, epochs=1)
    np.testing.assert_allclose(oracle.rows_of(layer), oracle.rows_of(alone), rtol=1e-5, atol=1e-6)


def test_values_are_no_gradients():
    layer = oracle.embedding()
    layer.build(None)
    shown = layer.trainable_variables[0]
    with pytest.raises(TypeError, match="upsert"):
        shown.assign(np.zeros((3, oracle.DIM)))
    slices = tf.IndexedSlices(tf.zeros([1, oracle.DIM]), tf.constant([1], tf.int64))
    with pytest.raises(ValueError, match="no Keras optimizer is at work"):
        shown.assign(slices)
    with pytest.raises(TypeError, match="do not make it dense"):
        OURS.SGD(0.1).apply_gradients([(tf.zeros([3, oracle.DIM]), shown)])
    with pytest.raises(TypeError, match="upsert"):
        STOCK.SGD(0.1).apply_gradients([(tf.zeros([3, oracle.DIM]), shown)])
    for read in (np.array, tf.convert_to_tensor):
        with pytest.raises(TypeError, match="no dense value"):
            read(shown)
    with pytest.raises(AttributeError, match="cannot be set"):
        shown.overwrite_with_gradient = False


def test_ids_and_arguments_of_layers():
    layer = oracle.embedding()
    with pytest.raises(NotImplementedError, match="int32, int64 or string, but is float32"):
        layer(keras.Input((3,)))
    with pytest.raises(TypeError, match="must be int32, int64 or string, but is float32"):
        layer(tf.zeros([1, 3]))
    with pytest.raises(TypeError, match="EmbeddingBag"):
        layer(tf.sparse.from_dense([[1, 2]]))
    with pytest.raises(TypeError, match="EmbeddingBag"):
        layer(keras.Input((3,), dtype="int64", sparse=True))
    with pytest.raises(ValueError, match="dim"):
        te.layers.Embedding(0)
    with pytest.raises(ValueError, match="combiner"):
        te.layers.EmbeddingBag(4, combiner="max")
    with pytest.raises(ValueError, match="before it is built"):
        te.layers.Embedding(4).variable.size()
    with pytest.raises(ValueError, match="Unknown|unknown|not a valid|Could not"):
        te.layers.Embedding(4, optimizer="no such")


def test_arguments_of_tables():
    items = te.TableConfig(dim=4, name="items")
    twin = te.TableConfig(dim=4, name="items")
    with pytest.raises(ValueError, match="one at least"):
        te.layers.EmbeddingTables([])
    with pytest.raises(ValueError, match="no name twice"):
        te.layers.EmbeddingTables([te.FeatureConfig("a", items), te.FeatureConfig("a", items)])
    with pytest.raises(ValueError, match="same TableConfig"):
        te.layers.EmbeddingTables([te.FeatureConfig("a", items), te.FeatureConfig("b", twin)])
    layer = te.layers.EmbeddingTables(
        [te.FeatureConfig("a", items), te.FeatureConfig("b", items, combiner=None)]
    )
    with pytest.raises(ValueError, match="features \\['b'\\] have no combiner"):
        te.layers.EmbeddingTables(layer.features, concat=True)
    with pytest.raises(TypeError, match="concat is 1"):
        te.layers.EmbeddingTables(layer.features, concat=1)
    ids = tf.constant([[1]])
    with pytest.raises(ValueError, match="no ids for features \\['b'\\]"):
        layer({"a": ids})
    with pytest.raises(ValueError, match="weights for \\['b'\\]"):
        layer({"a": ids, "b": ids}, weights={"b": tf.ones([1, 1])})
    with pytest.raises(TypeError, match="ids\\['a'\\]"):
        layer({"a": tf.zeros([1, 1]), "b": ids})
