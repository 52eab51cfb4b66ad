# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trains the rows of a layer by an optimizer of their own, under any other.

A stock Keras 2 optimizer cannot take an embedding variable, and Keras 2 has no
way for a variable to bring its own update (Keras 3 has). So the layer hides its
rows from the compiled optimizer and shows it a stand-in, the *hook*: a scalar
weight, always zero. Two things tie the hook to the rows:

1. The hook's gradient. When a tape computes it, the gradient of the rows is
   computed too and put aside (`RowTrainer.collect`); the hook itself gets 0, or
   NaN where the rows' gradient is not finite, so that a check of all gradients
   sees it.
2. The hook's *constraint*, which every Keras 2 optimizer calls once it has
   updated a variable (`RowTrainer.step`): it gives all that was put aside to the
   layer's own optimizer, in one update.

So rows train when the compiled optimizer applies its gradients and not when a
gradient is merely computed, and a layer called twice in a step trains its rows
once, with the sum.

What is put aside is not told apart by who asked for it: any gradient that a tape
takes through the layer is. A gradient that is not applied, such as one with
respect to other variables or inputs, or the first of several micro-batches,
would go with the next update. That is an error, when the next gradient is taken:
such loops need an optimizer of `te.optimizers` and no `optimizer=` on the layer,
where gradients of rows are as plain as those of dense variables.

The older way, to apply the update where the gradient is computed, trains on
gradients that are never applied, runs one update for each call of the layer,
and its side effect can be pruned from the graph.
"""

from collections.abc import Sequence
from typing import Any, Callable, Optional

import tensorflow as tf

from tf_embedding.keras2 import _keras

keras: Any = _keras.keras


_NOT_APPLIED = (
    "A gradient was taken through an embedding layer with optimizer= and was not "
    "applied; it would go with the next update of the rows. Leave optimizer= off "
    "the layer and train with one of "
)


class RowTrainer(tf.__internal__.tracking.AutoTrackable):  # type: ignore[misc]
    """An embedding variable, its optimizer, and gradients put aside for it.

    Attributes:
      variable: The `te.EmbeddingVariable`; not trainable in Keras' eyes.
      optimizer: The optimizer of its rows (`optimizers.get`).
      hook: float32 scalar weight of the layer, made with `constraint=step`.
    """

    def __init__(self, variable: Any, optimizer: Any) -> None:
        """Makes the trainer; the layer sets `hook` afterwards."""
        super().__init__()
        self.variable = variable
        self.optimizer = optimizer
        self.hook: Any = None
        options = {
            "trainable": False,
            "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
        }
        self._keys = tf.Variable(
            tf.zeros([0], tf.int64), shape=[None], **options
        )
        self._values = tf.Variable(
            tf.zeros([0, variable.dim]), shape=[None, variable.dim], **options
        )

    def pending(self) -> tf.Tensor:
        """How many gradients of rows are put aside now: an int32 scalar."""
        return tf.size(self._keys.read_value())

    def collect(
        self, gradient: Optional[tf.IndexedSlices], pending: tf.Tensor
    ) -> tf.Tensor:
        """Puts a gradient of the rows aside.

        Args:
          gradient: Values [n, dim] and indices [n], or None for nothing.
          pending: What `pending()` was when the layer was called.

        Returns:
          The hook's gradient: 0, or NaN where a value is not finite.

        Raises:
          tf.errors.InvalidArgumentError: `pending` is not 0.
        """
        tf.debugging.assert_equal(
            pending, 0, message=_NOT_APPLIED + _keras.choices()
        )
        if gradient is None:
            return tf.zeros([])
        self._keys.assign(tf.concat([self._keys, gradient.indices], 0))
        self._values.assign(tf.concat([self._values, gradient.values], 0))
        # Read back, not taken from the gradient: the result then depends on the
        # assignment by data, and no optimization of the graph can drop it.
        finite = tf.reduce_all(tf.math.is_finite(self._values.read_value()))
        return tf.where(finite, 0.0, float("nan"))

    def step(self, hook: Any) -> tf.Tensor:
        """Updates the rows; the constraint of the hook.

        Args:
          hook: The hook's variable, which the caller has just updated.

        Returns:
          0, the hook's next value.

        Raises:
          ValueError: What the compiled optimizer is set to cannot be honoured.
        """
        del hook  # Its value means nothing.
        self._check(_keras.calling_optimizer())
        gradient = tf.IndexedSlices(
            self._values.read_value(),
            self._keys.read_value(),
            tf.constant([0, self.variable.dim], tf.int32),
        )
        self.optimizer.apply_gradients([(gradient, self.variable)])
        self._keys.assign(tf.zeros([0], tf.int64))
        self._values.assign(tf.zeros([0, self.variable.dim]))
        return tf.zeros([])

    def _check(self, compiled: Optional[Any]) -> None:
        if compiled is None:
            return
        what = None
        if isinstance(compiled, keras.optimizers.legacy.Optimizer):
            what = "a legacy Keras optimizer"
        elif getattr(compiled, "_is_wrapped_by_loss_scale_optimizer", False):
            what = "a loss scale (mixed_float16)"
        elif compiled.global_clipnorm:
            what = f"global_clipnorm={compiled.global_clipnorm!r}"
        if what:
            raise ValueError(
                f"The model is compiled with {what}, which does not reach the "
                f"embedding rows of {self.variable.name!r}: they have an "
                f"optimizer of their own, {type(self.optimizer).__name__}. "
                f"Compile with one of {_keras.choices()}, which trains rows and "
                "dense weights together, and leave optimizer= off the layer."
            )


def connect(
    trainers: Sequence[RowTrainer], read: Callable[[], Sequence[tf.Tensor]]
) -> list[tf.Tensor]:
    """Runs lookups so that the hooks' gradients put the rows' aside.

    Args:
      trainers: The trainers of the variables that `read` looks up.
      read: Does the lookups; returns float tensors.

    Returns:
      What `read` returns. Gradients to other inputs of `read`, such as weights
      of a bag, flow as they would have.
    """
    variables = [trainer.variable for trainer in trainers]
    pending = [trainer.pending() for trainer in trainers]
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    with tf.GradientTape(
        persistent=True, watch_accessed_variables=False
    ) as tape:
        tape.watch(variables)
        outputs = list(read())
    taken: list[bool] = []

    def zeros(*hooks: tf.Tensor) -> Any:
        del hooks

        def gradient(*upstream: tf.Tensor) -> list[tf.Tensor]:
            # Where the gradient is taken in another graph, the backward half of
            # a function, it may be traced there several times.
            here = tf.executing_eagerly() or (
                graph is tf.compat.v1.get_default_graph()
            )
            if here and taken:
                raise ValueError(_NOT_APPLIED + _keras.choices())
            taken.append(here)
            gradients = tape.gradient(
                outputs, variables, output_gradients=list(upstream)
            )
            return [
                trainer.collect(*of_one)
                for trainer, *of_one in zip(trainers, gradients, pending)
            ]

        return [tf.zeros_like(output) for output in outputs], gradient

    # Added, so that gradients to the other inputs of `read` find their own way.
    added = tf.custom_gradient(zeros)(
        *[tf.convert_to_tensor(t.hook) for t in trainers]
    )
    return [output + zero for output, zero in zip(outputs, added)]
