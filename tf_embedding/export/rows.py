# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""A table frozen into TensorFlow's own variables and ops."""

from __future__ import annotations

from typing import NamedTuple, Optional, Sequence

import numpy as np
import tensorflow as tf

from tf_embedding._library import ops
from tf_embedding.export import index, initial

ROW_DTYPES = ("float32", "float16", "int8")

# Rows that are quantised at a time.
_BLOCK = 1 << 16

# Of how many keys without a row the table is asked.
_ASKED = 64


class Content(NamedTuple):
    """What lookups of a table answer from.

    Attributes:
      keys: int64 [n], distinct: those with a row.
      values: float32 [n, dim].
      kind: of the vectors of other keys: "constant", "uniform", "normal",
        "truncated_normal" or "matrix".
      a: the constant, the lower end, or the mean.
      b: the upper end, or the standard deviation.
      seed: of the random kinds.
      matrix: float32 [m, dim] of kind "matrix": key k reads row k mod m.
    """

    keys: np.ndarray
    values: np.ndarray
    kind: str
    a: float
    b: float
    seed: int
    matrix: np.ndarray


def read(handles: Sequence[tf.Tensor], dim: int) -> Content:
    """What lookups of tables answer from: the parts of one variable, or one table.

    What keys without a row read is asked of the table, not only inferred from its
    initializer: a filter may give them a value of its own.

    Args:
      handles: of the tables, eager.
      dim: the length of a vector.

    Returns:
      Their content, each table of one moment.

    Raises:
      NotImplementedError: keys without a row do not read what the initializer gives,
        nor one value.
    """
    keys, values = [], []
    for handle in handles:
        state = ops.tf_embedding_export(handle=handle, dim=dim)
        keys.append(state.keys.numpy())
        values.append(state.values.numpy())
    # Parts of one variable start rows alike.
    a, b = state.init_args.numpy().tolist()
    content = Content(
        keys=np.concatenate(keys),
        values=np.concatenate(values),
        kind=state.initializer.numpy().decode(),
        a=a,
        b=b,
        seed=int(state.seed),
        matrix=state.matrix.numpy(),
    )
    asked = _without_rows(handles, dim)
    answer = ops.tf_embedding_lookup(handle=handles[0], keys=asked, dim=dim).numpy()
    if content.kind == "constant" or not np.allclose(
        answer, _initial_rows(content, asked, dim), rtol=0, atol=1e-6, equal_nan=True
    ):
        one = answer[0, 0]
        if not np.array_equal(answer, np.full_like(answer, one), equal_nan=True):
            raise NotImplementedError(
                "keys without a row read neither what the initializer "
                f"{content.kind!r} gives nor one value, which a stock export cannot express"
            )
        content = content._replace(kind="constant", a=float(one))
    return content


def _without_rows(handles: Sequence[tf.Tensor], dim: int) -> np.ndarray:
    """Some keys that no table has."""
    drawn = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 2 * _ASKED)
    there = np.zeros(len(drawn), bool)
    for handle in handles:
        there |= ops.tf_embedding_find(handle=handle, keys=drawn, dim=dim).found.numpy()
    return drawn[~there][:_ASKED]


def _initial_rows(content: Content, keys: np.ndarray, dim: int) -> np.ndarray:
    """What an initializer that is no constant gives keys."""
    if content.kind == "matrix":
        rows: np.ndarray = content.matrix[np.mod(keys, len(content.matrix))]
        return rows
    a, b, seed = content.a, content.b, content.seed
    rows = initial.random_rows(content.kind, a, b, seed, tf.constant(keys), dim).numpy()
    return rows


def _to_float16(values: np.ndarray, name: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16)
    if not np.array_equal(np.isfinite(halves), np.isfinite(values)):
        worst = np.abs(values[np.isfinite(values)]).max()
        raise ValueError(
            f"rows is 'float16', but table {name!r} has a value of {worst:g}; float16 ends at "
            "65504. Use float32 or int8"
        )
    return halves


def _to_int8(values: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """int8 [n, dim] and the scale of each row: value = int8 * scale, to half a scale.

    A row of values below 2e-36 becomes zeros.
    """
    quantised = np.empty(values.shape, np.int8)
    scales = np.empty(len(values), np.float32)
    for begin in range(0, len(values), _BLOCK):
        block = values[begin : begin + _BLOCK]
        if not np.isfinite(block).all():
            raise ValueError(
                f"rows is 'int8', but table {name!r} has values that are not finite. Use float32"
            )
        scale = np.abs(block).max(axis=1) / np.float32(127)
        # TensorFlow's kernels take subnormal numbers for 0.
        scale[scale < np.finfo(np.float32).tiny] = 0
        of_rows = np.where(scale > 0, scale, np.float32(1))[:, None]
        quantised[begin : begin + _BLOCK] = np.rint(block / of_rows)
        scales[begin : begin + _BLOCK] = scale
    return quantised, scales


class StockTable(tf.Module):  # type: ignore[misc]
    """Answers lookups as a table did, by TensorFlow's own ops and variables.

    Args:
      content: of the table.
      name: of the variables, and in errors.
      rows: "float32", "float16" or "int8", see `tf_embedding.export.stock`.

    Raises:
      ValueError: the values do not fit that dtype.

    >>> content = Content(
    ...     np.array([7]), np.array([[1.0, 2.0]], np.float32), "constant", 0.5, 0.0, 0,
    ...     np.zeros([0, 2], np.float32),
    ... )
    >>> table = StockTable(content, "users", "float32")
    >>> table.lookup(tf.constant([7, 8], tf.int64)).numpy().tolist()
    [[1.0, 2.0], [0.5, 0.5]]
    """

    def __init__(self, content: Content, name: str, rows: str) -> None:
        super().__init__()
        self.dim = int(content.values.shape[1])
        self._content = content._replace(
            keys=np.zeros([0], np.int64), values=np.zeros([0, self.dim], np.float32)
        )
        self._index = index.StaticIndex(content.keys, name)
        # Behind the rows come those that other keys read, if they are known.
        self._unknown = self._unknown_rows()
        values = np.concatenate([content.values[self._index.order], self._unknown])
        self._scales: Optional[tf.Variable] = None
        if rows == "float16":
            values = _to_float16(values, name)
        elif rows == "int8":
            values, scales = _to_int8(values, name)
            self._scales = tf.Variable(scales, trainable=False, name=f"{name}/scales")
        self._rows = tf.Variable(values, trainable=False, name=f"{name}/rows")
        # One function for all lookups keeps the graph of many small.
        self._lookup = tf.function(
            self._lookup_flat, [tf.TensorSpec([None], tf.int64)], autograph=False
        ).get_concrete_function()

    @property
    def size(self) -> int:
        """The number of keys with a row."""
        return self._index.size

    def _unknown_rows(self) -> np.ndarray:
        content = self._content
        if content.kind == "matrix":
            return content.matrix
        # Of the random kinds a place that lookups may read and do not use.
        a = 0.0 if content.kind in initial.RANDOM_KINDS else content.a
        return np.full([1, self.dim], a, np.float32)

    def lookup(self, keys: tf.Tensor) -> tf.Tensor:
        """The vectors of keys: float32 [..., dim] for int64 [...]."""
        values = self._lookup(tf.reshape(keys, [-1]))
        values = tf.reshape(values, tf.concat([tf.shape(keys), [self.dim]], axis=0))
        values.set_shape(keys.shape.concatenate([self.dim]))
        return values

    def _lookup_flat(self, keys: tf.Tensor) -> tf.Tensor:
        number = self._index.find(keys)
        if self._content.kind == "matrix":
            of_key = tf.math.floormod(keys, tf.constant(len(self._unknown), tf.int64))
            return self._gather(tf.where(number < self.size, number, self.size + of_key))
        values = self._gather(number)
        if self._content.kind not in initial.RANDOM_KINDS:
            return values
        known = number < self.size
        return tf.cond(
            tf.reduce_all(known),
            lambda: values,
            lambda: self._fill_unknown(values, keys, tf.logical_not(known)),
        )

    def _gather(self, numbers: tf.Tensor) -> tf.Tensor:
        values = tf.cast(tf.gather(self._rows, numbers), tf.float32)
        if self._scales is not None:
            values = values * tf.gather(self._scales, numbers)[:, None]
        return values

    def _fill_unknown(self, values: tf.Tensor, keys: tf.Tensor, unknown: tf.Tensor) -> tf.Tensor:
        content = self._content
        born = initial.random_rows(
            content.kind, content.a, content.b, content.seed, keys[unknown], self.dim
        )
        return tf.tensor_scatter_nd_update(values, tf.where(unknown), born)
