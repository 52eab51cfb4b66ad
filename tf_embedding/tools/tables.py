# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The tables of a checkpoint, a SavedModel or a Keras file, read range by range.

A table is one or more parts, a part so many blocks of rows and a footer. Opening it
reads where its elements are and its footers; rows are read a block at a time.
`Table.ranges` goes through the rows of all parts in order of hash, so that two tables
that hold the same keys, in whatever parts and blocks, come in step.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any, Callable, Optional

import numpy as np
import tensorflow as tf

from tf_embedding import checkpoint
from tf_embedding.tools import blocks
from tf_embedding.tools.bundle import BundleReader
from tf_embedding.tools.errors import DamagedError, ToolError

_ATTRIBUTES = "/.ATTRIBUTES/" + checkpoint.BLOCKS
_KERAS_BLOCK = re.compile(r"(.*)block_(\d+)")

# What reads element n of a table.
ReadElement = Callable[[int], bytes]


class Part:
    """One part of a table.

    Args:
      read: of the table.
      first: the number of its first element.
      footer: its footer.
      what: how errors call it.
    """

    def __init__(self, read: ReadElement, first: int, footer: blocks.Footer, what: str) -> None:
        self._read = read
        self._first = first
        self.footer = footer
        self.what = what
        self._kept: Optional[tuple[int, np.ndarray]] = None

    def block(self, number: int) -> np.ndarray:
        """The rows of one block, with slots as the footer says.

        Raises:
          DamagedError: the block is damaged.
        """
        if self._kept is not None and self._kept[0] == number:
            return self._kept[1]
        block = self._parsed(number, blocks.ROWS)
        try:
            records = self._with_slots_of_footer(block)
            if len(np.unique(records["key"])) != len(records):
                raise DamagedError("holds a key twice")
        except (DamagedError, ToolError) as error:
            what = f"{self.what}: block {number} of {self.footer.num_blocks} {error}"
            raise type(error)(what) from error
        self._kept = (number, records)
        return records

    def element(self, number: int, kind: str) -> bytes:
        """The bytes of one block of a kind."""
        kinds = self.footer.kinds
        return self._read(self._first + number * len(kinds) + kinds.index(kind))

    def others(self, number: int) -> dict[str, np.ndarray]:
        """The records of the kinds that are no rows: uint8 [n, bytes of a record].

        Raises:
          DamagedError: a block is damaged.
        """
        kinds = [kind for kind in self.footer.kinds if kind != blocks.ROWS]
        return {kind: self._parsed(number, kind).records for kind in kinds}

    def keyed(self, number: int, kind: str) -> np.ndarray:
        """The records of one block of a kind of `blocks.KEYED`.

        Raises:
          DamagedError: the block is damaged.
        """
        dtype, records = blocks.KEYED[kind], self._parsed(number, kind).records
        what = self._name(number, kind)
        if records.shape[1] != dtype.itemsize:
            raise DamagedError(f"{what} has records of {records.shape[1]} bytes")
        keyed = records.reshape(-1).view(dtype)
        found = blocks.buckets(keyed["key"]) * self.footer.num_blocks // blocks.NUM_BUCKETS
        if (found != number).any():
            raise DamagedError(f"{what} holds a key of another block")
        return keyed

    def _name(self, number: int, kind: str) -> str:
        of_kind = "" if kind == blocks.ROWS else f" of {kind}"
        return f"{self.what}: block {number} of {self.footer.num_blocks}{of_kind}"

    def _parsed(self, number: int, kind: str) -> blocks.Block:
        what = self._name(number, kind)
        try:
            block = blocks.parse(self.element(number, kind))
            if not isinstance(block, blocks.Block):
                raise DamagedError("is a footer")
            if (block.number, block.num_blocks) != (number, self.footer.num_blocks):
                raise DamagedError(f"is block {block.number} of {block.num_blocks}")
            if block.kind != kind:
                raise DamagedError(f"is of kind {block.kind}")
        except (DamagedError, ToolError) as error:
            raise type(error)(f"{what} {error}") from error
        return block

    def _with_slots_of_footer(self, block: blocks.Block) -> np.ndarray:
        """An update may have changed the rule while the save ran: those slots start anew."""
        footer, records = self.footer, block.records
        if footer.dtype != "float32":
            raise ToolError(f"is of dtype {footer.dtype}, and the tools read rows of float32")
        if records["vector"].shape[1] != footer.dim:
            raise DamagedError(
                f"has vectors of {records['vector'].shape[1]} values and the table is of dim "
                f"{footer.dim}"
            )
        if block.rule == footer.rule and records["slots"].shape[1] == footer.slot_width:
            return records
        out = np.zeros(len(records), blocks.record_dtype(footer.dim, footer.slot_width))
        for field in ("key", "frequency", "version", "vector"):
            out[field] = records[field]
        out["slots"] = footer.initial_row_slots()
        return out


class Table:
    """A table of a checkpoint.

    Attributes:
      name: what the tools call it: that of its tensor without its ending.
      tensor: the name of its tensor; of a Keras file, of its first dataset.
      parts: its parts, in order.
    """

    def __init__(
        self, path: str, name: str, tensor: str, num_elements: int, read: ReadElement
    ) -> None:
        self.name, self.tensor = name, tensor
        self.num_elements, self.read_element = num_elements, read
        self.what = f"{path}, table {name}"
        self.parts: list[Part] = []
        first = 0
        while first < num_elements:
            number = self._footer_behind(first)
            what = f"{self.what}, part {len(self.parts)}"
            try:
                footer = blocks.parse(read(number))
                if not isinstance(footer, blocks.Footer):
                    raise DamagedError("is another element")
                if footer.num_blocks * len(footer.kinds) != number - first:
                    raise DamagedError(
                        f"says {footer.num_blocks} blocks of {len(footer.kinds)} kinds, and there "
                        f"are {number - first}"
                    )
            except (DamagedError, ToolError) as error:
                raise type(error)(f"{what}: the footer {error}") from error
            self.parts.append(Part(read, first, footer, what))
            first = number + 1

    def _footer_behind(self, first: int) -> int:
        # The first blocks say how many there are, and of how many kinds: block 0 is there once
        # for each. The others need not be read.
        kinds, num_blocks = 0, 0
        while first + kinds < self.num_elements:
            what = f"{self.what}: element {first + kinds}"
            number, found = blocks.parse_head(self.read_element(first + kinds), what)
            if number != 0:
                break
            kinds, num_blocks = kinds + 1, found
        if first + num_blocks * kinds >= self.num_elements:
            raise DamagedError(
                f"{self.what}: of {num_blocks * kinds} blocks and a footer only "
                f"{self.num_elements - first} elements are there"
            )
        return first + num_blocks * kinds

    @property
    def footer(self) -> blocks.Footer:
        """Of the first part: what all parts share."""
        return self.parts[0].footer

    @property
    def dim(self) -> int:
        """The length of a vector."""
        return self.footer.dim

    @property
    def rows(self) -> Optional[int]:
        """How many rows there are; None where a footer does not know."""
        counts = [part.footer.rows for part in self.parts]
        return None if min(counts) < 0 else sum(counts)

    @property
    def step(self) -> int:
        """The largest version; -1 without rows."""
        return max(part.footer.step for part in self.parts)

    @property
    def num_blocks(self) -> int:
        """Of the part with most."""
        return max(part.footer.num_blocks for part in self.parts)

    @property
    def other_kinds(self) -> list[str]:
        """The kinds of its blocks that hold no rows."""
        return [kind for kind in self.footer.kinds if kind != blocks.ROWS]

    @property
    def dtype(self) -> np.dtype:
        """Of its rows."""
        return blocks.record_dtype(self.footer.dim, self.footer.slot_width)

    def ranges(self, num_ranges: Optional[int] = None) -> Iterator[tuple[int, np.ndarray]]:
        """All rows in order of hash.

        Args:
          num_ranges: a power of two, not below num_blocks; None for that.

        Yields:
          (end, records): a range's rows; the next one begins with bucket `end`.
        """

        def rows_of(part: Part, number: int) -> np.ndarray:
            if part.footer.slot_width != self.footer.slot_width:
                raise ToolError(
                    f"{part.what} holds slots of {part.footer.rule!r} and part 0 those of "
                    f"{self.footer.rule!r}; train or restore the table and save it again"
                )
            return part.block(number)

        return self._ranges(num_ranges or self.num_blocks, rows_of)

    def keyed_ranges(self, kind: str) -> Iterator[tuple[int, np.ndarray]]:
        """As `ranges`, of the records of a kind of `blocks.KEYED`."""
        return self._ranges(self.num_blocks, lambda part, number: part.keyed(number, kind))

    def _ranges(
        self, num_ranges: int, read: Callable[[Part, int], np.ndarray]
    ) -> Iterator[tuple[int, np.ndarray]]:
        width = blocks.NUM_BUCKETS // num_ranges
        for number in range(num_ranges):
            found = []
            for part in self.parts:
                of_part = part.footer.num_blocks
                records = read(part, number * of_part // num_ranges)
                if of_part < num_ranges:
                    records = records[blocks.buckets(records["key"]) // width == number]
                found.append(records)
            yield (number + 1) * width, np.concatenate(found) if len(found) > 1 else found[0]

    def find(self, keys: np.ndarray) -> dict[int, np.void]:
        """The records of keys that have a row: only blocks that may hold one are read."""
        found = {}
        for part in self.parts:
            numbers = blocks.buckets(keys) * part.footer.num_blocks // blocks.NUM_BUCKETS
            for number in np.unique(numbers):
                records = part.block(int(number))
                wanted = np.isin(records["key"], keys[numbers == number])
                for record in records[wanted]:
                    found[int(record["key"])] = record
        return found


class Checkpoint:
    """The tables of a file, and all else of it where it is a TensorFlow checkpoint.

    Attributes:
      path: as errors call it.
      tables: by name.
      bundle: TensorFlow's checkpoint; None for a Keras file.
    """

    def __init__(self, path: str, tables: Sequence[Table], bundle: Optional[BundleReader]) -> None:
        self.path = path
        self.tables = {table.name: table for table in tables}
        self.bundle = bundle

    def select(self, name: Optional[str]) -> Table:
        """The table of a name; None for the only one.

        Raises:
          ToolError: there is none of that name, or none was named and there are several.
        """
        names = ", ".join(sorted(self.tables)) or "none"
        if name is None:
            if len(self.tables) != 1:
                raise ToolError(
                    f"{self.path} has {len(self.tables)} tables ({names}); name one by --table"
                )
            return next(iter(self.tables.values()))
        if name not in self.tables:
            raise ToolError(f"{self.path} has no table {name!r}; --table is one of: {names}")
        return self.tables[name]

    def need_bundle(self, command: str) -> BundleReader:
        """TensorFlow's checkpoint.

        Raises:
          ToolError: it is a Keras file.
        """
        if self.bundle is None:
            raise ToolError(
                f"{command} writes TensorFlow checkpoints and {self.path} is a Keras file; load it "
                "and save the model's variables by tf.train.Checkpoint"
            )
        return self.bundle


def table_name(tensor: str) -> str:
    """What the tools call the table of a tensor.

    >>> table_name("model/users/table/.ATTRIBUTES/-blocks"), table_name("users-blocks")
    ('model/users', 'users')
    """
    if tensor.endswith(_ATTRIBUTES):
        name = tensor[: -len(_ATTRIBUTES)]
        return name[: -len("/table")] if name.endswith("/table") else name
    if tensor.endswith(checkpoint.BLOCKS):
        return tensor[: -len(checkpoint.BLOCKS)]
    return tensor


def resolve_prefix(path: str) -> str:
    """The prefix of a checkpoint: of a path, of a SavedModel, or the latest one of a folder.

    Raises:
      ToolError: a folder has neither.
    """
    prefix = path[: -len(".index")] if path.endswith(".index") else path
    if tf.io.gfile.isdir(prefix):
        saved = os.path.join(prefix, "variables", "variables")
        latest = tf.train.latest_checkpoint(prefix)
        if tf.io.gfile.exists(saved + ".index"):
            prefix = saved
        elif latest is not None:
            prefix = latest
        else:
            raise ToolError(
                f"{path} is a folder with neither a SavedModel nor a latest checkpoint; name a "
                "checkpoint by its prefix, the path without .index"
            )
    return prefix


def open_checkpoint(path: str) -> Checkpoint:
    """Opens a checkpoint's prefix, a folder with checkpoints, a SavedModel or a Keras file.

    Raises:
      ToolError: there is no such thing.
      DamagedError: it is damaged.
    """
    path = os.fspath(path)
    if path.endswith((".keras", ".h5")):
        return _open_keras(path)
    prefix = resolve_prefix(path)
    bundle = BundleReader(prefix)
    tables = []
    for name in bundle.names():
        if bundle.holds_table(name):
            places = bundle.elements(name)

            def read(number: int, name: str = name, places: Any = places) -> bytes:
                return bundle.element(name, places[number])

            tables.append(Table(prefix, table_name(name), name, len(places), read))
    return Checkpoint(prefix, tables, bundle)


def _open_keras(path: str) -> Checkpoint:
    import h5py  # Of TensorFlow's own requirements.

    if not os.path.exists(path):
        raise ToolError(f"there is no file {path}")
    try:
        if path.endswith(".keras"):
            archive = zipfile.ZipFile(path)
            member = archive.getinfo("model.weights.h5")
            opened: Any = archive.open(member)
            if member.compress_type != zipfile.ZIP_STORED:
                # To be read here and there it must be a file of its own.
                opened = io.BytesIO(opened.read())
            file = h5py.File(opened, "r")
        else:
            file = h5py.File(path, "r")
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise DamagedError(f"{path} is no Keras file, or is damaged: {error}") from error
    found: dict[str, list[int]] = {}

    def visit(name: str, thing: Any) -> None:
        match = _KERAS_BLOCK.fullmatch(name)
        if match and isinstance(thing, h5py.Dataset) and thing.dtype == np.uint8:
            found.setdefault(match[1], []).append(int(match[2]))

    file.visititems(visit)
    tables = []
    for prefix, numbers in sorted(found.items()):

        def read(number: int, prefix: str = prefix) -> bytes:
            return bytes(file[f"{prefix}block_{number}"][()].tobytes())

        name = re.sub(r"(/vars)?/?$", "", prefix) or prefix
        tables.append(Table(path, name, f"{prefix}block_0", len(numbers), read))
    return Checkpoint(path, tables, None)
