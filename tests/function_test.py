# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tapes, tf.function, control flow: exact gradients, or an error that says what to do."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tf_embedding as te


def make(dim: int = 2, **kwargs) -> te.EmbeddingVariable:
    return te.EmbeddingVariable(dim, **{"initializer": "ones", "name": "function_test", **kwargs})


def keys(*values: int) -> tf.Tensor:
    return tf.constant(values, tf.int64)


def test_no_retracing_on_batch_size() -> None:
    ev = make()

    @tf.function(reduce_retracing=True)
    def step(ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.nn.embedding_lookup(ev, ids))
        te.rules.apply(ev, tape.gradient(loss, ev), te.rules.SGD(), 0.5, 0)
        return loss

    for n in range(2, 12):
        step(tf.range(n, dtype=tf.int64))
    assert step.experimental_get_tracing_count() <= 2
    # Key 0 was in ten batches.
    np.testing.assert_array_equal(ev.sparse_read([0, 10, 11]), [[-4, -4], [0.5, 0.5], [1, 1]])


def test_gradients_of_unknown_shape() -> None:
    ev = make()

    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.int64)])
    def gradient(ids):
        with tf.GradientTape() as tape:
            (pooled,) = te.nn.pooled_lookup([ev], [te.inputs.to_bags(ids)], ["mean"])
            loss = tf.reduce_sum(tf.py_function(lambda x: 3 * x, [pooled], tf.float32))
        return tape.gradient(loss, ev)

    got = gradient(tf.ragged.constant([[1, 2], [], [5]], dtype=tf.int64))
    assert got.indices.numpy().tolist() == [1, 2, 5]
    assert got.values.numpy().tolist() == [[1.5, 1.5], [1.5, 1.5], [3, 3]]


def test_one_variable_read_several_times_in_a_step() -> None:
    ev = make()
    sparse = tf.sparse.from_dense([[1, 2], [3, 0]])
    with tf.GradientTape() as tape:
        a = tf.reduce_sum(ev.sparse_read([1, 2]))
        b = 10 * tf.reduce_sum(te.nn.embedding_lookup(ev, [2, 3]))
        c = 100 * tf.reduce_sum(te.nn.embedding_lookup_sparse(ev, sparse, combiner="sum"))
        loss = a + b + c
    gradient = te.rules.sum_duplicates(tape.gradient(loss, ev))
    got = dict(zip(gradient.indices.numpy().tolist(), gradient.values.numpy()[:, 0].tolist()))
    assert got == {1: 101.0, 2: 111.0, 3: 110.0}
    te.rules.apply(ev, gradient, te.rules.SGD(), 1.0, 0)
    np.testing.assert_array_equal(ev.sparse_read([1, 2, 3])[:, 0], [-100, -110, -109])


def test_tape_outside_a_cached_function() -> None:
    ev = make()
    f = tf.function(lambda ids: tf.nn.embedding_lookup(ev, ids))
    f(keys(1))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(f(keys(4)))
    assert tape.gradient(loss, ev).indices.numpy().tolist() == [4]


def test_variable_as_a_function_argument_and_watched() -> None:
    ev = make()
    f = tf.function(lambda v, ids: tf.nn.embedding_lookup(v, ids))
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(ev)
        loss = tf.reduce_sum(f(ev, keys(4, 5)))
    assert tape.gradient(loss, ev).indices.numpy().tolist() == [4, 5]


def test_not_trainable_is_not_recorded() -> None:
    ev = make(trainable=False)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(ev.sparse_read([1]))
    assert tape.gradient(loss, ev) is None


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("taken", [True, False])
def test_cond(both: bool, taken: bool) -> None:
    ev = make()
    choice = tf.Variable(taken)

    @tf.function
    def step(ids):
        with tf.GradientTape() as tape:
            out = tf.cond(
                choice,
                lambda: 2 * tf.nn.embedding_lookup(ev, ids),
                (lambda: tf.nn.embedding_lookup(ev, ids + 7)) if both else lambda: tf.zeros([2, 2]),
            )
            loss = tf.reduce_sum(out)
        te.rules.apply(ev, tape.gradient(loss, ev), te.rules.SGD(), 1.0, 0)

    step(keys(1, 2))
    got = {int(k): v[0] for k, v in zip(*ev.export()[:2])}
    want = {1: -1.0, 2: -1.0} if taken else ({8: 0.0, 9: 0.0} if both else {})
    assert got == want


def test_clipping_by_global_norm() -> None:
    ev, dense = make(), tf.Variable([3.0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(ev.sparse_read([1, 2])) + 2 * dense[0]
    clipped, norm = tf.clip_by_global_norm(tape.gradient(loss, [ev, dense]), 1.0)
    np.testing.assert_allclose(norm, np.sqrt(4 + 4))
    np.testing.assert_allclose(clipped[0].values, np.full([2, 2], 1 / np.sqrt(8)), rtol=1e-6)


def test_a_loop_reads_but_does_not_differentiate() -> None:
    ev = make()

    def body(i, total):
        return i + 1, total + tf.reduce_sum(tf.nn.embedding_lookup(ev, tf.cast(i, tf.int64)))

    @tf.function
    def read():
        return tf.while_loop(lambda i, t: i < 3, body, [0, 0.0])[1]

    assert float(read()) == 6.0

    @tf.function
    def differentiate():
        with tf.GradientTape() as tape:
            total = tf.while_loop(lambda i, t: i < 3, body, [0, 0.0], maximum_iterations=3)[1]
        return tape.gradient(total, ev).values

    with pytest.raises(NotImplementedError, match="before the loop"):
        differentiate()


def test_a_loop_with_the_tape_inside_trains() -> None:
    ev = make()

    @tf.function
    def train():
        for i in tf.range(3, dtype=tf.int64):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.nn.embedding_lookup(ev, [i]))
            te.rules.apply(ev, tape.gradient(loss, ev), te.rules.SGD(), 1.0, i)

    train()
    assert ev.version([0, 1, 2]).numpy().tolist() == [0, 1, 2]


def test_recompute_grad_and_custom_gradient_say_what_to_do() -> None:
    ev = make()
    with tf.GradientTape() as tape:
        lookup = tf.recompute_grad(lambda ids: tf.nn.embedding_lookup(ev, ids))
        with pytest.raises(TypeError, match="do the lookup outside"):
            tape.gradient(tf.reduce_sum(lookup(keys(1))), ev)


@pytest.mark.parametrize(
    "use",
    [
        lambda ev: ev.sparse_read(keys(1)),
        lambda ev: te.nn.pooled_lookup([ev], [te.inputs.to_bags(keys(1))], ["sum"]),
        lambda ev: te.rules.apply(
            ev, tf.IndexedSlices(tf.ones([1, 2]), keys(1)), te.rules.SGD(), 0.1, 0
        ),
    ],
)
def test_xla_is_refused_with_what_to_do(use) -> None:
    ev = make()
    with pytest.raises(NotImplementedError, match="jit_compile"):
        tf.function(lambda: use(ev), jit_compile=True)()


def test_concurrent_functions() -> None:
    """Lookups beside updates, from Python threads: no error, nothing lost."""
    import threading

    ev = make(8)

    @tf.function
    def update(ids):
        slices = tf.IndexedSlices(tf.ones([tf.shape(ids)[0], 8]), ids)
        return te.rules.apply(ev, slices, te.rules.SGD(), -1.0, 0)

    read = tf.function(ev.sparse_read)
    ids = tf.range(2000, dtype=tf.int64)
    torn = []

    def train():
        for _ in range(20):
            update(ids)

    def look():
        for _ in range(40):
            rows = read(ids).numpy()
            torn.append((rows != rows[:, :1]).any())

    threads = [threading.Thread(target=f) for f in (train, look, train, look)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(torn) == 80 and not any(torn)
    np.testing.assert_array_equal(ev.sparse_read(ids), np.full([2000, 8], 41.0))
