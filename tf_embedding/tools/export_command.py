# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""`tf-embedding export`: the rows of a table for other programs, streamed."""

from __future__ import annotations

import csv
import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any, Callable, Optional

import numpy as np
from absl import flags

from tf_embedding.tools import errors, output, readers, tables
from tf_embedding.tools.errors import ToolError
from tf_embedding.tools.progress import progress
from tf_embedding.tools.rows_command import top

FORMATS = ("npz", "parquet", "csv", "word2vec", "projector")
_ENDINGS = {".npz": "npz", ".parquet": "parquet", ".csv": "csv", ".txt": "word2vec"}


class Words:
    """The words that keys are hashes of, from a file with one in each line.

    In memory are a key and an offset for each word; the words stay in the file.
    """

    def __init__(self, path: str) -> None:
        self._file = open(path, "rb")
        keys, offsets, batch, at = [], [], [], 0
        for line in self._file:
            batch.append(line.rstrip(b"\r\n"))
            offsets.append(at)
            at += len(line)
            if len(batch) == 1 << 16:
                keys.append(readers.hash_words(batch))
                batch = []
        if batch:
            keys.append(readers.hash_words(batch))
        together = np.concatenate(keys) if keys else np.zeros(0, np.int64)
        order = np.argsort(together, kind="stable")
        self._keys, self._offsets = together[order], np.array(offsets, np.int64)[order]
        again = np.flatnonzero(self._keys[1:] == self._keys[:-1])
        for place in again.tolist():
            one, other = self._read(place), self._read(place + 1)
            if one != other:
                raise ToolError(f"--words: {one!r} and {other!r} have the same hash")

    def _read(self, place: int) -> str:
        self._file.seek(int(self._offsets[place]))
        return self._file.readline().rstrip(b"\r\n").decode(errors="replace")

    def of(self, keys: np.ndarray) -> list[str]:
        """The word of each key; of a key without one, its number."""
        if not len(self._keys):
            return [str(key) for key in keys.tolist()]
        places = np.searchsorted(self._keys, keys).clip(0, len(self._keys) - 1)
        known = self._keys[places] == keys
        return [
            self._read(place) if is_known else str(key)
            for place, is_known, key in zip(places.tolist(), known.tolist(), keys.tolist())
        ]


class _Source:
    """The rows to export, read as often as a format needs."""

    def __init__(self, table: tables.Table, limit: Optional[int], words: Optional[Words]) -> None:
        self.table, self.words = table, words
        self._top = None if limit is None else top(table, "frequency", limit)
        self._count: Optional[int] = None if self._top is None else len(self._top)

    def batches(self, what: str) -> Iterator[np.ndarray]:
        if self._top is not None:
            yield self._top
            return
        for _, records in progress(self.table.ranges(), self.table.num_blocks, f"export {what}"):
            # In order of key inside a range: the same file whatever order rows were saved in.
            yield records[np.argsort(records["key"])]

    def count(self) -> int:
        if self._count is None:
            rows = self.table.rows
            if rows is None:
                rows = sum(len(records) for records in self.batches("count"))
            self._count = rows
        return self._count

    def names(self, records: np.ndarray) -> list[str]:
        if self.words is None:
            return [str(key) for key in records["key"].tolist()]
        return self.words.of(records["key"])


def define_export(values: flags.FlagValues) -> None:
    """The flags of export."""
    output.define_table(values)
    flags.DEFINE_enum(
        "to", None, list(FORMATS), "The format; by default OUT's name tells.", flag_values=values
    )
    flags.DEFINE_string(
        "words",
        None,
        "A file with a word in each line: keys that are their hashes get these names.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "limit",
        None,
        "Only so many rows, those of highest frequency, which then are in memory.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_bool(
        "slots", True, "Slots too, where the format has a place for them.", flag_values=values
    )


def run_export(args: Sequence[str], values: flags.FlagValues) -> int:
    """usage: tf-embedding export CKPT OUT [--to=FORMAT] [FLAGS]

    Writes the rows of a table into a file: npz and Parquet (keys, vectors, slots, frequency,
    version), CSV (key, frequency, version, vector), word2vec's text (name, vector), or into a
    folder for TensorBoard's projector (vectors, metadata, config).
    """
    output.need_args(args, "CKPT OUT", 2)
    path, out = args
    kind = values.to or _guess(out)
    if os.path.exists(out):
        raise ToolError(f"{out} exists; name another file, or delete it")
    table = tables.open_checkpoint(path).select(values.table)
    words = None if values.words is None else Words(values.words)
    source = _Source(table, values.limit, words)
    write: dict[str, Callable[[_Source, str, bool], None]] = {
        "npz": _write_npz,
        "parquet": _write_parquet,
        "csv": _write_csv,
        "word2vec": _write_word2vec,
        "projector": _write_projector,
    }
    unfinished = out.rstrip("/") + ".unfinished"
    try:
        write[kind](source, unfinished, values.slots)
        os.rename(unfinished, out)
    finally:
        if os.path.isdir(unfinished):
            shutil.rmtree(unfinished)
        elif os.path.exists(unfinished):
            os.remove(unfinished)
    print(f"{out}: {source.count()} rows of dim {table.dim}")
    return errors.OK


def _guess(out: str) -> str:
    for ending, kind in _ENDINGS.items():
        if out.endswith(ending):
            return kind
    raise ToolError(f"the name of {out} does not tell its format; --to is one of {FORMATS}")


def _write_npz(source: _Source, out: str, slots: bool) -> None:
    footer, n = source.table.footer, source.count()
    arrays: list[tuple[str, str, np.dtype, tuple[int, ...]]] = [
        ("keys", "key", np.dtype("<i8"), (n,)),
        ("values", "vector", np.dtype("<f4"), (n, footer.dim)),
        ("frequency", "frequency", np.dtype("<i8"), (n,)),
        ("version", "version", np.dtype("<i8"), (n,)),
    ]
    slots = slots and bool(footer.rule)
    if slots:
        arrays.append(("slots", "slots", np.dtype("<f4"), (n, footer.slot_width)))
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, field, dtype, shape in arrays:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                head = {
                    "descr": np.lib.format.dtype_to_descr(dtype),
                    "fortran_order": False,
                    "shape": shape,
                }
                np.lib.format.write_array_header_1_0(stream, head)
                for records in source.batches(name):
                    stream.write(np.ascontiguousarray(records[field]).tobytes())
        if source.words is not None:
            _write_word_array(archive, source)
        if slots:
            for name, value in (
                ("rule", np.array(footer.rule)),
                ("initial_slots", np.array(footer.initial_slots, np.float32)),
            ):
                with archive.open(f"{name}.npy", "w") as stream:
                    np.lib.format.write_array(stream, value)


def _write_word_array(archive: zipfile.ZipFile, source: _Source) -> None:
    longest = 1
    for records in source.batches("words"):
        longest = max([longest, *map(len, source.names(records))])
    with archive.open("words.npy", "w", force_zip64=True) as stream:
        head = {"descr": f"<U{longest}", "fortran_order": False, "shape": (source.count(),)}
        np.lib.format.write_array_header_1_0(stream, head)
        for records in source.batches("words"):
            stream.write(np.array(source.names(records), f"<U{longest}").tobytes())


def _write_parquet(source: _Source, out: str, slots: bool) -> None:
    arrow = errors.require("pyarrow", "writing Parquet")
    parquet = errors.require("pyarrow.parquet", "writing Parquet")
    footer = source.table.footer
    slots = slots and bool(footer.rule)
    fields = [
        arrow.field("key", arrow.int64()),
        arrow.field("frequency", arrow.int64()),
        arrow.field("version", arrow.int64()),
        arrow.field("vector", arrow.list_(arrow.float32(), footer.dim)),
    ]
    metadata = {}
    if slots:
        fields.append(arrow.field("slots", arrow.list_(arrow.float32(), footer.slot_width)))
        metadata["tf_embedding.rule"] = footer.rule
        metadata["tf_embedding.initial_slots"] = " ".join(map(repr, footer.initial_slots))
    if source.words is not None:
        fields.append(arrow.field("word", arrow.string()))
    schema = arrow.schema(fields, metadata=metadata)

    def lists(values: np.ndarray) -> Any:
        flat = arrow.array(np.ascontiguousarray(values).reshape(-1))
        return arrow.FixedSizeListArray.from_arrays(flat, values.shape[1])

    def native(values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(values)

    with parquet.ParquetWriter(out, schema) as writer:
        for records in source.batches("rows"):
            columns = [
                arrow.array(native(records["key"])),
                arrow.array(native(records["frequency"])),
                arrow.array(native(records["version"])),
                lists(records["vector"]),
            ]
            if slots:
                columns.append(lists(records["slots"]))
            if source.words is not None:
                columns.append(arrow.array(source.names(records)))
            writer.write_batch(arrow.record_batch(columns, schema=schema))


def _texts(vectors: np.ndarray) -> np.ndarray:
    """The shortest decimal of each float32 that reads back as the same number."""
    return np.ascontiguousarray(vectors).astype("U32")


def _write_csv(source: _Source, out: str, slots: bool) -> None:
    del slots
    dim = source.table.dim
    named = source.words is not None
    with open(out, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        head = ["key", *(["word"] if named else []), "frequency", "version"]
        writer.writerow([*head, *(f"v{column}" for column in range(dim))])
        for records in source.batches("rows"):
            names = source.names(records) if named else None
            texts = _texts(records["vector"]).tolist()
            for place, record in enumerate(texts):
                row = records[place]
                word = [names[place]] if names is not None else []
                writer.writerow([row["key"], *word, row["frequency"], row["version"], *record])


def _write_word2vec(source: _Source, out: str, slots: bool) -> None:
    del slots
    with open(out, "w", encoding="utf-8", newline="") as file:
        file.write(f"{source.count()} {source.table.dim}\n")
        for records in source.batches("rows"):
            for name, row in zip(source.names(records), _texts(records["vector"]).tolist()):
                file.write(f"{name} {' '.join(row)}\n")


def _write_projector(source: _Source, out: str, slots: bool) -> None:
    del slots
    os.makedirs(out)
    named = source.words is not None
    with open(os.path.join(out, "vectors.tsv"), "w", encoding="utf-8") as vectors, open(
        os.path.join(out, "metadata.tsv"), "w", encoding="utf-8"
    ) as metadata:
        head = [*(["word"] if named else []), "key", "frequency", "version"]
        metadata.write("\t".join(head) + "\n")
        for records in source.batches("rows"):
            names = source.names(records)
            for name, record, row in zip(names, records, _texts(records["vector"]).tolist()):
                vectors.write("\t".join(row) + "\n")
                numbers = [str(record[field]) for field in ("key", "frequency", "version")]
                word = [name.replace("\t", " ")] if named else []
                metadata.write("\t".join([*word, *numbers]) + "\n")
    with open(os.path.join(out, "projector_config.pbtxt"), "w", encoding="utf-8") as file:
        name = source.table.name.replace("\\", "\\\\").replace('"', '\\"')
        file.write(
            f'embeddings {{\n  tensor_name: "{name}"\n  tensor_path: "vectors.tsv"\n'
            '  metadata_path: "metadata.tsv"\n}\n'
        )
