# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""How `tf.train.Checkpoint` writes and reads tables: by ops of ours, into files of its own.

A table may travel through a checkpoint as any object does, as a variant tensor that
SaveV2 writes and RestoreV2 reads. That is slower than the disk, and of a damaged file
it does not always say which. TensorFlow lets a package register functions that write
and read its objects. The files stay the same: the functions give shards of the same
checkpoint, in which the table's tensor has the same name and bytes.

An object that such functions save has no tensors in the checkpoint's object graph, so
nobody else could read it. Hence two objects stand for a table, of two views:

- Of a save, the table is an ordinary object with one tensor, and has a child, its
  `Writer`, which is registered. TensorFlow calls the registered functions first; once
  they have written the table, it has no tensor to give (None), else its blocks. So
  whatever a save does not know of the child, as that of a SavedModel, writes the table
  by itself.
- Of a restore, the table is registered. Its tensor is in the object graph, whoever
  wrote the checkpoint, and TensorFlow gives us its name. It calls the registered
  functions last, when the checkpoint's other tensors have been assigned; for a file
  that is damaged that is too late. But first of all it looks at the whole graph, and
  of a child that the table does not know it hands us the place in the checkpoint. The
  table says that it knows no writer; so its bytes are read and checked before anything
  changes, and put in place last. A checkpoint that was written without a writer is
  read last.

Only outside v1 graphs, and of tables of this process: the others go as before.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional

import tensorflow as tf
from tensorflow.python.checkpoint import tensor_callable
from tensorflow.python.eager import context
from tensorflow.python.framework import ops as tf_ops
from tensorflow.python.saved_model import registration, save_context
from tensorflow.python.trackable import trackable_utils

from tf_embedding import checkpoint
from tf_embedding._library import ops

# The name of a table's child, and of the saver.
_CHILD = "writer"
_PACKAGE, _NAME = "tf_embedding", "Tables"


class _Turn:
    """One save of a table: whether its writer has written it."""

    def __init__(self) -> None:
        self.written = False


class _Thread(threading.local):
    """What a thread is at.

    Attributes:
      asked: the table that TensorFlow initialized last, and whose children it has not
        asked for since, as it does when it lists what to save: it is restoring it.
      turns: of tables whose tensor was asked for, and not yet written.
      read: of restores under way, by TensorFlow's object for each: what was read of
        tables. It goes with that object, which an error lets go.
    """

    def __init__(self) -> None:
        self.asked: Optional[weakref.ref[Any]] = None
        self.turns: weakref.WeakKeyDictionary[Any, _Turn] = weakref.WeakKeyDictionary()
        self.read: weakref.WeakKeyDictionary[Any, dict[str, tf.Tensor]] = (
            weakref.WeakKeyDictionary()
        )


_thread = _Thread()


class Writer(tf.__internal__.tracking.Trackable):  # type: ignore[misc]
    """The child of a table that the registered functions save in its place."""

    def __init__(self, table: Any) -> None:
        # Not to keep it alive: a table goes when the last who holds it does.
        self._table = weakref.ref(table)

    @property
    def table(self) -> Any:
        """Whose writer it is; None where that is gone."""
        return self._table()


class Saved:
    """The half of a table, or of all tables of a variable, that checkpoints see."""

    handles: Callable[[], Sequence[tf.Tensor]]
    save_blocks: Callable[[], tf.Tensor]
    load_blocks: Callable[[tf.Tensor], Any]

    def _serialize_to_tensors(self) -> dict[str, Any]:
        if not _goes_by_our_ops(self):
            return {checkpoint.BLOCKS: self.save_blocks()}
        turn = _Turn()
        _thread.turns[self] = turn
        with tf.device("/cpu:0"):
            # The device of the checkpoint's own tensors, so that there is one shard
            # of them and never an empty one.
            device = tf.constant("").device
        blocks = tensor_callable.Callable(
            lambda: None if turn.written else self.save_blocks(), tf.variant, device
        )
        return {checkpoint.BLOCKS: blocks}

    def _restore_from_tensors(self, restored_tensors: Mapping[str, tf.Tensor]) -> Any:
        return self.load_blocks(restored_tensors[checkpoint.BLOCKS])

    def _maybe_initialize_trackable(self) -> None:
        super()._maybe_initialize_trackable()  # type: ignore[misc]
        _thread.asked = weakref.ref(self)

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> dict[str, Any]:
        children: dict[str, Any] = super()._trackable_children(  # type: ignore[misc]
            save_type, **kwargs
        )
        _thread.asked = None
        if save_type == "checkpoint" and _goes_by_our_ops(self):
            children[_CHILD] = _writers.setdefault(self, Writer(self))
        return children

    def _lookup_dependency(self, name: str, cached_dependencies: Any = None) -> Any:
        if name == _CHILD:
            return None
        return super()._lookup_dependency(name, cached_dependencies)  # type: ignore[misc]

    @property
    def _deferred_dependencies(self) -> dict[str, list[Any]]:
        deferred: dict[str, list[Any]] = super()._deferred_dependencies  # type: ignore[misc]
        deferred[_CHILD] = _ReadAtOnce(weakref.ref(self))
        return deferred


class _ReadAtOnce(list[Any]):
    """Where TensorFlow puts the places of a table's writer in checkpoints."""

    def __init__(self, table: weakref.ref[Saved]) -> None:
        super().__init__()
        self._table = table

    def append(self, position: Any) -> None:
        """Reads the table there, for `_restore`; keeps no place.

        Raises:
          tf.errors.OpError: it is missing or damaged; nothing has changed.
        """
        if not _goes_by_our_ops(self._table()):
            return
        name = _tensor_name(position.object_proto.registered_saver.object_name)
        (blocks,) = _read(position.checkpoint.save_path_string, [name])
        _thread.read.setdefault(position.checkpoint, {})[name] = blocks


_writers: weakref.WeakKeyDictionary[Any, Writer] = weakref.WeakKeyDictionary()


def _is_here(handle: tf.Tensor) -> bool:
    """Whether a table is in this process: its device names no other task."""
    device = tf.DeviceSpec.from_string(handle.device or "")
    here = tf.DeviceSpec.from_string(context.context().host_address_space())
    mine = (device.job, device.replica, device.task)
    return mine in ((None, None, None), (here.job, here.replica, here.task))


def _goes_by_our_ops(table: Any) -> bool:
    return (
        tf_ops.executing_eagerly_outside_functions()
        and not save_context.in_save_context()
        and all(_is_here(handle) for handle in table.handles())
    )


def _is_ours(trackable: Any) -> bool:
    """Whether the functions below save or restore an object."""
    if isinstance(trackable, Writer):
        return trackable.table is not None
    if not isinstance(trackable, Saved) or _thread.asked is None:
        return False
    return _thread.asked() is trackable and _goes_by_our_ops(trackable)


def _save(trackables: Mapping[str, Any], file_prefix: tf.Tensor) -> list[tf.Tensor]:
    """Writes tables as a shard; gives its prefix."""
    names, blocks = [], []
    for path, writer in trackables.items():
        turn = _thread.turns.pop(writer.table, None)
        if turn is None:
            continue
        names.append(_tensor_name(path))
        blocks.append(writer.table.save_blocks())
        turn.written = True
    if not names:
        return []
    with tf.device("/cpu:0"):
        # Beside TensorFlow's other shards, in the folder that goes with them.
        shard = tf.strings.regex_replace(file_prefix, rf"-{_PACKAGE}\.{_NAME}$", "_temp/tables")
        is_s3 = tf.strings.regex_full_match(file_prefix, "s3://.*")
        prefix = tf.where(is_s3, file_prefix, shard)
        written = ops.tf_embedding_write_blocks(prefix=prefix, tensor_names=names, blocks=blocks)
    return [written]


def _read(prefix: Any, names: Sequence[str]) -> list[tf.Tensor]:
    with tf.device("/cpu:0"):
        blocks: list[tf.Tensor] = ops.tf_embedding_read_blocks(
            prefix=prefix, tensor_names=names, N=len(names)
        )
    return blocks


def _restore(trackables: Mapping[str, Any], merged_prefix: tf.Tensor) -> None:
    """Puts in place what was read of tables; reads the others first."""
    read: dict[str, tf.Tensor] = {}
    for restore in list(_thread.read):
        # Others are of restores that failed.
        if restore.save_path_tensor is merged_prefix:
            read = _thread.read[restore]
    _thread.read.clear()
    missing = [name for name in trackables if name not in read]
    if missing:
        read.update(zip(missing, _read(merged_prefix, missing)))
    for name, table in trackables.items():
        table.load_blocks(read[name])


def _tensor_name(writer: str) -> str:
    """That of the table's tensor, by the path of its writer in the object graph."""
    path = writer[: -len(_CHILD)].rstrip("/")
    return str(trackable_utils.checkpoint_key(path, checkpoint.BLOCKS))


registration.register_checkpoint_saver(
    package=_PACKAGE,
    name=_NAME,
    predicate=_is_ours,
    save_fn=_save,
    restore_fn=_restore,
    strict_predicate_restore=False,
)
