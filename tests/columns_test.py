# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gradients that updates read in the columns of a wider matrix.

The oracle is the same update in eager mode, where a gradient is what it is.
"""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import pytest
import tensorflow as tf

import tf_embedding as te
from tf_embedding import columns
from tf_embedding._library import ops

DIMS = [3, 16, 1, 8]
IDS = tf.constant(np.random.default_rng(4).integers(0, 40, [4, 60]), tf.int64)
WEIGHTS = tf.constant(np.random.default_rng(5).normal(size=[28, 2]), tf.float32)


def tables(copies: int) -> list[te.EmbeddingVariable]:
    """As many of each of DIMS, all with one initial row a key and dim."""
    return [te.EmbeddingVariable(dim, "normal", seed=dim) for dim in DIMS * copies]


def concatenated(params: Any, ids: Any) -> tf.Tensor:
    """Side by side by TensorFlow."""
    found = [tf.nn.embedding_lookup(p, i) for p, i in zip(params, ids)]
    return tf.concat(found, axis=-1)


def in_one_op(params: Any, ids: Any) -> tf.Tensor:
    return te.nn.embedding_lookup_many(params, ids, concat=True)


def pooled(params: Any, ids: Any) -> tf.Tensor:
    bags = [te.inputs.to_bags(i) for i in ids]
    return te.nn.pooled_lookup(params, bags, ["mean"] * len(params), concat=True)


def step(lookup: Callable[..., tf.Tensor], params: Any, ids: Any) -> tf.Tensor:
    """Updates all tables by the gradient of a dense layer; returns the vectors."""
    with tf.GradientTape() as tape:
        vectors = lookup(params, tf.unstack(ids))
        weights = tf.tile(WEIGHTS, [len(params) // len(DIMS), 1])
        loss = tf.reduce_sum(tf.tanh(vectors @ weights))
    for variable, gradient in zip(params, tape.gradient(loss, params)):
        te.rules.apply(variable, gradient, te.rules.Adagrad(), 0.5, 0)
    return vectors


def rows(variable: te.EmbeddingVariable) -> list[bytes]:
    """Of all keys in order: vector, slots and all."""
    found = [column.numpy() for column in variable.export()]
    order = np.argsort(found[0])
    return [column[order].tobytes() for column in found]


def applies(graph: tf.Graph) -> list[tf.Operation]:
    return [op for op in graph.get_operations() if op.type == "TfEmbedding>Apply"]


def widths_of_gradients(function: Any, *arguments: Any) -> list[int]:
    """Of what the updates in the graph of a function read."""
    graph = function.get_concrete_function(*arguments).graph
    return [op.inputs[2].shape[1] for op in applies(graph)]


@pytest.mark.parametrize("lookup", [concatenated, in_one_op, pooled])
@pytest.mark.parametrize("copies", [1, 5])  # the gradient of tf.concat differs past 16 inputs
def test_updates_are_those_of_gradients_of_their_own(lookup, copies):
    ids = tf.tile(IDS, [copies, 1])
    wide, narrow = tables(copies), tables(copies)
    in_graph = tf.function(lambda ids: step(lookup, wide, ids))
    for _ in range(3):
        found = in_graph(ids)
        expected = step(lookup, narrow, ids)
        np.testing.assert_array_equal(found, expected)
    assert widths_of_gradients(in_graph, ids) == [28 * copies] * len(wide)
    for a, b in zip(wide, narrow):
        assert rows(a) == rows(b)


@pytest.mark.parametrize("copies", [1, 5])
def test_a_batch_of_any_size(copies):
    every = tf.tile(IDS, [copies, 1])
    wide, narrow = tables(copies), tables(copies)
    signature = [tf.TensorSpec([4 * copies, None], tf.int64)]
    in_graph = tf.function(lambda ids: step(concatenated, wide, ids), input_signature=signature)
    for n in (7, 0, 60):
        in_graph(every[:, :n])
        step(concatenated, narrow, every[:, :n])
    assert widths_of_gradients(in_graph) == [28 * copies] * len(wide)
    for a, b in zip(wide, narrow):
        assert rows(a) == rows(b)


def test_graphs_of_v1():
    narrow = [te.EmbeddingVariable(dim, "ones") for dim in DIMS]
    for _ in range(2):
        step(concatenated, narrow, IDS)
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        wide = [te.EmbeddingVariable(dim, "ones", name=f"columns_{dim}") for dim in DIMS]
        ids = tf.constant(IDS.numpy())
        loss = tf.reduce_sum(tf.tanh(concatenated(wide, tf.unstack(ids)) @ WEIGHTS.numpy()))
        updates = [
            te.rules.apply(variable, gradient, te.rules.Adagrad(), 0.5, 0)
            for variable, gradient in zip(wide, tf.gradients(loss, wide))
        ]
        assert [op.inputs[2].shape[1] for op in applies(graph)] == [28] * 4
        session.run(tf.compat.v1.global_variables_initializer())
        for _ in range(2):
            session.run(updates)
        found = session.run([variable.export()[:2] for variable in wide])
    for variable, (keys, values) in zip(narrow, found):
        expected = variable.sparse_read(keys).numpy()
        assert len(keys) == int(variable.size())
        np.testing.assert_array_equal(values, expected)


def by_packed_sizes(wide: tf.Tensor) -> tf.Tensor:
    """As tf.concat's gradient makes them, but of numbers, one of which says: what is left."""
    packed = tf.stack([tf.constant(size) for size in (2, -1, 3)])
    part = tf.split(wide, tf.squeeze(tf.slice(packed, [0], [3])), axis=1, num=3)[2]
    part.set_shape([30, 3])
    return part


OTHERS = [
    by_packed_sizes,
    lambda wide: tf.split(wide, [10, 20], axis=0)[1],
    lambda wide: tf.slice(wide, [0, 2], [20, 3]),
    lambda wide: tf.reshape(tf.split(wide[tf.newaxis], [3, 6], axis=2)[0], [-1, 3]),
    lambda wide: tf.split(wide, [2, -1, 3], axis=1)[2],
    lambda wide: tf.split(wide, tf.constant([2, 4, 3]) + 0 * tf.shape(wide)[0], axis=1)[2],
    lambda wide: 2.0 * tf.split(wide, [3, 6], axis=1)[0],
    lambda wide: wide,
]


@pytest.mark.parametrize("part", OTHERS)
def test_what_is_no_column_is_read_as_it_is(part):
    found = []

    @tf.function
    def look(wide: tf.Tensor) -> tf.Tensor:
        values = part(wide)
        found.append(columns.of(values)[0] is values)
        return columns.of(values)[1]

    assert look(tf.zeros([30, 9])).numpy() == -1
    assert found == [True]


def test_columns_that_are_not_there_are_refused():
    ev = te.EmbeddingVariable(3)
    keys = tf.constant([1, 2], tf.int64)

    def update(gradients: tf.Tensor, first_column: int) -> None:
        ops.tf_embedding_apply(
            handle=ev.handle, keys=keys, gradients=gradients, first_column=first_column,
            counts=tf.zeros([0], tf.int64), batch_size=2, learning_rate=1.0, step=0, rule_step=0,
            hyper=tf.zeros([0]), rule="sgd",
        )  # fmt: skip

    update(tf.ones([2, 5]), 2)
    assert int(ev.size()) == 2
    before = rows(ev)
    for shape, first in (([2, 5], 3), ([2, 2], 0), ([3, 5], 2), ([2, 5], 2**62), ([10], 0)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="gradients has shape|rank"):
            update(tf.ones(shape), first)
    # Wider by mistake.
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"it must be \[2,3\]"):
        te.rules.apply(ev, tf.IndexedSlices(tf.ones([2, 6]), keys), te.rules.SGD(), 1.0, 0)
    assert rows(ev) == before


def test_columns_of_another_number_than_the_vectors_are_refused():
    ev = te.EmbeddingVariable(3)
    keys = tf.constant([1, 2], tf.int64)

    @tf.function
    def update(wide: tf.Tensor, sizes: Any) -> tf.Tensor:
        values = tf.split(wide, sizes, axis=1, num=2)[1]
        return te.rules.apply(ev, tf.IndexedSlices(values, keys), te.rules.SGD(), 1.0, 0)

    for sizes in ([1, 4], tf.constant([1, 4])):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"\[2,3\]"):
            update(tf.ones([2, 5]), sizes)
    assert int(ev.size()) == 0
    update(tf.ones([2, 5]), tf.constant([2, 3]))
    assert int(ev.size()) == 2
