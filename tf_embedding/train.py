# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The optimizers of `tf.compat.v1.train`, for models with embedding variables.

Each class is the stock one of its name and takes the stock arguments: `minimize`,
`compute_gradients`, clipping, `apply_gradients` with a global step. Dense
variables get the stock update and stock slots. Rows of embedding variables get
the rule of the same formula (`tf_embedding.rules`), their slots are in the rows,
and only the rows of the batch are touched.

The step that stamps rows is the global step that `minimize` is given, else the
graph's, else the optimizer's own count of its updates. Learning rates may be
tensors; the other hyper-parameters of rows are numbers.

`TableSummaryHook` writes summaries of tables in sessions and estimators.

>>> var = EmbeddingVariable(dim=2, initializer="ones", name="train_example")
>>> optimizer = GradientDescentOptimizer(0.5)
>>> _ = optimizer.minimize(lambda: tf.reduce_sum(var.sparse_read([7, 7, 9])))
>>> var.sparse_read([7, 9, 8]).numpy()[:, 0].tolist()
[0.0, 0.5, 1.0]
"""

from __future__ import annotations

from typing import Any, Optional, Sequence

import numpy as np
import tensorflow as tf

from tf_embedding import rules
from tf_embedding.hooks import TableSummaryHook
from tf_embedding.variable import EmbeddingVariable

__all__ = [
    "AdagradDecayOptimizer",
    "AdagradOptimizer",
    "AdamOptimizer",
    "AdamWOptimizer",
    "FtrlOptimizer",
    "GradientDescentOptimizer",
    "MomentumOptimizer",
    "RMSPropOptimizer",
    "TableSummaryHook",
]

# The variable that counts the updates of rows.
_COUNT = "row_updates"


class _TrainsRows:
    """What makes a stock v1 optimizer update the rows of embedding variables.

    TensorFlow hands the sparse gradient of a resource variable to
    `_resource_apply_sparse_duplicate_indices`, duplicates and all; rows take them
    as they are, for the rule sums and counts them.
    """

    # Whether the rule needs the number of the optimizer's own updates.
    _counts_updates = False
    # Of the call of apply_gradients at work.
    _call_step: Any = None
    _call_rows = False

    def _row_rule(self) -> rules.Rule:
        raise NotImplementedError

    def _row_learning_rate(self) -> Any:
        return self._learning_rate_tensor  # type: ignore[attr-defined]

    def apply_gradients(
        self,
        grads_and_vars: Any,
        global_step: Any = None,
        name: Optional[str] = None,
        **kwargs: Any,
    ) -> Any:
        """As the stock method; rows are stamped with the global step before it goes up."""
        grads_and_vars = tuple(grads_and_vars)
        self._call_rows = any(
            gradient is not None and isinstance(variable, EmbeddingVariable)
            for gradient, variable in grads_and_vars
        )
        self._call_step = self._global_step(global_step)
        try:
            return super().apply_gradients(  # type: ignore[misc]
                grads_and_vars, global_step=global_step, name=name, **kwargs
            )
        finally:
            self._call_step, self._call_rows = None, False

    def _global_step(self, global_step: Any) -> Any:
        return tf.compat.v1.train.get_global_step() if global_step is None else global_step

    def get_slot(self, var: Any, name: str) -> Any:
        """As the stock method, for dense variables.

        Raises:
          ValueError: var is an embedding variable.
        """
        if isinstance(var, EmbeddingVariable):
            raise ValueError(
                f"slot {name!r} of embedding variable {var.name!r} is in its rows: "
                "var.export(keys).slots has the slots of keys, in the order that "
                "tf_embedding.rules.core_rules() names for the rule"
            )
        return super().get_slot(var, name)  # type: ignore[misc]

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        dense = [var for var in var_list if not isinstance(var, EmbeddingVariable)]
        self._create_dense_slots(dense, var_list)
        if self._call_rows and (self._counts_updates or self._call_step is None):
            self._create_non_slot_variable(  # type: ignore[attr-defined]
                np.int64(0), _COUNT, min(var_list, key=lambda var: var.name)
            )

    def _create_dense_slots(self, dense: Sequence[Any], var_list: Sequence[Any]) -> None:
        del var_list
        if dense:
            super()._create_slots(dense)  # type: ignore[misc]

    def _row_updates(self) -> Any:
        """The variable that counts the updates of rows; None where none is needed."""
        with tf.init_scope():
            graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        return self._get_non_slot_variable(_COUNT, graph=graph)  # type: ignore[attr-defined]

    def _step(self) -> tf.Tensor:
        step = self._row_updates() if self._call_step is None else self._call_step
        return tf.cast(tf.convert_to_tensor(step), tf.int64)

    def _resource_apply_sparse_duplicate_indices(
        self, grad: tf.Tensor, handle: Any, indices: tf.Tensor
    ) -> Any:
        if not isinstance(handle, EmbeddingVariable):
            return super()._resource_apply_sparse_duplicate_indices(  # type: ignore[misc]
                grad, handle, indices
            )
        token = rules.apply(
            handle,
            tf.IndexedSlices(grad, indices),
            self._row_rule(),
            self._row_learning_rate(),
            self._step(),
            rule_step=tf.convert_to_tensor(self._row_updates()) if self._counts_updates else None,
        )
        return token if tf.executing_eagerly() else token.op

    def _resource_apply_dense(self, grad: Any, var: Any) -> Any:
        if isinstance(var, EmbeddingVariable):
            raise TypeError(
                f"the gradient of embedding variable {var.name!r} is dense; it must be the "
                "tf.IndexedSlices that compute_gradients returned, clipped or scaled as such"
            )
        return super()._resource_apply_dense(grad, var)  # type: ignore[misc]

    def _finish(self, update_ops: list[Any], name_scope: str) -> Any:
        count = self._row_updates() if self._call_rows else None
        if count is None:
            return super()._finish(update_ops, name_scope)  # type: ignore[misc]
        with tf.control_dependencies(update_ops):
            counted = count.assign_add(1)
        return super()._finish([*update_ops, counted], name_scope)  # type: ignore[misc]

    def _number(self, value: Any, name: str) -> float:
        """The value of a hyper-parameter that rows take as a number."""
        value = value() if callable(value) else value
        static = tf.get_static_value(value) if tf.is_tensor(value) else value
        if static is None or not np.isscalar(static) and np.ndim(static) > 0:
            raise TypeError(
                f"{name} of {type(self).__name__} is {value!r}; rows of an embedding variable take "
                "it as a number. Only the learning rate may be a tensor"
            )
        return float(static)


class GradientDescentOptimizer(
    _TrainsRows,
    tf.compat.v1.train.GradientDescentOptimizer,  # type: ignore[misc]
):
    """`tf.compat.v1.train.GradientDescentOptimizer` that knows rows.

    >>> GradientDescentOptimizer(0.1).get_name()
    'GradientDescent'
    """

    def _row_rule(self) -> rules.Rule:
        return rules.SGD()


class MomentumOptimizer(_TrainsRows, tf.compat.v1.train.MomentumOptimizer):  # type: ignore[misc]
    """`tf.compat.v1.train.MomentumOptimizer` that knows rows, as its sparse kernel.

    >>> MomentumOptimizer(0.1, momentum=0.9, use_nesterov=True).get_name()
    'Momentum'
    """

    def _row_rule(self) -> rules.Rule:
        momentum = self._number(self._momentum, "momentum")
        return rules.Momentum(momentum=momentum, nesterov=bool(self._use_nesterov))


class AdagradOptimizer(_TrainsRows, tf.compat.v1.train.AdagradOptimizer):  # type: ignore[misc]
    """`tf.compat.v1.train.AdagradOptimizer` that knows rows: no epsilon.

    >>> AdagradOptimizer(0.1, initial_accumulator_value=0.1).get_name()
    'Adagrad'
    """

    def _row_rule(self) -> rules.Rule:
        return rules.Adagrad(initial_accumulator_value=self._initial_accumulator_value)


class RMSPropOptimizer(_TrainsRows, tf.compat.v1.train.RMSPropOptimizer):  # type: ignore[misc]
    """`tf.compat.v1.train.RMSPropOptimizer` that knows rows: mean squares start at 1.

    >>> RMSPropOptimizer(0.1, momentum=0.9).get_name()
    'RMSProp'
    """

    def _row_rule(self) -> rules.Rule:
        return rules.RMSProp(
            rho=self._number(self._decay, "decay"),
            momentum=self._number(self._momentum, "momentum"),
            epsilon=self._number(self._epsilon, "epsilon"),
            centered=bool(self._centered),
            initial_mean_square=1.0,
        )


class AdamOptimizer(_TrainsRows, tf.compat.v1.train.AdamOptimizer):  # type: ignore[misc]
    """`tf.compat.v1.train.AdamOptimizer` that knows rows.

    Its epsilon is the paper's epsilon hat. The bias correction goes by the
    optimizer's own count of updates, as the stock one's. Rows are lazy: one that is
    not in the batch stays as it is, where the stock optimizer would go on moving it.

    >>> AdamOptimizer(0.1).get_name()
    'Adam'
    """

    _counts_updates = True

    def _row_learning_rate(self) -> Any:
        return self._lr_t

    def _create_dense_slots(self, dense: Sequence[Any], var_list: Sequence[Any]) -> None:
        if dense:
            super()._create_dense_slots(dense, var_list)
            return
        # Its last step moves these on, whatever is trained.
        first = min(var_list, key=lambda var: var.name)
        self._create_non_slot_variable(self._beta1, "beta1_power", first)
        self._create_non_slot_variable(self._beta2, "beta2_power", first)

    def _betas(self) -> dict[str, float]:
        return {
            "beta_1": self._number(self._beta1, "beta1"),
            "beta_2": self._number(self._beta2, "beta2"),
            "epsilon": self._number(self._epsilon, "epsilon"),
        }

    def _row_rule(self) -> rules.Rule:
        return rules.Adam(**self._betas())


class AdamWOptimizer(AdamOptimizer):
    """Adam with decoupled weight decay: first `w <- w - learning_rate weight_decay w`.

    Dense variables decay whole in every update, also under a sparse gradient; a row
    decays when it is in the batch. Source: Loshchilov and Hutter, ICLR 2019.

    Args:
      weight_decay: the factor, 0 or more.
      learning_rate: as `AdamOptimizer`. Defaults to 0.001.
      beta1: as there. Defaults to 0.9.
      beta2: as there. Defaults to 0.999.
      epsilon: as there. Defaults to 1e-8.
      use_locking: as there. Defaults to False.
      name: as there. Defaults to "AdamW".

    >>> AdamWOptimizer(0.01, learning_rate=0.1).get_name()
    'AdamW'
    """

    def __init__(
        self,
        weight_decay: float,
        learning_rate: Any = 0.001,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        epsilon: Any = 1e-8,
        use_locking: bool = False,
        name: str = "AdamW",
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, use_locking, name)
        if self._number(weight_decay, "weight_decay") < 0:
            raise ValueError(f"weight_decay is {weight_decay}; it must be 0 or more")
        self._weight_decay = weight_decay

    def _row_rule(self) -> rules.Rule:
        decay = self._number(self._weight_decay, "weight_decay")
        return rules.AdamW(**self._betas(), weight_decay=decay)

    def _decayed(self, var: Any, gradient: tf.Tensor) -> Any:
        # Not before the gradient of what the variable was is there.
        with tf.control_dependencies([gradient]):
            rate = tf.cast(self._lr_t, var.dtype.base_dtype)
            value = tf.convert_to_tensor(var)
            decay = self._number(self._weight_decay, "weight_decay")
            return var.assign_sub(rate * decay * value, use_locking=self._use_locking)

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        with tf.control_dependencies([self._decayed(var, grad)]):
            return super()._apply_dense(grad, var)

    def _resource_apply_dense(self, grad: Any, var: Any) -> Any:
        if isinstance(var, EmbeddingVariable):
            return super()._resource_apply_dense(grad, var)
        with tf.control_dependencies([self._decayed(var, grad)]):
            return super()._resource_apply_dense(grad, var)

    def _apply_sparse(self, grad: Any, var: Any) -> Any:
        with tf.control_dependencies([self._decayed(var, grad.values)]):
            return super()._apply_sparse(grad, var)

    def _resource_apply_sparse(self, grad: Any, var: Any, indices: Any) -> Any:
        with tf.control_dependencies([self._decayed(var, grad)]):
            return super()._resource_apply_sparse(grad, var, indices)


class FtrlOptimizer(_TrainsRows, tf.compat.v1.train.FtrlOptimizer):  # type: ignore[misc]
    """`tf.compat.v1.train.FtrlOptimizer` that knows rows.

    Args:
      *args: as the stock class.
      group_lasso: the l1 penalty on the norm of a row instead of on its values, which
        is what DeepRec calls FTRL (`tf_embedding.rules.GroupFtrl`). Dense variables
        keep the stock form. Defaults to False.
      **kwargs: as the stock class.

    >>> FtrlOptimizer(0.1, l1_regularization_strength=0.01, group_lasso=True).get_name()
    'Ftrl'
    """

    def __init__(self, *args: Any, group_lasso: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._group_lasso = group_lasso
        shrinkage = self._l2_shrinkage_regularization_strength
        if group_lasso and shrinkage:
            raise ValueError(
                f"l2_shrinkage_regularization_strength is {shrinkage}; with group_lasso it must "
                "be 0"
            )

    def _row_rule(self) -> rules.Rule:
        shared = {
            "learning_rate_power": self._number(self._learning_rate_power, "learning_rate_power"),
            "initial_accumulator_value": self._initial_accumulator_value,
            "l1": self._number(self._l1_regularization_strength, "l1_regularization_strength"),
            "l2": self._number(self._l2_regularization_strength, "l2_regularization_strength"),
            "beta": self._number(self._beta, "beta"),
        }
        if self._group_lasso:
            return rules.GroupFtrl(**shared)
        shrinkage = self._number(
            self._l2_shrinkage_regularization_strength, "l2_shrinkage_regularization_strength"
        )
        return rules.Ftrl(**shared, l2_shrinkage=shrinkage)


class AdagradDecayOptimizer(AdagradOptimizer):
    """Adagrad whose accumulators decay, for streams that never end.

    Every accumulator_decay_step steps an accumulator becomes
    `max(accumulator_decay_rate * a, initial_accumulator_value)`, also that of a row
    that was away meanwhile: it catches up when it is trained again. Dense variables
    do the same. Source: DeepRec's AdagradDecay, which decays a row once for each
    time that it is trained, however long it was away.

    Args:
      learning_rate: as `AdagradOptimizer`.
      global_step: the step that periods are counted by; None takes that of
        `minimize`, else the graph's.
      initial_accumulator_value: above 0. Defaults to 0.1.
      accumulator_decay_step: steps in a period, 1 or more. Defaults to 100000.
      accumulator_decay_rate: the factor of a period, in (0, 1]. Defaults to 0.9.
      use_locking: as there. Defaults to False.
      name: as there. Defaults to "AdagradDecay".

    >>> AdagradDecayOptimizer(0.1, accumulator_decay_step=1000).get_name()
    'AdagradDecay'
    """

    def __init__(
        self,
        learning_rate: Any,
        global_step: Any = None,
        initial_accumulator_value: float = 0.1,
        accumulator_decay_step: int = 100000,
        accumulator_decay_rate: float = 0.9,
        use_locking: bool = False,
        name: str = "AdagradDecay",
    ) -> None:
        super().__init__(learning_rate, initial_accumulator_value, use_locking, name)
        if not accumulator_decay_step >= 1:
            raise ValueError(
                f"accumulator_decay_step is {accumulator_decay_step}; it must be 1 or more"
            )
        if not 0 < accumulator_decay_rate <= 1:
            raise ValueError(
                f"accumulator_decay_rate is {accumulator_decay_rate}; it must be above 0 and at "
                "most 1"
            )
        self._own_step = global_step
        self._decay_step = accumulator_decay_step
        self._decay_rate = accumulator_decay_rate

    def _global_step(self, global_step: Any) -> Any:
        if self._own_step is not None:
            return self._own_step
        return super()._global_step(global_step)

    def _row_rule(self) -> rules.Rule:
        return rules.AdagradDecay(
            initial_accumulator_value=self._initial_accumulator_value,
            decay_steps=self._decay_step,
            decay_rate=self._decay_rate,
        )

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        super()._create_slots(var_list)
        if self._call_step is None:
            # Dense variables count periods by it too.
            self._create_non_slot_variable(
                np.int64(0), _COUNT, min(var_list, key=lambda var: var.name)
            )
            self._call_rows = True
        for var in var_list:
            if not isinstance(var, EmbeddingVariable):
                self._get_or_make_slot(var, tf.zeros([], tf.int64), "period", self._name)

    def _decayed(self, var: Any, gradient: tf.Tensor) -> Any:
        accumulator = self.get_slot(var, "accumulator")
        period = self.get_slot(var, "period")
        with tf.control_dependencies([gradient]):
            now = self._step() // int(self._decay_step)
            known = tf.convert_to_tensor(period)
            value = tf.convert_to_tensor(accumulator)
            missed = tf.cast(tf.maximum(now - known, 0), value.dtype)
            factor = tf.pow(tf.cast(self._decay_rate, value.dtype), missed)
            floored = tf.maximum(value * factor, self._initial_accumulator_value)
            decayed = tf.where(missed > 0, floored, value)
            done = accumulator.assign(decayed, use_locking=self._use_locking)
        # A reference variable is read when its reader runs: after that, no sooner.
        with tf.control_dependencies([done]):
            return period.assign(tf.maximum(now, known))

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        with tf.control_dependencies([self._decayed(var, grad)]):
            return super()._apply_dense(grad, var)

    def _resource_apply_dense(self, grad: Any, var: Any) -> Any:
        if isinstance(var, EmbeddingVariable):
            return super()._resource_apply_dense(grad, var)
        with tf.control_dependencies([self._decayed(var, grad)]):
            return super()._resource_apply_dense(grad, var)

    def _apply_sparse(self, grad: Any, var: Any) -> Any:
        with tf.control_dependencies([self._decayed(var, grad.values)]):
            return super()._apply_sparse(grad, var)

    def _resource_apply_sparse(self, grad: Any, var: Any, indices: Any) -> Any:
        with tf.control_dependencies([self._decayed(var, grad)]):
            return super()._resource_apply_sparse(grad, var, indices)
