# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""How a restore goes, and the blocks that tables are saved as.

Saving and restoring is done by TensorFlow's and Keras' own calls; a table travels
in them as one variant tensor, whose elements are blocks of rows that come into
being when they are written. docs/checkpoint_format.md has their bytes.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from tf_embedding._library import ops

# The name of a table's tensor in a checkpoint, behind that of the table.
BLOCKS = "-blocks"


@dataclasses.dataclass(frozen=True)
class RestoreOptions:
    """What a restore may do that it does not do by default.

    Attributes:
      partial: parts of a variable may be missing from the checkpoint, and rows that
        it lacks stay as they are, with the variable's own rule and initializer. By
        default the content becomes exactly that of the checkpoint.
      change_dim: a checkpoint of another dim is taken: vectors and slots are cut, or
        filled up with initial values. By default that is an error.
    """

    partial: bool = False
    change_dim: bool = False

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, bool):
                raise ValueError(f"{field.name} is {value!r}; it must be True or False")


_DEFAULTS = RestoreOptions()
_options: contextvars.ContextVar[RestoreOptions] = contextvars.ContextVar("restore_options")


# The consumer that saves are for, whether they write all rows for it, where to note
# what they write, and whether loads apply a delta.
_consumer: contextvars.ContextVar[str] = contextvars.ContextVar("consumer", default="")
_all_rows: contextvars.ContextVar[bool] = contextvars.ContextVar("all_rows", default=False)
_notes: contextvars.ContextVar[Optional[list[tf.Tensor]]] = contextvars.ContextVar(
    "notes", default=None
)
_applying: contextvars.ContextVar[bool] = contextvars.ContextVar("applying", default=False)


@contextlib.contextmanager
def saving_for(consumer: str, all_rows: bool) -> Iterator[list[tf.Tensor]]:
    """A scope whose saves hold what changed since the base of that consumer, or all rows.

    Gives a list, to which each table's blocks are added.
    """
    notes: list[tf.Tensor] = []
    tokens = _consumer.set(consumer), _all_rows.set(all_rows), _notes.set(notes)
    try:
        yield notes
    finally:
        _consumer.reset(tokens[0])
        _all_rows.reset(tokens[1])
        _notes.reset(tokens[2])


@contextlib.contextmanager
def applying_delta() -> Iterator[None]:
    """A scope whose restores apply a delta to what there is."""
    token = _applying.set(True)
    try:
        yield
    finally:
        _applying.reset(token)


@contextlib.contextmanager
def restore_options(partial: bool = False, change_dim: bool = False) -> Iterator[None]:
    """A scope whose restores go by these options.

    It holds for restores asked for in this thread: `tf.train.Checkpoint.restore`,
    variables made for a restore that was asked for before, Keras' `load_weights`
    and `load_model`, and the restore op of a v1 `Saver` made in it.

    Args:
      partial: see `RestoreOptions`.
      change_dim: see `RestoreOptions`.

    Raises:
      ValueError: an argument is no bool.

    >>> import os, tempfile
    >>> import tensorflow as tf
    >>> import tf_embedding as te
    >>> wide = te.EmbeddingVariable(dim=4, initializer="zeros", name="wide")
    >>> wide.upsert([7], [[1.0, 2.0, 3.0, 4.0]])
    >>> prefix = os.path.join(tempfile.mkdtemp(), "ckpt")
    >>> path = tf.train.Checkpoint(rows=wide).save(prefix)
    >>> narrow = te.EmbeddingVariable(dim=2, name="narrow")
    >>> with te.checkpoint.restore_options(change_dim=True):
    ...     status = tf.train.Checkpoint(rows=narrow).restore(path)
    >>> narrow.sparse_read([7]).numpy().tolist()
    [[1.0, 2.0]]
    """
    token = _options.set(RestoreOptions(partial=partial, change_dim=change_dim))
    try:
        yield
    finally:
        _options.reset(token)


def verify(prefix: Any) -> dict[str, int]:
    """Reads a checkpoint as a restore would, every byte, without restoring it.

    One tensor at a time is in memory, a table as big as it is in training.

    Args:
      prefix: of the checkpoint, as `tf.train.latest_checkpoint` returns it; for a
        SavedModel `<folder>/variables/variables`.

    Returns:
      How many rows each table has, by the name of its tensor.

    Raises:
      tf.errors.DataLossError: something is missing, cut short or damaged. The message
        names the checkpoint, the tensor, and what is wrong with it.

    >>> import os, tempfile
    >>> import tensorflow as tf
    >>> import tf_embedding as te
    >>> words = te.EmbeddingVariable(dim=2, name="words")
    >>> words.upsert([1, 2, 3], [[0.0, 1.0]] * 3)
    >>> path = tf.train.Checkpoint(words=words).save(os.path.join(tempfile.mkdtemp(), "ckpt"))
    >>> te.checkpoint.verify(path)
    {'words/table/.ATTRIBUTES/-blocks': 3}
    """
    return {name: rows for name, (rows, _) in tables_in(prefix).items()}


def tables_in(prefix: Any) -> dict[str, tuple[int, int]]:
    """What `verify` returns, and the checksum of each table's blocks beside it."""
    prefix = os.fspath(prefix)
    if tf.executing_eagerly():
        found = [part.numpy() for part in ops.tf_embedding_verify_checkpoint(prefix=prefix)]
    else:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            found = session.run(ops.tf_embedding_verify_checkpoint(prefix=prefix))
    return {name.decode(): (int(rows), int(checksum)) for name, rows, checksum in zip(*found)}


def checksum_of(blocks: tf.Tensor) -> int:
    """Of what `save_blocks` gave and was written since: that of `tables_in`."""
    return int(ops.tf_embedding_blocks_checksum(blocks=blocks))


def save_blocks(handles: Sequence[tf.Tensor]) -> tf.Tensor:
    """The tables of a variable's parts as one tensor that can be saved.

    Args:
      handles: of all parts, in order.

    Returns:
      variant [n]: the blocks of each part and its footer, part after part. It holds
      no rows; each block is made when it is written.
    """
    parts = []
    for part, handle in enumerate(handles):
        with tf.device(handle.device or None):
            parts.append(
                ops.tf_embedding_save_blocks(
                    handle=handle,
                    part=part,
                    num_parts=len(handles),
                    consumer=_consumer.get(),
                    all_rows=_all_rows.get(),
                )
            )
    blocks = parts[0] if len(parts) == 1 else ops.tf_embedding_join_blocks(blocks=parts)
    notes = _notes.get()
    if notes is not None:
        notes.append(blocks)
    return blocks


def load_blocks(handles: Sequence[tf.Tensor], blocks: tf.Tensor) -> Any:
    """Makes the content of a variable that of `blocks`, each part taking its keys.

    Args:
      handles: of all parts, in order; however many there were when it was saved.
      blocks: what `save_blocks` gave, saved and restored or not. Do not use them
        again: where all parts are on one device, which then change together or not at
        all, the memory of each block goes back once its rows are in.

    Returns:
      int64 [3]: rows loaded, those of them whose slots begin anew, and rows passed
      over.

    Raises:
      tf.errors.DataLossError: a block is damaged; nothing changed.
      tf.errors.InvalidArgumentError: the blocks do not fit; nothing changed.
    """
    options = _options.get(_DEFAULTS)
    runs = [
        list(run) for _, run in itertools.groupby(enumerate(handles), lambda part: part[1].device)
    ]
    reports = []
    for run in runs:
        part, first = run[0]
        with tf.device(first.device or None):
            reports.append(
                ops.tf_embedding_load_blocks(
                    handles=[handle for _, handle in run],
                    blocks=blocks,
                    part=part,
                    num_parts=len(handles),
                    partial=options.partial,
                    change_dim=options.change_dim,
                    take=len(runs) == 1,
                    delta=_applying.get(),
                )
            )
    return reports[0] if len(reports) == 1 else tf.add_n(reports)


def block_arrays(blocks: tf.Tensor) -> Iterator[np.ndarray]:
    """The bytes of what `save_blocks` gave, made one block at a time: uint8 arrays."""
    for index in range(int(blocks.shape[0])):
        text = ops.tf_embedding_block_bytes(blocks=blocks, index=index).numpy()
        yield np.frombuffer(text, np.uint8)


def blocks_from_arrays(arrays: Sequence[Any]) -> tf.Tensor:
    """The inverse of `block_arrays`."""
    return ops.tf_embedding_blocks_from_bytes(
        bytes=[np.asarray(array, np.uint8).tobytes() for array in arrays]
    )
