# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Lookups, ours and the stock ones, against stock TensorFlow on a dense variable."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

import tf_embedding as te

VOCABULARY = 50
COMBINERS = ["sum", "mean", "sqrtn"]


def pair(dim: int = 5):
    """An embedding variable and a dense one with the same rows."""
    ev = te.EmbeddingVariable(dim, initializer="normal", seed=1, name="nn")
    return ev, tf.Variable(ev.sparse_read(np.arange(VOCABULARY)) * 20)


def same(dim: int = 5):
    ev, dense = pair(dim)
    ev.upsert(np.arange(VOCABULARY), dense.numpy())
    return ev, dense


def sparse_ids(batch: int = 40, seed: int = 0, empty: bool = False):
    """Sparse ids and weights; every row has an id unless empty."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0 if empty else 1, 6, batch)
    if empty:
        lengths[-1] = 0
    indices = [(r, c) for r, n in enumerate(lengths) for c in range(n)]
    shape = [batch, 6]
    ids = tf.SparseTensor(indices, rng.integers(0, VOCABULARY, len(indices)), shape)
    weights = rng.uniform(0.1, 2.0, len(indices)).astype(np.float32)
    return ids, tf.SparseTensor(indices, weights, shape)


def densify(slices: tf.IndexedSlices, dim: int) -> np.ndarray:
    out = np.zeros([VOCABULARY, dim], np.float64)
    np.add.at(out, slices.indices.numpy(), slices.values.numpy())
    return out


def gradients(function, variable, *others):
    with tf.GradientTape() as tape:
        tape.watch(others)
        out = function(variable, *others)
        # A different factor for each output, so that no permutation passes.
        factors = tf.sin(tf.cast(tf.range(tf.size(out)), tf.float32))
        loss = tf.reduce_sum(out * tf.reshape(factors, tf.shape(out)))
    return out, *tape.gradient(loss, [variable, *others])


APIS = {
    "ours": (te.nn.embedding_lookup_sparse, te.nn.safe_embedding_lookup_sparse),
    "stock": (tf.nn.embedding_lookup_sparse, tf.nn.safe_embedding_lookup_sparse),
    "stock v1": (
        tf.compat.v1.nn.embedding_lookup_sparse,
        tf.compat.v1.nn.safe_embedding_lookup_sparse,
    ),
}


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("combiner", COMBINERS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("max_norm", [None, 2.0])
@pytest.mark.parametrize("safe", [False, True])
def test_sparse_lookup_equals_stock_on_a_dense_variable(
    api: str, combiner: str, weighted: bool, max_norm, safe: bool
) -> None:
    ev, dense = same()
    ids, weights = sparse_ids(empty=safe)

    def run(function, variable, *values):
        sp_weights = (
            tf.SparseTensor(ids.indices, values[0], ids.dense_shape) if values else None
        )
        return function(variable, ids, sp_weights, combiner=combiner, max_norm=max_norm)

    values = [weights.values] if weighted else []
    ours = gradients(lambda v, *w: run(APIS[api][safe], v, *w), ev, *values)
    theirs = gradients(lambda v, *w: run(APIS["stock"][safe], v, *w), dense, *values)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(densify(ours[1], 5), densify(theirs[1], 5), rtol=1e-4, atol=1e-5)
    if weighted:
        a, b = (tf.convert_to_tensor(x[2]) for x in (ours, theirs))
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("default_id", [None, 7])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("combiner", COMBINERS)
def test_safe_lookup_prunes_and_fills_like_stock(default_id, weighted, combiner) -> None:
    ev, dense = same()
    ids, weights = sparse_ids(empty=True)
    idle = weights.values.numpy()
    idle[::3] = 0
    weights = tf.SparseTensor(ids.indices, idle, ids.dense_shape) if weighted else None
    out = [
        f(v, ids, weights, combiner=combiner, default_id=default_id)
        for f, v in [
            (te.nn.safe_embedding_lookup_sparse, ev),
            (tf.nn.safe_embedding_lookup_sparse, ev),
            (tf.nn.safe_embedding_lookup_sparse, dense),
        ]
    ]
    np.testing.assert_allclose(out[0], out[2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out[1], out[2], rtol=1e-5, atol=1e-6)


def test_safe_lookup_of_higher_rank_and_of_ragged() -> None:
    ev, dense = same()
    ids = tf.sparse.from_dense(np.random.default_rng(0).integers(0, 9, [3, 4, 5]))
    np.testing.assert_allclose(
        te.nn.safe_embedding_lookup_sparse(ev, ids),
        tf.nn.safe_embedding_lookup_sparse(dense, ids),
        rtol=1e-5,
        atol=1e-6,
    )
    ragged = tf.ragged.constant([[1, 2], [], [3]], dtype=tf.int64)
    want = [dense[1:3].numpy().mean(0), dense[9].numpy(), dense[3].numpy()]
    for lookup in (te.nn.safe_embedding_lookup_sparse, tf.nn.safe_embedding_lookup_sparse):
        got = lookup(ev, ragged, default_id=9)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_negative_ids_are_keys_here_and_padding_there() -> None:
    ev, _ = same()
    ev.upsert([-3], np.full([1, 5], 4.0))
    ids = tf.SparseTensor([[0, 0], [1, 0]], tf.constant([-3, 2], tf.int64), [2, 1])
    ours = te.nn.safe_embedding_lookup_sparse(ev, ids).numpy()
    stock = tf.nn.safe_embedding_lookup_sparse(ev, ids).numpy()
    assert (ours[0] == 4).all() and (stock[0] == 0).all()
    np.testing.assert_array_equal(ours[1], stock[1])
    np.testing.assert_array_equal(te.nn.embedding_lookup_sparse(ev, ids), ours)


@pytest.mark.parametrize(
    "lookup", [te.nn.embedding_lookup, tf.nn.embedding_lookup, tf.compat.v1.nn.embedding_lookup]
)
@pytest.mark.parametrize("max_norm", [None, 1.5])
def test_plain_lookup_equals_stock(lookup, max_norm) -> None:
    ev, dense = same()
    for ids in (
        tf.constant([[3, 4, 3], [0, 49, 1]]),
        tf.constant(5, tf.int64),
        tf.zeros([0], tf.int64),
        tf.ragged.constant([[1, 2], [], [3]]),
    ):
        ours = lookup(ev, ids, max_norm=max_norm)
        stock = tf.nn.embedding_lookup(dense, ids, max_norm=max_norm)
        flat = [getattr(x, "flat_values", x) for x in (ours, stock)]
        np.testing.assert_allclose(flat[0], flat[1], rtol=1e-5, atol=1e-6)
        assert ours.shape.as_list() == stock.shape.as_list()
    ids = tf.constant([1, 1, 9])
    g = [
        gradients(lambda v, f=f: f(v, ids, max_norm=max_norm), v)[1]
        for f, v in ((lookup, ev), (tf.nn.embedding_lookup, dense))
    ]
    np.testing.assert_allclose(densify(g[0], 5), densify(g[1], 5), rtol=1e-4, atol=1e-6)


def test_ragged_ids_and_weights() -> None:
    ev, dense = same()
    ids = tf.ragged.constant([[1, 2, 3], [4], [9, 9]], dtype=tf.int64)
    weights = tf.ragged.constant([[1.0, 2.0, 3.0], [0.5], [1.0, -0.5]])
    for combiner, lookup in itertools.product(
        COMBINERS, (te.nn.embedding_lookup_sparse, tf.nn.embedding_lookup_sparse)
    ):
        np.testing.assert_allclose(
            lookup(ev, ids, weights, combiner=combiner),
            tf.nn.embedding_lookup_sparse(
                dense, ids.to_sparse(), weights.to_sparse(), combiner=combiner
            ),
            rtol=1e-5,
            atol=1e-6,
        )


def test_many_features_in_one_op() -> None:
    tables = [te.EmbeddingVariable(d, "normal", seed=d, name=f"t{d}") for d in (3, 8)]
    rng = np.random.default_rng(0)
    features = [tables[0], tables[1], tables[0]]
    ids = [rng.integers(0, 9, [4, n]) for n in (2, 1, 5)]
    weights = [None, rng.uniform(size=[4, 1]).astype(np.float32), None]
    bags = [te.inputs.to_bags(i, w) for i, w in zip(ids, weights)]
    with tf.GradientTape() as tape:
        out = te.nn.pooled_lookup(features, bags, COMBINERS, [None, None, 0.3])
        loss = tf.add_n([tf.reduce_sum(x) for x in out])
    got = tape.gradient(loss, tables)
    alone = [
        te.nn.pooled_lookup([f], [b], [c], [m])[0]
        for f, b, c, m in zip(features, bags, COMBINERS, [None, None, 0.3])
    ]
    for x, y in zip(out, alone):
        np.testing.assert_array_equal(x, y)
    # The shared table's gradient holds both of its features.
    assert len(got[0].indices) == 4 * 2 + 4 * 5 and len(got[1].indices) == 4


def test_strings_are_hashed() -> None:
    ev, _ = same()
    words = tf.constant(["a", "b", "a"])
    np.testing.assert_array_equal(
        te.nn.embedding_lookup(ev, words), ev.sparse_read(te.hashing.hash_strings(words))
    )


@pytest.mark.parametrize(
    ("call", "error", "named"),
    [
        (lambda ev: te.nn.embedding_lookup(tf.zeros([3, 3]), [1]), TypeError, "params"),
        (lambda ev: te.nn.embedding_lookup([ev, ev], [1]), TypeError, "params"),
        (lambda ev: te.nn.embedding_lookup(ev, [0.5]), TypeError, "ids has dtype"),
        (lambda ev: te.nn.embedding_lookup(ev, [1], max_norm=0.0), ValueError, "max_norm"),
        (lambda ev: te.nn.embedding_lookup(ev, sparse_ids()[0]), TypeError, "SparseTensor"),
        (lambda ev: te.nn.embedding_lookup_sparse(ev, [1]), TypeError, "sp_ids"),
        (lambda ev: te.nn.safe_embedding_lookup_sparse(ev, [1]), TypeError, "sparse_ids"),
        (
            lambda ev: te.nn.embedding_lookup_sparse(ev, sparse_ids()[0], combiner="max"),
            ValueError,
            "combiner is 'max'",
        ),
        (
            lambda ev: te.nn.embedding_lookup_sparse(ev, sparse_ids()[0], tf.ones([3])),
            TypeError,
            "weights",
        ),
        (lambda ev: te.nn.pooled_lookup([], [], []), ValueError, "one feature"),
        (
            lambda ev: te.nn.pooled_lookup([ev], [te.inputs.to_bags([1])], ["sum", "sum"]),
            ValueError,
            "combiners",
        ),
        (
            lambda ev: te.nn.embedding_lookup_sparse(
                ev, tf.SparseTensor([[1, 0], [0, 0]], tf.constant([1, 2], tf.int64), [2, 1])
            ),
            tf.errors.InvalidArgumentError,
            "sorted",
        ),
        (
            lambda ev: te.nn.pooled_lookup(
                [ev], [te.inputs.Bags(tf.constant([1, 2], tf.int64), [0, 1], None)], ["sum"]
            ),
            tf.errors.InvalidArgumentError,
            "row_splits ends with 1",
        ),
        (
            lambda ev: te.nn.pooled_lookup(
                [ev], [te.inputs.Bags(tf.constant([1], tf.int64), [0, 1], [1.0, 2.0])], ["sum"]
            ),
            tf.errors.InvalidArgumentError,
            "weights",
        ),
    ],
)
def test_bad_input(call, error, named) -> None:
    with pytest.raises(error, match=named):
        call(te.EmbeddingVariable(2, name="bad"))


def test_structures_of_ids_give_the_same_bags() -> None:
    dense = np.array([[1, 2], [3, 4], [5, 6]])
    sparse = tf.sparse.from_dense(dense)
    ragged = tf.RaggedTensor.from_tensor(tf.constant(dense, tf.int64))
    for ids, weights in itertools.product((dense, sparse, ragged), (False, True)):
        w = None
        if weights:
            w = tf.cast(ids, tf.float32) if not isinstance(ids, np.ndarray) else dense / 1.0
        bags = te.inputs.to_bags(ids, w)
        assert bags.keys.numpy().tolist() == [1, 2, 3, 4, 5, 6]
        assert bags.row_splits.numpy().tolist() == [0, 2, 4, 6]
        assert (bags.weights is None) == (not weights)
        if weights:
            assert bags.weights.numpy().tolist() == [1, 2, 3, 4, 5, 6]
    assert te.inputs.to_bags([7, 8]).row_splits.numpy().tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="rank 3"):
        te.inputs.to_bags(np.zeros([1, 1, 1], np.int64))


def test_the_hash_of_strings_is_fixed() -> None:
    # FarmHash Fingerprint64, from its own documentation's property: a constant.
    got = te.hashing.hash_strings([["", "a"], ["tf_embedding", "\u00fc"]])
    assert got.shape == (2, 2)
    flat = tf.fingerprint(tf.constant(["", "a", "tf_embedding", "\u00fc"]), "farmhash64").numpy()
    assert got.numpy().ravel().tolist() == flat.view("<i8").ravel().tolist()
    assert got.numpy()[0].tolist() == [-7286425919675154353, -5528939962900187677]
    with pytest.raises(TypeError, match="strings has dtype"):
        te.hashing.hash_strings([1])


@pytest.mark.parametrize("parts", [1, 3])
def test_many_lookups_in_one_op_equal_stock_lookups_one_by_one(parts):
    rng = np.random.default_rng(5)
    dims, shapes = [3, 16, 5, 16], [[40], [6, 7], [0], [2, 3, 4]]
    variables, dense = [], []
    for f, dim in enumerate(dims):
        values = rng.normal(size=[VOCABULARY, dim]).astype(np.float32)
        variables.append(te.EmbeddingVariable(dim, name=f"many_{f}", num_parts=parts))
        variables[-1].upsert(np.arange(VOCABULARY), values)
        dense.append(tf.Variable(values))
    # The first table serves two features; one of them is clipped, one ragged.
    variables.append(variables[0])
    dense.append(dense[0])
    ids = [tf.constant(rng.integers(0, VOCABULARY, shape), tf.int64) for shape in shapes]
    ids.append(tf.ragged.constant([[1, 2, 1], [], [49]], dtype=tf.int64))
    norms = [None, 1.5, None, None, None]

    def stock(dense, ids):
        return [tf.nn.embedding_lookup(d, i, max_norm=n) for d, i, n in zip(dense, ids, norms)]

    def run(lookup, params):
        with tf.GradientTape() as tape:
            found = lookup(params, ids)
            loss = sum(tf.reduce_sum(tf.sin(getattr(x, "flat_values", x))) for x in found)
        return found, tape.gradient(loss, params[:4])

    ours, ours_gradients = run(
        tf.function(lambda v, i: te.nn.embedding_lookup_many(v, i, norms)), variables
    )
    theirs, theirs_gradients = run(stock, dense)
    assert isinstance(ours[4], tf.RaggedTensor) and ours[4].shape == theirs[4].shape
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(
            getattr(a, "flat_values", a), getattr(b, "flat_values", b), rtol=1e-6
        )
    for gradient, stock_gradient, dim in zip(ours_gradients, theirs_gradients, dims):
        np.testing.assert_allclose(
            densify(gradient, dim),
            tf.convert_to_tensor(stock_gradient),
            rtol=1e-5,
            atol=1e-6,
        )


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("norms", [None, [None, 0.5, None]])
def test_vectors_side_by_side_equal_those_that_are_concatenated(parts, norms):
    variables = [
        te.EmbeddingVariable(dim, "normal", seed=dim, name=f"side_{dim}", num_parts=parts)
        for dim in (3, 16, 5)
    ]
    ids = tf.constant(np.random.default_rng(2).integers(0, VOCABULARY, [3, 4, 50]), tf.int64)

    @tf.function
    def run(ids, concat):
        with tf.GradientTape() as tape:
            found = te.nn.embedding_lookup_many(
                variables, tf.unstack(ids), norms, concat=concat
            )
            found = found if concat else tf.concat(found, axis=-1)
            loss = tf.reduce_sum(tf.sin(found) * tf.range(24.0))
        return found, tape.gradient(loss, variables)

    found, gradients = run(ids, True)
    expected, expected_gradients = run(ids, False)
    assert found.shape == (4, 50, 24)
    np.testing.assert_array_equal(found, expected)
    for a, b, variable in zip(gradients, expected_gradients, variables):
        np.testing.assert_array_equal(densify(a, variable.dim), densify(b, variable.dim))


def test_vectors_of_other_shapes_are_not_put_side_by_side():
    a, b = te.EmbeddingVariable(2, name="side_a"), te.EmbeddingVariable(3, name="side_b")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"keys\[1\] has shape \[3\]"):
        te.nn.embedding_lookup_many([a, b], [[1, 2], [1, 2, 3]], concat=True)
    with pytest.raises(TypeError, match="RaggedTensor"):
        te.nn.embedding_lookup_many([a], [tf.ragged.constant([[1], []])], concat=True)


def test_bags_of_one_id_are_looked_up_as_ids():
    ev = te.EmbeddingVariable(2, "normal", name="one_each")
    assert te.inputs.to_bags([1, 2]).one_each and te.inputs.to_bags([[1], [2]]).one_each
    assert not te.inputs.to_bags([[1, 2]]).one_each
    assert not te.inputs.to_bags(tf.ragged.constant([[1], [2]])).one_each
    weights = tf.constant([2.0, 3.0])

    def types(*bags, norms=None):
        with tf.Graph().as_default() as graph:
            here = [te.EmbeddingVariable(2, name=f"one_{i}") for i in range(len(bags))]
            te.nn.pooled_lookup(
                here, [te.inputs.to_bags(*bag) for bag in bags], ["mean"] * len(bags), norms
            )
            return {op.type for op in graph.get_operations() if "TfEmbedding>Lookup" in op.type}

    one, other = ([1, 2],), ([[1, 2], [3, 4]],)
    assert types(one, one) == {"TfEmbedding>LookupMany"}
    assert types(one, other) == {"TfEmbedding>LookupPooled"}
    assert types(one, norms=[1.0]) == {"TfEmbedding>LookupPooled"}
    assert types(([1, 2], [2.0, 3.0])) == {"TfEmbedding>LookupPooled"}
    rows = ev.sparse_read([1, 2])
    for combiner in ("sum", "mean", "sqrtn"):
        (found,) = te.nn.pooled_lookup([ev], [te.inputs.to_bags([1, 2])], [combiner])
        np.testing.assert_array_equal(found, rows)
    (found,) = te.nn.pooled_lookup([ev], [te.inputs.to_bags([1, 2], weights)], ["sum"])
    np.testing.assert_allclose(found, rows * weights[:, None], rtol=1e-6)


def test_many_lookups_want_one_entry_a_feature():
    ev = te.EmbeddingVariable(2, name="many_errors")
    with pytest.raises(ValueError, match="variables, ids and max_norms have 1, 2 and 1 entries"):
        te.nn.embedding_lookup_many([ev], [[1], [2]])
    with pytest.raises(TypeError, match="SparseTensor"):
        te.nn.embedding_lookup_many([ev], [tf.sparse.from_dense([[1]])])
