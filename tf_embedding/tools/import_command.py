# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""`tf-embedding import`: a checkpoint from files of other programs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Optional

import numpy as np
from absl import flags

from tf_embedding.tools import deeprec, errors, foreign, output, readers, tfra, writing
from tf_embedding.tools.bundle import BundleWriter
from tf_embedding.tools.errors import ToolError
from tf_embedding.tools.progress import progress
from tf_embedding.variable import EmbeddingVariable

LAYOUTS = ("objects", "saver")


def define_import(values: flags.FlagValues) -> None:
    """The flags of import."""

    def string(name: str, default: Optional[str], text: str) -> None:
        flags.DEFINE_string(name, default, text, flag_values=values)

    def enum(name: str, default: Optional[str], choices: Sequence[str], text: str) -> None:
        flags.DEFINE_enum(name, default, list(choices), text, flag_values=values)

    sources = [*readers.FORMATS, "deeprec", "tfra"]
    enum("from", None, sources, "What FILE is; by default its name tells.")
    string("name", "table", "Of the table in OUT; of files of rows.")
    flags.DEFINE_integer(
        "dim", None, "That vectors must have.", lower_bound=1, upper_bound=4096, flag_values=values
    )
    enum("keys", "auto", readers.KEYS, "What keys are; auto: numbers as they are, words hashed.")
    enum("duplicates", "error", writing.DUPLICATES, "Which of the rows of one key holds.")
    enum("layout", None, LAYOUTS, "For tf.train.Checkpoint, or for the Saver of v1 graphs.")
    string("initializer", "uniform", "Of the vectors of keys without a row.")
    flags.DEFINE_integer("seed", 0, "Of the initializer.", flag_values=values)
    string("tmp", None, "A folder for temporary files, as large as the table.")
    string("table", None, "Only this variable; of deeprec and tfra.")
    flags.DEFINE_bool("slots", True, "Takes slots over; of deeprec and tfra.", flag_values=values)
    string("rule", None, "Whose slots they are; by default their names tell.")
    flags.DEFINE_list(
        "slot_names", None, "SLOT=NAME,...: the name of each slot of --rule.", flag_values=values
    )
    flags.DEFINE_list(
        "initial_slots", None, "A value for each slot of the rule.", flag_values=values
    )
    enum("key_dtype", "int64", ["int64", "int32"], "Of TFRA's files of keys and values.")
    enum("value_dtype", "float32", ["float32", "float16", "float64"], "Of TFRA's files.")


def run_import(args: Sequence[str], values: flags.FlagValues) -> int:
    """usage: tf-embedding import FILE OUT [--from=FORMAT] [FLAGS]

    Writes a checkpoint OUT with the rows of FILE: npz, Parquet, word2vec (text and binary),
    GloVe, a checkpoint of DeepRec, or a checkpoint or folder of TFRA. Keys that come twice, two
    words with the same hash, another dim and values that are not finite are errors; OUT is
    then not written.
    """
    output.need_args(args, "FILE OUT", 2)
    source, out = args
    kind = values["from"].value or readers.guess_format(source)
    if kind in ("deeprec", "tfra"):
        _import_foreign(kind, source, out, values)
        return errors.OK
    reader = readers.open_reader(source, kind, values.keys, values.dim)
    variable = _variable(reader.dim, values.name, values)
    counts = writing.Counts()
    with writing.Spill(_expected_bytes(reader), values.tmp) as spill:
        _spill_rows(reader, spill)
        footer = writing.new_footer(
            variable, spill.rows.get("rows", 0), reader.rule or "", reader.initial_slots
        )
        elements = writing.build_elements(
            spill, footer, values.duplicates, lambda _, n: readers.describe(reader, n), counts
        )
        _write(out, values.layout or "objects", {values.name: (variable, elements)})
    _print_counts(values.name, reader.dim, counts)
    return errors.OK


def _variable(dim: int, name: str, values: flags.FlagValues) -> EmbeddingVariable:
    try:
        return EmbeddingVariable(
            dim, initializer=values.initializer, seed=values.seed, name=name.replace("/", "_")
        )
    except (TypeError, ValueError) as error:
        raise ToolError(f"--initializer is {values.initializer!r}: {error}") from error


def _expected_bytes(reader: readers.Reader) -> int:
    if reader.rows is None:
        return os.path.getsize(reader.path)
    slots = 2 * reader.dim if reader.rule else 0
    return reader.rows * writing.rows_dtype(reader.dim, slots).itemsize


def _spill_rows(reader: readers.Reader, spill: writing.Spill) -> None:
    total = None if reader.rows is None else reader.rows // reader.batch_rows() + 1
    for batch in progress(reader.batches(), total, f"import {reader.path}"):
        width = 0 if batch.slots is None else batch.slots.shape[1]
        rows = np.zeros(len(batch.keys), writing.rows_dtype(reader.dim, width))
        rows["key"], rows["vector"] = batch.keys, batch.vectors
        rows["source"] = np.arange(batch.first, batch.first + len(rows))
        if batch.slots is not None:
            rows["slots"] = batch.slots
        if batch.frequency is not None:
            rows["frequency"] = writing.clip_numbers(batch.frequency)
        if batch.version is not None:
            rows["version"] = writing.clip_numbers(batch.version, writing.MAX_VERSION)
        if batch.words is not None:
            rows["check"] = readers.check_words(batch.words).view(np.uint64)
        spill.add("rows", rows)


def _write(
    out: str,
    layout: str,
    made: dict[str, tuple[EmbeddingVariable, Iterator[bytes]]],
) -> None:
    if layout == "objects":
        writing.write_objects(
            out,
            {name: variable for name, (variable, _) in made.items()},
            {name: elements for name, (_, elements) in made.items()},
        )
        return
    with BundleWriter(out) as writer:
        for name, (variable, elements) in made.items():
            writing.write_saver_table(writer, name, variable.dim, elements)
        writer.commit()


def _print_counts(name: str, dim: int, counts: writing.Counts) -> None:
    print(f"{name}: {counts.rows} rows of dim {dim}")
    if counts.candidates:
        print(f"{name}: {counts.candidates} keys that were not admitted, with their counts")
    if counts.duplicates:
        print(f"{name}: {counts.duplicates} rows left out, whose keys came twice")
    for slot, missing in counts.slots_missing.items():
        if missing:
            print(f"{name}: {missing} rows had no {slot}; they start with the initial value")
    for slot, extra in counts.slots_extra.items():
        if extra:
            print(f"{name}: {extra} values of {slot} left out, whose keys have no vector")


def _import_foreign(kind: str, source: str, out: str, values: flags.FlagValues) -> None:
    if kind == "deeprec":
        found = deeprec.find(source)
    else:
        found = tfra.find(source, values.key_dtype, values.value_dtype)
    chosen = foreign.choose(found, values.table, source)
    layout = values.layout or ("saver" if kind == "deeprec" else "objects")
    names = None
    if values.slot_names is not None:
        pairs = [pair.partition("=") for pair in values.slot_names]
        names = {slot: name for slot, _, name in pairs}
    initial = values.initial_slots
    if initial is not None:
        try:
            initial = tuple(float(value) for value in initial)
        except ValueError as error:
            raise ToolError(f"--initial_slots: {error}") from error
    made, tables = {}, []
    kept: list[writing.Spill] = []
    try:
        for table in chosen:
            if values.dim is not None and table.dim != values.dim:
                raise ToolError(
                    f"{source}, variable {table.name} is of dim {table.dim}, and --dim is "
                    f"{values.dim}"
                )
            variable = _variable(table.dim, table.name, values)
            plan = foreign.plan_slots(table, kind, values.slots, values.rule, names, initial)
            counts = writing.Counts()
            elements = foreign.elements(
                table, plan, variable, values.duplicates, values.tmp, counts, kept
            )
            made[table.name] = (variable, elements)
            tables.append((table, counts, plan))
        if layout == "saver" and found.bundle is not None:
            with BundleWriter(out) as writer:
                for name, (variable, elements) in made.items():
                    writing.write_saver_table(writer, name, variable.dim, elements)
                for key in found.others():
                    writer.copy(found.bundle, key)
                writer.commit()
        else:
            _write(out, layout, made)
    finally:
        for spill in kept:
            spill.__exit__()
    for table, counts, plan in tables:
        _print_counts(table.name, table.dim, counts)
        if plan.rule:
            print(f"{table.name}: slots of rule {plan.rule}")
        for note in table.notes:
            print(f"{table.name}: {note}")
