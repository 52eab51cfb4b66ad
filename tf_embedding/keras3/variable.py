# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The `keras.Variable` that a te layer shows for its table.

Keras wants every trainable thing to be a `keras.Variable` of a fixed shape. A
table has neither, so `RowsVariable` is a facade: its `value` is the
`te.EmbeddingVariable`, and its `overwrite_with_gradient` is True, which makes
each stock optimizer create no slots for it and call `assign(gradient)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

import keras
import numpy as np
import tensorflow as tf

from tf_embedding.keras3 import updates
from tf_embedding.variable import EmbeddingVariable


class _AnyRows(tf.TensorShape):  # type: ignore[misc]
    """The shape of a snapshot: it fits each table with as many columns."""

    def __eq__(self, other: object) -> bool:
        dims = tf.TensorShape(other)
        return bool(dims.rank == 2 and dims[1] == self[1])

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self[1])


class Snapshot:
    """A whole table at one moment: what `get_weights()` has in its place.

    `set_weights()` takes it back, slots, frequencies and versions included, so
    that EarlyStopping(restore_best_weights=True) works. It is no array: the rows
    would mean nothing without their keys.

    Attributes:
      state: dict of numpy arrays, see `te.EmbeddingVariable.state`.
    """

    def __init__(self, state: Mapping[str, Any]):
        self.state = {key: np.asarray(value) for key, value in state.items()}

    @property
    def shape(self) -> tf.TensorShape:
        return _AnyRows(self.state["values"].shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.state["values"].dtype

    def __repr__(self) -> str:
        rows, dim = self.state["values"].shape
        return f"<Snapshot of {rows} rows, dim {dim}>"


def _no_value(shape: Any, dtype: Any = None) -> None:
    """Stands where Keras wants an initializer; RowsVariable never calls it."""


class RowsVariable(keras.Variable):  # type: ignore[misc]
    """Shows a `te.EmbeddingVariable` to Keras as one of a layer's variables.

    Args:
      variable: the table's variable.
      own_optimizer: the optimizer that the layer brought for its rows, or None
        for the compiled one.
      name: its name in Keras.

    Attributes:
      rows: the table's variable, for who knows what it is.
      own_optimizer: as above.
    """

    def __init__(
        self,
        variable: EmbeddingVariable,
        own_optimizer: Optional[Any] = None,
        name: str = "embeddings",
    ):
        self.rows = variable
        self.own_optimizer = own_optimizer
        super().__init__(
            initializer=_no_value,
            shape=(0, variable.dim),
            dtype="float32",
            trainable=True,
            autocast=False,
            name=name,
        )

    def _initialize_with_initializer(self, initializer: Any) -> None:
        self._value = self.rows

    @property
    def value(self) -> EmbeddingVariable:
        """As `rows`, for Keras: an optimizer asks for it first when it is built."""
        updates.refuse_stock_loss_scale()
        return self.rows

    @property
    def shape(self) -> tf.TensorShape:
        """[rows, dim] now, as `summary()` counts it; [0, dim] where nothing can be run."""
        with tf.init_scope():
            rows = int(self.rows.size()) if tf.executing_eagerly() else 0
        return tf.TensorShape([rows, self.rows.dim])

    @property
    def trainable(self) -> bool:
        return bool(self._trainable)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        # Tapes ask the variable inside whether to watch it.
        self.rows._trainable = bool(value)

    @property
    def overwrite_with_gradient(self) -> bool:
        """True: a stock optimizer hands the gradient to `assign`.

        Keras asks this first of all in `apply`, so it is also the place to say
        no to an optimizer whose settings the rows cannot have.
        """
        optimizer = updates.active_optimizer()
        stock = not isinstance(optimizer, (updates.KnowsRows, keras.optimizers.LossScaleOptimizer))
        if optimizer is not None and stock:
            decay = updates.decays(optimizer, self)
            updates.refuse_for_stock(optimizer, decay, self.own_optimizer, self.rows.name)
        return True

    @overwrite_with_gradient.setter
    def overwrite_with_gradient(self, value: bool) -> None:
        raise AttributeError(f"overwrite_with_gradient of table {self.rows.name!r} cannot be set.")

    def assign(self, value: Any) -> Any:
        """Takes the gradient from the stock optimizer at work, or a `Snapshot` from set_weights.

        Raises:
          TypeError: `value` is neither.
          ValueError: no optimizer is at work, or one whose settings the rows
            cannot have.
        """
        if isinstance(value, Snapshot):
            self.rows.load_state(value.state)
            return value
        name = self.rows.name
        if not isinstance(value, tf.IndexedSlices):
            raise TypeError(
                f"Table {name!r} takes gradients as tf.IndexedSlices and weights as what "
                "get_weights() gave, but got "
                f"{type(value).__name__}. To write rows, use layer.variable.upsert(keys, values)."
            )
        optimizer = updates.active_optimizer()
        if optimizer is None:
            raise ValueError(
                f"Table {name!r} was given a gradient, but no Keras optimizer is at work. "
                "Use optimizer.apply_gradients([(gradient, variable)])."
            )
        updates.refuse_replicas()
        updates.refuse_stock_loss_scale()
        decay = updates.decays(optimizer, self)
        updates.refuse_for_stock(optimizer, decay, self.own_optimizer, name)
        chosen = self.own_optimizer or optimizer
        if chosen is not optimizer:
            decay = updates.decays(chosen, self)
        grad = updates.unscaled(value, optimizer)
        grad, counts = updates.clipped(grad, None, chosen)
        return updates.apply(self.rows, grad, chosen, optimizer, decay, counts)

    def numpy(self) -> Snapshot:
        """The whole table, for get_weights()."""
        return Snapshot(self.rows.state())

    def _no_dense_value(self) -> TypeError:
        return TypeError(
            f"Table {self.rows.name!r} has no dense value. Save with model.save('x.keras'), "
            "model.save_weights('x.weights.h5') or tf.train.Checkpoint, and read rows with "
            "layer.variable.export()."
        )

    def __array__(self, dtype: Any = None) -> Any:
        raise self._no_dense_value()

    def __tf_tensor__(self, dtype: Any = None, name: Any = None) -> Any:
        raise self._no_dense_value()

    def __repr__(self) -> str:
        return f"<RowsVariable path={self.path}, shape={tuple(self.shape)}, dtype=float32>"

    # Checkpoints and SavedModel: all state is in the variable inside.
    def _gather_saveables_for_checkpoint(self) -> dict[str, Any]:
        return {}

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> dict[str, Any]:
        children = {"rows": self.rows}
        if self.own_optimizer is not None and save_type == "checkpoint":
            children["optimizer"] = self.own_optimizer
        return children

    def _lookup_dependency(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self._trackable_children().get(name)

    def _export_to_saved_model_graph(
        self, object_map: Any = None, tensor_map: Any = None, options: Any = None, **kwargs: Any
    ) -> list[Any]:
        return []

    def _copy_trackable_to_cpu(self, object_map: Any) -> None:
        object_map[self] = self

    def _write_object_proto(self, proto: Any, options: Any) -> None:
        self.rows._write_object_proto(proto, options)


def rows_of(variable: Any) -> Optional[EmbeddingVariable]:
    """The table's variable behind `variable`, or None where it is a dense one.

    >>> import tensorflow as tf
    >>> rows_of(tf.Variable(1.0)) is None
    True
    """
    if isinstance(variable, RowsVariable):
        return variable.rows
    return variable if isinstance(variable, EmbeddingVariable) else None
