# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the tests of graphs share."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Iterator, Optional

import numpy as np
import tensorflow as tf

import tf_embedding as te

v1 = tf.compat.v1


@contextlib.contextmanager
def session(seed: Optional[int] = None) -> Iterator[Any]:
    """A new graph and a session of it."""
    with tf.Graph().as_default():
        if seed is not None:
            v1.set_random_seed(seed)
        with v1.Session() as opened:
            yield opened


def variable(name: str = "var", dim: int = 3, parts: Optional[int] = None, **kwargs: Any) -> Any:
    """get_embedding_variable, of ones where nothing else is asked for."""
    kwargs.setdefault("initializer", v1.ones_initializer())
    partitioner = None if parts is None else v1.fixed_size_partitioner(parts)
    return te.get_embedding_variable(name, dim, partitioner=partitioner, **kwargs)


def int64(*values: Any) -> tf.Tensor:
    return tf.constant(np.array(values), tf.int64)


def steps(run: Any, fetch: Any, train: Any, n: int) -> list[Any]:
    """What fetch gave before each of n updates, and after the last."""
    found = []
    for _ in range(n):
        found.append(run.run(fetch))
        run.run(train)
    return [*found, run.run(fetch)]


# By name: the class here, the stock one and the arguments of both.
OPTIMIZERS: dict[str, tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]] = {
    "sgd": (te.train.GradientDescentOptimizer, v1.train.GradientDescentOptimizer, {}),
    "momentum": (te.train.MomentumOptimizer, v1.train.MomentumOptimizer, {"momentum": 0.9}),
    "nesterov": (
        te.train.MomentumOptimizer,
        v1.train.MomentumOptimizer,
        {"momentum": 0.9, "use_nesterov": True},
    ),
    "adagrad": (te.train.AdagradOptimizer, v1.train.AdagradOptimizer, {}),
    "rmsprop": (te.train.RMSPropOptimizer, v1.train.RMSPropOptimizer, {"momentum": 0.5}),
    "rmsprop_centered": (
        te.train.RMSPropOptimizer,
        v1.train.RMSPropOptimizer,
        {"centered": True, "decay": 0.8, "epsilon": 1e-3},
    ),
    "adam": (te.train.AdamOptimizer, v1.train.AdamOptimizer, {"beta1": 0.8, "epsilon": 1e-4}),
    "ftrl": (
        te.train.FtrlOptimizer,
        v1.train.FtrlOptimizer,
        {
            "l1_regularization_strength": 0.02,
            "l2_regularization_strength": 0.1,
            "l2_shrinkage_regularization_strength": 0.05,
        },
    ),
    "ftrl_power": (
        te.train.FtrlOptimizer,
        v1.train.FtrlOptimizer,
        {"learning_rate_power": -0.7, "l1_regularization_strength": 0.02, "beta": 0.3},
    ),
}
