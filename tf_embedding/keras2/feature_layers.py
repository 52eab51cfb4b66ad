# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keras 2's DenseFeatures, whose rows a .keras or .weights.h5 file can hold."""

from __future__ import annotations

from typing import Any

import tf_embedding.feature_column  # noqa: F401  (its columns can then be deserialized)
from tf_embedding import _keras_store
from tf_embedding.keras2 import _keras
from tf_embedding.variable import EmbeddingVariable

__all__ = ["DenseFeatures"]


@_keras.keras.utils.register_keras_serializable(package="tf_embedding")
class DenseFeatures(_keras.keras.layers.DenseFeatures):  # type: ignore[misc]
    """The dense tensor of feature columns: Keras' own layer, and files.

    The stock layer works as well with columns of `te.feature_column`; its rows go into
    `tf.train.Checkpoint` and SavedModels. This one's go into .keras and .weights.h5
    files too.

    >>> import tensorflow as tf, tf_embedding as te
    >>> from tf_embedding.keras2 import layers
    >>> items = te.feature_column.categorical_column_with_embedding("item", tf.int64)
    >>> layer = layers.DenseFeatures([tf.feature_column.embedding_column(items, 4)])
    >>> layer({"item": tf.constant([[7, 2**60], [5, -1]], tf.int64)}).shape
    TensorShape([2, 4])
    """

    def save_own_variables(self, store: Any) -> None:
        """Puts rows and weights into `store`."""
        for index, weight in enumerate(self.weights):
            if isinstance(weight, EmbeddingVariable):
                _keras_store.save(store, f"{index}_", weight)
            else:
                store[f"{index}"] = weight.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Replaces rows and weights by those of `store`.

        Raises:
          ValueError: The store does not hold those of this layer.
        """
        for index, weight in enumerate(self.weights):
            if isinstance(weight, EmbeddingVariable):
                _keras_store.load(store, f"{index}_", weight)
            elif f"{index}" not in store:
                raise ValueError(
                    f"The file holds no '{index}' for layer {self.name!r}: it was saved from "
                    "another model."
                )
            else:
                weight.assign(store[f"{index}"])
