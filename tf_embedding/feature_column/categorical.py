# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The categorical columns of an open vocabulary."""

from __future__ import annotations

import collections
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any, Optional

import tensorflow as tf
from tensorflow.python.feature_column import feature_column as fc_v1
from tensorflow.python.feature_column import feature_column_v2 as fc_v2
from tensorflow.python.feature_column import serialization

from tf_embedding import hashing, options
from tf_embedding.feature_column import ids as ids_lib
from tf_embedding.feature_column import rows
from tf_embedding.inputs import to_int64

_DTYPES = (tf.string, tf.int64)

# Columns that need to know how many ids there are, by the function that makes them.
_CLOSED = {"indicator_column": "multi-hot vector", "crossed_column": "cross"}


def _refuse_closed(frame: Optional[FrameType], name: str) -> None:
    """Raises ValueError if a column that needs a vocabulary is being made of this one.

    Such a function asks nothing of a column but its class, by `isinstance`: what
    runs this is the class attribute, and what called it is on the stack.
    """
    for _ in range(3):
        if frame is None:
            return
        code = frame.f_code
        if code.co_name in _CLOSED and code.co_filename == fc_v2.__file__:
            raise ValueError(
                f"{code.co_name} cannot be made of column {name!r}: its vocabulary is open, so "
                f"it has no {_CLOSED[code.co_name]}. Use an embedding_column of it, or "
                "for a cross the feature's name and a categorical_column_with_embedding of the "
                "crossed strings"
            )
        frame = frame.f_back


@serialization.register_feature_column
class EmbeddingCategoricalColumn(
    fc_v2.CategoricalColumn,  # type: ignore[misc]
    fc_v1._CategoricalColumn,  # type: ignore[misc]
    collections.namedtuple("_Column", ("key", "dtype", "partition_num", "ev_option")),
):
    """See `categorical_column_with_embedding`."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        _refuse_closed(sys._getframe(1), self.key)
        return type(self)

    # Options may hold arrays, which have no hash and no plain equality.

    def __hash__(self) -> int:
        return hash(tuple(self)[:3])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EmbeddingCategoricalColumn):
            return False
        return tuple(self)[:3] == tuple(other)[:3] and self.ev_option is other.ev_option

    def __ne__(self, other: object) -> bool:
        return not self == other

    @property
    def _is_v2_column(self) -> bool:
        return True

    @property
    def name(self) -> str:
        """The key of the feature."""
        return str(self.key)

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        """How `tf.io.parse_example` reads the feature."""
        return {self.key: tf.io.VarLenFeature(self.dtype)}

    @property
    def _parse_example_spec(self) -> dict[str, Any]:
        return self.parse_example_spec

    @property
    def num_buckets(self) -> int:
        """Rows of the weight that a stock column makes for itself; nothing reads it."""
        caller = rows.calling_column()
        if isinstance(caller, (fc_v2.IndicatorColumn, fc_v1._IndicatorColumn)):
            raise ValueError(
                f"indicator_column cannot be made of column {self.key!r}: its vocabulary is open. "
                "Use an embedding_column of it"
            )
        rows.refuse_checkpoint(getattr(caller, "ckpt_to_load_from", None), self.key)
        return 1

    @property
    def _num_buckets(self) -> int:
        return self.num_buckets

    def _keys(self, feature: Any) -> tf.SparseTensor:
        # Of dense features, -1 and "" stand for nothing, as in all columns.
        sparse = fc_v2._to_sparse_input_and_drop_ignore_values(feature)
        values = sparse.values
        if (self.dtype == tf.string) != (values.dtype == tf.string):
            raise ValueError(
                f"feature {self.key!r} has dtype {values.dtype.name}, but its column has "
                f"dtype={self.dtype.name}. Give the column the dtype of the feature"
            )
        if values.dtype == tf.string:
            keys = hashing.hash_strings(values)
        else:
            keys = to_int64(values, f"feature {self.key!r}")
        return tf.SparseTensor(sparse.indices, keys, sparse.dense_shape)

    def transform_feature(self, transformation_cache: Any, state_manager: Any) -> Any:
        """The keys of the feature, sparse."""
        feature = transformation_cache.get(self.key, state_manager)
        return ids_lib.tag(self._keys(feature), self, state_manager)

    def _transform_feature(self, inputs: Any) -> Any:
        return ids_lib.tag(self._keys(inputs.get(self.key)), self, None)

    def get_sparse_tensors(self, transformation_cache: Any, state_manager: Any) -> Any:
        """The keys of the feature, without weights."""
        return self.IdWeightPair(transformation_cache.get(self, state_manager), None)

    def _get_sparse_tensors(
        self, inputs: Any, weight_collections: Any = None, trainable: Any = None
    ) -> Any:
        del weight_collections, trainable
        return self.IdWeightPair(inputs.get(self), None)

    @property
    def parents(self) -> list[str]:
        """The key of the feature."""
        return [self.key]

    def get_config(self) -> dict[str, Any]:
        """The arguments, as plain values.

        Raises:
          ValueError: ev_option holds an initializer that is no name.
        """
        return {
            "key": self.key,
            "dtype": self.dtype.name,
            "partition_num": self.partition_num,
            "ev_option": options.to_config(self.ev_option),
        }

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Any = None, columns_by_name: Any = None
    ) -> EmbeddingCategoricalColumn:
        """The inverse of `get_config`."""
        del custom_objects, columns_by_name
        return categorical_column_with_embedding(
            **{**config, "ev_option": options.from_config(config.get("ev_option"))}
        )


@serialization.register_feature_column
class SequenceEmbeddingCategoricalColumn(fc_v2.SequenceCategoricalColumn):  # type: ignore[misc]
    """See `sequence_categorical_column_with_embedding`."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        _refuse_closed(sys._getframe(1), self.categorical_column.key)
        return type(self)


def categorical_column_with_embedding(
    key: str,
    dtype: Any = tf.string,
    partition_num: Optional[int] = None,
    ev_option: Any = None,
) -> EmbeddingCategoricalColumn:
    """A categorical column without a vocabulary: every value is a key with a row of its own.

    It takes the place of `tf.feature_column.categorical_column_with_hash_bucket`
    under TensorFlow's own `embedding_column`, `shared_embeddings`,
    `shared_embedding_columns`, `weighted_categorical_column` and `linear_model`, and
    under `te.feature_column.embedding_column`, which needs no weight beside the rows.

    Strings become keys by `te.hashing.hash_strings`: FarmHash Fingerprint64, the same
    in every version. Integers are keys as they are. In a dense feature -1 and "" stand
    for nothing, as in every categorical column; in a sparse one they are values
    like others.

    Source: DeepRec's function of this name, whose arguments it takes.

    Args:
      key: the name of the feature.
      dtype: of the feature, tf.string or tf.int64.
      partition_num: how many parts the rows are cut into; None for one.
      ev_option: a `te.EmbeddingVariableOption` for the rows, or None.

    Returns:
      The column.

    Raises:
      ValueError: an argument is out of its range.
      NotImplementedError: ev_option asks for what variables cannot do.

    >>> import tensorflow as tf
    >>> column = categorical_column_with_embedding("item", dtype=tf.int64)
    >>> column.name, column.parse_example_spec
    ('item', {'item': VarLenFeature(dtype=tf.int64)})
    """
    if not isinstance(key, str) or not key:
        raise ValueError(f"key is {key!r}; it must be the name of a feature")
    try:
        dtype = tf.as_dtype(dtype)
    except TypeError:
        raise ValueError(f"dtype is {dtype!r}; it must be tf.string or tf.int64") from None
    if dtype not in _DTYPES:
        raise ValueError(f"dtype is {dtype.name}; it must be tf.string or tf.int64")
    if partition_num is not None:
        if isinstance(partition_num, bool) or not isinstance(partition_num, int):
            raise ValueError(f"partition_num is {partition_num!r}; it must be an int, or None")
        if partition_num < 1:
            raise ValueError(f"partition_num is {partition_num}; it must be 1 or more")
    options.refuse_what_is_missing(options.check(ev_option), key)
    return EmbeddingCategoricalColumn(key, dtype, partition_num, ev_option)


def sequence_categorical_column_with_embedding(
    key: str,
    dtype: Any = tf.string,
    partition_num: Optional[int] = None,
    ev_option: Any = None,
) -> SequenceEmbeddingCategoricalColumn:
    """As `categorical_column_with_embedding`, for a feature whose values are in order.

    An `embedding_column` of it gives one vector a value, [batch, steps, dim], to
    `SequenceFeatures`.

    Args:
      key: the name of the feature.
      dtype: as above.
      partition_num: as above.
      ev_option: as above.

    Returns:
      The column.

    Raises:
      ValueError: an argument is out of its range.

    >>> sequence_categorical_column_with_embedding("words").name
    'words'
    """
    return SequenceEmbeddingCategoricalColumn(
        categorical_column_with_embedding(key, dtype, partition_num, ev_option)
    )


def base_of(column: Any) -> Optional[EmbeddingCategoricalColumn]:
    """The column of an open vocabulary inside of weighted and sequence columns, or None."""
    wrappers = (fc_v2.WeightedCategoricalColumn, fc_v2.SequenceCategoricalColumn)
    while isinstance(column, wrappers):
        column = column.categorical_column
    return column if isinstance(column, EmbeddingCategoricalColumn) else None
