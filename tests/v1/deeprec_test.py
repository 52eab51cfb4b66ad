# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What DeepRec's users rely on, on stock TensorFlow; every value is computed here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import numpy as np
import pytest
import tensorflow as tf
from v1.graph import int64, session, steps, v1, variable

import tf_embedding as te

IDS = [0, 1, 2, 5, 6, 7]


# 1: the same losses as a dense variable of ones.


def sgd(w: Any, g: Any, slots: Any, step: int) -> Any:
    return w - np.float32(0.1) * g


def adagrad(w: Any, g: Any, slots: Any, step: int) -> Any:
    slots["a"] = slots.get("a", np.full_like(w, 0.1)) + g * g
    return w - np.float32(0.1) * g / np.sqrt(slots["a"])


def adagrad_decay(w: Any, g: Any, slots: Any, step: int) -> Any:
    a = slots.get("a", np.full_like(w, 0.1))
    if step and step % 2 == 0:
        a = np.maximum(a * np.float32(0.9), np.float32(0.1))
    slots["a"] = a + g * g
    return w - np.float32(0.1) * g / np.sqrt(slots["a"])


def adam(w: Any, g: Any, slots: Any, step: int) -> Any:
    slots["m"] = 0.9 * slots.get("m", 0) + 0.1 * g
    slots["v"] = 0.999 * slots.get("v", 0) + 0.001 * g * g
    rate = 0.1 * np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
    return w - rate * slots["m"] / (np.sqrt(slots["v"]) + 1e-8)


OPTIMIZERS: dict[str, Any] = {
    "sgd": (lambda: te.train.GradientDescentOptimizer(0.1), sgd),
    "adagrad": (lambda: te.train.AdagradOptimizer(0.1), adagrad),
    "adagrad_decay": (
        lambda: te.train.AdagradDecayOptimizer(
            0.1, v1.train.get_or_create_global_step(), accumulator_decay_step=2
        ),
        adagrad_decay,
    ),
    "adam": (lambda: te.train.AdamOptimizer(0.1), adam),
}


def numpy_losses(update: Any, rows: np.ndarray, picked: np.ndarray, n: int) -> list[float]:
    slots: dict[str, Any] = {}
    losses = []
    for step in range(n + 1):
        losses.append(float((2 * rows[picked]).sum()))
        gradient = np.zeros_like(rows)
        np.add.at(gradient, picked, np.float32(2))
        rows = update(rows, gradient, slots, step).astype(rows.dtype)
    return losses


@pytest.mark.parametrize("parts", [None, 4])
@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_01_the_optimizers(name: str, random: bool, parts: Optional[int]) -> None:
    make, update = OPTIMIZERS[name]
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(8, 3)) if random else np.ones([8, 3])
    picked = rng.integers(0, 8, 20) if random else np.array(IDS)
    picked = np.concatenate([picked, np.arange(8)]) if random else picked
    with session() as run:
        # Key k starts as row k of the matrix.
        var = variable(parts=parts, initializer=rows)
        loss = tf.reduce_sum(2.0 * tf.nn.embedding_lookup(var, tf.constant(picked, tf.int64)))
        step = v1.train.get_or_create_global_step()
        train = make().minimize(loss, global_step=step)
        run.run(v1.global_variables_initializer())
        found = steps(run, loss, train, 5)
    np.testing.assert_allclose(found, numpy_losses(update, rows, picked, 5), rtol=2e-5, atol=1e-4)


# 6: initial rows by key.


def test_06_the_initial_row_of_a_key_is_that_of_the_matrix() -> None:
    with session() as run:
        draw = v1.glorot_uniform_initializer(seed=1)
        option = te.EmbeddingVariableOption(
            init_option=te.InitializerOption(initializer=draw, default_value_dim=8)
        )
        var = te.get_embedding_variable("v", 3, ev_option=option)
        dense = v1.get_variable("d", [8, 3], initializer=draw)
        found = tf.nn.embedding_lookup(var, tf.range(11, dtype=tf.int64))
        run.run(v1.global_variables_initializer())
        rows, want = run.run([found, dense])
    np.testing.assert_array_equal(rows[:8], want)
    np.testing.assert_array_equal(rows[8:], want[:3])


# 7: frequencies and versions.


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_07_occurrences_are_counted(name: str) -> None:
    batch = [1, 1, 1, 2, 2, 3]
    with session() as run:
        var = variable()
        step = v1.train.get_or_create_global_step()
        loss = tf.reduce_sum(tf.nn.embedding_lookup(var, int64(*batch)))
        train = OPTIMIZERS[name][0]().minimize(loss, global_step=step)
        run.run(v1.global_variables_initializer())
        steps(run, loss, train, 2)
        keys, counts = np.unique(batch, return_counts=True)
        assert run.run(var.frequency(keys)).tolist() == (2 * counts).tolist()
        # The step of the second update, counted from 0.
        assert run.run(var.version(keys)).tolist() == [1, 1, 1]


@pytest.mark.parametrize("dense", [False, True])
def test_07_occurrences_of_two_lookups_are_counted(dense: bool) -> None:
    first, second = [0, 0, 0, 1, 1, 2], [3, 3, 3, 4, 4, 1]

    def bags(ids: list[int]) -> tf.SparseTensor:
        places = [[i // 2, i % 2] for i in range(len(ids))]
        return tf.SparseTensor(places, tf.constant(ids, tf.int64), [3, 2])

    with session() as run:
        var = variable()
        loss = tf.reduce_sum(tf.nn.embedding_lookup_sparse(var, bags(first), None, combiner="sum"))
        if dense:
            loss += tf.reduce_sum(tf.nn.embedding_lookup(var, int64(*second)))
        else:
            loss += tf.reduce_sum(
                tf.nn.embedding_lookup_sparse(var, bags(second), None, combiner="sum")
            )
        train = te.train.AdagradOptimizer(0.1).minimize(loss)
        run.run(v1.global_variables_initializer())
        run.run(train)
        want = np.bincount([*first, *second]).tolist()
        assert run.run(var.frequency(np.arange(5))).tolist() == want


# 13: other numbers of parts.


def test_13_parts_may_be_others_at_a_restore(tmp_path: Path) -> None:
    def variables(first: int, second: int) -> Any:
        made = [variable("var_1", parts=first), variable("var_2", parts=second)]
        return made, [tf.nn.embedding_lookup(var, int64(*IDS, -4)) for var in made]

    with session() as run:
        (one, two), found = variables(2, 1)
        loss = tf.reduce_sum(found[0] * [1.0, 2.0, 3.0]) + tf.reduce_sum(found[1] ** 2)
        train = te.train.AdagradOptimizer(0.1).minimize(loss)
        run.run(v1.global_variables_initializer())
        run.run(train)
        want = run.run(found)
        path = v1.train.Saver().save(run, str(tmp_path / "model"))
    for parts in ((2, 1), (1, 2), (7, 3)):
        with session() as run:
            _, found = variables(*parts)
            v1.train.Saver().restore(run, path)
            np.testing.assert_array_equal(run.run(found), want)


# 17: inference, and the flag.


def test_17_lookups_without_an_optimizer_leave_it_empty() -> None:
    with session() as run:
        var = variable(parts=2)
        read = tf.nn.embedding_lookup(var, int64(*IDS))
        run.run(v1.global_variables_initializer())
        for _ in range(3):
            run.run(read)
        assert run.run(var.total_count()) == 0


def test_17_the_flag(tmp_path: Path) -> None:
    with session() as run:
        var = variable()
        flag = var.is_initialized()
        assert not run.run(flag)
        run.run(var.initializer)
        assert run.run(flag)
        path = v1.train.Saver().save(run, str(tmp_path / "model"))
    with session() as run:
        var = variable()
        flag, saver = var.is_initialized(), v1.train.Saver()
        assert not run.run(flag)
        saver.restore(run, path)
        assert run.run(flag)


# 19: two tables for a quotient and a remainder, which need no variable of their own.


@pytest.mark.parametrize("operation", ["concat", "add", "mul"])
def test_19_multihash(operation: str) -> None:
    ids, buckets = np.array([0, 3, 7, 7, 11, 14]), 5

    def combine(quotient: Any, remainder: Any) -> tf.Tensor:
        if operation == "concat":
            return tf.concat([quotient, remainder], axis=-1)
        return quotient + remainder if operation == "add" else quotient * remainder

    def losses(read: Any) -> Any:
        found = combine(read("q", ids // buckets), read("r", ids % buckets))
        weights = np.linspace(0.5, 2, found.shape[-1])
        loss = tf.reduce_sum(found * tf.constant(weights, tf.float32))
        train = te.train.AdagradOptimizer(0.1).minimize(loss)
        with v1.Session() as run:
            run.run(v1.global_variables_initializer())
            return steps(run, loss, train, 4)

    def of_rows(name: str, keys: Any) -> Any:
        return tf.nn.embedding_lookup(variable(name, 4), tf.constant(keys, tf.int64))

    def of_dense(name: str, keys: Any) -> Any:
        table = v1.get_variable(name, [5, 4], initializer=v1.ones_initializer(), use_resource=True)
        return tf.nn.embedding_lookup(table, tf.constant(keys))

    with tf.Graph().as_default():
        found = losses(of_rows)
    with tf.Graph().as_default():
        want = losses(of_dense)
    np.testing.assert_allclose(found, want, rtol=1e-6)
    assert found[-1] < found[0]


# 21: a meta graph holds the variable and its slots.


def test_21_meta_graph(tmp_path: Path) -> None:
    with session() as run:
        var = variable(parts=2)
        loss = tf.reduce_sum(2.0 * tf.nn.embedding_lookup(var, int64(*IDS)), name="loss")
        train = te.train.AdagradOptimizer(0.1).minimize(loss, name="train")
        run.run(v1.global_variables_initializer())
        run.run(train)
        path = v1.train.Saver().save(run, str(tmp_path / "model"))
    with session() as run:
        v1.train.import_meta_graph(path + ".meta").restore(run, path)
        found = [run.run("loss:0")]
        run.run("train")
        found.append(run.run("loss:0"))
    want = numpy_losses(adagrad, np.ones([8, 3], np.float32), np.array(IDS), 2)[1:]
    np.testing.assert_allclose(found, want, rtol=1e-6)
