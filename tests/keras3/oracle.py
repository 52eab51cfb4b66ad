# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The oracle of the Keras 3 tests: the same model over a dense table, trained by stock Keras.

The dense table starts with the rows that the te layer would give birth to, and
is read by a product with one-hot ids, so that its gradient is dense: duplicates
summed, every row in it. Where the rule is lazy, use `full_ids`, which has every
id in every batch.
"""

import os
import subprocess
import sys

import keras
import numpy as np
import tensorflow as tf

import tf_embedding as te

VOCABULARY = 12
DIM = 4
BATCH = 16
KEYS = np.arange(VOCABULARY, dtype=np.int64)


def full_ids(batches=4, seed=0):
    """int64 [batches * BATCH, 3]: each id four times in each batch of BATCH."""
    rng = np.random.RandomState(seed)
    chunks = [rng.permutation(np.tile(KEYS, 4)).reshape(BATCH, 3) for _ in range(batches)]
    return np.concatenate(chunks)


def some_ids(batches=4, seed=0):
    """int64 [batches * BATCH, 3]: another range of ids in each batch, with duplicates."""
    rng = np.random.RandomState(seed)
    return np.concatenate([rng.randint(b, b + 8, size=(BATCH, 3)) for b in range(batches)])


def labels(ids):
    return (np.random.RandomState(5).randn(VOCABULARY)[ids].sum(1) > 0).astype(np.float32)


class Dense(keras.layers.Layer):
    """A table of VOCABULARY rows, float32 under every policy, with dense gradients."""

    def __init__(self, rows, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self._initial = rows

    def build(self, input_shape=None):
        self.table = self.add_weight(
            shape=self._initial.shape,
            initializer=lambda shape, dtype: tf.constant(self._initial, dtype),
            name="embeddings",
            autocast=False,
        )

    def call(self, ids):
        rows = tf.one_hot(tf.cast(ids, tf.int64), VOCABULARY) @ self.table
        return tf.cast(rows, self.compute_dtype)

    def compute_output_shape(self, shape):
        return (*shape, self._initial.shape[1])


def initial_rows(dim=DIM, **kwargs):
    """The rows that a te layer of these arguments starts with."""
    layer = te.layers.Embedding(dim, seed=7, **kwargs)
    layer.build(None)
    return layer.variable.sparse_read(KEYS).numpy()


def rows_of(layer):
    """float32 [VOCABULARY, dim] of a te layer or of the dense one."""
    if isinstance(layer, Dense):
        return layer.table.numpy()
    return layer.variable.sparse_read(KEYS).numpy()


def embedding(**kwargs):
    """A te layer that starts with initial_rows()."""
    return te.layers.Embedding(DIM, seed=7, **kwargs)


def dense():
    """Its oracle."""
    return Dense(initial_rows())


def functional(layer):
    inputs = keras.Input((3,), dtype="int64")
    x = keras.layers.Flatten()(layer(inputs))
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid", dtype="float32")(x))


def train(layer, optimizer, ids, build=functional, epochs=2, callbacks=(), **compile_args):
    """Compiles and fits a model around `layer`; returns it."""
    keras.utils.set_random_seed(1)
    model = build(layer)
    model.compile(optimizer, "binary_crossentropy", **compile_args)
    model.fit(
        ids,
        labels(ids),
        batch_size=BATCH,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[make() for make in callbacks],
    )
    return model


def assert_equal(model, layer, oracle_model, oracle_layer, rtol=1e-5, atol=2e-6):
    """The rows moved, and as the oracle's; so did the dense weights."""
    start, found, expected = initial_rows(), rows_of(layer), rows_of(oracle_layer)
    assert np.abs(found - start).max() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)
    dense_weights = [v for v in model.trainable_variables if v.name != "embeddings"]
    oracle_weights = [v for v in oracle_model.trainable_variables if v.name != "embeddings"]
    assert len(dense_weights) == len(oracle_weights) > 0
    for mine, its in zip(dense_weights, oracle_weights):
        np.testing.assert_allclose(mine.numpy(), its.numpy(), rtol=rtol, atol=atol)


def compare(optimizer, oracle_optimizer=None, ids=None, layer=None, tolerances=None, **train_args):
    """Trains a te layer and its oracle alike and compares them.

    Args:
      optimizer: makes the te model's optimizer, and the oracle's if that has none.
    """
    ids = full_ids() if ids is None else ids
    layer, oracle_layer = layer or embedding(), dense()
    model = train(layer, optimizer(), ids, **train_args)
    oracle_model = train(oracle_layer, (oracle_optimizer or optimizer)(), ids, **train_args)
    assert_equal(model, layer, oracle_model, oracle_layer, **(tolerances or {}))
    return model


def run(code):
    """The last line that `code` prints in a fresh Python process."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(te.__file__)))
    path = os.pathsep.join([package, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip().splitlines()[-1]
