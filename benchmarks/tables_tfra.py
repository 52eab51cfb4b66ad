# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""TensorFlow Recommenders-Addons: its table, and its layer with its optimizer.

"lookup" is the table's own lookup. "train" is what its documentation shows: the
Keras layer and a tf_keras optimizer that it wraps. All batches are in one
tf.function, as in tables_tf.
"""

from __future__ import annotations

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import draws
import tables_tf
import tensorflow as tf
import tensorflow_recommenders_addons as tfra
import tf_keras
from spec import Spec

de = tfra.dynamic_embedding
_FILL = 1 << 18


def _optimizer(rule: str) -> tf_keras.optimizers.Optimizer:
    # The legacy ones: the others search the table once more for each slot.
    legacy = tf_keras.optimizers.legacy
    optimizers = {
        "sgd": legacy.SGD,
        "adagrad": legacy.Adagrad,
        "ftrl": legacy.Ftrl,
        "adam": legacy.Adam,
    }
    if rule not in optimizers:
        raise ValueError(f"it has no {rule}")
    return de.DynamicEmbeddingOptimizer(optimizers[rule](tables_tf.RATE))


class Tfra:
    """A cuckoo hash table on the CPU."""

    CYCLE, BATCHES = 1, draws.BATCHES
    _names = 0

    def __init__(self, spec: Spec):
        keys = draws.keys(spec.keys)
        Tfra._names += 1
        name = f"tfra_{Tfra._names}"
        batches = [keys[batch] for batch in draws.batches(spec.keys, spec.batch, spec.zipf)]
        if spec.work == "train":
            optimizer = _optimizer(spec.rule)
            layer = de.keras.layers.Embedding(
                spec.dim, initializer=tf_keras.initializers.Zeros(), init_capacity=spec.keys,
                name=name,
            )  # fmt: skip
            variable = layer.params

            def call(ids: tf.Tensor) -> tf.Tensor:
                with tf.GradientTape() as tape:
                    rows = layer(ids)
                    loss = tf.reduce_sum(tf.square(rows))  # its gradient: 2 x the rows
                weights = layer.trainable_variables
                optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
                return loss

        else:
            variable = de.get_variable(
                name, dim=spec.dim, initializer=0.0, init_size=spec.keys, devices=["/CPU:0"]
            )

            def call(ids: tf.Tensor) -> tf.Tensor:
                return variable.lookup(ids)

        for start in range(0, spec.keys, _FILL):
            part = tf.constant(keys[start : start + _FILL])
            values = tf.random.uniform([len(part), spec.dim], -0.05, 0.05)
            variable.upsert(part, values)
        self._variable = variable
        # The first call makes the optimizer's slots, which a loop cannot.
        tf.function(call)(tf.constant(batches[0]))
        self._call = tables_tf.in_turn(call, batches)

    def run(self, i: int) -> None:
        self._call()


CONTESTANTS = {**tables_tf.CONTESTANTS, "tfra": Tfra}
