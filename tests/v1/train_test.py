# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""te.train: rows as the stock optimizers train a dense variable, dense weights as ever."""

from __future__ import annotations

from typing import Any, Callable, Optional

import numpy as np
import pytest
import tensorflow as tf
from v1.graph import OPTIMIZERS, int64, session, steps, v1, variable

import tf_embedding as te

# Keys of the rows 0, 1, ... of a dense variable, all in each batch; some twice.
KEYS = np.array([7, -3, 2**62, 0, -(2**63)])
PICKED = np.array([0, 1, 1, 2, 3, 4, 0, 4])
START = np.random.default_rng(0).normal(size=(len(KEYS), 3)).astype(np.float32)


def model(rows: Any, weights: Any) -> tf.Tensor:
    """A loss with gradients that differ by row, and that move."""
    signal = tf.constant(np.linspace(-1, 2, len(PICKED) * 3).reshape(-1, 3), tf.float32)
    return tf.reduce_sum(tf.square(rows * weights - signal))


def train_rows(
    run: Any, optimizer: Any, parts: Optional[int], clip: bool, n: int
) -> tuple[list[Any], Any]:
    rows = variable(parts=parts)
    weights = v1.get_variable("w", [3], initializer=v1.constant_initializer([0.5, 1.0, -1.0]))
    step = v1.train.get_or_create_global_step()
    loss = model(tf.nn.embedding_lookup(rows, tf.constant(KEYS[PICKED])), weights)
    train = minimize(optimizer, loss, [rows, weights], step, clip)
    run.run(v1.global_variables_initializer())
    run.run(rows.upsert(tf.constant(KEYS), START))
    return steps(run, [rows.sparse_read(tf.constant(KEYS)), weights], train, n), rows


def train_dense(run: Any, optimizer: Any, clip: bool, n: int) -> list[Any]:
    rows = v1.get_variable("rows", initializer=START, use_resource=True)
    weights = v1.get_variable("w", [3], initializer=v1.constant_initializer([0.5, 1.0, -1.0]))
    step = v1.train.get_or_create_global_step()
    loss = model(tf.nn.embedding_lookup(rows, tf.constant(PICKED)), weights)
    train = minimize(optimizer, loss, [rows, weights], step, clip)
    run.run(v1.global_variables_initializer())
    return steps(run, [rows, weights], train, n)


def minimize(optimizer: Any, loss: Any, variables: Any, step: Any, clip: bool) -> Any:
    if not clip:
        return optimizer.minimize(loss, global_step=step, var_list=variables)
    gradients, there = zip(*optimizer.compute_gradients(loss, variables))
    gradients, _ = tf.clip_by_global_norm(gradients, 0.7)
    return optimizer.apply_gradients(zip(gradients, there), global_step=step)


@pytest.mark.parametrize("clip", [False, True], ids=["", "clipped"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_equals_the_stock_optimizer(name: str, clip: bool) -> None:
    """Rows as a dense variable's, and the dense weights beside them to the bit."""
    ours, stock, arguments = OPTIMIZERS[name]
    with session() as run:
        found, _ = train_rows(run, ours(0.05, **arguments), 3 if clip else None, clip, 4)
    with session() as run:
        want = train_dense(run, stock(0.05, **arguments), clip, 4)
    for (rows, weights), (want_rows, want_weights) in zip(found, want):
        np.testing.assert_allclose(rows, want_rows, rtol=2e-5, atol=2e-6)
        np.testing.assert_allclose(weights, want_weights, rtol=2e-5, atol=2e-6)
    assert not np.allclose(found[0][0], found[-1][0])


def adam(w: Any, g: Any, state: Any, t: int, lr: float, decay: float) -> Any:
    m, v = state
    w = w - lr * decay * w
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    alpha = lr * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return w - alpha * m / (np.sqrt(v) + 1e-8), (m, v)


def gradients_in_numpy(rows: Any, weights: Any) -> tuple[Any, Any]:
    signal = np.linspace(-1, 2, len(PICKED) * 3).reshape(-1, 3)
    error = 2 * (rows[PICKED] * weights - signal)
    of_rows = np.zeros_like(rows)
    np.add.at(of_rows, PICKED, error * weights)
    return of_rows, (error * rows[PICKED]).sum(0)


def test_adamw_is_its_formula_for_rows_and_for_dense_weights() -> None:
    lr, decay = 0.05, 0.1
    with session() as run:
        found, _ = train_rows(run, te.train.AdamWOptimizer(decay, lr), None, False, 4)
    rows, weights = START.astype(np.float64), np.array([0.5, 1.0, -1.0])
    states = [(0.0, 0.0), (0.0, 0.0)]
    for t in range(1, 5):
        of_rows, of_weights = gradients_in_numpy(rows, weights)
        rows, states[0] = adam(rows, of_rows, states[0], t, lr, decay)
        weights, states[1] = adam(weights, of_weights, states[1], t, lr, decay)
        np.testing.assert_allclose(found[t][0], rows, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found[t][1], weights, rtol=1e-5, atol=1e-6)


def test_adagrad_decay_is_its_formula_for_rows_and_for_dense_weights() -> None:
    lr, rate = 0.1, 0.5
    optimizer = te.train.AdagradDecayOptimizer(
        lr, accumulator_decay_step=2, accumulator_decay_rate=rate
    )
    with session() as run:
        found, _ = train_rows(run, optimizer, 2, False, 6)
    values = [START.astype(np.float64), np.array([0.5, 1.0, -1.0])]
    sums = [np.full_like(value, 0.1) for value in values]
    for step in range(6):
        gradients = gradients_in_numpy(*values)
        for i, gradient in enumerate(gradients):
            if step and step % 2 == 0:
                sums[i] = np.maximum(sums[i] * rate, 0.1)
            sums[i] = sums[i] + gradient**2
            values[i] = values[i] - lr * gradient / np.sqrt(sums[i])
        np.testing.assert_allclose(found[step + 1][0], values[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found[step + 1][1], values[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_dense_variables_decay_whole_whatever_their_gradient(sparse: bool) -> None:
    """AdamW and AdagradDecay have no stock class; absent rows of dense variables."""
    with session() as run:
        w = v1.get_variable("w", initializer=np.ones([2, 2], np.float32), use_resource=True)
        used = tf.gather(w, [0, 0]) if sparse else w[:1] * 2.0
        train = te.train.AdamWOptimizer(0.1, 0.5).minimize(tf.reduce_sum(used))
        run.run(v1.global_variables_initializer())
        run.run(train)
        found = run.run(w)
    np.testing.assert_allclose(found[1], [0.95, 0.95], rtol=1e-6)
    np.testing.assert_allclose(found[0], [0.95 - 0.5, 0.95 - 0.5], rtol=1e-5)


def test_ref_variables_are_trained_too() -> None:
    optimizers: list[Callable[[], Any]] = [
        lambda: te.train.AdamWOptimizer(0.1, 0.5),
        lambda: te.train.AdagradDecayOptimizer(0.5, accumulator_decay_step=1),
        lambda: te.train.AdagradOptimizer(0.5),
    ]
    for make in optimizers:
        values = []
        for use_resource in (True, False):
            with session() as run:
                with v1.variable_scope("", use_resource=use_resource):
                    w = v1.get_variable("w", initializer=np.ones([2, 2], np.float32))
                    loss = tf.reduce_sum(w * [[1.0, 2.0]]) + tf.reduce_sum(tf.gather(w, [1]))
                    train = make().minimize(loss)
                run.run(v1.global_variables_initializer())
                values.append(steps(run, w, train, 3)[-1])
        np.testing.assert_array_equal(values[0], values[1])


def test_group_lasso_is_an_option_of_ftrl() -> None:
    arguments = {"l1_regularization_strength": 2.0, "l2_regularization_strength": 1e-5}
    found = {}
    for group in (False, True):
        with session() as run:
            var = variable()
            loss = tf.reduce_sum(2.0 * tf.nn.embedding_lookup(var, int64(0, 0, 0, 1, 1, 2)))
            train = te.train.FtrlOptimizer(0.1, group_lasso=group, **arguments).minimize(loss)
            run.run(v1.global_variables_initializer())
            run.run(train)
            found[group] = run.run(var.sparse_read([0, 1, 2]))
    for key, g in enumerate([6.0, 4.0, 2.0]):
        n = 0.1 + g * g
        z = g - (np.sqrt(n) - np.sqrt(0.1)) / 0.1
        q = np.sqrt(n) / 0.1 + 2e-5
        norm = np.sqrt(3) * abs(z)
        np.testing.assert_allclose(found[False][key], (np.sign(z) * 2 - z) / q, rtol=1e-5)
        np.testing.assert_allclose(found[True][key], (2 - norm) / (q * norm) * z, rtol=1e-5)


def test_the_global_step_stamps_rows() -> None:
    with session() as run:
        var = variable(parts=2)
        ids = v1.placeholder(tf.int64, [None])
        step = v1.train.get_or_create_global_step()
        train = te.train.AdagradOptimizer(0.1).minimize(
            tf.reduce_sum(tf.nn.embedding_lookup(var, ids)), global_step=step
        )
        run.run(v1.global_variables_initializer())
        for batch in ([1, 2, 3], [2, 3], [3, 3]):
            run.run(train, {ids: batch})
        assert run.run(var.version([1, 2, 3, 4])).tolist() == [0, 1, 2, -1]
        assert run.run(var.frequency([1, 2, 3, 4])).tolist() == [1, 2, 4, 0]
        assert run.run(step) == 3


def test_without_a_global_step_the_optimizer_counts() -> None:
    with session() as run:
        var = variable()
        train = te.train.AdagradOptimizer(0.1).minimize(tf.reduce_sum(var.sparse_read([5])))
        run.run(v1.global_variables_initializer())
        run.run(train)
        run.run(train)
        assert run.run(var.version([5])).tolist() == [1]


def test_the_graphs_global_step_is_the_step_where_none_is_given() -> None:
    with session() as run:
        var = variable()
        step = v1.train.get_or_create_global_step()
        train = te.train.AdagradOptimizer(0.1).minimize(tf.reduce_sum(var.sparse_read([5])))
        run.run(v1.global_variables_initializer())
        run.run(v1.assign(step, 41))
        run.run(train)
        assert run.run(var.version([5])).tolist() == [41]


def test_adam_corrects_its_bias_by_its_own_updates() -> None:
    """A fresh optimizer in a model that is at step 1000, as the stock one."""
    found = []
    for ours in (True, False):
        with session() as run:
            step = v1.train.get_or_create_global_step()
            if ours:
                var = variable()
                row = var.sparse_read([0])
                optimizer: Any = te.train.AdamOptimizer(0.1)
            else:
                var = v1.get_variable("d", initializer=np.ones([1, 3], np.float32))
                row = tf.gather(var, [0])
                optimizer = v1.train.AdamOptimizer(0.1)
            train = optimizer.minimize(tf.reduce_sum(row * [1.0, 2.0, 3.0]), global_step=step)
            run.run(v1.global_variables_initializer())
            run.run(v1.assign(step, 1000))
            found.append(steps(run, row, train, 3))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_a_learning_rate_may_be_a_tensor_of_the_step() -> None:
    with session() as run:
        var = variable(dim=1)
        step = v1.train.get_or_create_global_step()
        rate = v1.train.exponential_decay(1.0, step, 1, 0.5)
        train = te.train.GradientDescentOptimizer(rate).minimize(
            tf.reduce_sum(var.sparse_read([3])), global_step=step
        )
        run.run(v1.global_variables_initializer())
        values = np.ravel(steps(run, var.sparse_read([3]), train, 3))
    np.testing.assert_allclose(values, [1.0, 0.0, -0.5, -0.75])


def test_two_optimizers_for_two_variables() -> None:
    with session() as run:
        wide, deep = variable("wide", 1), variable("deep", 4)
        loss = tf.reduce_sum(wide.sparse_read([1])) + tf.reduce_sum(deep.sparse_read([1]))
        train = [
            te.train.FtrlOptimizer(0.1).minimize(loss, var_list=[wide]),
            te.train.AdagradOptimizer(0.1).minimize(loss, var_list=[deep]),
        ]
        run.run(v1.global_variables_initializer())
        run.run(train)
        rules = [
            run.run(te.variable.ops.tf_embedding_rule(handle=var.handle)) for var in (wide, deep)
        ]
    assert rules == [b"ftrl", b"adagrad"]


def test_slots_of_rows_are_in_the_rows() -> None:
    with session() as run:
        var = variable()
        dense = v1.get_variable("d", [3])
        optimizer = te.train.AdagradOptimizer(0.1, initial_accumulator_value=0.5)
        loss = tf.reduce_sum(var.sparse_read([4]) * dense)
        train = optimizer.minimize(loss)
        assert optimizer.get_slot(dense, "accumulator") is not None
        with pytest.raises(ValueError, match="var.export"):
            optimizer.get_slot(var, "accumulator")
        run.run(v1.global_variables_initializer())
        squared = run.run(dense) ** 2
        run.run(train)
        np.testing.assert_allclose(run.run(var.export([4]).slots)[0], 0.5 + squared, rtol=1e-6)


def test_a_stock_optimizer_is_refused() -> None:
    with session():
        var = variable()
        loss = tf.reduce_sum(var.sparse_read([4]))
        with pytest.raises(TypeError, match="no dense value.*tf_embedding.train"):
            v1.train.AdagradOptimizer(0.1).minimize(loss)


def test_what_rows_cannot_take_is_refused() -> None:
    with session():
        var = variable()
        loss = tf.reduce_sum(var.sparse_read([4]))
        momentum = v1.placeholder(tf.float32, [])
        with pytest.raises(TypeError, match="momentum of MomentumOptimizer"):
            te.train.MomentumOptimizer(0.1, momentum).minimize(loss)
        with pytest.raises(TypeError, match="is dense"):
            te.train.AdagradOptimizer(0.1).apply_gradients([(tf.ones([2, 3]), var)])
    with pytest.raises(ValueError, match="group_lasso"):
        te.train.FtrlOptimizer(0.1, l2_shrinkage_regularization_strength=0.1, group_lasso=True)
    with pytest.raises(ValueError, match="weight_decay is -1"):
        te.train.AdamWOptimizer(-1)
    with pytest.raises(ValueError, match="accumulator_decay_step is 0"):
        te.train.AdagradDecayOptimizer(0.1, accumulator_decay_step=0)
    with pytest.raises(ValueError, match="accumulator_decay_rate is 2"):
        te.train.AdagradDecayOptimizer(0.1, accumulator_decay_rate=2)


@pytest.mark.skipif(not tf.executing_eagerly(), reason="there is no eager mode without v2")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_outside_graphs(name: str) -> None:
    ours, stock, arguments = OPTIMIZERS[name]
    rows = te.get_embedding_variable("rows", 3, initializer="ones")
    dense = tf.Variable(tf.ones([2, 3]))
    ours, stock = ours(0.1, **arguments), stock(0.1, **arguments)

    @tf.function
    def train() -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(rows.sparse_read([5, 9, 5]) - [1.0, 2.0, 3.0]))
        ours.apply_gradients([(tape.gradient(loss, rows), rows)])

    for _ in range(2):
        ours.minimize(lambda: tf.reduce_sum(tf.square(rows.sparse_read([5, 9, 5]) - [1.0, 2, 3])))
        stock.minimize(lambda: tf.reduce_sum(tf.square(tf.gather(dense, [0, 1, 0]) - [1.0, 2, 3])))
    train()
    stock.minimize(lambda: tf.reduce_sum(tf.square(tf.gather(dense, [0, 1, 0]) - [1.0, 2.0, 3.0])))
    np.testing.assert_allclose(rows.sparse_read([5, 9]), dense.numpy(), rtol=1e-5, atol=1e-6)
    assert rows.version([5]).numpy().tolist() == [2]
