# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""From what users feed to keys and bags: dense, sparse, ragged; ints, strings."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional, Union

import numpy as np
import tensorflow as tf

from tf_embedding import hashing
from tf_embedding._library import ops


class Bags(NamedTuple):
    """Keys in bags, to be combined to one vector a bag.

    Attributes:
      keys: int64 [n], bag after bag.
      row_splits: int64 [num_bags + 1]; bag b is keys row_splits[b] up to
        row_splits[b + 1].
      weights: float32 [n], or None for one each.
      one_each: whether each bag is known to be one key before any value is, as those
        of ids [batch] are. Without weights and clipping it is that key's vector.
    """

    keys: tf.Tensor
    row_splits: tf.Tensor
    weights: Optional[tf.Tensor]
    one_each: bool = False


Ids = Union[tf.Tensor, tf.SparseTensor, tf.RaggedTensor]


def to_int64(keys: Any, argument: str) -> tf.Tensor:
    """Widens int32 keys; raises TypeError, naming the argument, for others."""
    in_parts = isinstance(keys, (list, tuple)) and any(map(tf.is_tensor, tf.nest.flatten(keys)))
    if not tf.is_tensor(keys) and not in_parts:
        # Python integers would default to int32 and overflow.
        array = np.asarray(keys)
        keys = tf.convert_to_tensor(array.astype(np.int64) if array.size == 0 else array)
    keys = tf.convert_to_tensor(keys)
    if keys.dtype == tf.int64:
        return keys
    if keys.dtype in (tf.int32, tf.int16, tf.int8, tf.uint8, tf.uint16, tf.uint32):
        return tf.cast(keys, tf.int64)
    raise TypeError(
        f"{argument} has dtype {keys.dtype.name}; keys are int64 or int32. "
        "tf_embedding.hashing.hash_strings makes keys of strings"
    )


def _keys_of(values: Any) -> tf.Tensor:
    if tf.is_tensor(values) and values.dtype == tf.string:
        return hashing.hash_strings(values)
    return to_int64(values, "ids")


def to_keys(ids: Any) -> Ids:
    """Turns ids into int64 keys of the same structure.

    Integers are keys as they are; strings are hashed by `hashing.hash_strings`.

    Args:
      ids: a dense, sparse or ragged tensor (or what converts to a dense one) of
        int64, int32 or string.

    Returns:
      The same kind of tensor, of int64.

    Raises:
      TypeError: the ids are of another dtype.

    >>> to_keys(tf.constant([1, 2], tf.int32)).dtype.name
    'int64'
    """
    if isinstance(ids, tf.SparseTensor):
        return tf.SparseTensor(ids.indices, _keys_of(ids.values), ids.dense_shape)
    if isinstance(ids, tf.RaggedTensor):
        return ids.with_flat_values(_keys_of(ids.flat_values))
    if not tf.is_tensor(ids):
        ids = tf.convert_to_tensor(ids) if _holds_strings(ids) else to_int64(ids, "ids")
    return _keys_of(ids)


def _holds_strings(ids: Any) -> bool:
    while isinstance(ids, (list, tuple)) and ids:
        ids = ids[0]
    kind = getattr(getattr(ids, "dtype", None), "kind", "")
    return isinstance(ids, (str, bytes)) or kind in ("U", "S", "O")


def row_splits(row_ids: tf.Tensor, num_rows: Any) -> tf.Tensor:
    """Where each row begins, from the sorted row ids of its values.

    Args:
      row_ids: int64 [n], sorted, in [0, num_rows).
      num_rows: scalar.

    Returns:
      int64 [num_rows + 1].

    Raises:
      tf.errors.InvalidArgumentError: ids are not sorted, or out of range.

    >>> row_splits(tf.constant([0, 0, 2], tf.int64), 3).numpy().tolist()
    [0, 2, 2, 3]
    """
    return ops.tf_embedding_row_splits(
        row_ids=tf.cast(row_ids, tf.int64), num_rows=tf.cast(num_rows, tf.int64)
    )


def to_bags(ids: Any, weights: Any = None) -> Bags:
    """Turns ids of a batch into bags, one for each example.

    Args:
      ids: int64, int32 or string; dense [batch] (one id a bag) or [batch, n], sparse
        [batch, n], or ragged [batch, None].
      weights: None, or floats of the same structure as ids.

    Returns:
      The bags.

    Raises:
      TypeError: ids have a dtype that is no key, or weights another structure.
      ValueError: ids have a rank other than 1 or 2.

    >>> bags = to_bags(tf.ragged.constant([[3, 4], [], [5]]))
    >>> bags.keys.numpy().tolist(), bags.row_splits.numpy().tolist()
    ([3, 4, 5], [0, 2, 2, 3])
    """
    keys = to_keys(ids)
    rank = keys.shape.rank
    if rank not in (1, 2):
        raise ValueError(f"ids have rank {rank}; bags are made of ids [batch] or [batch, n]")
    if isinstance(keys, tf.SparseTensor):
        if rank != 2:
            raise ValueError("sparse ids have rank 1; bags are made of sparse ids [batch, n]")
        if weights is not None and not isinstance(weights, tf.SparseTensor):
            raise TypeError("weights must be a SparseTensor, as ids are")
        splits = row_splits(keys.indices[:, 0], keys.dense_shape[0])
        return Bags(keys.values, splits, _weights_of(weights, "values"))
    if isinstance(keys, tf.RaggedTensor):
        if keys.ragged_rank != 1 or keys.flat_values.shape.rank != 1:
            raise ValueError("ragged ids must be [batch, None]")
        if weights is not None and not isinstance(weights, tf.RaggedTensor):
            raise TypeError("weights must be a RaggedTensor, as ids are")
        splits = tf.cast(keys.row_splits, tf.int64)
        return Bags(keys.flat_values, splits, _weights_of(weights, "flat_values"))
    if isinstance(weights, (tf.SparseTensor, tf.RaggedTensor)):
        raise TypeError("weights must be dense, as ids are")
    shape = tf.shape(keys, out_type=tf.int64)
    length = tf.constant(1, tf.int64) if rank == 1 else shape[1]
    flat_weights = None
    if weights is not None:
        flat_weights = tf.reshape(tf.cast(weights, tf.float32), [-1])
    splits = tf.range(shape[0] + 1, dtype=tf.int64) * length
    one_each = rank == 1 or keys.shape[1] == 1
    return Bags(tf.reshape(keys, [-1]), splits, flat_weights, one_each)


def _weights_of(weights: Any, attribute: str) -> Optional[tf.Tensor]:
    return None if weights is None else tf.cast(getattr(weights, attribute), tf.float32)
