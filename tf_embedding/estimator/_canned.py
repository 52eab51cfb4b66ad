# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The optimizers of `te.train` for canned estimators that want Keras'."""

from __future__ import annotations

from typing import Any, NoReturn, Sequence

import tensorflow as tf

from tf_embedding.keras2._keras import keras


class _CannedOptimizer(keras.optimizers.legacy.Optimizer):  # type: ignore[misc]
    """Does what canned estimators ask of a Keras optimizer by one of v1."""

    def __init__(self, optimizer: Any) -> None:
        super().__init__(name=optimizer.get_name())
        self._v1 = optimizer

    def get_updates(self, loss: tf.Tensor, params: Sequence[Any]) -> list[Any]:
        """The op that minimizes loss, and counts the step if it is the one to do so."""
        gradients = self._v1.compute_gradients(loss, params)
        # An estimator with two optimizers gives one of them the global step.
        return [self._v1.apply_gradients(gradients, global_step=self._iterations)]

    def get_config(self) -> NoReturn:
        raise NotImplementedError("an optimizer of te.train has no Keras config")


def canned_optimizer(optimizer: Any) -> Any:
    """Makes an optimizer of `te.train` fit `te.estimator.DNNClassifier` and the like.

    Those want an optimizer of Keras 2; the canned estimators of `te.estimator.v1` take
    optimizers of `te.train` as they are. Each graph needs its own, so pass a function:

        te.estimator.DNNClassifier(
            ..., optimizer=lambda: te.estimator.canned_optimizer(te.train.AdagradOptimizer(0.1)))

    Args:
      optimizer: of `te.train`, or a stock one of `tf.compat.v1.train`.

    Returns:
      The optimizer.

    Raises:
      TypeError: the optimizer is not of v1.
    """
    if not isinstance(optimizer, tf.compat.v1.train.Optimizer):
        raise TypeError(f"optimizer is {optimizer!r}; it must be one of te.train")
    return _CannedOptimizer(optimizer)
