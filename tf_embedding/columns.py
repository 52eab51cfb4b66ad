# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gradients that are columns of a wider matrix, for the update to read where they lie.

Vectors of many features are mostly put side by side, for the first dense layer, and
TensorFlow splits the gradient of that up again: a pass through memory for nothing,
since an update can as well read the columns that are its own. So it looks at where its
gradient comes from. That is seen in a graph only; eager tensors are what they are.
"""

from __future__ import annotations

from typing import Optional

import numpy as np
import tensorflow as tf


def of(values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The matrix that values are columns of.

    Args:
      values: float32 [n, dim], where dim is known.

    Returns:
      A matrix [n, width] and the number of the column, an int64 scalar, in which
      values begin there; or values themselves and -1.

    >>> @tf.function
    ... def first_columns(wide):
    ...     return [of(part)[1] for part in tf.split(wide, [2, 3, 4], axis=1)]
    >>> [int(column) for column in first_columns(tf.zeros([5, 9]))]
    [0, 2, 5]
    >>> int(of(tf.zeros([5, 9]))[1])
    -1
    """
    whole = values, tf.constant(-1, tf.int64)
    # Of columns whose number is not known until they are there, it could not be checked.
    if not tf.is_symbolic_tensor(values) or values.shape.rank != 2 or values.shape[1] is None:
        return whole
    source = values.op
    if source.type == "SplitV":
        wide, sizes, axis = source.inputs
        if wide.shape.rank == 2 and _axis(axis) in (1, -1):
            before = _sum(sizes, values.value_index)
            return whole if before is None else (wide, before)
    if source.type == "Slice" and source.inputs[1].op.type == "ConcatOffset":
        # What tf.concat's gradient makes of few features: all rows of each.
        wide, begin, _ = source.inputs
        if wide.shape.rank == 2 and _axis(begin.op.inputs[0]) == 1:
            with tf.device("CPU:0"):
                return wide, tf.cast(begin[1], tf.int64)
    return whole


def _sum(sizes: tf.Tensor, n: int) -> Optional[tf.Tensor]:
    """Of the first n sizes; None where one may be -1, which stands for what is left.

    Made on the host, where the update reads it.
    """
    known = tf.get_static_value(sizes)
    if known is not None:
        if min(known) < 0:
            return None
        return tf.constant(sum(int(size) for size in known[:n]), tf.int64)
    if not _are_shapes(sizes):
        return None
    with tf.device("CPU:0"):
        return tf.reduce_sum(tf.cast(sizes[:n], tf.int64))


def _are_shapes(sizes: tf.Tensor) -> bool:
    """Whether they are what tf.concat's gradient makes of many features: of their shapes."""
    op = sizes.op
    for kind in ("Squeeze", "Slice"):
        if op.type != kind:
            return False
        op = op.inputs[0].op
    return op.type == "Pack" and all(_is_shape(part) for part in op.inputs)


def _is_shape(sizes: tf.Tensor) -> bool:
    known = tf.get_static_value(sizes)  # where the shape is
    return sizes.op.type in ("Shape", "ShapeN") if known is None else bool(np.all(known >= 0))


def _axis(axis: tf.Tensor) -> Optional[int]:
    """Its value, where it is known; tf.concat's gradient takes it modulo the rank."""
    if axis.op.type != "FloorMod":
        value = tf.get_static_value(axis)
        return None if value is None else int(value)
    given, rank = (tf.get_static_value(part) for part in axis.op.inputs)
    return None if given is None or rank is None else int(given) % int(rank)
