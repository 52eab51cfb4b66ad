# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Optimizer rules: what an update does to the rows of a batch.

Each rule is a frozen dataclass of hyper-parameters over a functor of the C++
core, which holds the formula (cc/core/rules). `apply` runs one on a gradient: the
gradients of equal keys are summed in position order, rows are born, and every
row in the batch is updated once. The optimizers of the Keras faces, and any loop
of one's own, come down to this function.

The rules are lazy: rows that are not in the batch are not touched, as with the
sparse kernels of TensorFlow. For SGD and Adagrad a dense pass with gradients of
zero would change nothing else either. For FTRL it would compute w anew from z;
for rules with moments (momentum, RMSProp, Adam) it would also decay the moments
of rows without a gradient and move them on.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Optional

import tensorflow as tf

from tf_embedding import columns, parts
from tf_embedding._library import ops
from tf_embedding.gradients import make_gradient
from tf_embedding.inputs import to_int64
from tf_embedding.variable import EmbeddingVariable, refuse_xla


@dataclasses.dataclass(frozen=True)
class Rule:
    """What all rules are: a name that the core knows and floats in its order."""

    name: ClassVar[str]

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, (bool, int, float)):
                raise TypeError(
                    f"{field.name} of {type(self).__name__} is {value!r}; it must be a number"
                )

    @property
    def core_name(self) -> str:
        """The name of the functor that does it."""
        return self.name

    def hyper(self) -> tuple[float, ...]:
        """The hyper-parameters, in the functor's order."""
        return tuple(float(getattr(self, f.name)) for f in dataclasses.fields(self))


@dataclasses.dataclass(frozen=True)
class SGD(Rule):
    """w <- w - lr g. No slots."""

    name: ClassVar[str] = "sgd"


@dataclasses.dataclass(frozen=True)
class Momentum(Rule):
    """Momentum as TensorFlow v1: m <- mu m + g; w <- w - lr m.

    Nesterov: w <- w - lr (g + mu m). Source: Sutskever et al., ICML 2013.
    """

    name: ClassVar[str] = "momentum"
    momentum: float = 0.9
    nesterov: bool = False


@dataclasses.dataclass(frozen=True)
class KerasMomentum(Rule):
    """Momentum as Keras: m <- mu m - lr g; w <- w + m.

    Nesterov: w <- w + mu m - lr g. Source: Sutskever et al., ICML 2013.
    """

    name: ClassVar[str] = "keras_momentum"
    momentum: float = 0.9
    nesterov: bool = False


@dataclasses.dataclass(frozen=True)
class Adagrad(Rule):
    """a <- a + g^2; w <- w - lr g / (sqrt(a) + epsilon).

    With epsilon_in_sqrt the divisor is sqrt(a + epsilon), as in Keras; an epsilon
    of 0 is TensorFlow v1's, and wants an initial_accumulator_value above 0.
    Source: Duchi, Hazan and Singer, JMLR 2011.
    """

    name: ClassVar[str] = "adagrad"
    initial_accumulator_value: float = 0.1
    epsilon: float = 0.0
    epsilon_in_sqrt: bool = False


@dataclasses.dataclass(frozen=True)
class RowwiseAdagrad(Rule):
    """One accumulator a row: a <- a + mean(g^2); w <- w - lr g / (sqrt(a) + epsilon).

    Source: FBGEMM (https://github.com/pytorch/FBGEMM), "exact row-wise Adagrad".
    """

    name: ClassVar[str] = "rowwise_adagrad"
    initial_accumulator_value: float = 0.0
    epsilon: float = 1e-8


@dataclasses.dataclass(frozen=True)
class RMSProp(Rule):
    """s <- s + (1 - rho)(g^2 - s); w <- w - lr g / sqrt(s + epsilon).

    Centered divides by sqrt(s - c^2 + epsilon), c the running mean of g; with
    momentum the step goes through m <- mu m + step. Slots are kept for what is
    used only. Source: Hinton, lecture 6e, 2012; Graves, arXiv:1308.0850.
    """

    name: ClassVar[str] = "rmsprop"
    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    centered: bool = False
    initial_mean_square: float = 0.0

    @property
    def core_name(self) -> str:
        centered = "_centered" if self.centered else ""
        return f"rmsprop{centered}" + ("_momentum" if self.momentum else "")

    def hyper(self) -> tuple[float, ...]:
        momentum = (float(self.momentum),) if self.momentum else ()
        return (self.rho, *momentum, self.epsilon, self.initial_mean_square)


@dataclasses.dataclass(frozen=True)
class Adam(Rule):
    """Adam on the rows of the batch, with the bias correction of the global step.

    m <- m + (1 - beta_1)(g - m); v <- v + (1 - beta_2)(g^2 - v);
    w <- w - alpha m / (sqrt(v) + epsilon), where with t = step + 1
    alpha = lr sqrt(1 - beta_2^t) / (1 - beta_1^t). Lazy.
    Source: Kingma and Ba, ICLR 2015.
    """

    name: ClassVar[str] = "adam"
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7


@dataclasses.dataclass(frozen=True)
class AdamW(Rule):
    """Adam after w <- w - lr weight_decay w: decoupled, as Keras. Lazy.

    A row is shrunk when it is in the batch, so a rare key decays less than in a
    dense variable. Source: Loshchilov and Hutter, ICLR 2019.
    """

    name: ClassVar[str] = "adamw"
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    weight_decay: float = 0.004


@dataclasses.dataclass(frozen=True)
class Ftrl(Rule):
    """FTRL-proximal, TensorFlow's FtrlV2 with Keras' beta; needs a learning rate above 0.

    n' = n + g^2; z <- z + g + 2 l2_shrinkage w - (n'^-p - n^-p) / lr w;
    w <- (sign(z) l1 - z) / (n'^-p / lr + 2 l2 + beta / lr) where abs(z) > l1, else 0,
    p being learning_rate_power. Source: McMahan et al., KDD 2013.
    """

    name: ClassVar[str] = "ftrl"
    learning_rate_power: float = -0.5
    initial_accumulator_value: float = 0.1
    l1: float = 0.0
    l2: float = 0.0
    l2_shrinkage: float = 0.0
    beta: float = 0.0


@dataclasses.dataclass(frozen=True)
class GroupFtrl(Rule):
    """FTRL whose l1 penalty is on the norm of a row: useless keys become zero as a whole.

    As Ftrl, but w <- (l1 / norm(z) - 1) z / (n'^-p / lr + 2 l2 + beta / lr) where
    norm(z) > l1, else 0. Source: Ni et al., KDD 2019; the form that DeepRec calls FTRL.
    """

    name: ClassVar[str] = "group_ftrl"
    learning_rate_power: float = -0.5
    initial_accumulator_value: float = 0.1
    l1: float = 0.0
    l2: float = 0.0
    beta: float = 0.0


@dataclasses.dataclass(frozen=True)
class AdagradDecay(Rule):
    """Adagrad whose accumulator decays with time, for streams that never end.

    A row that is touched k periods of decay_steps steps after the period it knows
    first has a <- max(a decay_rate^k, initial_accumulator_value). Source: DeepRec's
    AdagradDecay, which decays once per touch however long the row was away.
    """

    name: ClassVar[str] = "adagrad_decay"
    initial_accumulator_value: float = 0.1
    decay_steps: float = 100000.0
    decay_rate: float = 0.9


ALL: tuple[type[Rule], ...] = (
    SGD,
    Momentum,
    KerasMomentum,
    Adagrad,
    RowwiseAdagrad,
    RMSProp,
    Adam,
    AdamW,
    Ftrl,
    GroupFtrl,
    AdagradDecay,
)


def apply(
    variable: EmbeddingVariable,
    gradient: tf.IndexedSlices,
    rule: Rule,
    learning_rate: Any,
    step: Any,
    counts: Any = None,
    rule_step: Any = None,
) -> tf.Tensor:
    """Updates the rows that a gradient names; gives birth to those that are new.

    A gradient of zero gives birth too: what counts is that the key was trained.

    Args:
      variable: what to update.
      gradient: values float [n, dim] at indices int [n]; equal indices are summed.
      rule: how.
      learning_rate: a float, or a float scalar tensor.
      step: the 0-based number of this update, int scalar below 2^32 - 1. It stamps
        the rows' version, and is t - 1 for Adam.
      counts: int64 [n], how many occurrences each gradient stands for; None for one
        each.
      rule_step: what the rule's formula takes for the step, where that is not the
        step that stamps the rows: Adam's t is rule_step + 1. None for step.

    Returns:
      A float32 scalar, 0, that depends on the update: whatever must come after can
      depend on its value.

    Raises:
      TypeError: the gradient is not IndexedSlices.
      tf.errors.InvalidArgumentError: shapes, learning_rate, step, counts or a
        hyper-parameter do not fit. Nothing changed.

    >>> ev = EmbeddingVariable(dim=2, initializer="zeros", name="apply_example")
    >>> with tf.GradientTape() as tape:
    ...     loss = tf.reduce_sum(ev.sparse_read([5, 5, 9]))
    >>> token = apply(ev, tape.gradient(loss, ev), SGD(), learning_rate=0.5, step=0)
    >>> ev.sparse_read([5, 9]).numpy().tolist()
    [[-1.0, -1.0], [-0.5, -0.5]]
    """
    if not isinstance(gradient, tf.IndexedSlices):
        raise TypeError(
            f"gradient is {type(gradient).__name__}; an embedding variable takes tf.IndexedSlices, "
            "which is what a tape returns for it"
        )
    refuse_xla()
    keys = to_int64(gradient.indices, "gradient.indices")
    values = tf.cast(gradient.values, tf.float32)
    counts = None if counts is None else tf.cast(counts, tf.int64)
    if variable.num_parts > 1:
        keys, values = parts.checked(keys, values, variable.dim, "gradients", counts)
    batch_size = tf.size(keys, out_type=tf.int64)
    shares = variable.shares_of(keys)
    learning_rate, step = tf.cast(learning_rate, tf.float32), tf.cast(step, tf.int64)
    rule_step = step if rule_step is None else tf.cast(rule_step, tf.int64)
    hyper = tf.constant(rule.hyper(), tf.float32, shape=[len(rule.hyper())])

    first_column = tf.constant(-1, tf.int64)
    if variable.num_parts == 1 and values.shape.rank == 2 and values.shape[1] == variable.dim:
        values, first_column = columns.of(values)

    def apply_share(share: parts.Share) -> tf.Tensor:
        return ops.tf_embedding_apply(
            handle=share.handle,
            keys=share.keys,
            gradients=share.take(values),
            first_column=first_column,
            counts=tf.zeros([0], tf.int64) if counts is None else share.take(counts),
            batch_size=batch_size,
            learning_rate=learning_rate,
            step=step,
            rule_step=rule_step,
            hyper=hyper,
            rule=rule.core_name,
        )

    tokens = parts.for_each(shares, apply_share)
    return tokens[0] if len(tokens) == 1 else tf.add_n(tokens)


def sum_duplicates(gradient: tf.IndexedSlices) -> tf.IndexedSlices:
    """Sums the values of equal indices, as densifying the gradient would.

    What must see a gradient as a whole, a norm to clip by for one, needs this.

    Args:
      gradient: values [n, dim] at indices [n].

    Returns:
      Values [u, dim] at u distinct indices, in order of first occurrence.

    >>> g = tf.IndexedSlices(tf.constant([[1.0], [2.0], [4.0]]), tf.constant([7, 3, 7], tf.int64))
    >>> s = sum_duplicates(g)
    >>> s.indices.numpy().tolist(), s.values.numpy().tolist()
    ([7, 3], [[5.0], [2.0]])
    """
    indices, positions = tf.unique(gradient.indices, out_idx=tf.int64)
    values = tf.math.unsorted_segment_sum(
        gradient.values, positions, tf.size(indices, out_type=tf.int64)
    )
    return make_gradient(values, indices)


def core_rules() -> dict[str, dict[str, Optional[tuple[str, ...]]]]:
    """What the C++ core says of its rules: slots and hyper-parameters, by name.

    >>> core_rules()["adam"]["vector_slots"]
    ('m', 'v')
    """
    names, vector_slots, scalar_slots, hyper = (
        [text.decode() for text in tensor.numpy()] for tensor in ops.tf_embedding_rules()
    )

    def split(text: str) -> tuple[str, ...]:
        return tuple(text.split(",")) if text else ()

    return {
        name: {
            "vector_slots": split(vector_slots[i]),
            "scalar_slots": split(scalar_slots[i]),
            "hyper": split(hyper[i]),
        }
        for i, name in enumerate(names)
    }
