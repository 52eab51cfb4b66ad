# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keras 3 optimizers that train embedding rows and dense weights together.

Each class is the stock one of its name, or the stock one named in its text,
with the gradients of rows led beside the dense ones through the same steps:
un-scaling, accumulation, clipping (the global norm counts both), weight decay,
update. For dense weights it is the stock optimizer. Rows are updated by the
fused rule, which touches the rows of the batch only: SGD, Adagrad and FTRL are
then exact; momentum, RMSprop and Adam are lazy (see `te.rules`).

A variable is a `te.EmbeddingVariable`, what a te layer shows in
`trainable_variables`, a `keras.Variable` or a `tf.Variable`:

>>> import tensorflow as tf, tf_embedding as te
>>> rows = te.EmbeddingVariable(4, initializer="zeros")
>>> optimizer = te.optimizers.SGD(0.5)
>>> with tf.GradientTape() as tape:
...     loss = tf.reduce_sum(te.nn.embedding_lookup(rows, [7, 7, 9]))
>>> iterations = optimizer.apply_gradients([(tape.gradient(loss, rows), rows)])
>>> rows.sparse_read([7, 9, 8]).numpy()[:, 0].tolist()
[-1.0, -0.5, 0.0]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import keras
import tensorflow as tf

from tf_embedding import rules
from tf_embedding.keras3.training import TrainsRows
from tf_embedding.keras3.updates import KnowsRows
from tf_embedding.keras3.variable import rows_of

__all__ = [
    "SGD",
    "Adagrad",
    "AdagradDecay",
    "Adam",
    "AdamW",
    "Ftrl",
    "GroupFtrl",
    "LossScaleOptimizer",
    "RMSprop",
    "RowwiseAdagrad",
]

_register = keras.saving.register_keras_serializable(package="tf_embedding")


@_register
class SGD(TrainsRows, keras.optimizers.SGD):  # type: ignore[misc]
    """`keras.optimizers.SGD` that knows rows; the arguments are the same.

    With `momentum`, rows keep Keras' momentum `m = momentum * m - lr * g`, which
    is neither decayed nor applied in steps without the row.

    >>> SGD(0.1, momentum=0.9).momentum
    0.9
    """


@_register
class Adagrad(TrainsRows, keras.optimizers.Adagrad):  # type: ignore[misc]
    """`keras.optimizers.Adagrad` that knows rows; the arguments are the same.

    >>> Adagrad(0.1).epsilon
    1e-07
    """


@_register
class RowwiseAdagrad(TrainsRows, keras.optimizers.Adagrad):  # type: ignore[misc]
    """Adagrad with one accumulator a row, as FBGEMM's; stock Adagrad for dense weights.

    Rows: `a += mean(g ** 2)` over the columns, `w -= lr * g / (sqrt(a) + epsilon)`.
    One slot number a row instead of `dim`. The arguments are those of
    `keras.optimizers.Adagrad`.

    >>> RowwiseAdagrad(0.1).initial_accumulator_value
    0.1
    """

    def row_rule(self, decay: bool) -> Any:
        return rules.RowwiseAdagrad(
            initial_accumulator_value=self.initial_accumulator_value, epsilon=self.epsilon
        )


@_register
class AdagradDecay(TrainsRows, keras.optimizers.Adagrad):  # type: ignore[misc]
    """Adagrad whose accumulators decay, as DeepRec's; stock Adagrad for dense weights.

    Every `accumulator_decay_step` steps a row's accumulators become
    `max(accumulator_decay_rate * a, initial_accumulator_value)`, also for a row
    that was not seen meanwhile: it catches up when it is. So the learning rate
    of old keys does not go to zero.

    Args:
      learning_rate: as `keras.optimizers.Adagrad`. Defaults to 0.001.
      initial_accumulator_value: as there. Defaults to 0.1.
      accumulator_decay_step: steps in a period. Defaults to 100000.
      accumulator_decay_rate: the factor of a period. Defaults to 0.9.
      **kwargs: the other arguments of `keras.optimizers.Adagrad`.

    >>> AdagradDecay(0.1, accumulator_decay_step=1000).accumulator_decay_rate
    0.9
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        accumulator_decay_step: int = 100000,
        accumulator_decay_rate: float = 0.9,
        **kwargs: Any,
    ):
        super().__init__(
            learning_rate=learning_rate,
            initial_accumulator_value=initial_accumulator_value,
            **kwargs,
        )
        self.accumulator_decay_step = accumulator_decay_step
        self.accumulator_decay_rate = accumulator_decay_rate

    def row_rule(self, decay: bool) -> Any:
        return rules.AdagradDecay(
            initial_accumulator_value=self.initial_accumulator_value,
            decay_steps=self.accumulator_decay_step,
            decay_rate=self.accumulator_decay_rate,
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {
            **config,
            "accumulator_decay_step": self.accumulator_decay_step,
            "accumulator_decay_rate": self.accumulator_decay_rate,
        }


@_register
class RMSprop(TrainsRows, keras.optimizers.RMSprop):  # type: ignore[misc]
    """`keras.optimizers.RMSprop` that knows rows; the arguments are the same.

    >>> RMSprop(0.1).rho
    0.9
    """


@_register
class Adam(TrainsRows, keras.optimizers.Adam):  # type: ignore[misc]
    """`keras.optimizers.Adam` that knows rows; the arguments are the same.

    Rows are lazy: only those of the batch move, with the bias correction of the
    global step. With `weight_decay` they decay as under `AdamW`.

    >>> Adam(0.1).beta_1
    0.9
    """


@_register
class AdamW(TrainsRows, keras.optimizers.AdamW):  # type: ignore[misc]
    """`keras.optimizers.AdamW` that knows rows; the arguments are the same.

    Rows are lazy, see `Adam`; a row decays when it is in the batch.

    >>> AdamW(0.1).weight_decay
    0.004
    """


@_register
class Ftrl(TrainsRows, keras.optimizers.Ftrl):  # type: ignore[misc]
    """`keras.optimizers.Ftrl` that knows rows; the arguments are the same.

    >>> Ftrl(0.1).learning_rate_power
    -0.5
    """


@_register
class GroupFtrl(TrainsRows, keras.optimizers.Ftrl):  # type: ignore[misc]
    """FTRL with the l1 penalty on whole rows (group lasso); stock Ftrl for dense weights.

    `w = (l1 - |z|) / (q |z|) * z` where `|z| > l1`, else the whole row is zero
    (Ni et al. 2019, as in DeepRec). The arguments are those of
    `keras.optimizers.Ftrl`; l2_shrinkage_regularization_strength has no
    counterpart in rows and must be 0.

    >>> GroupFtrl(0.1, l1_regularization_strength=1e-3).beta
    0.0
    """

    def row_rule(self, decay: bool) -> Any:
        if self.l2_shrinkage_regularization_strength:
            raise ValueError(
                "te.optimizers.GroupFtrl has l2_shrinkage_regularization_strength="
                f"{self.l2_shrinkage_regularization_strength}, which rows cannot have. Use "
                "te.optimizers.Ftrl or 0."
            )
        return rules.GroupFtrl(
            learning_rate_power=self.learning_rate_power,
            initial_accumulator_value=self.initial_accumulator_value,
            l1=self.l1_regularization_strength,
            l2=self.l2_regularization_strength,
            beta=self.beta,
        )


@_register
class LossScaleOptimizer(KnowsRows, keras.optimizers.LossScaleOptimizer):  # type: ignore[misc]
    """`keras.optimizers.LossScaleOptimizer` that knows rows; the arguments are the same.

    For mixed_float16: a step whose gradients are not all finite, those of rows
    included, is skipped and the scale halved. The inner optimizer may be of
    te.optimizers or a stock one. Keras does not wrap it again:

    >>> import keras
    >>> optimizer = LossScaleOptimizer(keras.optimizers.Adam(), initial_scale=1024.0)
    >>> optimizer.initial_scale
    1024.0
    """

    def check_finite(self, grads: Sequence[Any]) -> Any:
        # The stock method would make row gradients dense.
        return super().check_finite(
            [g.values if isinstance(g, tf.IndexedSlices) else g for g in grads]
        )

    def _overwrite_variable_with_gradient(self, variable: Any) -> bool:
        # Asked which gradients not to divide by the scale: the inner optimizer,
        # or the variable under a stock one, takes the scale out of those of rows.
        if rows_of(variable) is not None:
            return True
        return bool(super()._overwrite_variable_with_gradient(variable))

    def _stateful_handle_finite_grads(
        self, grads: Sequence[Any], trainable_variables: Optional[Sequence[Any]]
    ) -> None:
        # Past Keras' tracking.
        inner = self.inner_optimizer.__dict__
        inner["_row_loss_scale"] = self.dynamic_scale
        try:
            super()._stateful_handle_finite_grads(grads, trainable_variables)
        finally:
            del inner["_row_loss_scale"]
