# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a Keras optimizer and a gradient to the fused update of a table's rows.

Everything that reads a stock optimizer's settings is here: which rule it is
(`rule_of`), what it asks that rows cannot have (`refuse_*`), its learning rate
now, its clipping. Each formula is Keras' own, see the optimizer's
`update_step`.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any, Callable, Optional

import keras
import tensorflow as tf

# The stack of open name scopes. Private, but the only place that says which
# optimizer is at work: BaseOptimizer.apply opens a scope with itself as caller.
from keras.src.backend.common import global_state

from tf_embedding import rules
from tf_embedding.variable import EmbeddingVariable

CHOICES = "SGD, Adagrad, RMSprop, Adam, AdamW, Ftrl"


class KnowsRows:
    """Marks the optimizer classes that take the gradients of rows themselves."""


def _sgd(optimizer: Any, decay: bool) -> Any:
    if optimizer.momentum:
        return rules.KerasMomentum(momentum=optimizer.momentum, nesterov=optimizer.nesterov)
    return rules.SGD()


def _adagrad(optimizer: Any, decay: bool) -> Any:
    return rules.Adagrad(
        initial_accumulator_value=optimizer.initial_accumulator_value,
        epsilon=optimizer.epsilon,
        epsilon_in_sqrt=True,
    )


def _rmsprop(optimizer: Any, decay: bool) -> Any:
    return rules.RMSProp(
        rho=optimizer.rho,
        momentum=optimizer.momentum,
        epsilon=optimizer.epsilon,
        centered=optimizer.centered,
    )


def _adam(optimizer: Any, decay: bool) -> Any:
    if optimizer.amsgrad:
        raise ValueError(
            f"{describe(optimizer)} has amsgrad=True, for which rows have no rule. Use "
            "amsgrad=False, "
            "or give the embedding layer an optimizer of its own (optimizer=...)."
        )
    betas = dict(beta_1=optimizer.beta_1, beta_2=optimizer.beta_2, epsilon=optimizer.epsilon)
    if decay:
        return rules.AdamW(weight_decay=optimizer.weight_decay, **betas)
    return rules.Adam(**betas)


def _ftrl(optimizer: Any, decay: bool) -> Any:
    return rules.Ftrl(
        learning_rate_power=optimizer.learning_rate_power,
        initial_accumulator_value=optimizer.initial_accumulator_value,
        l1=optimizer.l1_regularization_strength,
        l2=optimizer.l2_regularization_strength,
        l2_shrinkage=optimizer.l2_shrinkage_regularization_strength,
        beta=optimizer.beta,
    )


_RULES: dict[type, Callable[[Any, bool], Any]] = {
    keras.optimizers.SGD: _sgd,
    keras.optimizers.Adagrad: _adagrad,
    keras.optimizers.RMSprop: _rmsprop,
    keras.optimizers.Adam: _adam,
    keras.optimizers.Ftrl: _ftrl,
}


def describe(optimizer: Any) -> str:
    """The optimizer's class as the user knows it, for errors."""
    package = "te.optimizers" if isinstance(optimizer, KnowsRows) else "keras.optimizers"
    return f"{package}.{type(optimizer).__name__}"


def rule_of(optimizer: Any, decay: bool = False) -> Any:
    """The te.rules rule that updates rows as `optimizer` updates dense weights.

    Args:
      optimizer: a Keras optimizer, stock or of te.optimizers.
      decay: whether its weight decay is for these rows.

    Raises:
      ValueError: there is no such rule. A class that derives from a stock one
        but brings its own `update_step` has none either.

    >>> import keras
    >>> rule_of(keras.optimizers.SGD())
    SGD()
    """
    own = getattr(optimizer, "row_rule", None)
    if own is not None:
        return own(decay)
    cls: Any = type(optimizer)
    for base in cls.__mro__:
        if base in _RULES and cls.update_step is base.update_step:
            return _RULES[base](optimizer, decay)
    raise ValueError(
        f"{describe(optimizer)} has no counterpart for embedding rows. Compile with one of "
        f"{CHOICES} "
        "(from keras.optimizers or te.optimizers), or keep it for the dense weights and give "
        'the embedding layer an optimizer of its own, such as optimizer="adagrad".'
    )


def decays(optimizer: Any, variable: Any) -> bool:
    """Whether the optimizer's weight decay is for `variable` (see exclude_from_weight_decay)."""
    return bool(optimizer.weight_decay) and bool(optimizer._use_weight_decay(variable))


def refuse_rows_of(optimizer: Any, decay: bool, table: str) -> None:
    """Raises where `optimizer` asks of rows what no rule can do, whoever runs it.

    Raises:
      ValueError: an optimizer without rule, weight decay other than Adam's,
        use_ema.
    """
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError(
            f"The optimizer of table {table!r} is a LossScaleOptimizer. Loss scaling is for the "
            "compiled "
            "optimizer; give the table the inner one."
        )
    rule_of(optimizer, decay)
    if decay and not isinstance(optimizer, keras.optimizers.Adam):
        raise ValueError(
            f"{describe(optimizer)} has weight_decay={optimizer.weight_decay}, which rows of "
            f"table {table!r} "
            "cannot have: they decay under Adam and AdamW only. Use one of these, or exempt the "
            'rows with optimizer.exclude_from_weight_decay(var_names=["embeddings"]).'
        )
    refuse_average(optimizer, table)


def refuse_average(optimizer: Any, table: str) -> None:
    """Raises where the optimizer keeps moving averages: rows have none."""
    if optimizer.use_ema:
        raise ValueError(
            f"{describe(optimizer)} has use_ema=True, but there is no moving average of the rows "
            "of table "
            f"{table!r}. Use use_ema=False."
        )


def refuse_for_stock(optimizer: Any, decay: bool, own: Optional[Any], table: str) -> None:
    """Raises where a stock optimizer at work cannot honour its settings for rows.

    Keras takes a variable with `overwrite_with_gradient` out of the list before
    accumulation and clipping, so what these would do is lost on the rows.

    Args:
      optimizer: the stock optimizer at work.
      decay: whether its weight decay is for these rows.
      own: the optimizer that the layer brought for its rows, or None.
      table: the table's name, for the error.
    """
    name = type(optimizer).__name__
    remedy = f"Use te.optimizers.{name}, which knows rows and does."
    if optimizer.gradient_accumulation_steps:
        steps = optimizer.gradient_accumulation_steps
        raise ValueError(
            f"{describe(optimizer)}(gradient_accumulation_steps={steps}) cannot "
            f"accumulate the gradients of the rows of table {table!r}. {remedy}"
        )
    if own is not None:
        refuse_average(optimizer, table)
        return
    refuse_rows_of(optimizer, decay, table)
    if optimizer.global_clipnorm:
        raise ValueError(
            f"{describe(optimizer)}(global_clipnorm={optimizer.global_clipnorm}) cannot clip the "
            "gradients of the "
            f"rows of table {table!r} jointly with the dense ones. {remedy}"
        )


def refuse_as_own(optimizer: Any, table: str) -> None:
    """Raises where an optimizer given to a layer has settings that only a compiled one can have."""
    refuse_rows_of(optimizer, bool(optimizer.weight_decay), table)
    for setting in ("global_clipnorm", "gradient_accumulation_steps", "loss_scale_factor"):
        value = getattr(optimizer, setting)
        if value:
            raise ValueError(
                f"The optimizer of table {table!r} has {setting}={value}, which belongs to the "
                "compiled optimizer: "
                "it acts on all gradients of a step. Set it there."
            )


def refuse_replicas() -> None:
    """Raises ValueError under a tf.distribute strategy of more than one replica.

    Not NotImplementedError: a Sequential model takes that for a layer that
    cannot infer its shape, and goes on.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas > 1:
        raise ValueError(
            f"The tf.distribute strategy has {replicas} replicas, and embedding rows train on "
            "one replica for now. "
            "Use a strategy of one replica, such as tf.distribute.get_strategy()."
        )


_LOSS_SCALE_CODE = {
    inspect.unwrap(vars(keras.optimizers.LossScaleOptimizer)[name]).__code__
    for name in ("apply", "build", "_stateful_handle_finite_grads")
    if name in vars(keras.optimizers.LossScaleOptimizer)
}


def refuse_stock_loss_scale() -> None:
    """Raises ValueError when called, at whatever depth, by a stock LossScaleOptimizer.

    That class keeps no mark on the optimizer inside nor an open name scope, and
    it would densify the row gradients to check them, and then hand them over
    still scaled. So the Python stack is searched: each step when eager, else
    only while a step is traced.
    """
    frame: Any = sys._getframe(1)
    while frame is not None:
        own = frame.f_code in _LOSS_SCALE_CODE and isinstance(frame.f_locals["self"], KnowsRows)
        if frame.f_code in _LOSS_SCALE_CODE and not own:
            raise ValueError(
                "keras.optimizers.LossScaleOptimizer, which Keras wraps around the compiled "
                "optimizer under mixed_float16, cannot scale the gradients of embedding rows. "
                "Compile with optimizer=te.optimizers.LossScaleOptimizer(optimizer), or use "
                "mixed_bfloat16."
            )
        frame = frame.f_back


def active_optimizer() -> Optional[Any]:
    """The Keras optimizer whose `apply` or `build` is on the stack, innermost first, or None."""
    for scope in reversed(global_state.get_global_attribute("name_scope_stack") or []):
        caller = getattr(scope, "caller", None)
        if isinstance(caller, keras.optimizers.Optimizer):
            return caller
    return None


def learning_rate(optimizer: Any, clock: Any) -> tf.Tensor:
    """float32 scalar: the learning rate now; a schedule is read at the step of `clock`.

    Args:
      optimizer: whose learning rate.
      clock: the compiled optimizer; the same, or the one that counts the steps
        for an optimizer that a layer brought.
    """
    rate = optimizer._learning_rate
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        rate = rate(clock._iterations)
    else:
        rate = optimizer.learning_rate
    return tf.cast(tf.convert_to_tensor(rate), tf.float32)


def scaled(grad: tf.IndexedSlices, factor: Any) -> tf.IndexedSlices:
    """`grad` times a scalar."""
    values = tf.cast(grad.values, tf.float32)
    return tf.IndexedSlices(values * tf.cast(factor, tf.float32), grad.indices, grad.dense_shape)


def unscaled(grad: tf.IndexedSlices, optimizer: Any) -> tf.IndexedSlices:
    """Takes the loss scale out of a gradient; the scales are those that `optimizer` knows."""
    for scale in (optimizer.loss_scale_factor, vars(optimizer).get("_row_loss_scale")):
        if scale is not None:
            values = tf.cast(grad.values, tf.float32)
            values /= tf.cast(tf.convert_to_tensor(scale), tf.float32)
            grad = tf.IndexedSlices(values, grad.indices, grad.dense_shape)
    return grad


def squared_norm(grad: tf.IndexedSlices) -> tf.Tensor:
    """The squared norm that the gradient of a dense variable would have: duplicates summed."""
    return tf.reduce_sum(tf.square(rules.sum_duplicates(grad).values))


def clipped(
    grad: tf.IndexedSlices, counts: Optional[tf.Tensor], optimizer: Any
) -> tuple[tf.IndexedSlices, Optional[tf.Tensor]]:
    """Applies the optimizer's clipnorm or clipvalue, as to the gradient of a dense variable.

    Args:
      grad: values [n, dim], indices [n]; duplicates allowed.
      counts: int64 [n], the occurrences behind each gradient, None for 1 each.
      optimizer: whose clipnorm and clipvalue.

    Returns:
      The clipped gradient and its counts.
    """
    if optimizer.clipnorm:
        # One factor for all, so it need not wait for the sum of the duplicates.
        norm = tf.sqrt(squared_norm(grad))
        return scaled(grad, optimizer.clipnorm / tf.maximum(norm, optimizer.clipnorm)), counts
    if optimizer.clipvalue:
        if counts is None:
            counts = tf.unique_with_counts(grad.indices, out_idx=tf.int64).count
        summed = rules.sum_duplicates(grad)
        values = tf.clip_by_value(summed.values, -optimizer.clipvalue, optimizer.clipvalue)
        return tf.IndexedSlices(values, summed.indices, summed.dense_shape), counts
    return grad, counts


def apply(
    variable: EmbeddingVariable,
    grad: tf.IndexedSlices,
    optimizer: Any,
    clock: Any,
    decay: bool,
    counts: Optional[tf.Tensor] = None,
) -> tf.Tensor:
    """Runs the fused update as `optimizer` says, at the step of `clock`.

    Returns:
      The update's token, a float32 scalar.
    """
    return rules.apply(
        variable,
        grad,
        rule_of(optimizer, decay),
        learning_rate(optimizer, clock),
        tf.cast(tf.convert_to_tensor(clock.iterations), tf.int64),
        counts=counts,
    )
