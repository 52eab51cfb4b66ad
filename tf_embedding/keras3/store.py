# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables in the numerical store of .keras and .weights.h5 files."""

from __future__ import annotations

from typing import Any

import numpy as np

from tf_embedding.variable import EmbeddingVariable


def save(store: Any, prefix: str, variable: EmbeddingVariable) -> None:
    """Writes all of a table to `store`, under names that start with `prefix`."""
    for field, tensor in variable.state().items():
        array = np.asarray(tensor)
        if array.dtype.kind in "OSU":
            # The store holds numbers only, so text goes as bytes. No other
            # field has this dtype.
            array = np.frombuffer(array.item(), np.uint8)
        store[prefix + field] = array


def load(store: Any, prefix: str, variable: EmbeddingVariable) -> None:
    """Replaces a table's content by what `save` wrote.

    Raises:
      ValueError: `store` has no table under `prefix`.
    """
    names = set(store.keys())
    state = {}
    for field in variable.state():
        if prefix + field not in names:
            raise ValueError(
                f"The file holds no table for {variable.name!r}: {prefix + field!r} is missing "
                f"among {sorted(names)}. It was written by another kind of layer."
            )
        array = np.asarray(store[prefix + field])
        state[field] = array.tobytes() if array.dtype == np.uint8 else array
    variable.load_state(state)
