# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's checkpoint files, read and written by offset.

TensorFlow reads a tensor of a checkpoint whole, and SaveV2 wants all tensors at once.
Here a tensor is so many bytes of a file: it is copied, or taken element by element,
in the memory of one element. The files stay TensorFlow's own: `PREFIX.index`, a
sorted table from names to protocol buffers that say where a tensor is, and
`PREFIX.data-<file>-of-<files>`, the tensors one behind the other. Files are
opened by tf.io.gfile, so that a prefix may be on any file system that it knows.

Source: tensorflow/core/util/tensor_bundle and tensorflow/core/lib/io for the layout.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Union

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import tensor_bundle_pb2

from tf_embedding._library import ops
from tf_embedding.tools.errors import DamagedError, ToolError

Bytes = Union[bytes, memoryview, np.ndarray]

# Bytes that are copied at once.
COPY_BYTES = 1 << 20

_TABLE_MAGIC = 0xDB4775248B80FB57
_TABLE_FOOTER_BYTES = 48
_INDEX_BLOCK_BYTES = 4096
_BLOCK_TYPE = b"tf_embedding::Block"


def crc32c(data: Bytes, before: int = 0) -> int:
    """The CRC-32C of data, or of bytes whose CRC is `before` with data behind them."""
    array = np.frombuffer(data, np.uint8)
    return int(ops.tf_embedding_crc32c(data=array, before=np.uint32(before)).numpy())


def mask(crc: int) -> int:
    """A CRC as TensorFlow stores it, so that bytes that hold CRCs can have one."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value: int) -> bytes:
    """A number in groups of seven bits, the lowest first."""
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: Bytes, at: int) -> tuple[int, int]:
    """A varint of data from `at` on, and where it ends; IndexError where it is cut short."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise IndexError("a number of more than 64 bits")


def _num_elements(entry: Any) -> int:
    count = 1
    for dim in entry.shape.dim:
        count *= int(dim.size)
    return count


class File:
    """A file that is read by offset."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = tf.io.gfile.GFile(path, "rb")
        self.size = int(self._file.size())

    def read(self, offset: int, size: int) -> bytes:
        """Exactly so many bytes.

        Raises:
          DamagedError: the file ends before.
        """
        if offset < 0 or size < 0 or offset + size > self.size:
            raise DamagedError(
                f"{self.path} is cut short: bytes {offset} to {offset + size} are wanted and it "
                f"has {self.size}; take the file from another copy of the checkpoint"
            )
        if self._file.tell() != offset:
            self._file.seek(offset)
        return bytes(self._file.read(size))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _table_entries(data: bytes, offset: int, size: int, path: str) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of each entry in one block of the index."""
    block = data[offset : offset + size]
    trailer = data[offset + size : offset + size + 5]
    if len(trailer) < 5:
        raise DamagedError(f"{path} is cut short; take it from another copy of the checkpoint")
    if mask(crc32c(block + trailer[:1])) != struct.unpack("<I", trailer[1:])[0]:
        raise DamagedError(f"{path} is damaged: a block of it has a wrong checksum")
    if trailer[0] != 0:
        raise ToolError(f"{path} is compressed, which TensorFlow's checkpoints are not")
    restarts = struct.unpack("<I", block[-4:])[0]
    end, at, key = size - 4 - 4 * restarts, 0, b""
    while at < end:
        shared, at = read_varint(block, at)
        rest, at = read_varint(block, at)
        length, at = read_varint(block, at)
        key = key[:shared] + block[at : at + rest]
        yield key, block[at + rest : at + rest + length]
        at += rest + length


class Element(NamedTuple):
    """Where one element of a variant tensor is.

    Attributes:
      offset: of its message in the file.
      size: of the message.
    """

    offset: int
    size: int


class BundleReader:
    """A checkpoint: its index in memory, its tensors on disk.

    Args:
      prefix: of its files.

    Raises:
      ToolError: there is no such checkpoint.
      DamagedError: the index is damaged.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        path = prefix + ".index"
        try:
            with tf.io.gfile.GFile(path, "rb") as file:
                data = file.read()
        except tf.errors.OpError as error:
            raise ToolError(f"there is no checkpoint {prefix}: {error.message}") from error
        footer = data[-_TABLE_FOOTER_BYTES:]
        if len(footer) < _TABLE_FOOTER_BYTES or footer[-8:] != struct.pack("<Q", _TABLE_MAGIC):
            raise DamagedError(f"{path} is no index of a checkpoint, or is cut short")
        # Every entry, by its raw key. The key of the header is empty.
        self.raw: dict[bytes, bytes] = {}
        try:
            # A block of properties, which has none, then the block of blocks.
            offset, at = read_varint(footer, 0)
            size, at = read_varint(footer, at)
            list(_table_entries(data, offset, size, path))
            offset, at = read_varint(footer, at)
            size, _ = read_varint(footer, at)
            for _, handle in _table_entries(data, offset, size, path):
                start, at = read_varint(handle, 0)
                self.raw.update(_table_entries(data, start, read_varint(handle, at)[0], path))
            self.header = tensor_bundle_pb2.BundleHeaderProto.FromString(self.raw[b""])
            self.entries = {
                key: tensor_bundle_pb2.BundleEntryProto.FromString(value)
                for key, value in self.raw.items()
                if key
            }
        except (IndexError, KeyError, struct.error) as error:
            raise DamagedError(f"{path} is damaged: {error}") from error
        self._files: dict[int, File] = {}

    def names(self) -> list[str]:
        """Of all tensors but slices of partitioned variables, whose keys are no text."""
        return [key.decode() for key in self.entries if not key.startswith(b"\0")]

    def entry(self, name: str) -> Any:
        """What the index says of a tensor: a BundleEntryProto."""
        return self.entries[name.encode()]

    def file_of(self, entry: Any) -> File:
        """The file that an entry's bytes are in.

        Raises:
          DamagedError: it is not there.
        """
        number = int(entry.shard_id)
        if number not in self._files:
            path = f"{self.prefix}.data-{number:05d}-of-{int(self.header.num_shards):05d}"
            try:
                self._files[number] = File(path)
            except tf.errors.OpError as error:
                raise DamagedError(
                    f"checkpoint {self.prefix} lacks its file {path}: {error.message}"
                ) from error
        return self._files[number]

    def chunks(self, entry: Any) -> Iterator[bytes]:
        """The bytes of a tensor, a piece at a time.

        Raises:
          DamagedError: the file is cut short, or at the end the checksum is wrong.
        """
        file, done, crc = self.file_of(entry), 0, 0
        if entry.dtype == tf.string.as_datatype_enum:
            # Their checksum is over the lengths as numbers, not as they are written.
            head, crc = self._string_lengths(entry)
            done = len(head)
            yield head
        elif entry.dtype == tf.variant.as_datatype_enum:
            for place in self._places(entry):
                start = entry.offset + done
                piece = file.read(start, place.offset + place.size + 4 - start)
                crc = crc32c(struct.pack("<Q", place.size), crc)
                crc = crc32c(piece[place.offset - start :], crc)
                done += len(piece)
                yield piece
        while done < entry.size:
            piece = file.read(entry.offset + done, min(COPY_BYTES, entry.size - done))
            crc = crc32c(piece, crc)
            done += len(piece)
            yield piece
        if mask(crc) != entry.crc32c:
            raise DamagedError(
                f"{file.path} is damaged: bytes {entry.offset} to {entry.offset + entry.size} have "
                "a wrong checksum"
            )

    def _string_lengths(self, entry: Any) -> tuple[bytes, int]:
        """The bytes before the text of a tensor of strings, and the CRC that stands for them."""
        file, count = self.file_of(entry), _num_elements(entry)
        head = file.read(entry.offset, min(entry.size, 10 * count))
        at, crc = 0, 0
        try:
            for _ in range(count):
                length, at = read_varint(head, at)
                crc = crc32c(struct.pack("<I" if length < 2**32 else "<Q", length), crc)
        except IndexError as error:
            raise DamagedError(
                f"{file.path} is damaged: the lengths of strings at byte {entry.offset} cannot be"
            ) from error
        return head[:at], crc

    def array(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows start to stop of a dense tensor; the checksum, of the whole, is not checked."""
        entry = self.entry(name)
        dtype = np.dtype(tf.as_dtype(entry.dtype).as_numpy_dtype)
        shape = [int(dim.size) for dim in entry.shape.dim]
        width = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
        data = self.file_of(entry).read(entry.offset + start * width, (stop - start) * width)
        return np.frombuffer(data, dtype).reshape([stop - start, *shape[1:]])

    def shape(self, name: str) -> list[int]:
        """Of a tensor."""
        return [int(dim.size) for dim in self.entry(name).shape.dim]

    def holds_table(self, name: str) -> bool:
        """Whether a tensor is a table of this package."""
        entry = self.entry(name)
        if entry.dtype != tf.variant.as_datatype_enum or entry.size == 0:
            return False
        head = self.file_of(entry).read(entry.offset, min(64, entry.size))
        return _BLOCK_TYPE in head

    def elements(self, name: str) -> list[Element]:
        """Where the elements of a variant tensor are; reads their lengths only.

        Raises:
          DamagedError: the lengths are not those of so many bytes.
        """
        try:
            return self._places(self.entry(name))
        except DamagedError as error:
            raise DamagedError(f"checkpoint {self.prefix}, tensor {name}: {error}") from error

    def _places(self, entry: Any) -> list[Element]:
        file, at, found = self.file_of(entry), int(entry.offset), []
        end = at + int(entry.size)
        try:
            for _ in range(_num_elements(entry)):
                head = file.read(at, min(10, end - at))
                size, used = read_varint(head, 0)
                found.append(Element(at + used, size))
                at += used + size + 4
        except IndexError:
            at = -1
        if at != end:
            raise DamagedError(
                f"element {len(found)} of {_num_elements(entry)} has a length that cannot be; "
                f"{file.path} is damaged"
            )
        return found

    def element(self, name: str, place: Element) -> bytes:
        """The metadata of one element of a variant tensor: for tables, a block or a footer."""
        message = self.file_of(self.entry(name)).read(place.offset, place.size)
        try:
            at = 0
            while at < len(message):
                tag, at = read_varint(message, at)
                if tag & 7 != 2:
                    break
                size, at = read_varint(message, at)
                if tag >> 3 == 2:
                    return message[at : at + size]
                at += size
        except IndexError:
            pass
        raise DamagedError(
            f"checkpoint {self.prefix}, tensor {name}: the element at byte {place.offset} is no "
            f"block; {self.file_of(self.entry(name)).path} is damaged"
        )

    def close(self) -> None:
        """Closes all files."""
        for file in self._files.values():
            file.close()
        self._files.clear()


class BundleWriter:
    """Writes a checkpoint, a tensor after the other, into one file of data.

    The files have other names until `commit`, which renames the index last: before,
    there is no checkpoint of that prefix. Used as a scope, it drops what was not
    committed.

    Args:
      prefix: of the checkpoint to write.

    Raises:
      ToolError: there is one of that prefix, or the folder cannot be written to.
    """

    def __init__(self, prefix: str) -> None:
        if tf.io.gfile.exists(prefix + ".index"):
            raise ToolError(f"there is a checkpoint {prefix}; name another output, or delete it")
        self.prefix = prefix
        self._data_path = f"{prefix}.data-00000-of-00001"
        self._entries: dict[bytes, bytes] = {}
        self._at = 0
        self._committed = False
        try:
            folder = prefix.rpartition("/")[0]
            if folder:
                tf.io.gfile.makedirs(folder)
            self._file = tf.io.gfile.GFile(self._data_path + ".unfinished", "wb")
            self._file.write(b"")
        except tf.errors.OpError as error:
            raise ToolError(f"checkpoint {prefix} cannot be written: {error.message}") from error

    def __enter__(self) -> BundleWriter:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._committed:
            return
        try:
            self._file.close()
        except tf.errors.OpError:
            # Of a full disk; what counts is the error that brought us here.
            pass
        data, index = self._data_path, self.prefix + ".index"
        for path in (data + ".unfinished", data, index + ".unfinished"):
            if tf.io.gfile.exists(path):
                tf.io.gfile.remove(path)

    def _write(self, data: Bytes) -> None:
        try:
            self._file.write(bytes(data))
        except tf.errors.OpError as error:
            raise ToolError(
                f"checkpoint {self.prefix} cannot be written: {error.message}"
            ) from error
        self._at += len(data)

    def has(self, name: str) -> bool:
        """Whether a tensor of that name was added."""
        return name.encode() in self._entries

    def copy(self, reader: BundleReader, key: bytes, new_key: bytes | None = None) -> None:
        """Takes over a tensor of another checkpoint, byte by byte.

        Raises:
          DamagedError: it is damaged there.
        """
        entry = tensor_bundle_pb2.BundleEntryProto()
        entry.CopyFrom(reader.entries[key])
        start = self._at
        if entry.size:
            for piece in reader.chunks(entry):
                self._write(piece)
        entry.shard_id, entry.offset = 0, start
        self._entries[new_key or key] = entry.SerializeToString()

    def dense(self, name: str, array: np.ndarray) -> None:
        """Adds a tensor of numbers."""
        array = np.ascontiguousarray(array)
        entry = tensor_bundle_pb2.BundleEntryProto(
            dtype=tf.as_dtype(array.dtype).as_datatype_enum,
            shape=tf.TensorShape(array.shape).as_proto(),
            offset=self._at,
            size=array.nbytes,
            crc32c=mask(crc32c(array.tobytes())),
        )
        self._write(array.tobytes())
        self._entries[name.encode()] = entry.SerializeToString()

    def table(self, name: str, elements: Iterable[bytes]) -> None:
        """Adds a table, whose elements are made one at a time."""
        start, crc, count = self._at, 0, 0
        kind = b"\x0a" + varint(len(_BLOCK_TYPE)) + _BLOCK_TYPE
        for element in elements:
            head = kind + b"\x12" + varint(len(element))
            # The checksum is over the length as a number, not as it is written.
            crc = crc32c(struct.pack("<Q", len(head) + len(element)), crc)
            crc = crc32c(element, crc32c(head, crc))
            tail = struct.pack("<I", mask(crc))
            crc = crc32c(tail, crc)
            for piece in (varint(len(head) + len(element)), head, element, tail):
                self._write(piece)
            count += 1
        entry = tensor_bundle_pb2.BundleEntryProto(
            dtype=tf.variant.as_datatype_enum,
            shape=tf.TensorShape([count]).as_proto(),
            offset=start,
            size=self._at - start,
            crc32c=mask(crc),
        )
        self._entries[name.encode()] = entry.SerializeToString()

    def commit(self) -> None:
        """Closes the data, writes the index, and gives both their names."""
        header = tensor_bundle_pb2.BundleHeaderProto(num_shards=1)
        header.version.producer = 1
        index = _make_table({**self._entries, b"": header.SerializeToString()})
        try:
            self._file.close()
            with tf.io.gfile.GFile(self.prefix + ".index.unfinished", "wb") as file:
                file.write(index)
            tf.io.gfile.rename(self._data_path + ".unfinished", self._data_path, overwrite=True)
            tf.io.gfile.rename(self.prefix + ".index.unfinished", self.prefix + ".index")
        except tf.errors.OpError as error:
            raise ToolError(
                f"checkpoint {self.prefix} cannot be written: {error.message}"
            ) from error
        self._committed = True


def _make_table(entries: dict[bytes, bytes]) -> bytes:
    """The bytes of an index: blocks of entries in order of keys, then a block of blocks."""
    out = bytearray()

    def add_block(pairs: list[tuple[bytes, bytes]]) -> bytes:
        block, restarts = bytearray(), []
        for key, value in pairs:
            # Keys are written whole: each is a point to start from.
            restarts.append(len(block))
            block += varint(0) + varint(len(key)) + varint(len(value)) + key + value
        for restart in restarts or [0]:
            block += struct.pack("<I", restart)
        block += struct.pack("<I", len(restarts or [0]))
        handle = varint(len(out)) + varint(len(block))
        block += b"\0"
        out.extend(block + struct.pack("<I", mask(crc32c(bytes(block)))))
        return handle

    index, pairs, size = [], [], 0
    ordered = sorted(entries.items())
    for place, (key, value) in enumerate(ordered):
        pairs.append((key, value))
        size += len(key) + len(value)
        if size >= _INDEX_BLOCK_BYTES or place == len(ordered) - 1:
            index.append((key, add_block(pairs)))
            pairs, size = [], 0
    footer = add_block([]) + add_block(index)
    footer += b"\0" * (_TABLE_FOOTER_BYTES - 8 - len(footer))
    return bytes(out) + footer + struct.pack("<Q", _TABLE_MAGIC)
