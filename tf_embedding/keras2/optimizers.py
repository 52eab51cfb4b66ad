# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keras 2 optimizers that train embedding rows and dense weights alike.

Each class is the stock Keras 2 optimizer of its name, with the same
constructor: what it does to dense variables is stock code. A
`te.EmbeddingVariable` among the variables gets no slot variables; its gradient
goes to the fused rule (`te.rules`) of the same formula, with the slots inside
the rows. Clipping, the learning rate (schedules and callbacks too), loss
scaling and `iterations` mean for rows what they mean for dense variables:

* `clipnorm`, `clipvalue`, `global_clipnorm`: duplicate ids are summed first, so
  that norms are those of the gradient of a dense variable.
* `step` of an update is `iterations` before it is incremented.
* `weight_decay` is the decoupled decay of Adam and AdamW, on the rows of the
  batch. Others refuse it; `exclude_from_weight_decay` exempts a variable.
* `use_ema` is refused: a moving average of every row would have to be kept.
* Momentum and moments are lazy: only rows of the batch are touched.

>>> import tensorflow as tf
>>> import tf_embedding as te
>>> from tf_embedding.keras2 import optimizers
>>> rows = te.EmbeddingVariable(2, initializer="zeros")
>>> optimizer = optimizers.SGD(0.5)
>>> with tf.GradientTape() as tape:
...     loss = tf.reduce_sum(te.nn.embedding_lookup(rows, [7, 7]))
>>> _ = optimizer.apply_gradients([(tape.gradient(loss, rows), rows)])
>>> rows.sparse_read([7]).numpy().tolist()
[[-1.0, -1.0]]
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Optional

import tensorflow as tf

from tf_embedding import rules
from tf_embedding import variable as variable_lib
from tf_embedding.keras2 import _keras

keras: Any = _keras.keras

# Stock already scales, unscales and checks rows: it knows IndexedSlices.
LossScaleOptimizer: Any = keras.mixed_precision.LossScaleOptimizer


def _is_rows(variable: Any) -> bool:
    return isinstance(variable, variable_lib.EmbeddingVariable)


class _RowGradient(NamedTuple):
    """The gradient of a variable's rows on its way through stock code.

    Attributes:
      slices: IndexedSlices, values [n, dim] and indices [n].
      counts: int64 [n], occurrences behind each slice, or None for one each.
    """

    slices: tf.IndexedSlices
    counts: Optional[tf.Tensor]

    def summed(self) -> "_RowGradient":
        """The same with each id once, in first-seen order."""
        if self.counts is not None:
            return self
        # The order of tf.unique is that of sum_duplicates.
        counts = tf.unique_with_counts(self.slices.indices, tf.int64).count
        return _RowGradient(rules.sum_duplicates(self.slices), counts)


class _RowOptimizer:
    """Mixin over a stock Keras 2 optimizer: sends rows to the fused rules."""

    # Of the stock class.
    learning_rate: Any
    iterations: Any
    use_ema: bool
    weight_decay: Optional[float]

    def _row_rule(self, decay: Optional[float]) -> Any:
        """Returns the rule with this optimizer's hyper-parameters.

        Args:
          decay: The weight decay that the variable is due, or None.
        """
        raise NotImplementedError

    def _refuse(self, argument: str, value: Any, remedy: str) -> None:
        raise ValueError(
            f"{type(self).__name__} cannot apply {argument}={value!r} to "
            f"embedding rows: {remedy}"
        )

    def _refuse_decay(self, decay: Optional[float]) -> None:
        if decay:
            self._refuse(
                "weight_decay",
                decay,
                "use te.optimizers.AdamW, or exempt the rows with "
                "exclude_from_weight_decay(var_names=[...]) before training.",
            )

    def _rule_of(self, variable: Any) -> Any:
        decay = self.weight_decay
        if decay and not self._use_weight_decay(variable):  # type: ignore[attr-defined]
            decay = None
        return self._row_rule(decay or None)

    # What follows overrides hooks of keras.optimizers.Optimizer.

    def _var_key(self, variable: Any) -> Any:
        if _is_rows(variable):
            return f"embedding_variable_{id(variable)}"
        return super()._var_key(variable)  # type: ignore[misc]

    def build(self, var_list: Sequence[Any]) -> None:
        """Makes the slots of the dense variables; checks that rows can train.

        Args:
          var_list: Variables, `te.EmbeddingVariable`s among them.

        Raises:
          ValueError: A setting that rows cannot honour.
        """
        rows = [v for v in var_list if _is_rows(v)]
        dense = [v for v in var_list if not _is_rows(v)]
        if rows and self.use_ema:
            self._refuse("use_ema", True, "build it with use_ema=False.")
        for variable in rows:
            self._rule_of(variable)
        # Stock code takes the first list for the only one: a call with rows
        # alone must not shut out the dense variables of a later one.
        if dense or not rows:
            super().build(dense)  # type: ignore[misc]

    def apply_gradients(
        self,
        grads_and_vars: Iterable[Any],
        name: Optional[str] = None,
        skip_gradients_aggregation: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Applies gradients to dense variables and to embedding rows.

        Args:
          grads_and_vars: Pairs of gradient and variable. The gradient of a
            `te.EmbeddingVariable` is a `tf.IndexedSlices` of float32 values
            [n, dim] and int64 indices [n].
          name: As in the stock class.
          skip_gradients_aggregation: As in the stock class.
          **kwargs: As in the stock class.

        Returns:
          `iterations`.

        Raises:
          NotImplementedError: More than one replica.
          TypeError: A dense gradient for embedding rows.
          ValueError: A setting that rows cannot honour.
        """
        pairs = list(grads_and_vars)
        if any(_is_rows(variable) for _, variable in pairs):
            _keras.require_one_replica("An EmbeddingVariable")
            pairs = [self._wrapped(*pair) for pair in pairs]
            skip_gradients_aggregation = True  # There is one replica.
        return super().apply_gradients(  # type: ignore[misc]
            pairs, name, skip_gradients_aggregation, **kwargs
        )

    @staticmethod
    def _wrapped(gradient: Any, variable: Any) -> tuple[Any, Any]:
        if gradient is None or not _is_rows(variable):
            return gradient, variable
        if not isinstance(gradient, tf.IndexedSlices):
            raise TypeError(
                f"The gradient of EmbeddingVariable {variable.name!r} must be "
                f"a tf.IndexedSlices, got {type(gradient).__name__}: take it "
                "from a tf.GradientTape around a lookup."
            )
        return _RowGradient(gradient, None), variable

    def _clip_gradients(self, grads: Sequence[Any]) -> list[Any]:
        clips = ("clipnorm", "global_clipnorm", "clipvalue")
        if not any(getattr(self, clip, None) for clip in clips):
            return list(grads)
        grads = [
            g.summed() if isinstance(g, _RowGradient) else g for g in grads
        ]
        clipped = super()._clip_gradients(  # type: ignore[misc]
            [g.slices if isinstance(g, _RowGradient) else g for g in grads]
        )
        return [
            _RowGradient(c, g.counts) if isinstance(g, _RowGradient) else c
            for g, c in zip(grads, clipped)
        ]

    def _deduplicate_sparse_grad(self, grads: Sequence[Any]) -> list[Any]:
        # The fused rules sum the duplicates of rows.
        dense = [g for g in grads if not isinstance(g, _RowGradient)]
        summed = iter(super()._deduplicate_sparse_grad(dense))  # type: ignore[misc]
        return [
            g if isinstance(g, _RowGradient) else next(summed) for g in grads
        ]

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        dense = [v for v in variables if not _is_rows(v)]
        super()._apply_weight_decay(dense)  # type: ignore[misc]

    def _internal_apply_gradients(self, grads_and_vars: Iterable[Any]) -> Any:
        dense = []
        for gradient, variable in grads_and_vars:
            if not isinstance(gradient, _RowGradient):
                dense.append((gradient, variable))
                continue
            rules.apply(
                variable,
                gradient.slices,
                self._rule_of(variable),
                tf.cast(self.learning_rate, tf.float32),
                tf.convert_to_tensor(self.iterations),
                counts=gradient.counts,
            )
        return super()._internal_apply_gradients(dense)  # type: ignore[misc]


_register = keras.utils.register_keras_serializable(package="tf_embedding")


@_register
class SGD(_RowOptimizer, keras.optimizers.SGD):  # type: ignore[misc]
    """`keras.optimizers.SGD`, for rows too (momentum lazy, Nesterov or not).

    >>> SGD(0.1, momentum=0.9).momentum
    0.9
    """

    def _row_rule(self, decay: Optional[float]) -> Any:
        self._refuse_decay(decay)
        if not self.momentum:
            return rules.SGD()
        return rules.KerasMomentum(
            momentum=float(self.momentum), nesterov=bool(self.nesterov)
        )


@_register
class Adagrad(_RowOptimizer, keras.optimizers.Adagrad):  # type: ignore[misc]
    """`keras.optimizers.Adagrad`, for rows too. Epsilon is under the root.

    >>> Adagrad(0.1, epsilon=1e-6).epsilon
    1e-06
    """

    def _row_rule(self, decay: Optional[float]) -> Any:
        self._refuse_decay(decay)
        return rules.Adagrad(
            initial_accumulator_value=float(self.initial_accumulator_value),
            epsilon=float(self.epsilon),
            epsilon_in_sqrt=True,
        )


@_register
class RMSprop(_RowOptimizer, keras.optimizers.RMSprop):  # type: ignore[misc]
    """`keras.optimizers.RMSprop`, for rows too (lazy).

    >>> RMSprop(0.1, rho=0.8).rho
    0.8
    """

    def _row_rule(self, decay: Optional[float]) -> Any:
        self._refuse_decay(decay)
        return rules.RMSProp(
            rho=float(self.rho),
            momentum=float(self.momentum),
            epsilon=float(self.epsilon),
            centered=bool(self.centered),
        )


class _AdamRows(_RowOptimizer):
    """The rule of Adam and AdamW, which differ in Keras by a default alone."""

    beta_1: float
    beta_2: float
    epsilon: float
    amsgrad: bool

    def _row_rule(self, decay: Optional[float]) -> Any:
        if self.amsgrad:
            self._refuse("amsgrad", True, "build it with amsgrad=False.")
        if getattr(self, "adaptive_epsilon", False):  # tf_keras 2.17 has it.
            self._refuse("adaptive_epsilon", True, "leave it False.")
        if decay:
            return rules.AdamW(
                beta_1=float(self.beta_1),
                beta_2=float(self.beta_2),
                epsilon=float(self.epsilon),
                weight_decay=float(decay),
            )
        return rules.Adam(
            beta_1=float(self.beta_1),
            beta_2=float(self.beta_2),
            epsilon=float(self.epsilon),
        )


@_register
class Adam(_AdamRows, keras.optimizers.Adam):  # type: ignore[misc]
    """`keras.optimizers.Adam`, for rows too (lazy; no amsgrad).

    With `weight_decay`, rows follow the rule of AdamW, as dense variables do.

    >>> Adam(0.1, beta_1=0.8).beta_1
    0.8
    """


@_register
class AdamW(_AdamRows, keras.optimizers.AdamW):  # type: ignore[misc]
    """`keras.optimizers.AdamW`, for rows too (lazy; no amsgrad).

    >>> AdamW(0.1, weight_decay=0.01).weight_decay
    0.01
    """


@_register
class Ftrl(_RowOptimizer, keras.optimizers.Ftrl):  # type: ignore[misc]
    """`keras.optimizers.Ftrl`, for rows too.

    >>> Ftrl(0.1, beta=0.5).beta
    0.5
    """

    def _row_rule(self, decay: Optional[float]) -> Any:
        self._refuse_decay(decay)
        return rules.Ftrl(
            learning_rate_power=float(self.learning_rate_power),
            initial_accumulator_value=float(self.initial_accumulator_value),
            l1=float(self.l1_regularization_strength),
            l2=float(self.l2_regularization_strength),
            l2_shrinkage=float(self.l2_shrinkage_regularization_strength),
            beta=float(self.beta),
        )


@_register
class RowwiseAdagrad(_RowOptimizer, keras.optimizers.Adagrad):  # type: ignore[misc]
    """Adagrad with one accumulator a row: the mean square of its gradient.

    A row costs one float more than its vector, whatever its width (FBGEMM's
    "exact row-wise Adagrad"). The arguments are those of
    `keras.optimizers.Adagrad`, which trains the dense variables.

    >>> RowwiseAdagrad(0.1).initial_accumulator_value
    0.1
    """

    def _row_rule(self, decay: Optional[float]) -> Any:
        self._refuse_decay(decay)
        return rules.RowwiseAdagrad(
            initial_accumulator_value=float(self.initial_accumulator_value),
            epsilon=float(self.epsilon),
        )


@_register
class AdagradDecay(_RowOptimizer, keras.optimizers.Adagrad):  # type: ignore[misc]
    """Adagrad whose accumulator fades, so that old rows go on learning.

    Every `accumulator_decay_step` steps the accumulator of a row is multiplied
    by `accumulator_decay_rate`, never below its initial value (DeepRec's
    AdagradDecay). Dense variables are trained by stock Adagrad with the same
    arguments, without decay.

    >>> AdagradDecay(0.1, accumulator_decay_step=1000).accumulator_decay_rate
    0.9
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        accumulator_decay_step: int = 100000,
        accumulator_decay_rate: float = 0.9,
        name: str = "AdagradDecay",
        **kwargs: Any,
    ) -> None:
        """As keras.optimizers.Adagrad, and the decay of rows.

        Args:
          learning_rate: As in Adagrad.
          initial_accumulator_value: As in Adagrad; the floor of the decay.
          accumulator_decay_step: Steps from one decay to the next.
          accumulator_decay_rate: The factor, in (0, 1].
          name: As in Adagrad.
          **kwargs: As in Adagrad.
        """
        super().__init__(
            learning_rate=learning_rate,
            initial_accumulator_value=initial_accumulator_value,
            name=name,
            **kwargs,
        )
        self.accumulator_decay_step = accumulator_decay_step
        self.accumulator_decay_rate = accumulator_decay_rate

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        config: dict[str, Any] = super().get_config()
        config["accumulator_decay_step"] = self.accumulator_decay_step
        config["accumulator_decay_rate"] = self.accumulator_decay_rate
        return config

    def _row_rule(self, decay: Optional[float]) -> Any:
        self._refuse_decay(decay)
        return rules.AdagradDecay(
            initial_accumulator_value=float(self.initial_accumulator_value),
            decay_steps=float(self.accumulator_decay_step),
            decay_rate=float(self.accumulator_decay_rate),
        )


@_register
class GroupFtrl(_RowOptimizer, keras.optimizers.Ftrl):  # type: ignore[misc]
    """FTRL with the l1 penalty on whole rows: useless rows become zero.

    Dense variables are trained by stock Ftrl with the same arguments. Source: Ni
    et al., KDD 2019, in DeepRec's form.

    >>> GroupFtrl(0.1, l1_regularization_strength=1e-3).beta
    0.0
    """

    def _row_rule(self, decay: Optional[float]) -> Any:
        self._refuse_decay(decay)
        if self.l2_shrinkage_regularization_strength:
            self._refuse(
                "l2_shrinkage_regularization_strength",
                self.l2_shrinkage_regularization_strength,
                "leave it 0.",
            )
        return rules.GroupFtrl(
            learning_rate_power=float(self.learning_rate_power),
            initial_accumulator_value=float(self.initial_accumulator_value),
            l1=float(self.l1_regularization_strength),
            l2=float(self.l2_regularization_strength),
            beta=float(self.beta),
        )


_CLASSES: dict[str, Any] = {
    name: globals()[name] for name in _keras.OPTIMIZER_NAMES
}


def get(identifier: Any) -> Any:
    """Returns a new optimizer for rows, made from what a layer was given.

    Args:
      identifier: A name ("adagrad", in any case), the dictionary of
        `keras.optimizers.serialize`, an optimizer of this module, or a stock
        Keras 2 optimizer of the same kind as one. The result shares its learning
        rate (the variable or schedule) and has `iterations` of its own.

    Returns:
      An optimizer of this module.

    Raises:
      ValueError: Anything else; a legacy or a loss-scaling optimizer too.
    """
    if isinstance(identifier, str):
        by_name = {name.lower(): cls for name, cls in _CLASSES.items()}
        if identifier.lower() in by_name:
            return by_name[identifier.lower()]()
    elif isinstance(identifier, Mapping):
        # Keras drops the package of the name while it loads a SavedModel.
        cls = _CLASSES.get(str(identifier["class_name"]))
        if cls is not None:
            return cls.from_config(dict(identifier["config"]))
        return get(keras.optimizers.deserialize(dict(identifier)))
    elif isinstance(identifier, keras.optimizers.legacy.Optimizer):
        raise ValueError(
            f"Legacy Keras optimizers cannot train embedding rows, got "
            f"{type(identifier).__name__}. Use one of {_keras.choices()}."
        )
    for name, cls in _CLASSES.items():
        stock = getattr(keras.optimizers, name, cls)
        if type(identifier) in (cls, stock):
            config = identifier.get_config()
            # Not through from_config: a schedule may be of any class.
            config["learning_rate"] = 0.0
            made = cls(**config)
            made._learning_rate = identifier._learning_rate
            return made
    raise ValueError(
        f"optimizer={identifier!r} cannot train embedding rows. Use one of "
        f"{_keras.choices()}, its name, or a stock optimizer of the same name."
    )
