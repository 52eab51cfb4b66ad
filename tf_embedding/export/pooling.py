# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pooling in TensorFlow's own ops; cc/core/pooling.h has the formulas."""

from __future__ import annotations

import tensorflow as tf


def row_splits(row_ids: tf.Tensor, num_rows: tf.Tensor) -> tf.Tensor:
    """Where each row begins, int64 [num_rows + 1], from sorted row ids, int64 [n].

    >>> row_splits(tf.constant([0, 0, 2], tf.int64), tf.constant(3, tf.int64)).numpy().tolist()
    [0, 2, 2, 3]
    """
    in_order = tf.reduce_all(row_ids[1:] >= row_ids[:-1])
    inside = tf.reduce_all((row_ids >= 0) & (row_ids < num_rows))
    message = "row ids are not sorted, or not in [0, num_rows); reorder the sparse tensor"
    checked = tf.debugging.Assert(in_order & inside, [message])
    with tf.control_dependencies([] if checked is None else [checked]):
        return tf.searchsorted(row_ids, tf.range(num_rows + 1), out_type=tf.int64)


def _bag_of_each(splits: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """The number of the bag that each of n keys is in, int64 [n]."""
    inner = splits[1:-1]
    begins = tf.scatter_nd(inner[:, None], tf.ones_like(inner), tf.reshape(n + 1, [1]))
    return tf.cumsum(begins)[:-1]


def pool(
    rows: tf.Tensor, splits: tf.Tensor, weights: tf.Tensor, combiner: str, max_norm: float
) -> tf.Tensor:
    """Combines the rows of each bag.

    Args:
      rows: float32 [n, dim].
      splits: int64 [num_bags + 1].
      weights: float32 [n], or [0] for 1 each.
      combiner: "sum", "mean" or "sqrtn".
      max_norm: the L2 norm that each row is clipped to first; 0 for none.

    Returns:
      float32 [num_bags, dim]; zeros where the divisor is 0.

    >>> rows = tf.constant([[1.0], [3.0], [5.0]])
    >>> splits = tf.constant([0, 2, 2, 3], tf.int64)
    >>> pool(rows, splits, tf.zeros([0]), "mean", 0.0).numpy().tolist()
    [[2.0], [0.0], [5.0]]
    """
    n = tf.shape(rows, out_type=tf.int64)[0]
    message = "row_splits must begin with 0 and end with the number of keys"
    fits = tf.equal(splits[0], 0) & tf.equal(splits[-1], n)
    checked = tf.debugging.Assert(fits, [message])
    with tf.control_dependencies([] if checked is None else [checked]):
        bag_of = _bag_of_each(splits, n)
    num_bags = tf.size(splits, out_type=tf.int64) - 1
    dim = rows.shape[1]
    if weights.shape.num_elements() != 0:
        ones = tf.ones(tf.reshape(n, [1]))
        weights = tf.cond(tf.equal(tf.size(weights), 0), lambda: ones, lambda: weights)
    else:
        weights = None
    factors = weights
    if max_norm > 0:
        norms = tf.sqrt(tf.reduce_sum(rows * rows, axis=1))
        clip = tf.where(norms > max_norm, max_norm / norms, tf.ones_like(norms))
        factors = clip if weights is None else weights * clip
    if factors is not None:
        rows = rows * factors[:, None]
    pooled = tf.math.unsorted_segment_sum(rows, bag_of, num_bags)
    pooled.set_shape([None, dim])
    if combiner == "sum":
        return pooled
    if weights is None:
        divisor = tf.cast(splits[1:] - splits[:-1], tf.float32)
    else:
        terms = weights if combiner == "mean" else weights * weights
        divisor = tf.math.unsorted_segment_sum(terms, bag_of, num_bags)
    if combiner == "sqrtn":
        divisor = tf.sqrt(divisor)
    return tf.math.divide_no_nan(pooled, divisor[:, None])
