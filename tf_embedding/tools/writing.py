# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables from rows in any order, in bounded memory: a sort by hash through temporary files.

Rows are dealt out to files by the range of their hash; each file is then small enough to be
sorted in memory, and the files in order are the table. What belongs to a row may come in
several streams (vectors here, slots there), which meet in the file of their range.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, Callable, Optional

import numpy as np
import tensorflow as tf

from tf_embedding import checkpoint, rules
from tf_embedding.tools import blocks
from tf_embedding.tools.bundle import BundleReader, BundleWriter
from tf_embedding.tools.errors import ToolError
from tf_embedding.tools.progress import progress
from tf_embedding.variable import EmbeddingVariable

DUPLICATES = ("error", "first", "last")

# Bytes of rows that one temporary file is to hold, and that wait in memory for all.
FILE_BYTES = 32 << 20
WAITING_BYTES = 32 << 20
_MAX_FILES = 1024

# The highest frequency and version that a table holds.
MAX_FREQUENCY = 2**32 - 1
MAX_VERSION = 2**32 - 2


class Spill:
    """Rows dealt out by hash into temporary files; a scope that deletes them.

    Args:
      expected_bytes: of all rows, about; how many files follows from it.
      folder: where the files are; None for the system's folder of temporary files.
    """

    def __init__(self, expected_bytes: int, folder: Optional[str] = None) -> None:
        self.num_files = 1
        while self.num_files < _MAX_FILES and self.num_files * FILE_BYTES < expected_bytes:
            self.num_files *= 2
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="tf_embedding_", dir=folder)
        except OSError as error:
            raise ToolError(
                f"temporary files cannot be written to {folder or tempfile.gettempdir()}: {error}; "
                "name another folder by --tmp"
            ) from error
        self._dtypes: dict[str, np.dtype] = {}
        self._waiting: dict[tuple[str, int], list[bytes]] = {}
        self._waiting_bytes = 0
        self.rows: dict[str, int] = {}

    def __enter__(self) -> Spill:
        return self

    def __exit__(self, *error: Any) -> None:
        self._folder.cleanup()

    def add(self, stream: str, rows: np.ndarray) -> None:
        """Deals rows out; they are structured, with a field `key`, the same in each call."""
        self._dtypes.setdefault(stream, rows.dtype)
        self.rows[stream] = self.rows.get(stream, 0) + len(rows)
        numbers = blocks.buckets(rows["key"]) * self.num_files // blocks.NUM_BUCKETS
        order = np.argsort(numbers, kind="stable")
        rows, numbers = rows[order], numbers[order]
        cuts = np.searchsorted(numbers, np.arange(self.num_files + 1))
        for number in np.unique(numbers):
            piece = rows[cuts[number] : cuts[number + 1]].tobytes()
            self._waiting.setdefault((stream, int(number)), []).append(piece)
            self._waiting_bytes += len(piece)
        if self._waiting_bytes > WAITING_BYTES:
            self._flush()

    def _path(self, stream: str, number: int) -> str:
        place = list(self._dtypes).index(stream)
        return os.path.join(self._folder.name, f"{place}_{number}")

    def _flush(self) -> None:
        for (stream, number), pieces in self._waiting.items():
            with open(self._path(stream, number), "ab") as file:
                file.writelines(pieces)
        self._waiting.clear()
        self._waiting_bytes = 0

    def ranges(self) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """(end, rows of each stream in the order that they came in), in order of hash."""
        self._flush()
        for number in range(self.num_files):
            found = {}
            for stream, dtype in self._dtypes.items():
                path = self._path(stream, number)
                found[stream] = np.zeros(0, dtype)
                if os.path.exists(path):
                    found[stream] = np.fromfile(path, dtype)
                    os.remove(path)
            yield (number + 1) * (blocks.NUM_BUCKETS // self.num_files), found


def clip_numbers(values: np.ndarray, highest: int = MAX_FREQUENCY) -> np.ndarray:
    """Frequencies or versions as a table holds them: below 0 is 0, and there is a highest."""
    return np.clip(np.asarray(values).astype(np.int64), 0, highest)


@dataclasses.dataclass
class Counts:
    """What became of the rows that were read."""

    rows: int = 0
    candidates: int = 0
    duplicates: int = 0
    slots_missing: dict[str, int] = dataclasses.field(default_factory=dict)
    slots_extra: dict[str, int] = dataclasses.field(default_factory=dict)


def without_duplicates(
    rows: np.ndarray, policy: str, describe: Callable[[int], str], counts: Counts
) -> np.ndarray:
    """Rows in order of key, each key once.

    Args:
      rows: with fields key, source (a number of the row in its file) and check (a second hash
        of its word; 0 where keys are no words).
      policy: of DUPLICATES, what to do with a key that comes twice.
      describe: how errors call the row of a source number.
      counts: in which those left out are counted.

    Raises:
      ToolError: two words have the same key, or a key comes twice and the policy is "error".
    """
    order = np.lexsort((rows["source"], rows["key"]))
    rows = rows[order]
    again = np.flatnonzero(rows["key"][1:] == rows["key"][:-1])
    collide = again[rows["check"][again] != rows["check"][again + 1]]
    for kind, places in (("collision", collide), ("duplicate", again)):
        if len(places) and (kind == "collision" or policy == "error"):
            one, other = (describe(int(rows["source"][places[0] + i])) for i in (0, 1))
            key = int(rows["key"][places[0]])
            if kind == "collision":
                raise ToolError(
                    f"{one} and {other} have the same hash, {key}: they would share a row; take "
                    "one of them out, or import integer keys of your own"
                )
            raise ToolError(
                f"{one} and {other} have the same key, {key}; take one of them out, or say which "
                "holds by --duplicates=first or last"
            )
    counts.duplicates += len(again)
    keep = np.ones(len(rows), bool)
    keep[again if policy == "last" else again + 1] = False
    return rows[keep]


def new_footer(
    variable: EmbeddingVariable, rows: int, rule: str = "", initial_slots: tuple[float, ...] = ()
) -> blocks.Footer:
    """Of a table of so many rows that starts rows as a variable does.

    Args:
      variable: whose initializer and seed it has.
      rows: about how many.
      rule: whose slots its rows hold.
      initial_slots: of that rule, vector slots first.

    Raises:
      ToolError: there is no such rule, or it has another number of slots.
    """
    *_, last = checkpoint.block_arrays(variable.table.save_blocks())
    footer = blocks.parse(last.tobytes())
    assert isinstance(footer, blocks.Footer)
    if rule:
        known = rules.core_rules()
        if rule not in known:
            raise ToolError(f"rule is {rule!r}; it must be one of {', '.join(known)}")
        vector_slots = known[rule]["vector_slots"] or ()
        scalar_slots = known[rule]["scalar_slots"] or ()
        if len(initial_slots) != len(vector_slots) + len(scalar_slots):
            raise ToolError(
                f"rule {rule} has slots {', '.join([*vector_slots, *scalar_slots])}, and "
                f"{len(initial_slots)} initial values are given"
            )
        footer = dataclasses.replace(
            footer,
            rule=rule,
            vector_slots=tuple(vector_slots),
            scalar_slots=tuple(scalar_slots),
            initial_slots=tuple(initial_slots),
        )
    width = blocks.record_dtype(footer.dim, footer.slot_width).itemsize
    return dataclasses.replace(footer, num_blocks=blocks.choose_num_blocks(rows, width))


def write_objects(
    out: str, variables: Mapping[str, EmbeddingVariable], elements: Mapping[str, Iterator[bytes]]
) -> None:
    """Writes a checkpoint that `tf.train.Checkpoint(NAME=variable, ...)` restores.

    Args:
      out: its prefix.
      variables: empty ones, by name. A name with slashes is a path of attributes.
      elements: of each one's table.
    """
    for name in variables:
        if not re.fullmatch(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*", name):
            raise ToolError(
                f"{name!r} cannot be the name of an attribute; give another by --name, or write "
                "for a v1 Saver by --layout=saver"
            )
    make = tf.__internal__.tracking.AutoTrackable
    root = make()
    for name, variable in variables.items():
        *path, last = name.split("/")
        node: Any = root
        for step in path:
            if not hasattr(node, step):
                setattr(node, step, make())
            node = getattr(node, step)
        setattr(node, last, variable)
    with tempfile.TemporaryDirectory(prefix="tf_embedding_") as folder:
        # TensorFlow itself writes the graph of objects, of empty tables.
        bundle = BundleReader(
            tf.train.Checkpoint(root=root).write(os.path.join(folder, "empty"))
        )
        tensors = {f"{name}/table/.ATTRIBUTES/{checkpoint.BLOCKS}": name for name in variables}
        with BundleWriter(out) as writer:
            for key in bundle.entries:
                owner = tensors.get(key.decode(errors="replace"))
                if owner is None:
                    writer.copy(bundle, key)
                else:
                    writer.table(key.decode(), elements[owner])
            writer.commit()
        bundle.close()


def write_saver_table(
    writer: BundleWriter, name: str, dim: int, elements: Iterator[bytes]
) -> None:
    """Adds a table as a v1 `Saver` names it: its blocks, and a tensor of the variable's name."""
    writer.dense(name, np.zeros([0, dim], np.float32))
    writer.table(name + checkpoint.BLOCKS, elements)


def build_elements(
    spill: Spill,
    footer: blocks.Footer,
    duplicates: str,
    describe: Callable[[str, int], str],
    counts: Counts,
) -> Iterator[bytes]:
    """The elements of a table in one part, of rows that were dealt out.

    Args:
      spill: its stream "rows" has the fields of `rows_dtype`; a stream "candidates" keys that
        a filter has not admitted, of `CANDIDATES_DTYPE`; a stream of another name has the slot
        of that name of some rows, of `slot_dtype`.
      footer: of the table. Rows without a slot get the initial value.
      duplicates: see `without_duplicates`.
      describe: how errors call a row: (stream, source).
      counts: in which rows are counted.
    """
    dtype = blocks.record_dtype(footer.dim, footer.slot_width)
    columns = footer.slot_columns()
    has_candidates = blocks.CANDIDATES in spill.rows
    if has_candidates:
        footer = dataclasses.replace(footer, kinds=(blocks.ROWS, blocks.CANDIDATES))
    num_blocks = footer.num_blocks

    def ranges() -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        for end, streams in progress(spill.ranges(), spill.num_files, "import: sort and write"):
            found = {
                stream: without_duplicates(
                    rows, duplicates, functools.partial(describe, stream), counts
                )
                for stream, rows in streams.items()
            }
            candidates = found.pop(blocks.CANDIDATES, np.zeros(0, CANDIDATES_DTYPE))
            rows = found.pop("rows", np.zeros(0, rows_dtype(footer.dim, footer.slot_width)))
            records = np.zeros(len(rows), dtype)
            for field in ("key", "frequency", "version", "vector"):
                records[field] = rows[field]
            has_slots = rows["slots"].shape[1] == footer.slot_width
            records["slots"] = rows["slots"] if has_slots else footer.initial_row_slots()
            for name, slot in found.items():
                _, mine, its = np.intersect1d(
                    records["key"], slot["key"], assume_unique=True, return_indices=True
                )
                records["slots"][mine, columns[name]] = slot["values"][its]
                counts.slots_missing[name] = (
                    counts.slots_missing.get(name, 0) + len(records) - len(mine)
                )
                counts.slots_extra[name] = counts.slots_extra.get(name, 0) + len(slot) - len(its)
            counts.rows += len(records)
            # A key is never both.
            candidates = candidates[~np.isin(candidates["key"], records["key"])]
            counts.candidates += len(candidates)
            waiting = np.zeros(len(candidates), blocks.CANDIDATE)
            waiting["key"], waiting["count"] = candidates["key"], candidates["count"]
            yield end, records, waiting

    def encode(number: int, candidates: np.ndarray) -> bytes:
        return blocks.encode_other_block(number, num_blocks, blocks.CANDIDATES, candidates)

    part = blocks.PartEncoder(footer)
    beside = blocks.BlockEncoder(num_blocks, blocks.CANDIDATE, encode)
    for end, records, waiting in ranges():
        if not has_candidates:
            yield from part.add(end, records)
            continue
        # Each generator must run to its end, which zip alone would not make the second do.
        of_rows, of_candidates = list(part.add(end, records)), list(beside.add(end, waiting))
        for pair in zip(of_rows, of_candidates):
            yield from pair
    yield part.finish()


# Of the stream "candidates" of a `Spill`.
CANDIDATES_DTYPE = np.dtype(
    [("key", "<i8"), ("source", "<i8"), ("check", "<u8"), ("count", "<i8")]
)


def rows_dtype(dim: int, slot_width: int) -> np.dtype:
    """Of the stream "rows" of a `Spill`: records, and what tells rows of one key apart."""
    record = blocks.record_dtype(dim, slot_width)
    return np.dtype([*record.descr, ("source", "<i8"), ("check", "<u8")])


def slot_dtype(width: int) -> np.dtype:
    """Of the stream of a slot."""
    return np.dtype(
        [("key", "<i8"), ("source", "<i8"), ("check", "<u8"), ("values", "<f4", (width,))]
    )
