# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the te.optimizers classes of Keras 3 take the gradients of rows: `TrainsRows`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional

import keras
import tensorflow as tf

from tf_embedding import _keras_store, rules
from tf_embedding.keras3 import updates
from tf_embedding.keras3.variable import RowsVariable, rows_of
from tf_embedding.variable import EmbeddingVariable


@dataclasses.dataclass(frozen=True)
class _RowGradient:
    """One table's gradient on its way to the update.

    Attributes:
      variable: what the caller passed, for weight-decay exemptions.
      rows: the table's variable.
      grad: values [n, dim], indices [n].
      counts: int64 [n], occurrences behind each gradient; None for 1 each.
      own: the optimizer that the layer brought for its rows, or None.
    """

    variable: Any
    rows: EmbeddingVariable
    grad: tf.IndexedSlices
    counts: Optional[tf.Tensor]
    own: Optional[Any]


# What the mixin is mixed with, which has the attributes that it uses.
_Stock: Any = keras.optimizers.Optimizer if TYPE_CHECKING else object


class TrainsRows(updates.KnowsRows, _Stock):  # type: ignore[misc]
    """Mixin before a stock Keras 3 optimizer: takes the gradients of rows out of its way.

    The stock `apply` runs on the dense gradients. The hooks that it calls at each
    of its steps (`_clip_gradients`, `_backend_update_step`, the accumulators')
    do the same for the row gradients, which wait in `_row_gradients`.
    """

    # Set past Keras' tracking, which would take the model's variables for the
    # optimizer's own: see _set.
    _row_gradients: Sequence[_RowGradient] = ()
    _row_variables: Sequence[Any] = ()
    _row_accumulators: dict[str, EmbeddingVariable] = {}

    def _set(self, name: str, value: Any) -> None:
        self.__dict__[name] = value

    def build(self, variables: Sequence[Any]) -> None:
        """Creates the slots of the dense variables; rows carry theirs.

        Raises:
          ValueError: settings that rows cannot have, such as use_ema.
        """
        if self.built:
            return
        row_variables = [v for v in variables if rows_of(v) is not None]
        for variable in row_variables:
            self._refuse(variable)
        dense = [v for v in variables if rows_of(v) is None]
        super().build(dense)
        for i, variable in enumerate(row_variables):
            self._trainable_variables_indices[self._var_key(variable)] = len(dense) + i
        self._set("_row_variables", row_variables)
        self._set("_all_variables", list(variables))
        if self.gradient_accumulation_steps:
            self._set("_row_accumulators", {})
            for i, variable in enumerate(row_variables):
                rows = _table(variable)
                accumulator = EmbeddingVariable(
                    rows.dim, initializer="zeros", trainable=False, name=f"{rows.name}_accumulator"
                )
                self._row_accumulators[self._var_key(variable)] = accumulator
                self._track_trackable(accumulator, f"row_accumulator_{i}", overwrite=True)

    def _refuse(self, variable: Any) -> None:
        updates.refuse_replicas()
        updates.refuse_stock_loss_scale()
        name = _table(variable).name
        if _own_of(variable) is None:
            updates.refuse_rows_of(self, updates.decays(self, variable), name)
        else:
            updates.refuse_average(self, name)

    def apply(
        self, grads: Sequence[Any], trainable_variables: Optional[Sequence[Any]] = None
    ) -> None:
        """Updates dense variables and rows; see keras.optimizers.Optimizer.apply.

        Args:
          grads: a tensor, a tf.IndexedSlices or None for each variable; for rows
            always a tf.IndexedSlices.
          trainable_variables: dense variables and row variables in any order; by
            default those that the optimizer was built with.

        Raises:
          ValueError: no gradient at all; a variable that the optimizer was not
            built with; settings that rows cannot have.
          TypeError: a dense gradient for rows.
        """
        grads = list(grads)
        if trainable_variables is None and self.built:
            trainable_variables = self._all_variables
            if len(grads) != len(trainable_variables):
                raise ValueError(
                    f"grads has {len(grads)} gradients, but the optimizer was built with "
                    f"{len(trainable_variables)} variables. Pass trainable_variables, or a "
                    "gradient (or None) for each."
                )
        if not grads or trainable_variables is None:
            super().apply(grads, trainable_variables)
            return
        variables = list(trainable_variables)
        if not self.built:
            with keras.name_scope(self.name, caller=self):
                self.build(variables)
        pairs = list(zip(grads, variables))
        if all(rows_of(v) is None for v in variables):
            super().apply(grads, variables)
            return
        self._check_variables_are_known(variables)
        grads, variables = self._filter_empty_gradients(grads, variables)
        pairs = list(zip(grads, variables))
        dense = [(g, v) for g, v in pairs if rows_of(v) is None]
        self._set(
            "_row_gradients", [self._waiting(g, v) for g, v in pairs if rows_of(v) is not None]
        )
        try:
            if dense:
                super().apply([g for g, _ in dense], [v for _, v in dense])
            else:
                # The stock apply returns early on an empty list, uncounted.
                with keras.name_scope(self.name, caller=self):
                    self._backend_apply_gradients([], [])
                self._iterations.assign_add(1)
        finally:
            self._set("_row_gradients", ())

    def _waiting(self, grad: Any, variable: Any) -> _RowGradient:
        self._refuse(variable)
        rows = _table(variable)
        if not isinstance(grad, tf.IndexedSlices):
            raise TypeError(
                f"The gradient of table {rows.name!r} must be a tf.IndexedSlices, as the tape "
                "gives it, but is "
                f"{type(grad).__name__}: do not make it dense."
            )
        return _RowGradient(variable, rows, updates.unscaled(grad, self), None, _own_of(variable))

    # The steps of the stock apply, in the order in which it takes them.

    def _backend_apply_gradients(self, grads: Sequence[Any], variables: Sequence[Any]) -> None:
        if self.gradient_accumulation_steps:
            for waiting in self._row_gradients:
                accumulator = self._row_accumulators[self._var_key(waiting.variable)]
                # w - lr g with lr = -1 adds; the op counts the occurrences.
                rules.apply(accumulator, waiting.grad, rules.SGD(), -1.0, 0)
        super()._backend_apply_gradients(grads, variables)

    def _accumulated(self) -> list[_RowGradient]:
        gradients = []
        for variable in self._row_variables:
            rows = _table(variable)
            total = self._row_accumulators[self._var_key(variable)].export()
            grad = tf.IndexedSlices(
                total.values / self.gradient_accumulation_steps,
                total.keys,
                tf.constant([0, rows.dim], tf.int32),
            )
            gradients.append(_RowGradient(variable, rows, grad, total.frequency, _own_of(variable)))
        return gradients

    def _clip_gradients(self, grads: Sequence[Any]) -> list[Any]:
        waiting = self._accumulated() if self.gradient_accumulation_steps else self._row_gradients
        joint = self.global_clipnorm if self.global_clipnorm and self.global_clipnorm > 0 else None
        if joint and waiting:
            squares = [updates.squared_norm(w.grad) for w in waiting if w.own is None]
            squares += [
                tf.cast(tf.reduce_sum(tf.square(tf.convert_to_tensor(g))), tf.float32)
                for g in grads
                if g is not None
            ]
            norm = tf.sqrt(tf.add_n(squares)) if squares else tf.constant(0.0)
            factor = joint / tf.maximum(norm, joint)
            # As Keras: what is not finite makes every gradient NaN.
            factor += norm - norm
            grads = [
                None if g is None else tf.convert_to_tensor(g) * tf.cast(factor, g.dtype)
                for g in grads
            ]
        elif grads:
            grads = super()._clip_gradients(grads)
        clipped = []
        for w in waiting:
            if joint and w.own is None:
                grad, counts = updates.scaled(w.grad, factor), w.counts
            else:
                grad, counts = updates.clipped(w.grad, w.counts, w.own or self)
            clipped.append(dataclasses.replace(w, grad=grad, counts=counts))
        self._set("_row_gradients", clipped)
        return list(grads)

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        if variables:
            super()._apply_weight_decay(variables)

    def _backend_update_step(
        self, grads: Sequence[Any], variables: Sequence[Any], learning_rate: Any
    ) -> None:
        for w in self._row_gradients:
            optimizer = w.own or self
            decay = updates.decays(optimizer, w.variable)
            updates.apply(w.rows, w.grad, optimizer, self, decay, w.counts)
        if grads:
            super()._backend_update_step(grads, variables, learning_rate)

    def _backend_reset_gradient_accumulators(self) -> None:
        for accumulator in self._row_accumulators.values():
            accumulator.clear()
        super()._backend_reset_gradient_accumulators()

    def _backend_increment_gradient_accumulators(
        self, grads: Sequence[Any], accumulators: Sequence[Any]
    ) -> None:
        if grads:
            super()._backend_increment_gradient_accumulators(grads, accumulators)

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        for i, accumulator in enumerate(self._row_accumulators.values()):
            _keras_store.save(store, f"row_accumulator_{i}_", accumulator)

    def load_own_variables(self, store: Any) -> None:
        # The stock method compares the number of entries with its variables.
        super().load_own_variables({k: store[k] for k in store.keys() if k.isdigit()})
        for i, accumulator in enumerate(self._row_accumulators.values()):
            _keras_store.load(store, f"row_accumulator_{i}_", accumulator)


def _table(variable: Any) -> EmbeddingVariable:
    rows = rows_of(variable)
    assert rows is not None
    return rows


def _own_of(variable: Any) -> Optional[Any]:
    return variable.own_optimizer if isinstance(variable, RowsVariable) else None
