# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""A small model with a te layer, and its oracle: stock Keras 2 in a plain loop.

The oracle holds the same initial rows in a stock table and is trained, eagerly
and batch by batch, by stock optimizers. Every id is in every batch, so that lazy
and dense moments are the same thing.
"""

from __future__ import annotations

from typing import Any, Optional

import numpy as np
import tensorflow as tf

from tf_embedding.keras2 import _keras, layers

keras = _keras.keras

VOCABULARY, DIM, LENGTH, BATCH, STEPS = 6, 4, 3, 8, 5
IDS = np.arange(VOCABULARY)


def data(steps: int = STEPS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ids [steps * BATCH, LENGTH] and targets [steps * BATCH, 1]."""
    rng = np.random.RandomState(seed)
    batches = []
    for _ in range(steps):
        drawn = rng.randint(0, VOCABULARY, BATCH * LENGTH - VOCABULARY)
        batches.append(rng.permutation(np.concatenate([IDS, drawn])))
    ids = np.stack(batches).reshape(-1, LENGTH).astype(np.int64)
    return ids, rng.normal(size=(len(ids), 1)).astype(np.float32)


def initializer() -> Any:
    return keras.initializers.RandomUniform(-0.5, 0.5, seed=3)


def embedding(**kwargs: Any) -> Any:
    return layers.Embedding(DIM, initializer=initializer(), **kwargs)


def model_of(table: Any) -> Any:
    """Sequential: ids, the table, one dense unit."""
    return keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int64"),
            table,
            keras.layers.Flatten(),
            keras.layers.Dense(1, kernel_initializer=keras.initializers.RandomNormal(seed=5)),
        ]
    )


class OneHotTable(keras.layers.Layer):
    """A stock table whose gradient is dense: duplicates are summed by matmul."""

    def build(self, input_shape: Any) -> None:
        self.table = self.add_weight("table", shape=(VOCABULARY, DIM))

    def call(self, ids: Any) -> Any:
        return tf.one_hot(ids, VOCABULARY) @ self.table


def rows(table: Any, ids: Any = IDS) -> np.ndarray:
    return table.variable.sparse_read(ids).numpy()


def fit(model: Any, epochs: int = 1, **kwargs: Any) -> Any:
    ids, targets = data()
    return model.fit(
        ids, targets, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0, **kwargs
    )


class Oracle:
    """The stock twin of `model_of(embedding())`; make it before training."""

    def __init__(self, model: Any, table: Any, one_hot: bool = False) -> None:
        stock = OneHotTable() if one_hot else keras.layers.Embedding(VOCABULARY, DIM)
        self.model = model_of(stock)
        self.initial = rows(table)
        self.table = stock.weights[0]
        self.table.assign(self.initial)
        self.model.layers[-1].set_weights(model.layers[-1].get_weights())

    def train(self, optimizer: Any, own: Optional[Any] = None, epochs: int = 1) -> Oracle:
        """Trains all by `optimizer`, or the table by `own`."""
        ids, targets = data()
        for _ in range(epochs):
            for start in range(0, len(ids), BATCH):
                with tf.GradientTape() as tape:
                    out = self.model(ids[start : start + BATCH], training=True)
                    loss = tf.reduce_mean((out - targets[start : start + BATCH]) ** 2)
                variables = self.model.trainable_variables
                pairs = list(zip(tape.gradient(loss, variables), variables))
                if own is not None:
                    own.apply_gradients([p for p in pairs if p[1] is self.table])
                    pairs = [p for p in pairs if p[1] is not self.table]
                optimizer.apply_gradients(pairs)
        return self

    def check(self, model: Any, table: Any, tolerance: float = 1e-5) -> None:
        """Asserts that the rows moved, and as the oracle's did."""
        moved = rows(table)
        assert np.abs(moved - self.initial).max() > 1e-4
        np.testing.assert_allclose(moved, self.table.numpy(), rtol=1e-5, atol=tolerance)
        for ours, stock in zip(model.layers[-1].weights, self.model.layers[-1].weights):
            np.testing.assert_allclose(ours.numpy(), stock.numpy(), rtol=1e-5, atol=tolerance)
