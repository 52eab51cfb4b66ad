# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rows from files of other programs: npz, Parquet, word2vec, GloVe. A batch at a time.

Words become keys by `te.hashing.hash_strings`. What is wrong with a row is an error
that names the file and the row.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np

from tf_embedding import hashing
from tf_embedding.tools.errors import ToolError, require

FORMATS = ("npz", "parquet", "word2vec", "word2vec-binary", "glove")
KEYS = ("auto", "integers", "strings")

_BATCH_VALUES = 1 << 19
_MAX_DIM = 4096


class Batch(NamedTuple):
    """Some rows.

    Attributes:
      first: the number of the first, from 0.
      keys: int64 [n].
      words: that the keys are the hashes of; None where keys are keys.
      vectors: float32 [n, dim].
      slots: float32 [n, slot_width], or None.
      frequency: int64 [n], or None.
      version: int64 [n], or None.
    """

    first: int
    keys: np.ndarray
    words: Optional[list[bytes]]
    vectors: np.ndarray
    slots: Optional[np.ndarray] = None
    frequency: Optional[np.ndarray] = None
    version: Optional[np.ndarray] = None


def hash_words(words: Sequence[bytes]) -> np.ndarray:
    """The key of each word: int64."""
    return np.asarray(hashing.hash_strings(np.array(words, object)).numpy())


def check_words(words: Sequence[bytes]) -> np.ndarray:
    """A second hash of each word, which tells words apart whose keys are equal."""
    return hash_words([b"\0" + word for word in words])


class Reader:
    """A file of rows, read as often as is asked for.

    Attributes:
      path: of the file.
      dim: the length of a vector.
      rows: how many there are; None: not known before the end.
      rule: whose slots the rows hold; None without slots.
      initial_slots: of that rule.
      unit: what errors call a row.
    """

    rows: Optional[int] = None
    rule: Optional[str] = None
    initial_slots: tuple[float, ...] = ()
    unit = "row"
    # Of lines, numbers start with 1, and may have a line of another kind before them.
    first_number = 0

    def __init__(self, path: str, keys: str = "auto") -> None:
        self.path, self.keys = path, keys
        self.dim = 0

    def where(self, number: int) -> str:
        """How errors call row `number`."""
        return f"{self.path}, {self.unit} {number + self.first_number}"

    def batches(self) -> Iterator[Batch]:
        """All rows, in order.

        Raises:
          ToolError: something is wrong with a row.
        """
        raise NotImplementedError

    def word_at(self, number: int) -> Optional[bytes]:
        """The word of row `number`; None where keys are no words. Reads the file up to it."""
        for batch in self.batches():
            if number < batch.first + len(batch.keys):
                return None if batch.words is None else batch.words[number - batch.first]
        return None

    def batch_rows(self) -> int:
        """How many rows a batch has at most."""
        return max(1, _BATCH_VALUES // max(1, self.dim))

    def _check_dim(self, dim: int) -> int:
        if not 1 <= dim <= _MAX_DIM:
            raise ToolError(f"{self.path} has vectors of {dim} values; dim is 1 to {_MAX_DIM}")
        return dim

    def _make(
        self, first: int, names: Any, vectors: np.ndarray, rest: Optional[dict[str, Any]] = None
    ) -> Batch:
        """A batch, checked: finite values, keys as self.keys wants them."""
        keys, words = self._keys_of(first, names)
        with np.errstate(over="ignore"):
            vectors = np.asarray(vectors).astype(np.float32)
        if vectors.shape != (len(keys), self.dim):
            raise ToolError(
                f"{self.where(first)} and on: {len(keys)} keys have vectors of shape "
                f"{list(vectors.shape)}; they must be [{len(keys)}, {self.dim}]"
            )
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            raise ToolError(
                f"{self.where(first + int(np.argmin(finite)))}: the vector has a value that is not "
                "finite in float32; take the row out or mend it"
            )
        return Batch(first, keys, words, vectors, **(rest or {}))

    def _keys_of(self, first: int, names: Any) -> tuple[np.ndarray, Optional[list[bytes]]]:
        if isinstance(names, np.ndarray) and names.dtype.kind in "iu":
            if self.keys == "strings":
                names = [str(number).encode() for number in names.tolist()]
            elif names.dtype == np.uint64:
                # 64 bits are 64 bits.
                return names.view(np.int64), None
            else:
                return names.astype(np.int64), None
        if isinstance(names, np.ndarray) and names.dtype.kind not in "SUO":
            raise ToolError(
                f"{self.path}: keys have dtype {names.dtype}; they must be integers or strings"
            )
        words = [word.encode() if isinstance(word, str) else bytes(word) for word in names]
        if self.keys == "integers":
            found = np.zeros(len(words), np.int64)
            for place, word in enumerate(words):
                try:
                    found[place] = int(word)
                except (ValueError, OverflowError) as error:
                    raise ToolError(
                        f"{self.where(first + place)}: {word.decode(errors='replace')!r} is no "
                        "integer of 64 bits, and --keys is integers; --keys=strings hashes words"
                    ) from error
            return found, None
        return hash_words(words) if words else np.zeros(0, np.int64), words


class NpzReader(Reader):
    """Arrays `keys` and `values` of an npz file, and what `export` puts beside them."""

    _NAMES = {"keys": ("keys", "key"), "values": ("values", "vectors", "vector", "embeddings")}

    def __init__(self, path: str, keys: str = "auto") -> None:
        super().__init__(path, keys)
        try:
            self._archive = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise ToolError(f"{path} is no npz file: {error}") from error
        members = {name[: -len(".npy")] for name in self._archive.namelist()}
        self._members: dict[str, str] = {}
        for role, names in self._NAMES.items():
            found = [name for name in names if name in members]
            if not found:
                raise ToolError(
                    f"{path} has arrays {', '.join(sorted(members))}; it lacks {role} (by one of "
                    f"the names {', '.join(names)})"
                )
            self._members[role] = found[0]
        for name in ("slots", "frequency", "version"):
            if name in members:
                self._members[name] = name
        shapes = {role: self._open(role)[1] for role in self._members}
        if len(shapes["values"]) != 2:
            raise ToolError(f"{path}: values have shape {shapes['values']}; they must be a matrix")
        self.rows, self.dim = shapes["values"][0], self._check_dim(shapes["values"][1])
        for role, shape in shapes.items():
            if shape[0] != self.rows:
                raise ToolError(f"{path}: {role} has {shape[0]} entries and values {self.rows}")
        if "slots" in self._members and "rule" in members:
            with np.load(path) as arrays:
                self.rule = str(arrays["rule"])
                self.initial_slots = tuple(arrays["initial_slots"].tolist())
        else:
            self._members.pop("slots", None)

    def _open(self, role: str) -> tuple[Any, tuple[int, ...], np.dtype]:
        """The stream behind a member's head, its shape and dtype."""
        stream = self._archive.open(self._members[role] + ".npy")
        try:
            version = np.lib.format.read_magic(stream)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, fortran, dtype = read(stream)
        except (ValueError, KeyError) as error:
            raise ToolError(f"{self.path}: {role} is no array: {error}") from error
        if dtype.hasobject:
            raise ToolError(
                f"{self.path}: {role} holds Python objects, which are not loaded; save strings "
                "as an array of dtype S or U"
            )
        if fortran and len(shape) > 1:
            raise ToolError(
                f"{self.path}: {role} is in Fortran order; save np.ascontiguousarray of it"
            )
        return stream, shape, dtype

    def batches(self) -> Iterator[Batch]:
        opened = {role: self._open(role) for role in self._members}
        total, step = int(self.rows or 0), self.batch_rows()
        for first in range(0, total, step):
            n = min(step, total - first)
            arrays = {}
            for role, (stream, shape, dtype) in opened.items():
                wanted = n * int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
                data = stream.read(wanted)
                if len(data) != wanted:
                    raise ToolError(f"{self.path}: {role} is cut short")
                arrays[role] = np.frombuffer(data, dtype).reshape([n, *shape[1:]])
            names, vectors = arrays.pop("keys"), arrays.pop("values")
            yield self._make(first, names, vectors, arrays)


class ParquetReader(Reader):
    """Columns `key` and `vector` (lists of floats), and what `export` puts beside them."""

    def __init__(self, path: str, keys: str = "auto") -> None:
        super().__init__(path, keys)
        self._parquet = require("pyarrow.parquet", "reading Parquet")
        arrow = require("pyarrow", "reading Parquet")
        try:
            file = self._parquet.ParquetFile(path)
        except (OSError, arrow.ArrowException) as error:
            raise ToolError(f"{path} is no Parquet file: {error}") from error
        names = file.schema_arrow.names
        self._key = next((name for name in ("key", "keys", "word") if name in names), None)
        self._vector = next((n for n in ("vector", "values", "embedding") if n in names), None)
        if self._key is None or self._vector is None:
            raise ToolError(
                f"{path} has columns {', '.join(names)}; it must have key (integers or strings) "
                "and vector (lists of floats)"
            )
        self.rows = file.metadata.num_rows
        self._rest = [name for name in ("frequency", "version") if name in names]
        metadata = file.schema_arrow.metadata or {}
        if "slots" in names and b"tf_embedding.rule" in metadata:
            self._rest.append("slots")
            self.rule = metadata[b"tf_embedding.rule"].decode()
            text = metadata[b"tf_embedding.initial_slots"].decode()
            self.initial_slots = tuple(float(value) for value in text.split())
        first = next(file.iter_batches(batch_size=1, columns=[self._vector]), None)
        self.dim = self._check_dim(len(first.column(0)[0]) if first is not None else 1)

    def batches(self) -> Iterator[Batch]:
        file = self._parquet.ParquetFile(self.path)
        first = 0
        columns = [self._key, self._vector, *self._rest]
        for batch in file.iter_batches(batch_size=self.batch_rows(), columns=columns):
            named = {name: batch.column(name) for name in columns}
            for name, column in named.items():
                if column.null_count:
                    raise ToolError(f"{self.where(first)} and on: column {name} has nulls")
            keys = named[self._key].to_numpy(zero_copy_only=False)
            rest = {}
            for name in self._rest:
                if name == "slots":
                    rest[name] = self._matrix(first, named[name], None).astype(np.float32)
                else:
                    rest[name] = named[name].to_numpy(zero_copy_only=False).astype(np.int64)
            vectors = self._matrix(first, named[self._vector], self.dim)
            yield self._make(first, keys, vectors, rest)
            first += len(keys)

    def _matrix(self, first: int, column: Any, width: Optional[int]) -> np.ndarray:
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        width = int(lengths[0]) if width is None else width
        wrong = np.flatnonzero(lengths != width)
        if len(wrong):
            raise ToolError(
                f"{self.where(first + int(wrong[0]))}: a list of {int(lengths[wrong[0]])} values; "
                f"the first row has {width}"
            )
        flat = np.asarray(column.flatten().to_numpy(zero_copy_only=False))
        return flat.reshape([len(lengths), width])


class TextReader(Reader):
    """word2vec's text (a line of rows and dim, then a word and its values), or GloVe's without.

    A word may hold spaces: the last `dim` fields of a line are the values.
    """

    unit = "line"

    def __init__(
        self, path: str, keys: str = "auto", header: bool = True, dim: Optional[int] = None
    ) -> None:
        super().__init__(path, keys)
        self._header = header
        self.first_number = 2 if header else 1
        with self._opened() as file:
            line = file.readline()
            if header:
                fields = line.split()
                if len(fields) != 2 or not all(field.isdigit() for field in fields):
                    raise ToolError(
                        f"{path}, line 1: {_shown(line)} is not the two numbers, of rows and of "
                        "dim, that word2vec's text starts with; GloVe's has none: --from=glove"
                    )
                self.rows, self.dim = int(fields[0]), self._check_dim(int(fields[1]))
            else:
                self.dim = self._check_dim(dim if dim else len(line.rstrip().split(b" ")) - 1)

    def _opened(self) -> Any:
        try:
            return open(self.path, "rb")
        except OSError as error:
            raise ToolError(f"{self.path} cannot be read: {error}") from error

    def batches(self) -> Iterator[Batch]:
        first, step = 0, self.batch_rows()
        words: list[bytes] = []
        vectors = np.zeros([step, self.dim], np.float32)
        with self._opened() as file:
            if self._header:
                file.readline()
            for line in file:
                # Only blanks and the end of line are no part of a word.
                fields = line.rstrip(b" \r\n").rsplit(b" ", self.dim)
                number = first + len(words)
                if len(fields) != self.dim + 1 or not fields[0]:
                    raise ToolError(
                        f"{self.where(number)}: {_shown(line)} is not a word and {self.dim} values"
                    )
                try:
                    vectors[len(words)] = fields[1:]
                except ValueError as error:
                    blanks = "" if self._header else "; where words hold blanks, --dim says"
                    blanks += "" if self._header else f" how many values follow, here {self.dim}"
                    raise ToolError(f"{self.where(number)}: {error}{blanks}") from error
                words.append(fields[0])
                if len(words) == step:
                    yield self._make(first, words, vectors)
                    first, words = first + step, []
        if words:
            yield self._make(first, words, vectors[: len(words)])
        if self.rows is not None and first + len(words) != self.rows:
            raise ToolError(
                f"{self.path}: the first line says {self.rows} rows, and there are "
                f"{first + len(words)}; the file is cut short"
            )


class Word2vecBinaryReader(Reader):
    """word2vec's binary file: a line of rows and dim, then words, a blank, and float32 values."""

    _PIECE = 1 << 20
    _MAX_WORD = 1 << 16

    def __init__(self, path: str, keys: str = "auto") -> None:
        super().__init__(path, keys)
        try:
            with open(path, "rb") as file:
                line = file.readline(200)
        except OSError as error:
            raise ToolError(f"{path} cannot be read: {error}") from error
        fields = line.split()
        if len(fields) != 2 or not all(field.isdigit() for field in fields):
            raise ToolError(
                f"{path} does not start with a line of two numbers, of rows and of dim, as "
                "word2vec's binary files do"
            )
        self.rows, self.dim = int(fields[0]), self._check_dim(int(fields[1]))

    def batches(self) -> Iterator[Batch]:
        total, width = int(self.rows or 0), 4 * self.dim
        first, step, words, vectors = 0, self.batch_rows(), [], []
        with open(self.path, "rb") as file:
            file.readline()
            data, at = b"", 0
            for number in range(total):
                while True:
                    blank = data.find(b" ", at)
                    if blank >= 0 and len(data) >= blank + 1 + width:
                        break
                    if blank < 0 and len(data) - at > self._MAX_WORD:
                        raise ToolError(
                            f"{self.where(number)}: a word of more than {self._MAX_WORD} bytes"
                        )
                    more = file.read(self._PIECE)
                    if not more:
                        raise ToolError(
                            f"{self.where(number)}: the file ends inside it, and should have "
                            f"{total} rows; it is cut short"
                        )
                    data, at = data[at:] + more, 0
                words.append(data[at:blank].lstrip(b"\n"))
                at = blank + 1 + width
                vectors.append(data[blank + 1 : at])
                if len(words) == step or number == total - 1:
                    array = np.frombuffer(b"".join(vectors), "<f4").reshape([-1, self.dim])
                    yield self._make(first, words, array)
                    first, words, vectors = first + len(words), [], []


def _shown(line: bytes) -> str:
    text = line[:60].decode(errors="backslashreplace").rstrip("\n")
    return repr(text) + (" ..." if len(line) > 60 else "")


def describe(reader: Reader, number: int) -> str:
    """How errors call a row: where it is, and its word."""
    word = reader.word_at(number)
    shown = "" if word is None else f" ({word.decode(errors='backslashreplace')!r})"
    return reader.where(number) + shown


def guess_format(path: str) -> str:
    """By the name of a file.

    Raises:
      ToolError: the name does not tell.
    """
    for ending, kind in ((".npz", "npz"), (".parquet", "parquet"), (".bin", "word2vec-binary")):
        if path.endswith(ending):
            return kind
    raise ToolError(
        f"the name of {path} does not tell its format; say which: {', '.join(FORMATS)}"
    )


def open_reader(
    path: Any, kind: Optional[str] = None, keys: str = "auto", dim: Optional[int] = None
) -> Reader:
    """Opens a file of rows.

    Args:
      path: of the file.
      kind: one of FORMATS; None: by the name.
      keys: one of KEYS. "auto": numbers are keys, words are hashed; in text files all are
        words.
      dim: that its vectors must have; None for any. A GloVe file, which does not say, is
        read by it.

    Raises:
      ToolError: an argument is none of these, or the file is of another format or dim.
    """
    path = os.fspath(path)
    kind = kind or guess_format(path)
    if kind not in FORMATS:
        raise ToolError(f"format is {kind!r}; it must be one of {', '.join(FORMATS)}")
    if keys not in KEYS:
        raise ToolError(f"keys is {keys!r}; it must be one of {', '.join(KEYS)}")
    reader: Reader
    if kind == "npz":
        reader = NpzReader(path, keys)
    elif kind == "parquet":
        reader = ParquetReader(path, keys)
    elif kind == "word2vec-binary":
        reader = Word2vecBinaryReader(path, keys)
    else:
        reader = TextReader(path, keys, header=kind == "word2vec", dim=dim)
    if dim is not None and reader.dim != dim:
        raise ToolError(f"{path} has vectors of dim {reader.dim}, and dim {dim} is wanted")
    return reader
