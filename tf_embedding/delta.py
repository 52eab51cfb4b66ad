# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of what changed: a full one, and a chain of deltas upon it.

Each is a checkpoint of TensorFlow's own format, and beside it a record
(`delta_record`) that is written last and makes it count. The record names the one
that it is based on by id and checksum, so a chain is verified from end to end before
anything of it is restored. docs/checkpoints.md says how to use them, docs/checkpoint_format.md
what is in the files.
"""

from __future__ import annotations

import os
import re
import threading
import uuid
import weakref
from typing import Any, Optional

import tensorflow as tf
from tensorflow.python.eager import context

from tf_embedding import checkpoint, delta_record
from tf_embedding._library import ops


def _forget(handles: list[tf.Tensor], consumer: str) -> None:
    with context.eager_mode():  # Garbage is collected while some graph is built, at times.
        for handle in handles:
            ops.tf_embedding_forget_consumer(handle=handle, consumer=consumer)


class DeltaCheckpoint:
    """Saves what changed since the last save, and restores a chain of such saves.

    The first save is full; each later one, a delta, has the rows that changed since
    the one before, the keys that were removed or evicted, and all other variables of
    the checkpoint whole. Where rows changed in ways that a delta cannot tell (a
    restore, `clear`, another rule, more removed keys than twice the rows) the next
    save is full again. Nothing depends on the training step.

    While an object that has saved is alive, each row of its tables takes 4 bytes more,
    and each key that was removed since its last save about 16. Several objects, with
    a `name` or directory each, follow the same tables independently. One process at
    a time writes under a name; any number read.

    It works outside graphs. Source: the incremental checkpoints of DeepRec
    (https://github.com/DeepRec-AI/DeepRec), for the idea.

    Args:
      checkpoint: what to save; a `tf.train.Checkpoint` with one or more embedding
        variables in it, which must have been made when it saves or restores.
      directory: of the files; made at the first save.
      name: how they begin: a letter or digit, then letters, digits, "_", "-" and ".".
      read_only: for a process that serves: `save` is refused, and a restore does not
        start to follow changes.

    Raises:
      TypeError: checkpoint is none.
      ValueError: name has other characters.

    >>> import tempfile
    >>> import tensorflow as tf
    >>> import tf_embedding as te
    >>> words = te.EmbeddingVariable(dim=2, initializer="zeros", name="words")
    >>> words.upsert([1, 2, 3], [[1.0, 1.0]] * 3)
    >>> folder = tempfile.mkdtemp()
    >>> deltas = te.DeltaCheckpoint(tf.train.Checkpoint(words=words), folder)
    >>> full = deltas.save()
    >>> words.upsert([2], [[5.0, 6.0]])
    >>> int(words.remove([3]))
    1
    >>> path = deltas.save()
    >>> served = te.EmbeddingVariable(dim=2, name="served")
    >>> reader = te.DeltaCheckpoint(tf.train.Checkpoint(words=served), folder, read_only=True)
    >>> reader.restore() == path
    True
    >>> served.sparse_read([1, 2, 3]).numpy().tolist()
    [[1.0, 1.0], [5.0, 6.0], [0.0, 0.0]]
    """

    def __init__(
        self, checkpoint: Any, directory: Any, name: str = "delta", read_only: bool = False
    ) -> None:
        if not isinstance(checkpoint, tf.train.Checkpoint):
            raise TypeError(f"checkpoint is {checkpoint!r}; it must be a tf.train.Checkpoint")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            raise ValueError(
                f"name is {name!r}; it must be a letter or digit, then letters, digits, _, - and ."
            )
        self._checkpoint = checkpoint
        directory = os.fspath(directory)
        self._directory: str = directory.rstrip("/") or directory
        self._name = name
        self._read_only = read_only
        # Of this object alone, so that two never share a base.
        self._consumer = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._tip: Optional[delta_record.Record] = None
        self._followed: list[tf.Tensor] = []
        self._finalizer = weakref.finalize(self, _forget, self._followed, self._consumer)
        self._finalizer.atexit = False

    # What there is.

    @property
    def directory(self) -> str:
        """Where the files are."""
        return self._directory

    @property
    def latest(self) -> Optional[str]:
        """The prefix of the newest checkpoint that is complete; None where there is none."""
        numbers = self._numbers()
        return self._prefix(numbers[-1]) if numbers else None

    def chain(self, path: Any = None) -> list[str]:
        """The prefixes that a restore of `path` reads: a full one, then deltas.

        Args:
          path: of a save; None for the latest.

        Raises:
          tf.errors.NotFoundError: there is none, or one of the chain is missing.
          tf.errors.InvalidArgumentError: one is based on another than is there.
          tf.errors.DataLossError: a record is damaged.
        """
        return [record.prefix for record in self._chain(path)]

    def _prefix(self, number: int, suffix: str = "") -> str:
        return os.path.join(self._directory, f"{self._name}-{number:08d}{suffix}")

    def _numbers(self) -> list[int]:
        pattern = re.compile(re.escape(self._name) + r"-(\d{8,})(-full)?\.json")
        if not tf.io.gfile.isdir(self._directory):
            return []
        matches = map(pattern.fullmatch, tf.io.gfile.listdir(self._directory))
        return sorted({int(match[1]) for match in matches if match})

    def _number_of(self, path: Any) -> int:
        match = re.fullmatch(r"(.+)-(\d{8,})(-full)?", os.path.basename(os.fspath(path)))
        folder = os.path.dirname(os.fspath(path))
        if match is None or match[1] != self._name or folder != self._directory:
            raise ValueError(
                f"path is {os.fspath(path)!r}; it must be what save() returned: "
                f"{self._prefix(1)} or alike"
            )
        return int(match[2])

    def _record(self, number: int, named_by: Optional[delta_record.Record]) -> delta_record.Record:
        """The record of a number, a full one if there are both."""
        for suffix in ("-full", ""):
            if tf.io.gfile.exists(f"{self._prefix(number, suffix)}.json"):
                record = delta_record.read_record(self._prefix(number, suffix))
                break
        else:
            needs = "" if named_by is None else f"; {named_by.prefix} is based on it"
            raise tf.errors.NotFoundError(
                None, None, f"{self._prefix(number)}.json is missing{needs}"
            )
        if record.number != number or (named_by is not None and record.link != named_by.base):
            raise tf.errors.InvalidArgumentError(
                None,
                None,
                f"{record.path} is of another chain: it has number {record.number} and id "
                f"{record.link.id}"
                + ("" if named_by is None else f"; {named_by.path} is based on {named_by.base}"),
            )
        return record

    def _chain(self, path: Any) -> list[delta_record.Record]:
        if path is None:
            path = self.latest
            if path is None:
                raise tf.errors.NotFoundError(
                    None, None, f"there is no checkpoint {self._name}-* in {self._directory}"
                )
        record = self._record(self._number_of(path), None)
        chain = [record]
        while record.kind == delta_record.DELTA:
            record = self._record(record.number - 1, record)
            chain.append(record)
        return chain[::-1]

    # Saving.

    def _tables(self) -> list[Any]:
        if not tf.executing_eagerly():
            raise NotImplementedError(
                "te.DeltaCheckpoint works outside graphs; in a graph save full checkpoints, by "
                "tf.compat.v1.train.Saver"
            )
        view = tf.train.TrackableView(self._checkpoint)
        # The parts of a table are no tables of their own.
        tables = [object for object in view.descendants() if hasattr(object, "load_blocks")]
        if not tables:
            raise ValueError(
                "the checkpoint has no embedding variables; make them, or build the model, first"
            )
        return tables

    def _start(self) -> bool:
        """Begins a delta of each table; whether all have a base."""
        handles = [handle for table in self._tables() for handle in table.handles()]
        gone = [old for old in self._followed if all(old is not handle for handle in handles)]
        _forget(gone, self._consumer)
        self._followed[:] = handles
        since = [
            int(ops.tf_embedding_start_delta(handle=handle, consumer=self._consumer))
            for handle in handles
        ]
        return all(since)

    def _finish(self) -> None:
        for handle in self._followed:
            ops.tf_embedding_finish_delta(handle=handle, consumer=self._consumer)

    def _changed_as_a_whole(self) -> bool:
        return not all(
            int(ops.tf_embedding_delta_since(handle=handle, consumer=self._consumer))
            for handle in self._followed
        )

    def save(self, full: bool = False) -> str:
        """Saves what changed since the last save of this object, or restore.

        Training can go on meanwhile: see "A save beside training" in
        docs/checkpoints.md. Until it is complete, and where it fails, what was the
        latest stays so, and the next save has what this one would have had.

        Args:
          full: save everything: a base that restores without what came before.

        Returns:
          The prefix of its files; `restore` takes it.

        Raises:
          RuntimeError: the object is read-only.
          ValueError: there are no embedding variables.
          NotImplementedError: in a graph.
          tf.errors.OpError: a file cannot be written.
        """
        if self._read_only:
            raise RuntimeError("this DeltaCheckpoint is read_only; make one that is not, to save")
        with self._lock:
            tf.io.gfile.makedirs(self._directory)
            base = self._tip
            has_base = self._start()
            # Files of the base that were deleted make a chain of no use.
            if full or base is None or not has_base or not self._is_there(base):
                base = None
            numbers = self._numbers()
            number = base.number + 1 if base else (numbers[-1] if numbers else 0) + 1
            if base is not None and numbers[-1] >= number:
                raise RuntimeError(
                    f"{self._prefix(numbers[-1])} was written by another: one process at a time "
                    f"may save under the name {self._name!r}"
                )
            if base is not None:
                tables = self._write(number, all_rows=False)
                if self._changed_as_a_whole():
                    self._start()
                    base = None
            if base is None:
                tables = self._write(number, all_rows=True)
            self._tip = delta_record.write_record(
                self._prefix(number),
                delta_record.FULL if base is None else delta_record.DELTA,
                number,
                tables,
                None if base is None else base.link,
            )
            self._finish()
            return self._tip.prefix

    def _is_there(self, record: delta_record.Record) -> bool:
        prefixes = [self._prefix(record.number, suffix) for suffix in ("", "-full")]
        return any(tf.io.gfile.exists(f"{prefix}.json") for prefix in prefixes)

    def _write(self, number: int, all_rows: bool) -> list[int]:
        """All rows, or those that changed; gives the checksums of the tables."""
        # Of a save that failed there may be files, which a longer list of shards
        # would leave behind.
        for name in tf.io.gfile.glob(f"{self._prefix(number)}.*"):
            tf.io.gfile.remove(name)
        with checkpoint.saving_for(self._consumer, all_rows) as blocks:
            self._checkpoint.write(self._prefix(number))
        return [checkpoint.checksum_of(one) for one in blocks]

    # Restoring.

    def restore(self, path: Any = None, expect_partial: bool = False) -> str:
        """Restores a save: its full checkpoint, then each delta of its chain.

        The whole chain is verified first, records, links and every byte of the files,
        so that an error leaves everything as it was. The next save is a delta upon it;
        what is trained while it runs may be missing there.

        Args:
          path: of a save; None for the latest.
          expect_partial: the checkpoint may have tables that the model lacks.

        Returns:
          The prefix that was restored.

        Raises:
          ValueError: path is no save of this name and directory, or the model lacks
            tables.
          tf.errors.NotFoundError: there is none, or one of the chain is missing.
          tf.errors.InvalidArgumentError: one is based on another than is there.
          tf.errors.DataLossError: a file is missing, cut short or damaged.
        """
        with self._lock:
            return self._restore(self._chain(path), expect_partial)

    def _restore(self, chain: list[delta_record.Record], expect_partial: bool) -> str:
        for record in chain:
            self._verify(record, expect_partial)
        self._tip = None
        self._read(chain[0])
        for record in chain[1:]:
            with checkpoint.applying_delta():
                self._read(record)
        if not self._read_only:
            self._start()
            self._finish()
        self._tip = chain[-1]
        return self._tip.prefix

    def _verify(self, record: delta_record.Record, expect_partial: bool) -> None:
        saved, here = delta_record.verify_files(record), len(self._tables())
        if here < len(saved) and not expect_partial:
            raise ValueError(
                f"{record.prefix} has {len(saved)} tables, {', '.join(saved)}, and the "
                f"checkpoint {here}; make its variables first, or pass expect_partial=True"
            )

    def _read(self, record: delta_record.Record) -> None:
        status = self._checkpoint.read(record.prefix)
        status.assert_existing_objects_matched()
        status.expect_partial()

    def apply(self, path: Any, expect_partial: bool = False) -> None:
        """Applies one delta upon what was restored, saved or applied before it.

        Lookups go on: each row changes as a whole, rows one after another. The delta
        that was applied last may be applied again, which changes nothing.

        Args:
          path: of a delta.
          expect_partial: the delta may have tables that the model lacks.

        Raises:
          ValueError: path is no delta of this name and directory, or the model lacks
            tables.
          tf.errors.InvalidArgumentError: it is based on something else; nothing
            changed.
          tf.errors.DataLossError: a file is missing, cut short or damaged; nothing
            changed.
        """
        with self._lock:
            self._number_of(path)
            prefix = os.fspath(path)
            if not tf.io.gfile.exists(f"{prefix}.json"):
                raise tf.errors.NotFoundError(None, None, f"{prefix}.json is missing")
            record = delta_record.read_record(prefix)
            if record.kind != delta_record.DELTA:
                raise ValueError(f"{record.prefix} is full; restore it")
            at = None if self._tip is None else self._tip.link
            if at not in (record.base, record.link):
                raise tf.errors.InvalidArgumentError(
                    None,
                    None,
                    f"{record.prefix} is based on {record.base}, and the model is at "
                    + ("none" if self._tip is None else f"{self._tip.prefix}, {at}")
                    + "; restore() takes the whole chain",
                )
            self._apply([record], expect_partial)

    def _apply(self, records: list[delta_record.Record], expect_partial: bool) -> None:
        for record in records:
            self._verify(record, expect_partial)
        for record in records:
            with checkpoint.applying_delta():
                self._read(record)
            self._tip = record

    def catch_up(self, expect_partial: bool = False) -> list[str]:
        """Applies all deltas that have come since; restores where that is not enough.

        For a process that serves, to call now and then, beside its lookups.

        Args:
          expect_partial: as in `restore`.

        Returns:
          The prefixes that were restored or applied; none where nothing has come.

        Raises:
          As `restore` does.
        """
        with self._lock:
            chain = self._chain(None)
            links = [record.link for record in chain]
            if self._tip is None or self._tip.link not in links:
                self._restore(chain, expect_partial)
                return [record.prefix for record in chain]
            new = chain[links.index(self._tip.link) + 1 :]
            self._apply(new, expect_partial)
            return [record.prefix for record in new]

    def compact(self, path: Any = None, delete: bool = False) -> str:
        """Makes of a chain one full checkpoint, which stands for its last delta.

        Restores of `path` and of deltas upon it read that and need nothing before it.
        It goes on block by block, in little memory, needs no model, and any process
        may do it while others save and restore.

        Args:
          path: of a save; None for the latest.
          delete: remove the saves before, and `path` itself, once it is done. A
            process that serves and is behind then restores, in `catch_up`.

        Returns:
          The prefix of the full checkpoint.

        Raises:
          As `restore` does.
        """
        chain = self._chain(path)
        last = chain[-1]
        full = last
        if last.kind == delta_record.DELTA:
            for record in chain:
                delta_record.check_files(record)
            prefix = self._prefix(last.number, "-full")
            tables, sources = ops.tf_embedding_compact_checkpoints(
                prefixes=[record.prefix for record in chain], output=prefix
            )
            for record, checksums in zip(chain, sources.numpy().tolist()):
                delta_record.check_tables(record, checksums)
            full = delta_record.write_record(
                prefix,
                delta_record.FULL,
                last.number,
                tables.numpy().tolist(),
                None,
                stands_for=last.link,
            )
        if delete:
            self._delete_up_to(full)
        return full.prefix

    def _delete_up_to(self, full: delta_record.Record) -> None:
        for number in self._numbers():
            for suffix in ("", "-full"):
                prefix = self._prefix(number, suffix)
                if number > full.number or prefix == full.prefix:
                    continue
                # The record first: what has none does not count.
                names = tf.io.gfile.glob(f"{prefix}.json") + tf.io.gfile.glob(f"{prefix}.*")
                for name in dict.fromkeys(names):
                    tf.io.gfile.remove(name)

    def close(self) -> None:
        """Follows the tables no longer; the next save is full. Done when it is freed too."""
        with self._lock:
            self._finalizer()
            self._followed.clear()
            self._tip = None
            self._finalizer = weakref.finalize(self, _forget, self._followed, self._consumer)
            self._finalizer.atexit = False
