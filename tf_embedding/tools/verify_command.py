# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""`tf-embedding verify`: reads every byte of a checkpoint, a block at a time."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import flags

from tf_embedding.tools import errors, output, tables
from tf_embedding.tools.progress import progress


def define_verify(values: flags.FlagValues) -> None:
    """The flags of verify."""
    output.define_format(values)


def run_verify(args: Sequence[str], values: flags.FlagValues) -> int:
    """usage: tf-embedding verify CKPT [FLAGS]

    Reads every byte of every tensor, checks all checksums, and of tables that each key is in
    its block, once, and that there are as many rows as the footer says. Goes on behind what is
    damaged, and exits with 1 where something is.
    """
    output.need_args(args, "CKPT", 1)
    damaged: list[str] = []
    rows: dict[str, int] = {}
    tensors = 0
    try:
        found = tables.open_checkpoint(args[0])
        if found.bundle is not None:
            bundle = found.bundle
            entries = [e for e in bundle.entries.values() if e.size]
            tensors = len(entries)
            for entry in progress(entries, tensors, "verify tensors"):
                try:
                    for _ in bundle.chunks(entry):
                        pass
                except errors.DamagedError as error:
                    damaged.append(str(error))
        for table in found.tables.values():
            rows[table.name] = _check(table, damaged)
    except errors.DamagedError as error:
        damaged.append(str(error))
    if values.format == "json":
        output.print_json({"tensors": tensors, "tables": rows, "damaged": damaged})
    else:
        print(f"{args[0]}: {tensors} tensors, {len(rows)} tables")
        output.print_table(list(rows.items()), ["table", "rows"])
        for line in damaged:
            print(f"damaged: {line}", file=sys.stderr)
        print("damaged" if damaged else "all is as it was written")
    return errors.DIFFERENT if damaged else errors.OK


def _check(table: tables.Table, damaged: list[str]) -> int:
    total = 0
    for part in table.parts:
        rows, whole = 0, True
        numbers = range(part.footer.num_blocks)
        for number in progress(numbers, len(numbers), f"verify {part.what}"):
            try:
                rows += len(part.block(number))
                part.others(number)
            except (errors.DamagedError, errors.ToolError) as error:
                damaged.append(str(error))
                whole = False
        if whole and part.footer.rows not in (-1, rows):
            damaged.append(
                f"{part.what}: the footer says {part.footer.rows} rows, and there are {rows}"
            )
        total += rows
    return total
