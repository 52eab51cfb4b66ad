# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Contestants in TensorFlow: an embedding variable, and a static tf.Variable.

A call is one tf.function that does all batches, one after the other (`in_turn`).
"train" is lookup, gradient = 2 x the rows, update; a
tf.Variable does it as the optimizers of TensorFlow do: sum the gradients of equal
indices (unique, segment sum), then the sparse kernel. There is no such kernel for
Adam and row-wise Adagrad; these are gathers and scatters of the rows in the batch.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Sequence

import draws
import numpy as np
import tensorflow as tf
from spec import SLOTS, Spec

import tf_embedding as te

RATE = 0.01
_FILL = 1 << 18
RULES = {
    "sgd": te.rules.SGD(),
    "adagrad": te.rules.Adagrad(),
    "rowwise_adagrad": te.rules.RowwiseAdagrad(),
    "ftrl": te.rules.Ftrl(),
    "adam": te.rules.Adam(),
}


def limit_threads() -> None:
    """TensorFlow's threads, to as many as the worker has. Before anything runs."""
    threads = int(os.environ["BENCH_THREADS"])
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


limit_threads()


def in_turn(work: Callable[[tf.Tensor], Any], batches: Sequence[Any]) -> Callable[[], Any]:
    """A tf.function that does work on each batch, one after the other.

    A call from Python costs a good part of a millisecond, whatever it does. Training
    pays it once for many steps (`steps_per_execution`), and so does this.

    Args:
      work: from a batch to a tensor, or a list of some.
      batches: arrays of one shape.

    Returns:
      The function; it gives what the last batch gave.
    """
    stacked = tf.constant(np.stack(batches))

    def call() -> Any:
        array = tf.TensorArray(
            stacked.dtype,
            size=len(batches),
            element_shape=stacked.shape[1:],
            clear_after_read=False,
        ).unstack(stacked)

        def step(i: tf.Tensor, _: Any) -> Any:
            return i + 1, work(array.read(i))

        _, last = tf.while_loop(
            lambda i, _: i < len(batches), step, step(tf.constant(0), None), parallel_iterations=1
        )
        return last

    return tf.function(call, autograph=False)


def one_after_another(calls: list[Callable[[], list[tf.Tensor]]]) -> Callable[[], tf.Tensor]:
    """A tf.function of all calls; as `in_turn`, of what cannot be stacked.

    Args:
      calls: each gives tensors, which the next one waits for.

    Returns:
      The function; it gives how many calls there were.
    """

    def run() -> tf.Tensor:
        done: list[tf.Tensor] = []
        for call in calls:
            with tf.control_dependencies(done):
                done = call()
        with tf.control_dependencies(done):
            return tf.constant(len(calls))

    return tf.function(run, autograph=False)


def filled(spec: Spec, keys: np.ndarray, name: str) -> te.EmbeddingVariable:
    """A variable with a row, slots and all, for each key."""
    variable = te.EmbeddingVariable(spec.dim, "uniform", seed=1, name=name)
    rule = RULES[spec.rule]
    for start in range(0, len(keys), _FILL):
        part = tf.constant(keys[start : start + _FILL])
        zeros = tf.zeros([len(part), spec.dim])
        te.rules.apply(variable, tf.IndexedSlices(zeros, part), rule, RATE, 0)
    return variable


class Table:
    """An embedding variable."""

    CYCLE, BATCHES = 1, draws.BATCHES

    def __init__(self, spec: Spec):
        keys = draws.keys(spec.keys)
        self._variable = variable = filled(spec, keys, "table")
        batches = draws.batches(spec.keys, spec.batch, spec.zipf)
        rule = RULES[spec.rule]

        def lookup(ids: tf.Tensor) -> tf.Tensor:
            return tf.nn.embedding_lookup(variable, ids)

        def train(ids: tf.Tensor) -> tf.Tensor:
            rows = tf.nn.embedding_lookup(variable, ids)
            return te.rules.apply(variable, tf.IndexedSlices(2.0 * rows, ids), rule, RATE, 0)

        work = {"lookup": lookup, "train": train}[spec.work]
        self._call = in_turn(work, [keys[batch] for batch in batches])

    def run(self, i: int) -> None:
        self._call()


def static_update(rule: str, w: tf.Variable, slots: list[tf.Variable]) -> Callable[..., Any]:
    """Updates the rows at unique indices i by gradients g."""
    raw = tf.raw_ops
    handles = [slot.handle for slot in slots]

    def adagrad(g: tf.Tensor, i: tf.Tensor) -> None:
        raw.ResourceSparseApplyAdagradV2(
            var=w.handle, accum=handles[0], lr=RATE, epsilon=0.0, grad=g, indices=i
        )

    def ftrl(g: tf.Tensor, i: tf.Tensor) -> None:
        raw.ResourceSparseApplyFtrl(
            var=w.handle, accum=handles[0], linear=handles[1], grad=g, indices=i, lr=RATE,
            l1=0.0, l2=0.0, lr_power=-0.5,
        )  # fmt: skip

    def rowwise_adagrad(g: tf.Tensor, i: tf.Tensor) -> None:
        mean = tf.reduce_mean(tf.square(g), axis=1)
        slots[0].scatter_add(tf.IndexedSlices(mean, i))
        a = tf.gather(slots[0], i)
        step = RATE * g / (tf.sqrt(a) + 1e-8)[:, tf.newaxis]
        w.scatter_sub(tf.IndexedSlices(step, i))

    def adam(g: tf.Tensor, i: tf.Tensor) -> None:
        m, v = (tf.gather(slot, i) for slot in slots)
        m += 0.1 * (g - m)
        v += 0.001 * (tf.square(g) - v)
        slots[0].scatter_update(tf.IndexedSlices(m, i))
        slots[1].scatter_update(tf.IndexedSlices(v, i))
        w.scatter_sub(tf.IndexedSlices(RATE * m / (tf.sqrt(v) + 1e-7), i))

    def sgd(g: tf.Tensor, i: tf.Tensor) -> None:
        w.scatter_sub(tf.IndexedSlices(RATE * g, i))

    rules = (adagrad, ftrl, rowwise_adagrad, adam, sgd)
    return {f.__name__: f for f in rules}[rule]


class Static:
    """A tf.Variable, by row number."""

    CYCLE, BATCHES = 1, draws.BATCHES

    def __init__(self, spec: Spec):
        shape = [spec.keys, spec.dim]
        variable = tf.Variable(tf.random.uniform(shape, -0.05, 0.05, seed=1))

        def lookup(ids: tf.Tensor) -> tf.Tensor:
            return tf.nn.embedding_lookup(variable, ids)

        def train(ids: tf.Tensor) -> tf.Tensor:
            rows = tf.nn.embedding_lookup(variable, ids)
            unique, positions = tf.unique(ids)
            sums = tf.math.unsorted_segment_sum(2.0 * rows, positions, tf.size(unique))
            update(sums, unique)
            return tf.constant(0.0)

        if spec.work == "train":
            shapes = [shape] * SLOTS[spec.rule]
            if spec.rule == "rowwise_adagrad":
                shapes = [[spec.keys]]
            update = static_update(
                spec.rule, variable, [tf.Variable(tf.fill(s, 0.1)) for s in shapes]
            )
        self._variable = variable
        work = {"lookup": lookup, "train": train}[spec.work]
        self._call = in_turn(work, draws.batches(spec.keys, spec.batch, spec.zipf))

    def run(self, i: int) -> None:
        self._call()


CONTESTANTS = {"table": Table, "static": Static}
