# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the layers of Keras 3 have in common: they make, show and save tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

import keras

from tf_embedding import _keras_store
from tf_embedding.config import TableConfig
from tf_embedding.keras3 import updates
from tf_embedding.keras3.variable import RowsVariable
from tf_embedding.variable import EmbeddingVariable

_ID_DTYPES = ("int32", "int64", "string")


class TablesLayer(keras.layers.Layer):  # type: ignore[misc]
    """A layer that has tables."""

    def __init__(self, **kwargs: Any):
        # Ids are not to be cast, nor weights rounded, to the compute dtype.
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)
        self.supports_jit = False
        self._tables: Sequence[TableConfig] = ()
        self._rows: Sequence[RowsVariable] = ()

    def _set_tables(self, tables: Iterable[TableConfig]) -> None:
        """Says which tables `build` makes; settings of their optimizers fail here."""
        self._tables = tuple(
            dataclasses.replace(t, optimizer=_optimizer(t.optimizer, t.name)) for t in tables
        )

    def build(self, input_shape: Any = None) -> None:
        """Makes the tables, whatever the shape of the ids.

        Raises:
          ValueError: under a strategy of more than one replica.
        """
        if self._rows:
            return
        updates.refuse_replicas()
        self._show([
            RowsVariable(
                EmbeddingVariable(
                    table.dim,
                    initializer=table.initializer,
                    seed=table.seed,
                    name=table.name,
                    ev_option=table.ev_option,
                ),
                own_optimizer=table.optimizer,
                name="embeddings" if len(self._tables) == 1 else f"embeddings_{i}",
            )
            for i, table in enumerate(self._tables)
        ])

    def _show(self, rows: Sequence[RowsVariable]) -> None:
        """Makes rows known to Keras and to TensorFlow's checkpoints."""
        self._rows = rows
        for i, shown in enumerate(self._rows):
            # After Keras has filed it as trainable, which may come later.
            shown.trainable = self.trainable and shown.trainable
            # Keras tracks the list; TensorFlow's checkpoints need to be told.
            self._track_trackable(shown, f"rows_{i}", overwrite=True)

    def _refuse_ids(self, name: str, ids: Any) -> None:
        dtype = keras.backend.standardize_dtype(ids.dtype)
        if dtype not in _ID_DTYPES:
            # A Sequential model without keras.Input first tries the layer on a
            # symbolic float input. This error makes it wait for the ids.
            error = NotImplementedError if isinstance(ids, keras.KerasTensor) else TypeError
            raise error(
                f"{name} of layer {self.name!r} must be int32, int64 or string, but is {dtype}. "
                'Cast the ids, or declare keras.Input(..., dtype="int64").'
            )

    def get_build_config(self) -> Optional[dict[str, Any]]:
        """Only whether it is built: the tables do not depend on shapes."""
        return {"input_shape": None} if self.built else None

    def build_from_config(self, config: Mapping[str, Any]) -> None:
        """Makes the tables of a layer that is being loaded."""
        if not self.built:
            self.build(None)

    def save_own_variables(self, store: Any) -> None:
        """Writes the tables, slots included, to a .keras or .weights.h5 file."""
        for i, shown in enumerate(self._rows):
            _keras_store.save(store, f"{i}_", shown.rows)

    def load_own_variables(self, store: Any) -> None:
        """Replaces the tables by those of the file.

        Raises:
          ValueError: the file has no such tables.
        """
        if not self.built:
            self.build(None)
        for i, shown in enumerate(self._rows):
            _keras_store.load(store, f"{i}_", shown.rows)


def _optimizer(identifier: Any, table: str) -> Any:
    """A Keras optimizer from a name, a config or an object; None from None."""
    if identifier is None:
        return None
    optimizer = keras.optimizers.get(identifier)
    updates.refuse_as_own(optimizer, table)
    return optimizer
