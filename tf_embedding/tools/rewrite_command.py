# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""`tf-embedding strip` and `reshard`: a copy of a checkpoint with other tables.

All tensors that are no tables are copied byte by byte, so that what loaded the old
checkpoint loads the new one.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from typing import Callable, Optional

import numpy as np
from absl import flags

from tf_embedding.tools import blocks, errors, output, tables
from tf_embedding.tools.bundle import BundleWriter
from tf_embedding.tools.progress import progress

# Makes the elements of a table's copy.
Rewrite = Callable[[tables.Table], Iterator[bytes]]


def rewrite(source: tables.Checkpoint, out: str, command: str, change: dict[str, Rewrite]) -> None:
    """Copies a checkpoint, some of its tables changed."""
    bundle = source.need_bundle(command)
    by_tensor = {table.tensor: table for table in source.tables.values()}
    with BundleWriter(out) as writer:
        for key in bundle.entries:
            table = by_tensor.get(key.decode(errors="replace"))
            if table is not None and table.name in change:
                writer.table(table.tensor, change[table.name](table))
            else:
                writer.copy(bundle, key)
        writer.commit()


def _chosen(source: tables.Checkpoint, name: Optional[str]) -> list[tables.Table]:
    return [source.select(name)] if name else list(source.tables.values())


def define_strip(values: flags.FlagValues) -> None:
    """The flags of strip."""
    flags.DEFINE_string("table", None, "Only this table; others are copied.", flag_values=values)
    flags.DEFINE_bool("slots", False, "Takes the optimizer's slots away.", flag_values=values)
    flags.DEFINE_integer(
        "min_frequency",
        None,
        "Takes rows of a smaller frequency away.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "min_version",
        None,
        "Takes rows away that were last trained before this step.",
        lower_bound=0,
        flag_values=values,
    )


def run_strip(args: Sequence[str], values: flags.FlagValues) -> int:
    """usage: tf-embedding strip CKPT OUT --slots|--min_frequency=N|--min_version=N

    Writes a checkpoint OUT without slots, rare keys or old keys. Trained on, rows without
    slots start with initial ones, under any rule.
    """
    output.need_args(args, "CKPT OUT", 2)
    if not (values.slots or values.min_frequency or values.min_version):
        raise errors.ToolError("strip takes --slots, --min_frequency or --min_version, or several")
    source = tables.open_checkpoint(args[0])
    counts: dict[str, list[int]] = {}

    def stripped(table: tables.Table) -> Iterator[bytes]:
        counts[table.name] = [0, 0]
        for part in table.parts:
            footer = part.footer.without_slots() if values.slots else part.footer
            rows = blocks.encode_part(kept(table.name, part, footer), footer)
            yield from _with_other_kinds(part, rows)

    def kept(
        name: str, part: tables.Part, footer: blocks.Footer
    ) -> Iterator[tuple[int, np.ndarray]]:
        num_blocks = part.footer.num_blocks
        for number in progress(range(num_blocks), num_blocks, f"strip {name}"):
            records = part.block(number)
            keep = np.ones(len(records), bool)
            if values.min_frequency:
                keep &= records["frequency"] >= values.min_frequency
            if values.min_version:
                keep &= records["version"] >= values.min_version
            counts[name][0] += len(records)
            records = records[keep]
            counts[name][1] += len(records)
            if values.slots:
                bare = np.zeros(len(records), blocks.record_dtype(footer.dim, 0))
                for field in ("key", "frequency", "version", "vector"):
                    bare[field] = records[field]
                records = bare
            yield (number + 1) * (blocks.NUM_BUCKETS // num_blocks), records

    rewrite(source, args[1], "strip", {t.name: stripped for t in _chosen(source, values.table)})
    output.print_table([[name, *n] for name, n in counts.items()], ["table", "rows", "kept"])
    return errors.OK


def _with_other_kinds(part: tables.Part, rows: Iterator[bytes]) -> Iterator[bytes]:
    """Blocks of rows and a footer, with the part's other blocks between them as they are."""
    for number, element in enumerate(rows):
        if number == part.footer.num_blocks:
            yield element
            return
        for kind in part.footer.kinds:
            yield element if kind == blocks.ROWS else part.element(number, kind)


def define_reshard(values: flags.FlagValues) -> None:
    """The flags of reshard."""
    flags.DEFINE_string("table", None, "Only this table; others are copied.", flag_values=values)
    flags.DEFINE_integer(
        "parts",
        None,
        "Into how many parts to cut tables.",
        lower_bound=1,
        upper_bound=1024,
        flag_values=values,
    )


def run_reshard(args: Sequence[str], values: flags.FlagValues) -> int:
    """usage: tf-embedding reshard CKPT OUT --parts=N

    Writes a checkpoint OUT whose tables are in N parts, cut by the hash of the key as
    variables in N parts are. A restore takes any number of parts; in its own number a part
    finds its rows together.
    """
    output.need_args(args, "CKPT OUT", 2)
    if values.parts is None:
        raise errors.ToolError("reshard takes --parts, how many parts to cut tables into")
    source = tables.open_checkpoint(args[0])

    def resharded(table: tables.Table) -> Iterator[bytes]:
        return reshard(table, values.parts)

    rewrite(source, args[1], "reshard", {t.name: resharded for t in _chosen(source, values.table)})
    written = tables.open_checkpoint(args[1])
    rows = []
    for table in _chosen(source, values.table):
        for number, part in enumerate(written.tables[table.name].parts):
            rows.append([table.name, number, part.footer.rows])
    output.print_table(rows, ["table", "part", "rows"])
    return errors.OK


class _Spool:
    """Byte strings that wait in a file until they are asked for."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()
        self._sizes: list[int] = []

    def add(self, data: bytes) -> None:
        self._file.write(data)
        self._sizes.append(len(data))

    def drain(self) -> Iterator[bytes]:
        self._file.seek(0)
        for size in self._sizes:
            yield self._file.read(size)
        self._file.close()


def reshard(table: tables.Table, num_parts: int) -> Iterator[bytes]:
    """The elements of a table in another number of parts, its rows read once.

    What is made of each part waits in a temporary file, as the parts are written one behind
    the other.
    """
    unknown = [kind for kind in table.other_kinds if kind not in blocks.KEYED]
    if unknown:
        raise errors.ToolError(
            f"{table.what} holds {', '.join(unknown)} beside rows, which belongs to the parts that "
            f"there are; restore it into a variable of {num_parts} parts and save that"
        )
    rows = table.rows
    num_blocks = table.num_blocks
    if rows is not None:
        num_blocks = blocks.choose_num_blocks(rows // num_parts, table.dtype.itemsize)
    if table.other_kinds:
        # Rows may be the least of it: as many blocks as there are.
        share = max(1, sum(part.footer.num_blocks for part in table.parts) // num_parts)
        num_blocks = max(num_blocks, min(blocks.NUM_BUCKETS, 1 << (share.bit_length() - 1)))
    footer = dataclasses.replace(table.footer, num_parts=num_parts, num_blocks=num_blocks)
    encoders = [_Resharded(dataclasses.replace(footer, part=part)) for part in range(num_parts)]
    spools = [_Spool() for _ in encoders]
    streams = [
        table.ranges() if kind == blocks.ROWS else table.keyed_ranges(kind)
        for kind in footer.kinds
    ]
    for ranges in progress(zip(*streams), table.num_blocks, f"reshard {table.name}"):
        end = ranges[0][0]
        of_kinds = [records for _, records in ranges]
        owners = [blocks.parts_of(records["key"], num_parts) for records in of_kinds]
        for part, (encoder, spool) in enumerate(zip(encoders, spools)):
            mine = [records[owner == part] for records, owner in zip(of_kinds, owners)]
            for element in encoder.add(end, mine):
                spool.add(element)
    for encoder, spool in zip(encoders, spools):
        yield from spool.drain()
        yield encoder.rows.finish()


class _Resharded:
    """Makes the blocks of a part, of each of its footer's kinds, in their order."""

    def __init__(self, footer: blocks.Footer) -> None:
        self.rows = blocks.PartEncoder(footer)
        self._encoders = [
            self.rows if kind == blocks.ROWS else _keyed_encoder(kind, footer.num_blocks)
            for kind in footer.kinds
        ]

    def add(self, end: int, of_kinds: Sequence[np.ndarray]) -> Iterator[bytes]:
        """As `BlockEncoder.add`, of each kind."""
        made = [
            list(encoder.add(end, records)) for encoder, records in zip(self._encoders, of_kinds)
        ]
        for of_number in zip(*made):
            yield from of_number


def _keyed_encoder(kind: str, num_blocks: int) -> blocks.BlockEncoder:
    def encode(number: int, records: np.ndarray) -> bytes:
        return blocks.encode_other_block(number, num_blocks, kind, records)

    return blocks.BlockEncoder(num_blocks, blocks.KEYED[kind], encode)
