# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables of other libraries, whose slots are tables of their own with keys of their own.

A table is some pieces (partitions, shards, files), and so is each of its slots. They meet by
key: a row whose slot is missing starts with the rule's initial value, and a slot without a
vector is left out; both are counted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Callable, NamedTuple, Optional

import numpy as np
import tensorflow as tf

from tf_embedding import rules
from tf_embedding.tools import blocks, writing
from tf_embedding.tools.bundle import BundleReader
from tf_embedding.tools.errors import ToolError
from tf_embedding.tools.progress import progress
from tf_embedding.variable import EmbeddingVariable

_BATCH_VALUES = 1 << 19


class Columns(NamedTuple):
    """Some rows of a piece: keys [n], values [n, width], and [n] or None."""

    keys: np.ndarray
    values: np.ndarray
    frequency: Optional[np.ndarray] = None
    version: Optional[np.ndarray] = None


@dataclasses.dataclass
class Piece:
    """One partition of a table or of a slot.

    Attributes:
      what: how errors call it.
      rows: how many it has.
      width: values in a row.
      read: rows start to stop.
      check: reads all of it and raises DamagedError where a checksum is wrong.
    """

    what: str
    rows: int
    width: int
    read: Callable[[int, int], Columns]
    check: Callable[[], None]


@dataclasses.dataclass
class ForeignTable:
    """A table and its slots.

    Attributes:
      name: without partition.
      pieces: its partitions.
      slots: of each slot variable, by the end of its name, the partitions.
      candidates: keys that a filter had not admitted, and their frequencies.
      notes: what is to be said of it.
    """

    name: str
    pieces: list[Piece] = dataclasses.field(default_factory=list)
    slots: dict[str, list[Piece]] = dataclasses.field(default_factory=dict)
    candidates: list[Piece] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def dim(self) -> int:
        """The length of a vector."""
        # A file without rows does not tell how wide they are.
        widths = sorted({piece.width for piece in self.pieces if piece.width})
        if len(widths) != 1:
            raise ToolError(
                f"{self.pieces[0].what}: the partitions of {self.name} are of dims {widths}"
            )
        return widths[0]


@dataclasses.dataclass
class Found:
    """What a source has.

    Attributes:
      tables: by name.
      bundle: the checkpoint they are in; None for files.
      used: raw keys of the tensors that tables are made of.
    """

    tables: dict[str, ForeignTable]
    bundle: Optional[BundleReader] = None
    used: set[bytes] = dataclasses.field(default_factory=set)

    def others(self) -> list[bytes]:
        """The tensors that belong to no table, and can be copied as they are."""
        if self.bundle is None:
            return []
        graph = b"_CHECKPOINTABLE_OBJECT_GRAPH"
        return [key for key in self.bundle.entries if key not in self.used and key != graph]


@dataclasses.dataclass
class SlotPlan:
    """Which slot variable is which slot of the rule.

    Attributes:
      rule: whose; empty for none.
      names: the slot variable of each slot of the rule.
      initial_slots: of the rule.
    """

    rule: str
    names: dict[str, str]
    initial_slots: tuple[float, ...]


# By the library: the ends of the names of slot variables, in the order of the rule's slots.
_RULES: dict[str, list[tuple[str, tuple[str, ...]]]] = {
    "deeprec": [
        ("adagrad", ("Adagrad",)),
        ("adam", ("Adam", "Adam_1")),
        ("adam", ("AdamAsync", "AdamAsync_1")),
        ("adamw", ("AdamW", "AdamW_1")),
        ("group_ftrl", ("Ftrl", "Ftrl_1")),
        ("adagrad_decay", ("AdagradDecay", "AdagradDecay_1")),
        ("adagrad_decay", ("AdagradDecayV2", "AdagradDecayV2_1")),
    ],
    "tfra": [
        ("adagrad", ("Adagrad/accumulator",)),
        ("adam", ("Adam/m", "Adam/v")),
        ("adam", ("LazyAdam/m", "LazyAdam/v")),
        ("adamw", ("AdamW/m", "AdamW/v")),
        ("ftrl", ("Ftrl/accum", "Ftrl/linear")),
        ("ftrl", ("Ftrl/accumulator", "Ftrl/linear")),
        ("momentum", ("Momentum/momentum",)),
        ("keras_momentum", ("SGD/momentum",)),
        ("rmsprop_momentum", ("RMSProp/rms", "RMSProp/momentum")),
        ("rmsprop_momentum", ("RMSprop/rms", "RMSprop/momentum")),
        ("rmsprop", ("RMSprop/rms",)),
    ],
}


def is_slot_name(kind: str, name: str) -> bool:
    """Whether a library gives slot variables names with this end."""
    return any(name in names for _, names in _RULES[kind])


def choose(found: Found, name: Optional[str], source: str) -> list[ForeignTable]:
    """All tables, or that of a name.

    Raises:
      ToolError: there is none.
    """
    if not found.tables:
        raise ToolError(f"{source} has no tables of that library, NAME-keys and NAME-values")
    if name is None:
        return list(found.tables.values())
    if name not in found.tables:
        raise ToolError(
            f"{source} has no variable {name!r}; --table is one of: {', '.join(found.tables)}"
        )
    return [found.tables[name]]


def initial_slots_of(rule: str) -> tuple[float, ...]:
    """What a rule with default hyper-parameters starts slots with, vector slots first."""
    variable = EmbeddingVariable(1, initializer="zeros", name="initial_slots")
    settings: dict[str, dict[str, Any]] = {
        "rmsprop_momentum": {"momentum": 0.9},
        "rmsprop_centered": {"centered": True},
        "rmsprop_centered_momentum": {"momentum": 0.9, "centered": True},
    }
    made = {cls(**settings.get(rule, {})) for cls in rules.ALL if rule.startswith(cls.name)}
    (chosen,) = [each for each in made if each.core_name == rule]
    gradient = tf.IndexedSlices(tf.zeros([1, 1]), tf.zeros([1], tf.int64))
    rules.apply(variable, gradient, chosen, learning_rate=0.1, step=0)
    return tuple(variable.state()["initial_slots"].numpy().tolist())


def plan_slots(
    table: ForeignTable,
    kind: str,
    wanted: bool,
    rule: Optional[str],
    names: Optional[dict[str, str]],
    initial: Optional[tuple[float, ...]],
) -> SlotPlan:
    """Finds out which slot is which.

    Args:
      table: whose.
      kind: "deeprec" or "tfra".
      wanted: whether slots are taken over.
      rule: that the user named, or None.
      names: the slot variable of each slot, by the user, or None.
      initial: values that the user gave, or None.

    Raises:
      ToolError: there are slots whose names do not tell what they are.
    """
    if not wanted or (not table.slots and names is None):
        if table.slots:
            table.notes.append(f"slots left out: {', '.join(sorted(table.slots))}")
        return SlotPlan("", {}, ())
    if names is None:
        fits = [
            (its_rule, its_names)
            for its_rule, its_names in _RULES[kind]
            if set(its_names) == set(table.slots) and rule in (None, its_rule)
        ]
        if not fits and rule is not None:
            # The user knows better what Adam's slots are.
            fits = [(rule, n) for _, n in _RULES[kind] if set(n) == set(table.slots)]
        if not fits:
            raise ToolError(
                f"variable {table.name} has slots {', '.join(sorted(table.slots))}, whose names do "
                "not tell their rule; say --rule=RULE --slot_names=SLOT=NAME,..., or leave them "
                "out by --noslots"
            )
        rule, in_order = fits[0]
        slots = _slots_of(rule)
        if len(slots) != len(in_order):
            raise ToolError(
                f"--rule is {rule}, with slots {', '.join(slots)}, and variable {table.name} has "
                f"{', '.join(in_order)}; say which is which by --slot_names=SLOT=NAME,..."
            )
        names = dict(zip(slots, in_order))
    elif rule is None:
        raise ToolError("--slot_names names the slots of --rule, which is not given")
    slots = _slots_of(rule)
    if set(names) != set(slots):
        raise ToolError(
            f"--slot_names has {', '.join(sorted(names))}; rule {rule} has {', '.join(slots)}"
        )
    for slot, name in names.items():
        if name not in table.slots:
            raise ToolError(
                f"--slot_names: variable {table.name} has no {name!r} for {slot}; it has "
                f"{', '.join(sorted(table.slots)) or 'no slots'}"
            )
    left = sorted(set(table.slots) - set(names.values()))
    if left:
        table.notes.append(f"slots left out: {', '.join(left)}")
    return SlotPlan(rule, names, initial if initial is not None else initial_slots_of(rule))


def _slots_of(rule: str) -> list[str]:
    known = rules.core_rules()
    if rule not in known:
        raise ToolError(f"--rule is {rule!r}; it must be one of {', '.join(known)}")
    return [*(known[rule]["vector_slots"] or ()), *(known[rule]["scalar_slots"] or ())]


def elements(
    table: ForeignTable,
    plan: SlotPlan,
    variable: EmbeddingVariable,
    duplicates: str,
    tmp: Optional[str],
    counts: writing.Counts,
    kept: list[writing.Spill],
) -> Iterator[bytes]:
    """The elements of a table, which is read when the first is asked for.

    Args:
      table: whose.
      plan: which slot is which.
      variable: whose initializer the table has.
      duplicates: see `writing.without_duplicates`.
      tmp: a folder for temporary files.
      counts: in which rows are counted.
      kept: to which the temporary files are appended, to be deleted.
    """
    dim = table.dim
    rows = sum(piece.rows for piece in table.pieces)
    footer = writing.new_footer(variable, rows, plan.rule, plan.initial_slots)
    row_bytes = writing.rows_dtype(dim, footer.slot_width).itemsize
    spill = writing.Spill(rows * row_bytes, tmp)
    kept.append(spill)
    columns = footer.slot_columns()
    streams = {"rows": table.pieces}
    for slot, name in plan.names.items():
        streams[slot] = table.slots[name]
    if table.candidates and footer.version > 1:
        streams[blocks.CANDIDATES] = table.candidates
    for stream, pieces in streams.items():
        source = 0
        for piece in pieces:
            piece.check()
            step = max(1, _BATCH_VALUES // max(1, piece.width))
            batches = range(0, piece.rows, step)
            for start in progress(batches, len(batches), f"import {piece.what}"):
                read = piece.read(start, min(start + step, piece.rows))
                if stream == "rows":
                    made = _rows_of(read, dim, piece, start)
                elif stream == blocks.CANDIDATES:
                    made = np.zeros(len(read.keys), writing.CANDIDATES_DTYPE)
                    made["count"] = writing.clip_numbers(read.values[:, 0]).clip(1)
                else:
                    width = columns[stream].stop - columns[stream].start
                    made = _slot_of(read, width, piece)
                made["key"] = read.keys
                made["source"] = np.arange(source + start, source + start + len(made))
                spill.add(stream, made)
            source += piece.rows

    def describe(stream: str, source: int) -> str:
        for piece in streams[stream]:
            if source < piece.rows:
                return f"{piece.what}, row {source}"
            source -= piece.rows
        raise AssertionError(f"there is no row {source} of {stream}")

    yield from writing.build_elements(spill, footer, duplicates, describe, counts)


def _rows_of(read: Columns, dim: int, piece: Piece, start: int) -> np.ndarray:
    made = np.zeros(len(read.keys), writing.rows_dtype(dim, 0))
    made["vector"] = read.values
    finite = np.isfinite(made["vector"]).all(axis=1)
    if not finite.all():
        raise ToolError(
            f"{piece.what}, row {start + int(np.argmin(finite))}: the vector has a value that is "
            "not finite"
        )
    if read.frequency is not None:
        made["frequency"] = writing.clip_numbers(read.frequency)
    if read.version is not None:
        made["version"] = writing.clip_numbers(read.version, writing.MAX_VERSION)
    return made


def _slot_of(read: Columns, width: int, piece: Piece) -> np.ndarray:
    made = np.zeros(len(read.keys), writing.slot_dtype(width))
    if width == 1:
        # A number of a row, which may be written once for each column.
        made["values"] = read.values[:, :1]
    elif piece.width == width:
        made["values"] = read.values
    else:
        raise ToolError(f"{piece.what} has {piece.width} values in a row; the slot takes {width}")
    return made


def bundle_piece(
    bundle: BundleReader, base: str, keys: str, values: str, rest: Sequence[Optional[str]]
) -> Piece:
    """A piece whose columns are dense tensors of a checkpoint.

    Args:
      bundle: the checkpoint.
      base: how errors call the piece.
      keys: the name of the tensor of keys.
      values: that of values, [n, width] or [n].
      rest: those of frequency and version; None, or of another length than keys, is not there.
    """
    what = f"{bundle.prefix}, {base}"
    rows = int(np.prod(bundle.shape(keys), dtype=np.int64))
    shape = bundle.shape(values)
    width = 1 if len(shape) == 1 else int(np.prod(shape[1:], dtype=np.int64))
    if shape[0] != rows:
        raise ToolError(f"{what}: {keys} has {rows} keys and {values} {shape[0]} rows")
    key_dtype = tf.as_dtype(bundle.entry(keys).dtype)
    if key_dtype not in (tf.int64, tf.int32, tf.uint64):
        raise ToolError(f"{what}: keys are {key_dtype.name}; only integer keys can be imported")
    extra = [name if name and bundle.shape(name) == [rows] else None for name in rest]

    def read(start: int, stop: int) -> Columns:
        found = bundle.array(keys, start, stop).reshape([stop - start])
        found = found.view(np.int64) if found.dtype == np.uint64 else found.astype(np.int64)
        values_read = bundle.array(values, start, stop).reshape([stop - start, width])
        if values_read.dtype.kind != "i":
            values_read = values_read.astype(np.float32)
        columns = [None if name is None else bundle.array(name, start, stop) for name in extra]
        return Columns(found, values_read, *columns)

    def check() -> None:
        for name in (keys, values, *extra):
            if name is not None and bundle.entry(name).size:
                for _ in bundle.chunks(bundle.entry(name)):
                    pass

    return Piece(what, rows, width, read, check)
