# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Embedding variables in checkpoints of DeepRec.

For each variable, each partition (`NAME/part_0`, ...) and each slot (`NAME/part_0/Adagrad`)
there are up to nine tensors: `-keys`, `-values`, `-freqs`, `-versions`, those of keys that a
filter had not admitted (`-keys_filtered`, `-freqs_filtered`, `-versions_filtered`), and where
buckets begin (`-partition_offset`, `-partition_filter_offset`). Frequencies and versions are
empty where they were not recorded, and older checkpoints lack all but the first few.

Source: DeepRec, https://github.com/DeepRec-AI/DeepRec.
"""

from __future__ import annotations

import re

from tf_embedding.tools.bundle import BundleReader
from tf_embedding.tools.foreign import ForeignTable, Found, bundle_piece, is_slot_name
from tf_embedding.tools.tables import resolve_prefix

SUFFIXES = (
    "-keys",
    "-values",
    "-freqs",
    "-versions",
    "-keys_filtered",
    "-freqs_filtered",
    "-versions_filtered",
    "-partition_offset",
    "-partition_filter_offset",
)


def find(path: str) -> Found:
    """The embedding variables of a checkpoint.

    Raises:
      ToolError: there is no checkpoint, or tensors do not fit together.
    """
    bundle = BundleReader(resolve_prefix(path))
    names = set(bundle.names())
    bases = {
        name[: -len("-keys")]
        for name in names
        if name.endswith("-keys") and name[: -len("-keys")] + "-values" in names
    }
    found = Found({}, bundle)
    for base in sorted(bases):
        owner, _, last = base.rpartition("/")
        is_slot = owner in bases and (
            is_slot_name("deeprec", last)
            # Of an unknown name: a slot has the keys and the dim of its variable, which
            # another variable in the scope of that name would not.
            or bundle.shape(base + "-values") == bundle.shape(owner + "-values")
        )
        primary = owner if is_slot else base
        name = re.sub(r"/part_\d+$", "", primary)
        table = found.tables.setdefault(name, ForeignTable(name))
        rest = [base + suffix for suffix in ("-freqs", "-versions")]
        piece = bundle_piece(
            bundle,
            base,
            base + "-keys",
            base + "-values",
            [column if column in names else None for column in rest],
        )
        if is_slot:
            table.slots.setdefault(last, []).append(piece)
        else:
            table.pieces.append(piece)
            keys, counts = base + "-keys_filtered", base + "-freqs_filtered"
            if keys in names and counts in names and bundle.shape(keys) not in ([0], []):
                what = base + ", keys not admitted"
                table.candidates.append(bundle_piece(bundle, what, keys, counts, []))
        for suffix in SUFFIXES:
            if base + suffix in names:
                found.used.add((base + suffix).encode())
    return found
