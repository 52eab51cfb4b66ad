# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""`tf.feature_column` in Keras 3, which has no layer for it.

The columns are TensorFlow's, with or without a vocabulary; the layer gives them
what Keras 2's `DenseFeatures` does, a place for their weights. The rows of a
column without a vocabulary are trained and saved as those of the other layers of
this package, and a stock embedding column of one has no other weight here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Optional

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.feature_column import feature_column_v2 as fc_v2
from tensorflow.python.feature_column import serialization

from tf_embedding.feature_column import categorical
from tf_embedding.feature_column import rows as rows_lib
from tf_embedding.keras3.tables_layer import TablesLayer
from tf_embedding.keras3.variable import RowsVariable
from tf_embedding.variable import EmbeddingVariable

__all__ = ["DenseFeatures"]


class _StateManager(fc_v2.StateManager):  # type: ignore[misc]
    """Keeps the weights and the rows of columns in a layer of Keras 3."""

    def __init__(self, layer: Any) -> None:
        self._owner = layer
        self._found: dict[tuple[Any, str], Any] = {}
        self.rows: list[RowsVariable] = []
        self.dense: list[Any] = []

    def make_rows(self, options: Mapping[str, Any]) -> EmbeddingVariable:
        """Makes an embedding variable of these arguments, that the layer shows to Keras."""
        rows = EmbeddingVariable(**{**options, "trainable": True})
        shown = RowsVariable(rows, name=options["name"].replace("/", "_"))
        shown.trainable = options["trainable"]
        self.rows.append(shown)
        return rows

    def create_variable(
        self,
        feature_column: Any,
        name: str,
        shape: Any,
        dtype: Any = None,
        trainable: bool = True,
        use_resource: bool = True,
        initializer: Any = None,
    ) -> Any:
        """A weight of the layer; rows where a stock column has no vocabulary."""
        del use_resource
        column = categorical.base_of(getattr(feature_column, "categorical_column", None))
        if column is not None:
            made = rows_lib.make(
                column,
                self,
                resource=name,
                dim=shape[-1],
                initializer=initializer,
                name=f"{self._owner.name}/{feature_column.name}",
                trainable=trainable,
            )
            weight: Any = rows_lib.RowsHandle(made)
        else:
            weight = self._owner.add_weight(
                name=f"{feature_column.name}_{name}".replace("/", "_"),
                shape=shape,
                dtype=tf.as_dtype(dtype or tf.float32).name,
                trainable=trainable,
                initializer=lambda shape, dtype=None: initializer(shape, tf.as_dtype(dtype)),
            )
            # Keras files it; TensorFlow's checkpoints need to be told.
            self._owner._track_trackable(weight, f"dense_{len(self.dense)}", overwrite=True)
            self.dense.append(weight)
        self._found[feature_column, name] = weight
        return weight

    def get_variable(self, feature_column: Any, name: str) -> Any:
        """What `create_variable` made."""
        found = self._found[feature_column, name]
        return found.value if isinstance(found, keras.Variable) else found

    def add_resource(self, feature_column: Any, name: str, resource: Any) -> None:
        """Keeps a table of a column, or its rows."""
        self._found[feature_column, name] = resource
        if isinstance(resource, tf.__internal__.tracking.Trackable):
            self._owner._track_trackable(resource, f"{feature_column.name}_{name}", overwrite=True)

    def has_resource(self, feature_column: Any, name: str) -> bool:
        """Whether `add_resource` was called so."""
        return (feature_column, name) in self._found

    def get_resource(self, feature_column: Any, name: str) -> Any:
        """What `add_resource` was given."""
        return self._found[feature_column, name]


@keras.saving.register_keras_serializable(package="tf_embedding")
class DenseFeatures(TablesLayer):
    """The dense tensor of feature columns, as `tf.keras.layers.DenseFeatures` of Keras 2.

    Args:
      feature_columns: dense columns of `tf.feature_column` (embedding, numeric,
        indicator, bucketized) and of `te.feature_column`.
      **kwargs: `name`, `dtype`, `trainable` as of any Keras layer.

    Input: a dict from the keys of the features to tensors, dense, sparse or ragged.
    Output: the compute dtype, [batch, n]: the columns side by side, by name.

    Raises:
      ValueError: there is no column, a name comes twice, or a column is not dense.

    >>> import tensorflow as tf, tf_embedding as te
    >>> items = te.feature_column.categorical_column_with_embedding("item", tf.int64)
    >>> layer = te.layers.DenseFeatures([tf.feature_column.embedding_column(items, 4)])
    >>> layer({"item": tf.constant([[7, 2**60], [5, -1]], tf.int64)}).shape
    TensorShape([2, 4])
    """

    def __init__(self, feature_columns: Any, **kwargs: Any):
        super().__init__(**kwargs)
        columns = fc_v2._normalize_feature_columns(feature_columns)
        for column in columns:
            if not isinstance(column, fc_v2.DenseColumn):
                raise ValueError(
                    f"feature_columns of layer {self.name!r} has {column!r}, which is not dense. "
                    "Wrap a categorical column in embedding_column"
                )
        self._columns = tuple(columns)
        self._manager: Optional[_StateManager] = None

    def build(self, input_shape: Any = None) -> None:
        """Makes the weights of the columns, whatever the shapes of the features."""
        if self._manager is not None:
            return
        super().build(None)
        manager = _StateManager(self)
        for column in self._columns:
            column.create_state(manager)
        self._show(manager.rows)
        self._manager = manager

    def call(self, features: Mapping[str, Any]) -> Any:
        """The columns side by side; never changes the rows."""
        cache = fc_v2.FeatureTransformationCache(
            {
                # TensorFlow's columns know no ragged tensors.
                name: feature.to_sparse() if isinstance(feature, tf.RaggedTensor) else feature
                for name, feature in features.items()
            }
        )
        found = []
        for column in self._columns:
            with tf.name_scope(fc_v2._sanitize_column_name_for_variable_scope(column.name)):
                tensor = column.get_dense_tensor(cache, self._manager)
                found.append(tf.reshape(tensor, [tf.shape(tensor)[0], self._width(column)]))
        return tf.cast(tf.concat(found, axis=-1), self.compute_dtype)

    @staticmethod
    def _width(column: Any) -> int:
        return int(column.variable_shape.num_elements())

    def compute_output_shape(self, input_shape: Mapping[str, Any]) -> tuple[Any, ...]:
        """[batch, n]."""
        batch = next((shape[0] for shape in input_shape.values()), None)
        return (batch, sum(map(self._width, self._columns)))

    def compute_output_spec(self, features: Mapping[str, Any]) -> keras.KerasTensor:
        """The output of a symbolic call."""
        shape = self.compute_output_shape({name: x.shape for name, x in features.items()})
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def save_own_variables(self, store: Any) -> None:
        """Writes rows, and the weights of columns with a vocabulary."""
        super().save_own_variables(store)
        for i, weight in enumerate(self._manager.dense if self._manager else ()):
            store[f"dense_{i}"] = np.asarray(weight)

    def load_own_variables(self, store: Any) -> None:
        """Replaces them by those of the file."""
        super().load_own_variables(store)
        for i, weight in enumerate(self._manager.dense if self._manager else ()):
            weight.assign(store[f"dense_{i}"])

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        columns = serialization.serialize_feature_columns(self._columns)
        return {**super().get_config(), "feature_columns": columns}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> DenseFeatures:
        """Makes a layer from `get_config`."""
        config = dict(config)
        columns: Iterable[Any] = serialization.deserialize_feature_columns(
            config.pop("feature_columns")
        )
        return cls(list(columns), **config)
