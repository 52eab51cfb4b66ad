# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""`tf-embedding get` and `top`: single rows of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
from absl import flags

from tf_embedding import hashing
from tf_embedding.tools import errors, output, tables
from tf_embedding.tools.inspect_command import norms_of
from tf_embedding.tools.progress import progress

ORDERS = ("frequency", "norm", "version")


def _as_dict(table: tables.Table, record: Any, word: Optional[str] = None) -> dict[str, Any]:
    found: dict[str, Any] = {} if word is None else {"word": word}
    found["key"] = int(record["key"])
    found["frequency"], found["version"] = int(record["frequency"]), int(record["version"])
    found["norm"] = float(norms_of(record["vector"][np.newaxis])[0])
    found["vector"] = record["vector"].tolist()
    found["slots"] = {
        name: record["slots"][columns].tolist()
        for name, columns in table.footer.slot_columns().items()
    }
    return found


def _print_rows(rows: Sequence[dict[str, Any]]) -> None:
    head = [*(["word"] if rows and "word" in rows[0] else []), "key", "frequency", "version"]
    lines = [
        [*(row[name] for name in head), f"{row['norm']:.6g}", output.vector_text(row["vector"])]
        for row in rows
    ]
    output.print_table(lines, [*head, "norm", "vector"])


def define_get(values: flags.FlagValues) -> None:
    """The flags of get."""
    output.define_format(values)
    output.define_table(values)
    flags.DEFINE_bool(
        "strings", False, "The keys are strings, to be hashed by te.hashing.", flag_values=values
    )


def run_get(args: Sequence[str], values: flags.FlagValues) -> int:
    """usage: tf-embedding get CKPT KEY... [FLAGS]

    Prints the rows of keys. Of each table only the blocks that may hold one are read. Put --
    before keys below zero. Exits with 1 where a key has no row.
    """
    output.need_args(args, "CKPT KEY...", 2, more=True)
    words = list(args[1:])
    if values.strings:
        keys = hashing.hash_strings(words).numpy()
    else:
        try:
            keys = np.array([np.int64(int(word)) for word in words], np.int64)
        except (ValueError, OverflowError) as error:
            raise errors.ToolError(
                f"KEY: {error}; keys are integers of 64 bits, or strings with --strings"
            ) from error
    table = tables.open_checkpoint(args[0]).select(values.table)
    found = table.find(keys)
    rows, missing = [], []
    for word, key in zip(words, keys.tolist()):
        if key in found:
            rows.append(_as_dict(table, found[key], word if values.strings else None))
        else:
            missing.append(word)
    if values.format == "json":
        output.print_json({"rows": rows, "missing": missing})
    else:
        if rows:
            _print_rows(rows)
        if missing:
            print(f"without a row: {' '.join(missing)}")
    return errors.DIFFERENT if missing else errors.OK


def define_top(values: flags.FlagValues) -> None:
    """The flags of top."""
    output.define_format(values)
    output.define_table(values)
    flags.DEFINE_enum("by", "frequency", ORDERS, "What to order rows by.", flag_values=values)
    flags.DEFINE_integer("limit", 10, "How many rows.", lower_bound=1, flag_values=values)
    flags.DEFINE_bool("lowest", False, "The lowest, not the highest.", flag_values=values)


def run_top(args: Sequence[str], values: flags.FlagValues) -> int:
    """usage: tf-embedding top CKPT [FLAGS]

    Prints the rows of highest frequency, norm or version. Of equal ones that of the smaller
    key comes first.
    """
    output.need_args(args, "CKPT", 1)
    table = tables.open_checkpoint(args[0]).select(values.table)
    rows = [
        _as_dict(table, record) for record in top(table, values.by, values.limit, values.lowest)
    ]
    if values.format == "json":
        output.print_json(rows)
    else:
        _print_rows(rows)
    return errors.OK


def top(table: tables.Table, by: str, limit: int, lowest: bool = False) -> np.ndarray:
    """The records of so many rows, the first ones in order of `by`; holds no more than those."""
    kept = np.zeros([0], table.dtype)
    for _, records in progress(table.ranges(), table.num_blocks, f"top {table.name}"):
        together = np.concatenate([kept, records])
        values = norms_of(together["vector"]) if by == "norm" else together[by]
        if not lowest:
            values = -values
        kept = together[np.lexsort((together["key"], values))[:limit]]
    return kept
