# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The elements of a saved table as arrays, and back: docs/checkpoint_format.md in numpy."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterable, Iterator
from typing import Any, Callable

import numpy as np

from tf_embedding.tools.bundle import crc32c
from tf_embedding.tools.errors import DamagedError, ToolError

BLOCK = b"TFEBLOCK"
FOOTER = b"TFEFOOTR"
NUM_BUCKETS = 1 << 16

# Bytes of rows that a block is to have, as the core's.
_BLOCK_BYTES = 1 << 18
_FORMATS = (1, 2)

# The kind of the blocks that hold rows; format 1 has no other.
ROWS = "rows"
# Keys that a counting filter has not admitted yet, and their occurrences.
CANDIDATES = "candidates"
CANDIDATE = np.dtype([("key", "<i8"), ("count", "<i8")])
# Keys that went since a delta's base.
REMOVED = "removed"

# The records of the kinds, besides rows, that lie in the buckets of their keys.
KEYED = {CANDIDATES: CANDIDATE, REMOVED: np.dtype([("key", "<i8")])}


def mix(keys: np.ndarray) -> np.ndarray:
    """The hash of keys that orders them: uint64, as cc/core/hash.h."""
    z = keys.astype(np.int64).view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def buckets(keys: np.ndarray) -> np.ndarray:
    """The bucket of each key, int64 in [0, NUM_BUCKETS)."""
    return (mix(keys) >> np.uint64(48)).astype(np.int64)


def parts_of(keys: np.ndarray, num_parts: int) -> np.ndarray:
    """The part that owns each key, as `te.parts.part_of`."""
    slices = (mix(keys) >> np.uint64(32) & np.uint64(0xFFFF)).astype(np.int64)
    return slices * num_parts >> 16


def record_dtype(dim: int, slot_width: int) -> np.dtype:
    """Of the rows in a block."""
    return np.dtype(
        [
            ("key", "<i8"),
            ("frequency", "<i8"),
            ("version", "<i8"),
            ("vector", "<f4", (dim,)),
            ("slots", "<f4", (slot_width,)),
        ]
    )


@dataclasses.dataclass(frozen=True)
class Footer:
    """What the end of a part says; the names are those of docs/checkpoint_format.md."""

    num_blocks: int
    part: int
    num_parts: int
    rows: int
    step: int
    dim: int
    dtype: str
    rule: str
    vector_slots: tuple[str, ...]
    scalar_slots: tuple[str, ...]
    initial_slots: tuple[float, ...]
    initializer: str
    args: tuple[float, float]
    seed: int
    matrix: np.ndarray = dataclasses.field(repr=False)
    # Of the format, and what a format 2 says of kinds: their names, and bytes that describe them.
    version: int
    kinds: tuple[str, ...]
    tail: bytes

    @property
    def slot_width(self) -> int:
        """Values of slots in a row."""
        return self.dim * len(self.vector_slots) + len(self.scalar_slots)

    def initial_row_slots(self) -> np.ndarray:
        """The slots of a row that was not trained: float32 [slot_width]."""
        n = len(self.vector_slots)
        vectors = np.repeat(np.array(self.initial_slots[:n], np.float32), self.dim)
        return np.concatenate([vectors, np.array(self.initial_slots[n:], np.float32)])

    def slot_columns(self) -> dict[str, slice]:
        """Which values of a row's slots each slot has."""
        found, at = {}, 0
        for name in self.vector_slots:
            found[name] = slice(at, at + self.dim)
            at += self.dim
        for name in self.scalar_slots:
            found[name] = slice(at, at + 1)
            at += 1
        return found

    def without_slots(self) -> Footer:
        """The same of a table that no rule has trained."""
        return dataclasses.replace(
            self, rule="", vector_slots=(), scalar_slots=(), initial_slots=()
        )


@dataclasses.dataclass(frozen=True)
class Block:
    """The records of one kind in one range of buckets.

    Attributes:
      number: which range; of num_blocks.
      num_blocks: a power of two.
      kind: of its records.
      rule: whose slots rows hold.
      records: rows, of `record_dtype`; of other kinds uint8 [n, bytes of a record].
    """

    number: int
    num_blocks: int
    kind: str
    rule: str
    records: np.ndarray


class _Cursor:
    def __init__(self, data: bytes, at: int, end: int) -> None:
        self.data, self.at, self.end = data, at, end

    def take(self, n: int) -> bytes:
        if n < 0 or self.at + n > self.end:
            raise DamagedError("is cut short")
        self.at += n
        return self.data[self.at - n : self.at]

    def i64(self) -> int:
        return int(struct.unpack("<q", self.take(8))[0])

    def text(self) -> str:
        return self.take(self.i64()).decode("utf-8", "backslashreplace")

    def texts(self) -> tuple[str, ...]:
        n = self.i64()
        if not 0 <= n <= (self.end - self.at) // 8:
            raise DamagedError("is cut short")
        return tuple(self.text() for _ in range(n))

    def f32(self, n: int) -> np.ndarray:
        return np.frombuffer(self.take(4 * n), "<f4")


def parse(element: bytes, check: bool = True) -> Block | Footer:
    """An element, checked to the last byte.

    Args:
      element: its bytes.
      check: whether to compute the checksum.

    Raises:
      DamagedError: it is cut short, or has a wrong checksum.
      ToolError: it is of another version or kind.
    """
    if len(element) < 28:
        raise DamagedError("is cut short")
    magic, version, length = struct.unpack_from("<8sqq", element)
    if check and struct.unpack("<I", element[-4:])[0] != crc32c(memoryview(element)[:-4]):
        raise DamagedError("has a wrong checksum")
    if version not in _FORMATS:
        raise ToolError(
            f"is of checkpoint format {version}; this package reads formats {_FORMATS[0]} to "
            f"{_FORMATS[-1]}, a newer one may read it"
        )
    if length != len(element) - 28:
        raise DamagedError("is cut short")
    cursor = _Cursor(element, 24, len(element) - 4)
    if magic == BLOCK:
        return _parse_block(cursor, version)
    if magic == FOOTER:
        return _parse_footer(cursor, version)
    raise DamagedError("is neither a block nor a footer")


def parse_head(element: bytes, what: str) -> tuple[int, int]:
    """The number of a block and how many there are; of a footer (-1, 0).

    Raises:
      DamagedError: it is neither a block nor a footer.
    """
    if element[:8] == FOOTER:
        return -1, 0
    if element[:8] != BLOCK or len(element) < 40:
        raise DamagedError(f"{what} is neither a block nor a footer")
    number, num_blocks = struct.unpack_from("<qq", element, 24)
    if not 0 <= number < num_blocks <= NUM_BUCKETS:
        raise DamagedError(f"{what} says that it is block {number} of {num_blocks}")
    return int(number), int(num_blocks)


def _parse_block(cursor: _Cursor, version: int) -> Block:
    number, num_blocks, dim, slot_width, rows, _ = (cursor.i64() for _ in range(6))
    rule = cursor.text()
    kind, width = (cursor.text(), cursor.i64()) if version > 1 else (ROWS, 0)
    if not (0 <= number < num_blocks <= NUM_BUCKETS and num_blocks & (num_blocks - 1) == 0):
        raise DamagedError(f"says that it is block {number} of {num_blocks}")
    if kind != ROWS:
        if not (width > 0 and rows >= 0 and rows * width == cursor.end - cursor.at):
            raise DamagedError(f"has other bytes than {rows} records of {width} bytes")
        data = np.frombuffer(cursor.take(rows * width), np.uint8)
        return Block(number, num_blocks, kind, rule, data.reshape([rows, width]))
    if not (1 <= dim <= 4096 and 0 <= slot_width <= 8 * 4096 and rows >= 0):
        raise DamagedError(f"says that it has {rows} rows of dim {dim}")
    dtype = record_dtype(dim, slot_width)
    if rows * dtype.itemsize != cursor.end - cursor.at:
        raise DamagedError(f"has other bytes than {rows} rows of dim {dim}")
    records = np.frombuffer(cursor.take(rows * dtype.itemsize), dtype)
    found = buckets(records["key"]) * num_blocks // NUM_BUCKETS
    if rows and (found != number).any():
        raise DamagedError("holds a key of another block")
    return Block(number, num_blocks, kind, rule, records)


def _parse_footer(cursor: _Cursor, version: int) -> Footer:
    num_blocks, part, num_parts, rows, step, dim = (cursor.i64() for _ in range(6))
    dtype, rule = cursor.text(), cursor.text()
    vector_slots, scalar_slots = cursor.texts(), cursor.texts()
    initial = cursor.f32(len(vector_slots) + len(scalar_slots))
    kind, args, seed = cursor.text(), cursor.f32(2), cursor.i64()
    matrix = cursor.f32(cursor.i64())
    kinds = cursor.texts() if version > 1 else (ROWS,)
    tail = cursor.take(cursor.end - cursor.at)
    if ROWS not in kinds or (version == 1 and tail):
        raise DamagedError("does not end as a footer does")
    return Footer(
        num_blocks=num_blocks,
        part=part,
        num_parts=num_parts,
        rows=rows,
        step=step,
        dim=dim,
        dtype=dtype,
        rule=rule,
        vector_slots=vector_slots,
        scalar_slots=scalar_slots,
        initial_slots=tuple(initial.tolist()),
        initializer=kind,
        args=(float(args[0]), float(args[1])),
        seed=seed,
        matrix=matrix,
        version=version,
        kinds=kinds,
        tail=tail,
    )


def _i64(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


def _text(text: str) -> bytes:
    data = text.encode()
    return _i64(len(data)) + data


def _texts(texts: Iterable[str]) -> bytes:
    found = [_text(text) for text in texts]
    return _i64(len(found)) + b"".join(found)


def _frame(magic: bytes, version: int, body: bytes) -> bytes:
    framed = magic + _i64(version, len(body)) + body
    return framed + struct.pack("<I", crc32c(framed))


def encode_block(
    number: int, num_blocks: int, rule: str, records: np.ndarray, version: int
) -> bytes:
    """The element of a block of rows, in a version of the format."""
    dim, slot_width = records["vector"].shape[1], records["slots"].shape[1]
    step = int(records["version"].max()) if len(records) else -1
    head = _i64(number, num_blocks, dim, slot_width, len(records), step) + _text(rule)
    if version > 1:
        head += _text(ROWS) + _i64(records.dtype.itemsize)
    return _frame(BLOCK, version, head + records.tobytes())


def encode_other_block(number: int, num_blocks: int, kind: str, records: np.ndarray) -> bytes:
    """The element of a block of another kind; of format 2."""
    head = _i64(number, num_blocks, 0, 0, len(records), -1) + _text("") + _text(kind)
    return _frame(BLOCK, 2, head + _i64(records.dtype.itemsize) + records.tobytes())


def encode_footer(footer: Footer) -> bytes:
    """The element of a footer."""

    def f32(values: Any) -> bytes:
        return np.asarray(values, "<f4").tobytes()

    f = footer
    body = _i64(f.num_blocks, f.part, f.num_parts, f.rows, f.step, f.dim)
    body += _text(f.dtype) + _text(f.rule) + _texts(f.vector_slots) + _texts(f.scalar_slots)
    body += f32(f.initial_slots) + _text(f.initializer) + f32(f.args) + _i64(f.seed)
    body += _i64(len(f.matrix)) + f32(f.matrix)
    if f.version > 1:
        body += _texts(f.kinds) + f.tail
    return _frame(FOOTER, f.version, body)


def choose_num_blocks(rows: int, record_bytes: int) -> int:
    """In how many blocks to write so many rows: as the core does."""
    blocks = 1
    while blocks < NUM_BUCKETS and blocks * _BLOCK_BYTES < rows * record_bytes:
        blocks *= 2
    return blocks


class BlockEncoder:
    """Makes the blocks of one kind of records that come in order of hash.

    Args:
      num_blocks: how many there are.
      dtype: of the records, with a field `key`.
      encode: makes the element of a block, of its number and records.
    """

    def __init__(
        self, num_blocks: int, dtype: np.dtype, encode: Callable[[int, np.ndarray], bytes]
    ) -> None:
        self._num_blocks, self._encode = num_blocks, encode
        self._next = 0
        self._pending: list[np.ndarray] = []
        self._empty = np.zeros([0], dtype)

    def add(self, end: int, records: np.ndarray) -> Iterator[bytes]:
        """Takes all records of buckets below `end` that did not come before.

        Yields:
          The blocks that are complete with them.
        """
        per_block = NUM_BUCKETS // self._num_blocks
        if len(records):
            self._pending.append(records)
        first, last = self._next, end // per_block
        if last <= first:
            return
        joined = np.concatenate(self._pending) if self._pending else self._empty
        of_block = buckets(joined["key"]) // per_block
        # The order of records in a block is free; here it is that of keys.
        order = np.lexsort((joined["key"], of_block))
        joined, of_block = joined[order], of_block[order]
        cuts = np.searchsorted(of_block, np.arange(first, last + 1))
        for number, begin, stop in zip(range(first, last), cuts[:-1], cuts[1:]):
            yield self._encode(number, joined[begin:stop])
        self._pending = [joined[cuts[-1] :]] if cuts[-1] < len(joined) else []
        self._next = last


class PartEncoder:
    """Makes the blocks of rows, and the footer, of a part whose rows come in order of hash.

    Args:
      footer: of the part; how many rows there are, and of what step, is found out.
    """

    def __init__(self, footer: Footer) -> None:
        self.footer = footer
        self.rows, self._step = 0, -1

        def encode(number: int, rows: np.ndarray) -> bytes:
            return encode_block(number, footer.num_blocks, footer.rule, rows, footer.version)

        dtype = record_dtype(footer.dim, footer.slot_width)
        self._blocks = BlockEncoder(footer.num_blocks, dtype, encode)

    def add(self, end: int, records: np.ndarray) -> Iterator[bytes]:
        """As `BlockEncoder.add`."""
        if len(records):
            self.rows += len(records)
            self._step = max(self._step, int(records["version"].max()))
        yield from self._blocks.add(end, records)

    def finish(self) -> bytes:
        """The footer, behind all blocks."""
        return encode_footer(dataclasses.replace(self.footer, rows=self.rows, step=self._step))


def encode_part(ranges: Iterable[tuple[int, np.ndarray]], footer: Footer) -> Iterator[bytes]:
    """The elements of a part: each block of rows, then the footer.

    Args:
      ranges: (end, records), in order, as `PartEncoder.add` takes them; the last end is
        NUM_BUCKETS.
      footer: of the part.
    """
    encoder = PartEncoder(footer)
    for end, records in ranges:
        yield from encoder.add(end, records)
    yield encoder.finish()
