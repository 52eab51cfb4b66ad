# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Contestants of "pooled" and "many" in TensorFlow."""

from __future__ import annotations

import functools
from typing import Callable

import draws
import numpy as np
import tables_tf
import tensorflow as tf
from spec import Spec

import tf_embedding as te


def _weights(spec: Spec) -> np.ndarray:
    return np.random.default_rng(draws.SEED).random(spec.batch).astype(np.float32)


def _sparse(spec: Spec, values: np.ndarray) -> tf.SparseTensor:
    """Values [batch] as bags of spec.bag each."""
    bags = spec.batch // spec.bag
    at = np.stack(np.divmod(np.arange(spec.batch), spec.bag), axis=1)
    return tf.SparseTensor(at, values, [bags, spec.bag])


class _Pooled:
    """tf.nn.embedding_lookup_sparse, stock; `params` and the ids are the contestants'."""

    CYCLE, BATCHES = 1, draws.BATCHES

    def __init__(self, spec: Spec, params: tf.Variable, ids: list[np.ndarray]):
        self._params = params
        weights = _sparse(spec, _weights(spec)) if spec.weighted else None

        def lookup(batch: tf.SparseTensor) -> list[tf.Tensor]:
            return [tf.nn.embedding_lookup_sparse(params, batch, weights, combiner=spec.combiner)]

        batches = [_sparse(spec, batch) for batch in ids]
        self._call = tables_tf.one_after_another(
            [functools.partial(lookup, batch) for batch in batches]
        )

    def run(self, i: int) -> None:
        self._call()


def pooled_table(spec: Spec) -> _Pooled:
    keys = draws.keys(spec.keys)
    table = tables_tf.filled(spec, keys, "pooled")
    return _Pooled(spec, table, [keys[b] for b in draws.batches(spec.keys, spec.batch, spec.zipf)])


def pooled_static(spec: Spec) -> _Pooled:
    values = tf.random.uniform([spec.keys, spec.dim], -0.05, 0.05, seed=1)
    return _Pooled(spec, tf.Variable(values), draws.batches(spec.keys, spec.batch, spec.zipf))


def lookup_each(
    variables: list[tf.Variable], ids: list[tf.Tensor], concat: bool
) -> list[tf.Tensor]:
    """The rows of ids [n] in each variable, one by one."""
    found = [tf.nn.embedding_lookup(v, i) for v, i in zip(variables, ids)]
    return [tf.concat(found, axis=1)] if concat else found


def lookup_at_once(
    variables: list[te.EmbeddingVariable], ids: list[tf.Tensor], concat: bool
) -> list[tf.Tensor]:
    """The same in one op."""
    found = te.nn.embedding_lookup_many(variables, ids, concat=concat)
    return [found] if concat else found


class _Many:
    """spec.tables tables of equal size; each gets its part of the batch."""

    CYCLE, BATCHES = 1, draws.BATCHES

    def __init__(self, spec: Spec, dynamic: bool, lookup: Callable[..., list[tf.Tensor]]):
        concat = spec.concat
        rows, batch = spec.keys // spec.tables, spec.batch // spec.tables
        keys = draws.keys(rows)
        self._variables: list[tf.Variable] = []
        for t in range(spec.tables):
            if dynamic:
                self._variables.append(tables_tf.filled(spec, keys, f"many_{t}"))
            else:
                values = tf.random.uniform([rows, spec.dim], -0.05, 0.05, seed=1)
                self._variables.append(tf.Variable(values))
        numbers = draws.batches(rows, batch * spec.tables, spec.zipf)
        ids = [(keys[b] if dynamic else b).reshape(spec.tables, batch) for b in numbers]
        variables = self._variables

        def look(batch: np.ndarray) -> list[tf.Tensor]:
            # Features come one by one, as in a model: to cut one tensor up would take longer than
            # the lookups. They go so, or side by side.
            return lookup(variables, [tf.constant(part) for part in batch], concat)

        self._call = tables_tf.one_after_another([functools.partial(look, batch) for batch in ids])

    def run(self, i: int) -> None:
        self._call()


CONTESTANTS: dict[str, Callable[[Spec], object]] = {
    "pooled_table": pooled_table,
    "pooled_static": pooled_static,
    "many_at_once": lambda spec: _Many(spec, True, lookup_at_once),
    "many_each": lambda spec: _Many(spec, True, lookup_each),
    "many_static": lambda spec: _Many(spec, False, lookup_each),
}
