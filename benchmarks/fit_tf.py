# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Contestants of "fit": one Keras model, and ways to get its vectors.

26 features and a small MLP; keys / 26 ids a feature. All rows are there before the
first turn.
"""

from __future__ import annotations

import draws
import numpy as np
import tables_tf
import tensorflow as tf
from spec import FIELDS, STEPS, Spec

import tf_embedding as te

import keras  # isort: skip  (after TensorFlow)

tables_tf.limit_threads()


def _mlp(vectors: keras.KerasTensor) -> keras.KerasTensor:
    x = keras.layers.Dense(64, activation="relu")(vectors)
    x = keras.layers.Dense(32, activation="relu")(x)
    return keras.layers.Dense(1, activation="sigmoid")(x)


def _names() -> list[str]:
    return [f"field_{f}" for f in range(FIELDS)]


class _Fit:
    """STEPS steps of model.fit a call."""

    CYCLE = 1

    def __init__(self, spec: Spec):
        keras.utils.set_random_seed(1)
        self._rows = spec.keys // FIELDS
        rng = np.random.default_rng(draws.SEED)
        n = STEPS * spec.batch
        ids = rng.integers(0, self._rows, (n, FIELDS))
        labels = tf.constant(rng.integers(0, 2, (n, 1)).astype(np.float32))
        data = tf.data.Dataset.from_tensor_slices((self.inputs(ids, spec), labels))
        # Batched once and kept, so that the input costs little. Without autotuning, whose thread
        # sleeps twice as long each time and is waited for when an epoch ends.
        options = tf.data.Options()
        options.autotune.enabled = False
        data = data.batch(spec.batch, drop_remainder=True).cache().prefetch(2)
        self._data = data.with_options(options)
        self._model = self.model(spec)
        self._model.compile(spec.rule, "binary_crossentropy")
        self.fill(spec)

    def inputs(self, ids: np.ndarray, spec: Spec) -> object:
        return {name: ids[:, f] for f, name in enumerate(_names())}

    def model(self, spec: Spec) -> keras.Model:
        raise NotImplementedError

    def fill(self, spec: Spec) -> None:
        pass

    def run(self, i: int) -> None:
        self._model.fit(self._data, verbose=0)


def _ids() -> dict[str, keras.KerasTensor]:
    return {name: keras.Input((), dtype="int64", name=name) for name in _names()}


class Tables(_Fit):
    """te.layers.EmbeddingTables: a table for each feature, in one op."""

    def model(self, spec: Spec) -> keras.Model:
        ids = _ids()
        self._layer = te.layers.EmbeddingTables(
            [
                te.FeatureConfig(
                    name=name, table=te.TableConfig(dim=spec.dim, name=f"{name}_table")
                )
                for name in ids
            ],
            concat=True,
        )
        return keras.Model(ids, _mlp(self._layer(ids)))

    def fill(self, spec: Spec) -> None:
        for variable in self._layer.variables_by_feature.values():
            values = np.zeros([self._rows, spec.dim], np.float32)
            variable.upsert(np.arange(self._rows), values)


class Layers(_Fit):
    """A te.layers.Embedding for each feature."""

    def model(self, spec: Spec) -> keras.Model:
        ids = _ids()
        self._layers = {name: te.layers.Embedding(spec.dim) for name in ids}
        vectors = [self._layers[name](x) for name, x in ids.items()]
        return keras.Model(ids, _mlp(keras.layers.Concatenate()(vectors)))

    def fill(self, spec: Spec) -> None:
        for layer in self._layers.values():
            values = np.zeros([self._rows, spec.dim], np.float32)
            layer.variable.upsert(np.arange(self._rows), values)


class Stock(_Fit):
    """A keras.layers.Embedding for each feature."""

    def model(self, spec: Spec) -> keras.Model:
        ids = _ids()
        vectors = [keras.layers.Embedding(self._rows, spec.dim)(x) for x in ids.values()]
        return keras.Model(ids, _mlp(keras.layers.Concatenate()(vectors)))


def _offset(ids: np.ndarray, rows: int) -> np.ndarray:
    return ids + np.arange(FIELDS) * rows


class OneLayer(_Fit):
    """One te.layers.Embedding, in which features have ranges."""

    def inputs(self, ids: np.ndarray, spec: Spec) -> object:
        return _offset(ids, self._rows)

    def model(self, spec: Spec) -> keras.Model:
        ids = keras.Input((FIELDS,), dtype="int64")
        self._layer = te.layers.Embedding(spec.dim)
        return keras.Model(ids, _mlp(keras.layers.Flatten()(self._layer(ids))))

    def fill(self, spec: Spec) -> None:
        keys = np.arange(self._rows * FIELDS)
        for part in np.array_split(keys, len(keys) // (1 << 18) + 1):
            self._layer.variable.upsert(part, np.zeros([len(part), spec.dim], np.float32))


class StockOneLayer(_Fit):
    """One keras.layers.Embedding, in which features have ranges."""

    def inputs(self, ids: np.ndarray, spec: Spec) -> object:
        return _offset(ids, self._rows)

    def model(self, spec: Spec) -> keras.Model:
        ids = keras.Input((FIELDS,), dtype="int64")
        vectors = keras.layers.Embedding(self._rows * FIELDS, spec.dim)(ids)
        return keras.Model(ids, _mlp(keras.layers.Flatten()(vectors)))


class Dense(_Fit):
    """The dense part: the vectors are inputs."""

    def inputs(self, ids: np.ndarray, spec: Spec) -> object:
        return np.random.default_rng(1).random((len(ids), FIELDS * spec.dim), np.float32)

    def model(self, spec: Spec) -> keras.Model:
        vectors = keras.Input((FIELDS * spec.dim,))
        return keras.Model(vectors, _mlp(vectors))


class _NeedsGradient(keras.layers.Layer):
    """Its input; asks for the gradient with respect to it and drops it."""

    def build(self, shape: object) -> None:
        self.weight = self.add_weight(shape=(), initializer="zeros")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        @tf.custom_gradient
        def same(x: tf.Tensor, weight: tf.Tensor) -> object:
            return tf.identity(x), lambda gradient: (None, gradient[0, 0])

        return same(x, tf.convert_to_tensor(self.weight))


class DenseGradient(_Fit):
    """The dense part with what any table needs of it: vectors by feature, and their gradient."""

    def inputs(self, ids: np.ndarray, spec: Spec) -> object:
        rng = np.random.default_rng(1)
        return {name: rng.random((len(ids), spec.dim), np.float32) for name in _names()}

    def model(self, spec: Spec) -> keras.Model:
        vectors = {name: keras.Input((spec.dim,), name=name) for name in _names()}
        x = keras.layers.Concatenate()(list(vectors.values()))
        return keras.Model(vectors, _mlp(_NeedsGradient()(x)))


CONTESTANTS = {
    "tables": Tables,
    "layers": Layers,
    "stock_layers": Stock,
    "one_layer": OneLayer,
    "stock_one_layer": StockOneLayer,
    "dense": Dense,
    "dense_gradient": DenseGradient,
}
