# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""te.layers.DenseFeatures of Keras 3, against columns with a vocabulary in the same layer.

Those have a dense `keras.Variable`, which the stock optimizer trains.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_embedding as te
from tf_embedding.keras3.variable import RowsVariable

fc = tf.feature_column
column = te.feature_column.categorical_column_with_embedding

# No id twice, for which Keras' own Adagrad would square the gradients one by one.
IDS = np.array([[3, 4, 5], [7, -1, -1], [-1, -1, -1], [8, 9, 0]])
FEATURES = {
    "x": tf.constant(IDS, tf.int64),
    "numbers": tf.constant([[0.5], [1.0], [1.5], [2.0]]),
}
LABELS = tf.constant([[1.0], [2.0], [3.0], [4.0]])
EMBEDDING_COLUMNS = {"stock": fc.embedding_column, "own": te.feature_column.embedding_column}


def model_of(columns, optimizer="sgd", features=FEATURES):
    inputs = {
        name: keras.Input(value.shape[1:], dtype=value.dtype.name, name=name)
        for name, value in features.items()
    }
    hidden = te.layers.DenseFeatures(columns)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="ones")(hidden))
    model.compile(optimizer, "mse")
    return model


def train(model, features=FEATURES, steps=4):
    outputs = []
    for _ in range(steps):
        outputs.append(model.predict_on_batch(features))
        model.train_on_batch(features, LABELS)
    assert np.abs(outputs[-1] - outputs[0]).max() > 0.05
    return outputs


@pytest.mark.parametrize("embedding", EMBEDDING_COLUMNS)
@pytest.mark.parametrize("combiner", ["mean", "sum", "sqrtn"])
@pytest.mark.parametrize("optimizer", [keras.optimizers.SGD, keras.optimizers.Adagrad])
def test_training_is_that_of_a_vocabulary(embedding, combiner, optimizer):
    def made(make, categorical):
        embedded = make(
            categorical,
            2,
            combiner,
            initializer=tf.compat.v1.constant_initializer(0.3),
            max_norm=0.9,
        )
        return model_of([embedded, fc.numeric_column("numbers")], optimizer(0.1))

    ours = made(EMBEDDING_COLUMNS[embedding], column("x", tf.int64))
    stock = made(fc.embedding_column, fc.categorical_column_with_identity("x", 10))
    np.testing.assert_allclose(train(ours), train(stock), rtol=1e-5, atol=1e-6)
    (rows,) = [v.rows for v in ours.trainable_variables if isinstance(v, RowsVariable)]
    assert set(rows.export().keys.numpy()) == set(np.unique(IDS)) - {-1}
    assert len(ours.variables) == len(stock.variables)  # No weight beside the rows.


def test_weighted_strings_and_ragged_features():
    weighted = fc.weighted_categorical_column(column("x"), "w")
    ones = tf.compat.v1.ones_initializer()
    embedded = fc.embedding_column(weighted, 2, "sum", initializer=ones)
    layer = te.layers.DenseFeatures([embedded])
    words = tf.ragged.constant([["a", "b"], [], ["c"]])
    weights = tf.ragged.constant([[0.5, 2.0], [], [3.0]])
    out = layer({"x": words, "w": weights})
    assert out.numpy().tolist() == [[2.5, 2.5], [0.0, 0.0], [3.0, 3.0]]


@pytest.mark.parametrize("embedding", EMBEDDING_COLUMNS)
def test_an_untrainable_column_stays_as_it_is(embedding):
    make = EMBEDDING_COLUMNS[embedding]
    model = model_of([make(column("x", tf.int64), 2, trainable=False)])
    model.train_on_batch(FEATURES, LABELS)
    (rows,) = [v.rows for v in model.non_trainable_variables if isinstance(v, RowsVariable)]
    assert int(rows.size()) == 0


@pytest.mark.parametrize("embedding", EMBEDDING_COLUMNS)
def test_files(embedding, tmp_path):
    columns = [
        EMBEDDING_COLUMNS[embedding](column("x", tf.int64, partition_num=2), 2),
        fc.embedding_column(
            fc.categorical_column_with_hash_bucket("numbers", 5, tf.int64), 3
        ),
    ]
    features = {**FEATURES, "numbers": tf.constant([[1], [2], [3], [4]], tf.int64)}
    model = model_of(columns, "adagrad", features)
    train(model, features, 60)
    want = model.predict_on_batch(features)
    model.save(str(tmp_path / "x.keras"))
    loaded = keras.saving.load_model(str(tmp_path / "x.keras"))
    np.testing.assert_array_equal(loaded.predict_on_batch(features), want)
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "checkpoint"))
    other = model_of(columns, "adagrad", features)
    tf.train.Checkpoint(model=other).restore(path).assert_existing_objects_matched()
    np.testing.assert_array_equal(other.predict_on_batch(features), want)
    model.export(str(tmp_path / "served"), verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    np.testing.assert_allclose(served.serve(features), want, rtol=1e-6)


def test_what_is_not_dense_is_refused():
    with pytest.raises(ValueError, match="not dense"):
        te.layers.DenseFeatures([column("x")])
    with pytest.raises(ValueError, match="not be empty"):
        te.layers.DenseFeatures([])
