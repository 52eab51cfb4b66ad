# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables in the numerical store of .keras and .weights.h5 files, of both Keras.

A table is a dataset of bytes for each of its blocks, `<prefix>block_<number>`, the
last one being the footer: the same bytes as in a TensorFlow checkpoint. One block
at a time is made and written.
"""

from __future__ import annotations

import re
from typing import Any

import tensorflow as tf

from tf_embedding import checkpoint
from tf_embedding.variable import EmbeddingVariable


def save(store: Any, prefix: str, variable: EmbeddingVariable) -> None:
    """Writes all of a table to `store`, under names that start with `prefix`."""
    blocks = variable.table.save_blocks()
    for number, array in enumerate(checkpoint.block_arrays(blocks)):
        store[f"{prefix}block_{number}"] = array


def load(store: Any, prefix: str, variable: EmbeddingVariable) -> None:
    """Replaces a table's content by what `save` wrote.

    Raises:
      ValueError: `store` has no table under `prefix`.
      tf.errors.OpError: a block is damaged or does not fit; the message names the file.
    """
    pattern = re.compile(re.escape(prefix) + r"block_(\d+)")
    numbers = [int(match[1]) for match in map(pattern.fullmatch, store.keys()) if match]
    if not numbers:
        raise ValueError(
            f"The file holds no table for {variable.name!r}: there is no {prefix}block_0 among "
            f"{sorted(store.keys())}. It was written by another kind of layer."
        )
    arrays = [store[f"{prefix}block_{number}"] for number in sorted(numbers)]
    try:
        variable.table.load_blocks(checkpoint.blocks_from_arrays(arrays))
    except tf.errors.OpError as error:
        # Keras 3 hands out a store that has a file of h5py, Keras 2 a group of one.
        file = getattr(store, "h5_file", getattr(store, "file", None))
        where = f"{getattr(file, 'filename', 'the file')}, table of {variable.name!r}"
        raise type(error)(error.node_def, error.op, f"{where}: {error.message}") from error
