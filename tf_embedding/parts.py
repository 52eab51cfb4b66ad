# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""A variable in parts: which part owns a key, and how parts act as one.

The part of a key is `(slice * num_parts) >> 16`, where slice is bits 32 to 47 of
the mixed key: SplitMix64's finaliser of `key + 0x9E3779B97F4A7C15`, all modulo
2^64. The 65,536 slices are fixed, and each part owns one range of them. So keys
of any pattern are spread evenly, and another number of parts moves slices whole.

Positions stay in order inside a part, so a row has the same bits in any number
of parts.
"""

from __future__ import annotations

import copy
from typing import Any, Callable, Mapping, NamedTuple, Optional, Sequence

import tensorflow as tf
from tensorflow.python.framework import ops as tf_ops
from tensorflow.python.ops import handle_data_util

from tf_embedding import checkpoint, saver
from tf_embedding._library import ops

MAX_PARTS = 1024

# The entries of a state that have a row for each key; the others are the same in
# every part.
_PER_ROW = ("keys", "values", "slots", "frequency", "version")


def check_num_parts(num_parts: Any) -> int:
    """Returns num_parts; raises ValueError unless it is an int in [1, 1024]."""
    if isinstance(num_parts, bool) or not hasattr(num_parts, "__index__"):
        raise ValueError(f"num_parts is {num_parts!r}; it must be an integer in [1, {MAX_PARTS}]")
    if not 1 <= int(num_parts) <= MAX_PARTS:
        raise ValueError(f"num_parts is {num_parts}; it must be in [1, {MAX_PARTS}]")
    return int(num_parts)


def part_of(key: int, num_parts: int) -> int:
    """The part that owns a key, in plain Python.

    >>> [part_of(key, 4) for key in (0, 1, 2, 5, 6, 7)]
    [2, 0, 0, 0, 2, 3]
    """
    mask = 2**64 - 1
    z = (key + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    z ^= z >> 31
    return (((z >> 32) & 0xFFFF) * num_parts) >> 16


class Share(NamedTuple):
    """What one table has to do with a batch of keys.

    Attributes:
      handle: of the table.
      keys: int64 [n], those that it owns, in position order.
      positions: int64 [n], where they are in the batch; None: the batch itself.
    """

    handle: tf.Tensor
    keys: tf.Tensor
    positions: Optional[tf.Tensor]

    def take(self, values: tf.Tensor) -> tf.Tensor:
        """Of values with one entry for each key of the batch, those of this share."""
        return values if self.positions is None else tf.gather(values, self.positions)

    def beside_table(self) -> Any:
        """A scope whose ops are placed where the table is, whatever the scopes around."""
        return tf_ops.colocate_with(self.handle, ignore_existing=True)


def shares_of(handles: Sequence[tf.Tensor], keys: tf.Tensor) -> list[Share]:
    """Deals a batch of keys, int64 [n], out to the tables of a variable's parts."""
    if len(handles) == 1:
        return [Share(handles[0], keys, None)]
    part_keys, positions = ops.tf_embedding_split_by_part(keys=keys, num_parts=len(handles))
    return [Share(*share) for share in zip(handles, part_keys, positions)]


def lookup(whole: tf.Tensor, handles: Sequence[tf.Tensor], keys: tf.Tensor, dim: int) -> tf.Tensor:
    """The vectors of keys of any shape, from the parts; differentiable in `whole`.

    Args:
      whole: the handle of the variable.
      handles: of the parts' tables.
      keys: int64.
      dim: the length of a vector.

    Returns:
      float32 [..., dim].
    """
    flat = tf.reshape(keys, [-1])
    shares = shares_of(handles, flat)
    rows = []
    for share in shares:
        with share.beside_table():
            rows.append(ops.tf_embedding_lookup(handle=share.handle, keys=share.keys, dim=dim))
    values = ops.tf_embedding_join_parts(
        handle=whole,
        keys=flat,
        positions=[share.positions for share in shares],
        # The gradient goes to the whole, not through the parts.
        rows=[tf.stop_gradient(part) for part in rows],
        dim=dim,
    )
    values = tf.reshape(values, tf.concat([tf.shape(keys), [dim]], axis=0))
    values.set_shape(keys.shape.concatenate([dim]))
    return values


def join(shares: Sequence[Share], outputs: Sequence[tf.Tensor]) -> tf.Tensor:
    """Puts what each share gave, one entry for each of its keys, in the order of the batch."""
    if len(shares) == 1:
        return outputs[0]
    order = tf.math.invert_permutation(tf.concat([share.positions for share in shares], axis=0))
    return tf.gather(tf.concat(list(outputs), axis=0), order)


def for_each(shares: Sequence[Share], act: Callable[[Share], Any]) -> list[Any]:
    """Calls act on every share, its ops placed beside the share's table."""
    if len(shares) == 1:
        return [act(shares[0])]
    results = []
    for share in shares:
        with share.beside_table():
            results.append(act(share))
    return results


def beside_each(handles: Sequence[tf.Tensor], act: Callable[[tf.Tensor], Any]) -> list[Any]:
    """Calls act on the handle of every part, its ops placed beside the part's table."""
    results = []
    for handle in handles:
        with tf_ops.colocate_with(handle, ignore_existing=True):
            results.append(act(handle))
    return results


def checked(
    keys: tf.Tensor, values: tf.Tensor, dim: int, argument: str, counts: Any = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Keys and values, after a check of what each part sees only its share of.

    So that no part changes where another refuses.

    Raises:
      tf.errors.InvalidArgumentError: keys are no vector, values not a row of dim values
        for each key, or counts not one in [1, 2^31] for each key.
    """
    n = tf.size(keys, out_type=tf.int64)
    checks = [
        tf.debugging.assert_equal(tf.rank(keys), 1, "keys must be a vector"),
        tf.debugging.assert_equal(
            tf.shape(values, out_type=tf.int64),
            tf.stack([n, dim]),
            f"{argument} must be a matrix with a row of dim values for each key",
        ),
    ]
    if counts is not None:
        message = "counts must be a vector with one in [1, 2147483648] for each key"
        checks += [
            tf.debugging.assert_equal(tf.shape(counts, out_type=tf.int64), [n], message),
            tf.debugging.assert_greater_equal(counts, tf.ones([], tf.int64), message),
            tf.debugging.assert_less_equal(counts, tf.constant(2**31, tf.int64), message),
        ]
    with tf.control_dependencies([check for check in checks if check is not None]):
        return tf.identity(keys), tf.identity(values)


class WholeHandle(tf.saved_model.experimental.TrackableResource):  # type: ignore[misc]
    """The handle that names a variable in parts: what its gradient is taken of."""

    def __init__(self, dim: int, shared_name: str, op_name: Optional[str]) -> None:
        super().__init__(device="")
        self._dim = dim
        self._shared_name = shared_name
        self._op_name = op_name

    def _create_resource(self) -> tf.Tensor:
        handle = ops.tf_embedding_parts_handle(
            shared_name=self._shared_name,
            dim=self._dim,
            shape=[None, self._dim],
            name=self._op_name,
        )
        handle._handle_data = handle_data_util.create_handle_data(
            tf.TensorShape([0, self._dim]), tf.float32
        )
        return handle

    def _initialize(self) -> None:
        """There is nothing behind it."""

    def _destroy_resource(self) -> None:
        """There is nothing behind it."""


class PartitionedTable(
    saver.Saved,
    tf.__internal__.tracking.AutoTrackable,  # type: ignore[misc]
):
    """The tables of a variable's parts, which a checkpoint knows as one.

    What it saves does not tell how many parts there were: rows of all parts, one
    after another, under their keys. A restore gives each part what it owns.
    """

    def __init__(self, whole: WholeHandle, tables: Sequence[Any]) -> None:
        super().__init__()
        self.whole = whole
        self.dim = int(tables[0].dim)
        self.tables = list(tables)
        # What stands for a table: in a SavedModel's graph, its copy there.
        self._stands_for: Callable[[Any], Any] = lambda table: table

    def _here(self) -> list[Any]:
        return [self._stands_for(table) for table in self.tables]

    def _export_to_saved_model_graph(
        self, object_map: Any, tensor_map: Any, options: Any, **kwargs: Any
    ) -> list[Any]:
        # The tables are copied too, in whatever order: they are asked for later.
        copied = copy.copy(self)
        copied._stands_for = lambda table: object_map[table]
        object_map[self] = copied
        return []

    def export_state(self) -> dict[str, tf.Tensor]:
        """All content as named tensors, part after part, each of one moment."""
        states = []
        for table in self._here():
            with tf_ops.colocate_with(table.resource_handle, ignore_existing=True):
                states.append(table.export_state())
        merged = dict(states[0])
        for name in _PER_ROW:
            merged[name] = tf.concat([state[name] for state in states], axis=0)
        return merged

    def import_state(self, state: Mapping[str, Any]) -> Any:
        """Makes the content exactly this, each row in the part that owns its key."""
        tables = self._here()
        handles = [table.resource_handle for table in tables]
        rows = {name: tf.convert_to_tensor(state[name]) for name in _PER_ROW}
        done = []
        for table, share in zip(tables, shares_of(handles, rows["keys"])):
            of_part = {name: share.take(tensor) for name, tensor in rows.items()}
            with share.beside_table():
                done.append(table.import_state({**state, **of_part}))
        return None if tf.executing_eagerly() else tf.group(*done)

    def handles(self) -> list[tf.Tensor]:
        """Of the tables of all parts, in order."""
        return [table.resource_handle for table in self._here()]

    def save_blocks(self) -> tf.Tensor:
        """All content as a tensor that can be saved; see `checkpoint.save_blocks`."""
        return checkpoint.save_blocks(self.handles())

    def load_blocks(self, blocks: tf.Tensor) -> Any:
        """Makes the content that of saved blocks; see `checkpoint.load_blocks`."""
        return checkpoint.load_blocks(self.handles(), blocks)
