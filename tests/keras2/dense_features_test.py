# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""DenseFeatures and SequenceFeatures of Keras 2 over columns without a vocabulary.

The oracle is the stock column with a vocabulary, its dense weight and the stock
optimizer: all outputs along the training must agree.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from keras2 import harness

import tf_embedding as te
from tf_embedding.keras2 import layers, optimizers

keras = harness.keras
fc = tf.feature_column
column = te.feature_column.categorical_column_with_embedding
sequence_column = te.feature_column.sequence_categorical_column_with_embedding

IDS = np.array([[3, 4, 3], [7, -1, -1], [-1, -1, -1], [4, 9, 0]])
WEIGHTS = np.array([[0.5, 2.0, 1.0], [3.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.5, 0.25]])
FEATURES = {
    "x": tf.constant(IDS, tf.int64),
    "w": tf.constant(WEIGHTS, tf.float32),
    "sparse": tf.sparse.from_dense(IDS + 1),
}
EMBEDDING_COLUMNS = {"stock": fc.embedding_column, "own": te.feature_column.embedding_column}
OPTIMIZERS = {
    "sgd": (lambda: optimizers.SGD(0.1), lambda: keras.optimizers.SGD(0.1)),
    "adagrad": (lambda: optimizers.Adagrad(0.1), lambda: keras.optimizers.Adagrad(0.1)),
    "clipped": (
        lambda: optimizers.SGD(0.5, global_clipnorm=0.3),
        lambda: keras.optimizers.SGD(0.5, global_clipnorm=0.3),
    ),
}


def initializer(value=0.3):
    return tf.compat.v1.constant_initializer(value)


def train(layer, optimizer, features=FEATURES, steps=4):
    """The output before each step; the loss pulls every output to another number."""
    outputs = []
    for _ in range(steps):
        with tf.GradientTape() as tape:
            output = layer(features)
            output = output[0] if isinstance(output, tuple) else output
            goal = tf.reshape(tf.range(tf.size(output), dtype=tf.float32), tf.shape(output)) / 7
            loss = tf.reduce_sum((output - goal) ** 2)
        variables = layer.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        outputs.append(output.numpy())
    assert np.abs(outputs[-1] - outputs[0]).max() > 0.05
    return outputs


@pytest.mark.parametrize("embedding", EMBEDDING_COLUMNS)
@pytest.mark.parametrize("combiner", ["mean", "sum", "sqrtn"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_is_that_of_a_vocabulary(embedding, combiner, weighted, optimizer):
    def made(make, categorical):
        if weighted:
            categorical = fc.weighted_categorical_column(categorical, "w")
        made = make(categorical, 2, combiner, initializer=initializer(), max_norm=0.9)
        return keras.layers.DenseFeatures([made])

    ours = made(EMBEDDING_COLUMNS[embedding], column("x", tf.int64))
    stock = made(fc.embedding_column, fc.categorical_column_with_identity("x", 10))
    features = {**FEATURES}
    if weighted:  # Padding of both kinds must leave out the same places.
        features["x"] = tf.sparse.from_dense(tf.where(WEIGHTS > 0, IDS, 0))
        features["w"] = tf.sparse.SparseTensor(
            features["x"].indices,
            tf.gather_nd(tf.constant(WEIGHTS, tf.float32), features["x"].indices),
            features["x"].dense_shape,
        )
    got = train(ours, OPTIMIZERS[optimizer][0](), features)
    want = train(stock, OPTIMIZERS[optimizer][1](), features)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    (rows,) = [v for v in ours.trainable_variables if isinstance(v, te.EmbeddingVariable)]
    used = tf.sparse.to_dense(features["x"], -1) if weighted else IDS
    assert set(rows.export().keys.numpy()) == set(np.unique(used)) - {-1}


@pytest.mark.parametrize("embedding", EMBEDDING_COLUMNS)
def test_strings_and_negative_keys_train(embedding):
    words = tf.constant([["ad", ""], ["b", "c"], ["c", "ad"]])
    layer = keras.layers.DenseFeatures(
        [EMBEDDING_COLUMNS[embedding](column("x"), 2, "sum", initializer=initializer())]
    )
    stock = keras.layers.DenseFeatures(
        [
            fc.embedding_column(
                fc.categorical_column_with_vocabulary_list("x", ["ad", "b", "c"]),
                2,
                "sum",
                initializer=initializer(),
            )
        ]
    )
    got = train(layer, optimizers.SGD(0.1), {"x": words})
    want = train(stock, keras.optimizers.SGD(0.1), {"x": words})
    np.testing.assert_allclose(got, want, rtol=1e-5)
    (rows,) = [v for v in layer.trainable_variables if isinstance(v, te.EmbeddingVariable)]
    keys = te.hashing.hash_strings(["ad", "b", "c"])
    assert set(rows.export().keys.numpy()) == set(keys.numpy())
    assert (keys.numpy() < 0).any()


@pytest.mark.parametrize("embedding", EMBEDDING_COLUMNS)
@pytest.mark.parametrize("safe", [True, False])
def test_sequences(embedding, safe):
    def made(make, categorical):
        made = make(categorical, 2, initializer=initializer(), use_safe_embedding_lookup=safe)
        return keras.experimental.SequenceFeatures([made])

    ours = made(EMBEDDING_COLUMNS[embedding], sequence_column("sparse", tf.int64))
    stock = made(
        fc.embedding_column, fc.sequence_categorical_column_with_identity("sparse", 11)
    )
    lengths = [layer(FEATURES)[1].numpy().tolist() for layer in (ours, stock)]
    assert lengths[0] == lengths[1] == [3, 1, 0, 3]
    got = train(ours, optimizers.Adagrad(0.1))
    want = train(stock, keras.optimizers.Adagrad(0.1))
    assert got[0].shape == (4, 3, 2)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_beside_other_columns():
    columns = [
        fc.numeric_column("w", (3,)),
        fc.embedding_column(column("x", tf.int64), 2, initializer=initializer()),
        te.feature_column.embedding_column(column("sparse", tf.int64), 3),
        fc.embedding_column(
            fc.weighted_categorical_column(column("x", tf.int64), "w"), 2, initializer=initializer()
        ),
    ]
    layer = keras.layers.DenseFeatures(columns)
    features = {**FEATURES, "x": tf.constant([[1, 2, 3]] * 4, tf.int64)}
    features["w"] = tf.ones([4, 3])
    assert layer(features).shape == (4, 10)
    rows = [v for v in layer.trainable_variables if isinstance(v, te.EmbeddingVariable)]
    assert len(rows) == 3 and len({id(v.table) for v in rows}) == 3
    # The weights that the stock columns make are no part of the training.
    assert len(layer.trainable_variables) == 3 and len(layer.non_trainable_variables) == 2


def test_shared_embeddings_in_a_graph():
    """TensorFlow makes shared columns in graphs only."""
    tf1 = tf.compat.v1

    def run(make, optimizer):
        with tf.Graph().as_default(), tf1.Session() as session:
            columns = fc.shared_embeddings([make("x"), make("z")], 2, initializer=initializer())
            inputs = {
                "x": tf.constant(IDS, tf.int64),
                "z": tf.constant(IDS[::-1].copy(), tf.int64),
            }
            output = keras.layers.DenseFeatures(columns)(inputs)
            step = optimizer.minimize(tf.reduce_sum((output - 1.0) ** 2))
            session.run(tf1.global_variables_initializer())
            outputs = []
            for _ in range(3):
                outputs.append(session.run(output))
                session.run(step)
            return outputs, len(tf1.trainable_variables())

    got, trained = run(lambda key: column(key, tf.int64), te.train.AdagradOptimizer(0.1))
    want, _ = run(
        lambda key: fc.categorical_column_with_identity(key, 10), tf1.train.AdagradOptimizer(0.1)
    )
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    assert trained == 1 and np.abs(got[2] - got[0]).max() > 0.05


def test_an_untrainable_column_stays_as_it_is():
    for make in EMBEDDING_COLUMNS.values():
        embedding = make(column("x", tf.int64), 2, initializer=initializer(), trainable=False)
        layer = keras.layers.DenseFeatures([embedding])
        layer(FEATURES)
        assert layer.trainable_variables == []
        assert any(isinstance(v, te.EmbeddingVariable) for v in layer.non_trainable_variables)


def test_a_stock_optimizer_is_refused():
    layer = keras.layers.DenseFeatures([fc.embedding_column(column("x", tf.int64), 2)])
    with pytest.raises(ValueError, match="stock Keras 2 optimizer cannot train"):
        train(layer, keras.optimizers.SGD(0.1))


@pytest.mark.parametrize("embedding", EMBEDDING_COLUMNS)
def test_checkpoint_and_saved_model(embedding, tmp_path):
    def made():
        embedded = EMBEDDING_COLUMNS[embedding](column("x", tf.int64), 2, "sum")
        model = keras.Sequential([keras.layers.DenseFeatures([embedded]), keras.layers.Dense(1)])
        model.compile(optimizers.Adagrad(0.1), "mse")
        return model

    features, labels = {"x": FEATURES["x"]}, tf.constant([[1.0], [2.0], [3.0], [4.0]])
    model = made()
    model.fit(features, labels, epochs=3, verbose=0)
    want = model.predict(features, verbose=0)
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "checkpoint"))
    other = made()
    other(features)
    tf.train.Checkpoint(model=other).restore(path).assert_existing_objects_matched()
    np.testing.assert_array_equal(other.predict(features, verbose=0), want)
    model.save(str(tmp_path / "saved"), save_format="tf")
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    (got,) = loaded.signatures["serving_default"](FEATURES["x"]).values()
    np.testing.assert_allclose(got, want, rtol=1e-6)


def functional(layer):
    inputs = {"x": keras.Input((3,), dtype="int64", name="x")}
    model = keras.Model(inputs, keras.layers.Dense(1)(layer(inputs)))
    model.compile(optimizers.Adagrad(0.1), "mse")
    return model


@pytest.mark.parametrize("name", ["x.keras", "x.weights.h5"])
def test_a_stock_layer_does_not_write_half_of_itself(tmp_path, name):
    model = functional(
        keras.layers.DenseFeatures([fc.embedding_column(column("x", tf.int64), 2)])
    )
    save = model.save if name.endswith(".keras") else model.save_weights
    with pytest.raises(TypeError, match="cannot write the embedding rows"):
        save(str(tmp_path / name))


@pytest.mark.parametrize("embedding", EMBEDDING_COLUMNS)
def test_files_of_our_layer(embedding, tmp_path):
    in_parts = column("x", tf.int64, partition_num=2)
    embedded = EMBEDDING_COLUMNS[embedding](in_parts, 2, "sum")
    model = functional(layers.DenseFeatures([embedded]))
    features, labels = {"x": FEATURES["x"]}, tf.constant([[1.0], [2.0], [3.0], [4.0]])
    model.fit(features, labels, epochs=3, verbose=0)
    want = model.predict(features, verbose=0)
    model.save(str(tmp_path / "x.keras"))
    loaded = keras.models.load_model(str(tmp_path / "x.keras"))
    np.testing.assert_array_equal(loaded.predict(features, verbose=0), want)
    model.save_weights(str(tmp_path / "x.weights.h5"))
    other = functional(layers.DenseFeatures([embedded]))
    other.load_weights(str(tmp_path / "x.weights.h5"))
    np.testing.assert_array_equal(other.predict(features, verbose=0), want)
    # It goes on as the first does.
    for each in (model, loaded):
        each.fit(features, labels, epochs=2, verbose=0)
    np.testing.assert_allclose(
        loaded.predict(features, verbose=0), model.predict(features, verbose=0), rtol=1e-6
    )
