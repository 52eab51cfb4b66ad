# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The record beside a checkpoint of a chain: what makes it one, and proves it whole.

A small JSON file that is written last, by a rename. It names the files, their sizes
and checksums, and the record that it is based on by id and checksum.
docs/checkpoint_format.md has its entries.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import uuid
from typing import Any, Optional

import tensorflow as tf

from tf_embedding import checkpoint

_FORMAT = 1
FULL, DELTA = "full", "delta"


@dataclasses.dataclass(frozen=True)
class Link:
    """How one record names another."""

    id: str
    checksum: str


@dataclasses.dataclass(frozen=True)
class Record:
    """What makes the files of a prefix a link of a chain.

    Attributes:
      prefix: of the checkpoint's files.
      kind: full, or delta.
      number: its place; each delta's is one more than that of its base.
      link: how those based on it name it.
      base: what a delta is based on.
      files: the size of each file.
      index_sha256: of the checkpoint's index, which has checksums of dense variables.
      tables: checksums of the tables' blocks, in ascending order; those the index has
        are of their lengths only.
    """

    prefix: str
    kind: str
    number: int
    link: Link
    base: Optional[Link]
    files: dict[str, int]
    index_sha256: str
    tables: list[int]

    @property
    def path(self) -> str:
        return f"{self.prefix}.json"


def damaged(path: str, what: str) -> tf.errors.DataLossError:
    return tf.errors.DataLossError(None, None, f"{path} {what}")


def _read(path: str) -> bytes:
    with tf.io.gfile.GFile(path, "rb") as file:
        data: bytes = file.read()
    return data


def _checksum(entries: dict[str, Any]) -> str:
    text = json.dumps(entries, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _files_of(prefix: str) -> dict[str, int]:
    names = tf.io.gfile.glob(f"{prefix}.data-*") + [f"{prefix}.index"]
    return {os.path.basename(name): tf.io.gfile.stat(name).length for name in sorted(names)}


def write_record(
    prefix: str,
    kind: str,
    number: int,
    tables: list[int],
    base: Optional[Link],
    stands_for: Optional[Link] = None,
) -> Record:
    """Commits a checkpoint: until the record is there, it is none."""
    entries: dict[str, Any] = {
        "format": _FORMAT,
        "id": uuid.uuid4().hex,
        "kind": kind,
        "number": number,
        "base": None if base is None else dataclasses.asdict(base),
        "stands_for": None if stands_for is None else dataclasses.asdict(stands_for),
        "files": _files_of(prefix),
        "index_sha256": hashlib.sha256(_read(f"{prefix}.index")).hexdigest(),
        "tables": sorted(tables),
    }
    entries["checksum"] = _checksum(entries)
    temporary = f"{prefix}.json.tmp-{uuid.uuid4().hex}"
    with tf.io.gfile.GFile(temporary, "w") as file:
        file.write(json.dumps(entries, indent=1) + "\n")
    tf.io.gfile.rename(temporary, f"{prefix}.json", overwrite=True)
    return read_record(prefix)


def read_record(prefix: str) -> Record:
    path = f"{prefix}.json"
    try:
        entries = json.loads(_read(path))
        stored = entries.pop("checksum")
        computed = _checksum(entries)
        if stored == computed and entries["format"] != _FORMAT:
            raise tf.errors.InvalidArgumentError(
                None,
                None,
                f"{path} has format {entries['format']}; this release reads {_FORMAT}; use one as "
                "new as that which wrote it",
            )
        base, stands_for = entries["base"], entries["stands_for"]
        link = Link(entries["id"], stored) if stands_for is None else Link(**stands_for)
        record = Record(
            prefix=prefix,
            kind=entries["kind"],
            number=entries["number"],
            link=link,
            base=None if base is None else Link(**base),
            files=entries["files"],
            index_sha256=entries["index_sha256"],
            tables=entries["tables"],
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, f"is damaged: it is no record of a checkpoint ({error!r})") from error
    if stored != computed:
        raise damaged(path, f"is damaged: its checksum is {computed}, and should be {stored}")
    return record


def check_files(record: Record) -> None:
    """Whether the files are there, in their sizes, and the index is the right one."""
    folder = os.path.dirname(record.prefix)
    for name, size in record.files.items():
        path = os.path.join(folder, name)
        if not tf.io.gfile.exists(path):
            raise damaged(path, f"is missing; {record.path} lists it")
        length = tf.io.gfile.stat(path).length
        if length != size:
            raise damaged(path, f"has {length} bytes, and should have {size}")
    index = f"{record.prefix}.index"
    if hashlib.sha256(_read(index)).hexdigest() != record.index_sha256:
        raise damaged(index, f"is damaged or of another checkpoint, as {record.path} tells")


def check_tables(record: Record, checksums: list[int]) -> None:
    if sorted(checksums) != record.tables:
        raise damaged(
            f"{record.prefix}.data-*", f"is of another checkpoint, as {record.path} tells"
        )


def verify_files(record: Record) -> list[str]:
    """Reads all of a checkpoint; the tensors that are tables."""
    check_files(record)
    tables = checkpoint.tables_in(record.prefix)
    check_tables(record, [checksum for _, checksum in tables.values()])
    return sorted(tables)
