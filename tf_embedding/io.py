# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Vectors that others trained, into a variable.

The command `tf-embedding import` writes the same files into checkpoints, for tables
that do not fit into memory, and reads checkpoints of other libraries.
"""

from __future__ import annotations

from typing import Any, Optional

import numpy as np
import tensorflow as tf

from tf_embedding.tools import readers
from tf_embedding.variable import EmbeddingVariable

DUPLICATES = ("error", "first", "last")


def load_pretrained(
    variable: Any,
    path: Any,
    format: Optional[str] = None,
    keys: str = "auto",
    duplicates: str = "error",
    frozen: bool = False,
    step: int = 0,
) -> int:
    """Sets rows of a variable to the vectors of a file.

    The file is read twice: the first time every row is checked, so that a file with
    anything wrong in it changes nothing. Rows that the file lacks stay. New rows
    begin with frequency 0 and the optimizer's initial state; rows that were there
    keep theirs.

    Args:
      variable: whose rows to set: an `EmbeddingVariable`, or a layer of `te.layers` that
        has one, as its attribute `variable`.
      path: of the file.
      format: "npz" (arrays keys and values), "parquet" (columns key and vector),
        "word2vec", "word2vec-binary" or "glove"; None: by the name.
      keys: "integers", "strings", which are hashed by `te.hashing.hash_strings`, or
        "auto": numbers are keys, words are hashed, and text files hold words.
      duplicates: of the rows of one key, which holds: "first", "last", or "error".
      frozen: the rows are to stay as they are. Freezing is of a whole variable or
        layer: its `trainable` must be False, else that is an error. Words to be
        trained beside frozen ones take a second variable.
      step: the version to stamp, an int below 2^32 - 1.

    Returns:
      How many rows were set.

    Raises:
      ValueError: an argument is out of its range; or the file cannot be read, is of
        another dim, has a value that is not finite, a key twice, or two words of the
        same hash. It names the file and the row. Nothing changed.
      RuntimeError: in a graph, which cannot read files. `tf-embedding import
        --layout=saver` makes a checkpoint for its Saver.

    >>> import os, tempfile
    >>> import numpy as np
    >>> import tf_embedding as te
    >>> path = os.path.join(tempfile.mkdtemp(), "words.txt")
    >>> with open(path, "w") as file:
    ...     _ = file.write("2 3\\ncat 1 2 3\\ndog 4 5 6\\n")
    >>> words = te.EmbeddingVariable(dim=3, name="words")
    >>> te.io.load_pretrained(words, path, format="word2vec")
    2
    >>> words.sparse_read(te.hashing.hash_strings(["dog"])).numpy().tolist()
    [[4.0, 5.0, 6.0]]
    """
    owner = variable
    if not isinstance(variable, EmbeddingVariable):
        variable = getattr(owner, "variable", None)
    if not isinstance(variable, EmbeddingVariable):
        raise ValueError(
            f"variable is {type(owner).__name__}; it must be an EmbeddingVariable, or a layer that "
            "has one"
        )
    if duplicates not in DUPLICATES:
        raise ValueError(f"duplicates is {duplicates!r}; it must be one of {DUPLICATES}")
    if not tf.executing_eagerly():
        raise RuntimeError(
            "load_pretrained reads a file, which a graph does not; make a checkpoint by "
            "tf-embedding import --layout=saver and restore it by a Saver"
        )
    if frozen and owner.trainable:
        raise ValueError(
            f"frozen is True and {owner.name!r} would be trained; make the variable with "
            "trainable=False, or set trainable=False on the layer and pass the layer"
        )
    reader = readers.open_reader(path, format, keys, variable.dim)
    skip = _rows_to_skip(reader, duplicates)
    done = 0
    for batch in reader.batches():
        numbers = np.arange(batch.first, batch.first + len(batch.keys))
        keep = ~np.isin(numbers, skip)
        variable.upsert(batch.keys[keep], batch.vectors[keep], step=step)
        done += int(keep.sum())
    return done


def _rows_to_skip(reader: readers.Reader, duplicates: str) -> np.ndarray:
    """Reads and checks all rows; returns the numbers of those that others of the same key beat.

    Raises:
      ValueError: something is wrong with a row, or two have the same key and may not.
    """
    all_keys, all_checks = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for batch in reader.batches():
        all_keys.append(batch.keys)
        words = batch.words
        zeros = np.zeros(len(batch.keys), np.int64)
        all_checks.append(zeros if words is None else readers.check_words(words))
    keys, checks = np.concatenate(all_keys), np.concatenate(all_checks)
    order = np.argsort(keys, kind="stable")
    again = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    collide = again[checks[order[again]] != checks[order[again + 1]]]
    if len(collide):
        one, other = (readers.describe(reader, int(order[collide[0] + i])) for i in (0, 1))
        raise ValueError(
            f"{one} and {other} have the same hash, {keys[order[collide[0]]]}: they would share a "
            "row; take one of them out, or load integer keys of your own"
        )
    if len(again) and duplicates == "error":
        one, other = (readers.describe(reader, int(order[again[0] + i])) for i in (0, 1))
        raise ValueError(
            f"{one} and {other} have the same key, {keys[order[again[0]]]}; take one of them out, "
            'or say which holds by duplicates="first" or "last"'
        )
    return order[again if duplicates == "last" else again + 1]
