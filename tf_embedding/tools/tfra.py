# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Dynamic embedding variables of TFRA: tensors of a checkpoint, or files of keys and values.

A variable is some shards. In a checkpoint of a v1 Saver they are `NAME_mht_1of2-keys` and
`-values`, in one of tf.train.Checkpoint `.../tables_of_NAME/0/table-keys` and so on. In a
folder of files they are `NAME_mht_1of2_rank0_size1-keys` and `-values`, bare numbers without
their dtype. Slots are variables named `NAME/OPTIMIZER/SLOT`, in files with _ for /.

Source: TensorFlow Recommenders Addons, https://github.com/tensorflow/recommenders-addons.
"""

from __future__ import annotations

import os
import re

import numpy as np

from tf_embedding.tools.bundle import BundleReader
from tf_embedding.tools.errors import ToolError
from tf_embedding.tools.foreign import (
    Columns,
    ForeignTable,
    Found,
    Piece,
    bundle_piece,
    is_slot_name,
)
from tf_embedding.tools.tables import resolve_prefix

_SAVER = re.compile(r"(.+?)_mht_\d+of\d+-keys")
_OBJECTS = re.compile(r"(.+)/(\d+)(?:/\.ATTRIBUTES)?/table-keys")
_FILE = re.compile(r"(.+)_mht_\d+of\d+_rank\d+_size\d+-keys")


def find(path: str, key_dtype: str = "int64", value_dtype: str = "float32") -> Found:
    """The variables of a checkpoint, or of a folder of files.

    Args:
      path: a checkpoint's prefix, or a folder.
      key_dtype: of the files.
      value_dtype: of the files.

    Raises:
      ToolError: there is neither, or sizes do not fit together.
    """
    if os.path.isdir(path) and any(_FILE.fullmatch(name) for name in os.listdir(path)):
        return _group(_files(path, np.dtype(key_dtype), np.dtype(value_dtype)), "_", None)
    bundle = BundleReader(resolve_prefix(path))
    names = set(bundle.names())
    pieces: list[tuple[str, Piece]] = []
    used = set()
    for name in sorted(names):
        match = _SAVER.fullmatch(name) or _OBJECTS.fullmatch(name)
        values = name[: -len("-keys")] + "-values"
        if match and values in names:
            pieces.append((_variable_name(match[1]), bundle_piece(bundle, name, name, values, [])))
            used |= {name.encode(), values.encode()}
    found = _group(pieces, "/", bundle)
    found.used = used
    return found


def _variable_name(text: str) -> str:
    """Of an object's path, what follows tables_of_; TensorFlow writes / there as .S."""
    if "tables_of_" in text:
        text = text.rpartition("tables_of_")[2].replace(".S", "/").replace("..", ".")
    return text


def _group(pieces: list[tuple[str, Piece]], separator: str, bundle: BundleReader | None) -> Found:
    """NAME/OPTIMIZER/SLOT is a slot, where there is a variable NAME.

    In the names of files, where / is written as _, only of optimizers and slots that are known.
    """
    names = {name for name, _ in pieces}
    found = Found({}, bundle)
    for name, piece in pieces:
        owner, slot = name, ""
        fields = name.rsplit(separator, 2)
        if len(fields) == 3 and fields[0] in names:
            slot = f"{fields[1]}/{fields[2]}"
            if separator == "/" or is_slot_name("tfra", slot):
                owner = fields[0]
        table = found.tables.setdefault(owner, ForeignTable(owner))
        if owner == name:
            table.pieces.append(piece)
        else:
            table.slots.setdefault(slot, []).append(piece)
    return found


def _files(path: str, key_dtype: np.dtype, value_dtype: np.dtype) -> list[tuple[str, Piece]]:
    pieces = []
    for name in sorted(os.listdir(path)):
        match = _FILE.fullmatch(name)
        if not match:
            continue
        keys = os.path.join(path, name)
        values = keys[: -len("-keys")] + "-values"
        if not os.path.exists(values):
            raise ToolError(f"{keys} has no {values} beside it")
        pieces.append((match[1], _file_piece(keys, values, key_dtype, value_dtype)))
    return pieces


def _file_piece(keys: str, values: str, key_dtype: np.dtype, value_dtype: np.dtype) -> Piece:
    key_bytes, value_bytes = os.path.getsize(keys), os.path.getsize(values)
    rows, rest = divmod(key_bytes, key_dtype.itemsize)
    numbers, value_rest = divmod(value_bytes, value_dtype.itemsize)
    if rest or value_rest or (rows and numbers % rows) or (not rows and numbers):
        raise ToolError(
            f"{keys} has {key_bytes} bytes and {values} {value_bytes}, which is no whole number of "
            f"{key_dtype} keys and of rows of {value_dtype}; name other dtypes by --key_dtype and "
            "--value_dtype, or take the files from another copy"
        )
    width = numbers // rows if rows else 0

    def read(start: int, stop: int) -> Columns:
        n = stop - start
        found = np.fromfile(keys, key_dtype, n, offset=start * key_dtype.itemsize)
        offset = start * width * value_dtype.itemsize
        row_values = np.fromfile(values, value_dtype, n * width, offset=offset)
        return Columns(found.astype(np.int64), row_values.reshape([n, width]).astype(np.float32))

    return Piece(keys, rows, width, read, lambda: None)
