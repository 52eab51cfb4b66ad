# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the Keras 3 layers compute and the structures that they take."""

import doctest
import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras3 import oracle

import tf_embedding as te

DIM = 3


def vectors(layer, keys):
    return layer.variable.sparse_read(te.inputs.to_keys(keys)).numpy()


@pytest.mark.parametrize(
    "ids",
    [
        np.array([[1, -2], [2**62, 0]]),
        np.array([4, 5], np.int32),
        np.array([[["a"], [""]]]),
        tf.constant(7, tf.int64),
    ],
    ids=["int64", "int32", "string", "scalar"],
)
def test_embedding_of_dense_ids(ids):
    layer = te.layers.Embedding(DIM)
    found = layer(tf.constant(ids))
    assert found.shape == (*np.shape(ids), DIM)
    np.testing.assert_array_equal(found, vectors(layer, ids))
    assert int(layer.variable.size()) == 0


def test_embedding_of_ragged_ids():
    layer = te.layers.Embedding(DIM)
    ids = tf.ragged.constant([["a", "b"], [], ["c"]])
    found = layer(ids)
    np.testing.assert_array_equal(found.row_lengths(), [2, 0, 1])
    np.testing.assert_array_equal(found.flat_values, vectors(layer, ids.flat_values))


RAGGED_IDS = [[1, 2, 3], [], [3]]
RAGGED_WEIGHTS = [[0.5, 1.0, 2.0], [], [4.0]]


def pooled(layer, combiner, weighted):
    out = []
    for ids, weights in zip(RAGGED_IDS, RAGGED_WEIGHTS):
        weights = np.array(weights if weighted else [1.0] * len(ids))[:, np.newaxis]
        if not ids:
            out.append(np.zeros(DIM))
            continue
        total = (vectors(layer, ids) * weights).sum(0)
        by = {"sum": 1.0, "mean": weights.sum(), "sqrtn": np.sqrt((weights**2).sum())}
        out.append(total / by[combiner])
    return np.array(out)


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["ragged", "sparse"])
def test_bag(combiner, weighted, kind):
    layer = te.layers.EmbeddingBag(DIM, combiner)
    ids = tf.ragged.constant(RAGGED_IDS, tf.int64)
    weights = tf.ragged.constant(RAGGED_WEIGHTS) if weighted else None
    if kind == "sparse":
        ids = ids.to_sparse()
        weights = weights.to_sparse() if weighted else None
    found = layer(ids, weights=weights) if weighted else layer(ids)
    expected = pooled(layer, combiner, weighted)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_bag_of_dense_ids():
    layer = te.layers.EmbeddingBag(DIM, "sum")
    ids = tf.constant([["x", "y"], ["x", "x"]])
    weights = tf.constant([[1.0, 0.0], [0.5, 2.0]])
    layer.build(None)
    x = vectors(layer, ["x"])[0]
    np.testing.assert_allclose(layer(ids, weights=weights), [x, 2.5 * x], rtol=1e-6)
    np.testing.assert_allclose(layer(tf.constant(["x"])), [x], rtol=1e-6)


def test_gradient_of_weights():
    layer = te.layers.EmbeddingBag(DIM, "sum")
    weights = tf.Variable([[1.0, 2.0]])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant([[1, 2]]), weights=tf.convert_to_tensor(weights)))
    expected = vectors(layer, [[1, 2]]).sum(-1)
    np.testing.assert_allclose(tape.gradient(loss, weights), expected, rtol=1e-6)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_outputs_have_the_compute_dtype_and_rows_do_not(policy):
    table = te.TableConfig(DIM)
    layers = [
        te.layers.Embedding(DIM, dtype=policy),
        te.layers.EmbeddingBag(DIM, dtype=policy),
        te.layers.EmbeddingTables([te.FeatureConfig("f", table)], dtype=policy),
    ]
    compute = keras.dtype_policies.get(policy).compute_dtype
    for layer, ids in zip(layers, [1, 1, {"f": 1}]):
        ids = keras.tree.map_structure(lambda _: tf.constant([[1, 2]]), ids)
        for out in keras.tree.flatten(layer(ids)):
            assert out.dtype == compute
        assert layer.trainable_variables[0].dtype == "float32"
        assert layer.trainable_variables[0].value.dtype == tf.float32


def test_symbolic_calls():
    embedding, bag = te.layers.Embedding(DIM), te.layers.EmbeddingBag(DIM)
    dense = keras.Input((4,), dtype="int32")
    ragged = keras.Input((None,), dtype="int64", ragged=True)
    sparse = keras.Input((9,), dtype="string", sparse=True)
    assert embedding(dense).shape == (None, 4, DIM)
    assert embedding(ragged).shape == (None, None, DIM) and embedding(ragged).ragged
    for ids in (dense, ragged, sparse):
        out = bag(ids)
        assert out.shape == (None, DIM) and not out.ragged and not out.sparse
    assert embedding.compute_output_shape((2, 4)) == (2, 4, DIM)
    assert bag.compute_output_shape((2, 4)) == (2, DIM)


@pytest.mark.parametrize("kind", ["ragged", "sparse"])
def test_models_train_on_ragged_and_sparse_ids(kind):
    ids = tf.ragged.constant([[1, 2], [2], [], [3, 1, 1]], tf.int64)
    weights = tf.ones_like(ids.flat_values, tf.float32)
    weights = ids.with_flat_values(2.0 * weights)
    if kind == "sparse":
        ids, weights = ids.to_sparse(), weights.to_sparse()
    flags = {kind: True}
    inputs = [
        keras.Input((None,), dtype="int64", **flags),
        keras.Input((None,), dtype="float32", **flags),
    ]
    layer = te.layers.EmbeddingBag(DIM, "sum", "zeros")
    model = keras.Model(inputs, layer(inputs[0], weights=inputs[1]))
    model.compile(keras.optimizers.SGD(0.5), lambda y, p: tf.reduce_sum(p))
    data = tf.data.Dataset.from_tensors(((ids, weights), tf.zeros([4, DIM])))
    model.fit(data, epochs=2, verbose=0)
    # Each occurrence has gradient 2; two steps.
    expected = -2.0 * np.array([3.0, 2.0, 1.0])
    np.testing.assert_allclose(layer.variable.sparse_read([1, 2, 3])[:, 0], expected)


def test_mask_of_strings_and_integers():
    layer = te.layers.Embedding(DIM, mask_zero=True)
    for ids, mask in [([[0, 1]], [[False, True]]), ([["", "a"]], [[False, True]])]:
        out = layer(tf.constant(ids))
        np.testing.assert_array_equal(keras.src.backend.get_keras_mask(out), mask)
    assert te.layers.Embedding(DIM).compute_mask(tf.constant([0])) is None


def test_string_ids_with_mask_in_a_functional_model(tmp_path):
    inputs = keras.Input((3,), dtype="string")
    layer = te.layers.Embedding(DIM, "ones", mask_zero=True)
    pooled_vectors = keras.layers.GlobalAveragePooling1D()(layer(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1)(pooled_vectors))
    model.compile("adagrad", "mse")
    ids = tf.constant([["a", "b", ""], ["c", "", ""]])
    model.fit(ids, np.zeros((2, 1)), epochs=3, verbose=0)
    names = tf.constant(["a", "b", "c", ""])
    moved = np.abs(vectors(layer, names) - 1.0).max(axis=1) > 1e-4
    np.testing.assert_array_equal(moved, [True, True, True, False])
    # Strings are hashed by a documented function, the same in each release.
    keys = set(layer.variable.export().keys.numpy())
    assert set(te.hashing.hash_strings(names).numpy()) == keys
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(model.predict(ids, verbose=0), again.predict(ids, verbose=0))


def test_tables_share_rows_and_train_as_one_table():
    """Two features of one table and a third by itself, against dense tables."""
    shared = te.TableConfig(oracle.DIM, "shared", seed=7)
    own = te.TableConfig(oracle.DIM, "own", seed=7)
    layer = te.layers.EmbeddingTables(
        [
            te.FeatureConfig("a", shared, "sum"),
            te.FeatureConfig("b", shared, "sum"),
            te.FeatureConfig("c", own, None),
        ]
    )
    shared_oracle, own_oracle = oracle.dense(), oracle.dense()
    ids = {name: oracle.full_ids(seed=i) for i, name in enumerate("abc")}

    def build(look_up):
        inputs = {name: keras.Input((3,), dtype="int64", name=name) for name in "abc"}
        a, b, c = look_up(inputs)
        x = keras.layers.Concatenate()([a, b, keras.layers.Flatten()(c)])
        return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(x))

    def ours(inputs):
        found = layer(inputs)
        return [found[name] for name in "abc"]

    def theirs(inputs):
        a, b = (keras.ops.sum(shared_oracle(inputs[name]), axis=1) for name in "ab")
        return [a, b, own_oracle(inputs["c"])]

    for look_up in (ours, theirs):
        keras.utils.set_random_seed(1)
        model = build(look_up)
        model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy")
        labels = oracle.labels(ids["a"])
        model.fit(ids, labels, batch_size=oracle.BATCH, epochs=2, shuffle=False, verbose=0)
    assert len(layer.trainable_variables) == 2
    variables = layer.variables_by_feature
    assert variables["a"] is variables["b"] is not variables["c"]
    for name, dense in (("a", shared_oracle), ("c", own_oracle)):
        found = variables[name].sparse_read(oracle.KEYS).numpy()
        assert np.abs(found - oracle.initial_rows()).max() > 1e-3
        np.testing.assert_allclose(found, dense.table.numpy(), rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("length", [(), (1,), (3,)])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_concat_trains_as_a_concatenate_layer_does(length, policy):
    """Ids alone, bags of one and other bags; the first table serves two features."""
    found = []
    for concat in (True, False):
        tables = [te.TableConfig(dim, f"t{dim}", "normal", seed=dim) for dim in (4, 1, 6)]
        features = [te.FeatureConfig(f"f{i}", tables[i % 3], "mean") for i in range(4)]
        layer = te.layers.EmbeddingTables(features, concat=concat, dtype=policy)
        inputs = {f.name: keras.Input(length, dtype="int64", name=f.name) for f in features}
        keras.utils.set_random_seed(1)
        vectors = layer(inputs)
        if not concat:
            vectors = keras.layers.Concatenate(dtype=policy)([vectors[f.name] for f in features])
        assert vectors.shape == (None, 15)
        outputs = keras.layers.Dense(1, activation="sigmoid")(vectors)
        model = keras.Model(inputs, outputs)
        model.compile("adam", "binary_crossentropy")
        rng = np.random.default_rng(3)
        ids = {name: rng.integers(0, 20, (64, *length)) for name in inputs}
        model.fit(ids, rng.integers(0, 2, 64), batch_size=16, verbose=0, shuffle=False)
        layer_of = layer.variables_by_feature
        found.append(
            [layer_of[f"f{i}"].sparse_read(tf.range(20)).numpy() for i in range(3)]
            + [model.predict(ids, verbose=0)]
        )
    for ours, expected in zip(*found):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_concat_takes_weights_and_ragged_ids():
    table = te.TableConfig(2, "t", "ones")
    layer = te.layers.EmbeddingTables(
        [te.FeatureConfig("a", table, "sum"), te.FeatureConfig("b", table, "sum", max_norm=1.0)],
        concat=True,
    )
    ids = {"a": tf.ragged.constant([[1, 2], []]), "b": tf.constant([5, 6])}
    found = layer(ids, weights={"b": tf.constant([1.0, 2.0])})
    unit = np.sqrt(0.5)
    expected = [[2, 2, unit, unit], [0, 0, 2 * unit, 2 * unit]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    again = te.layers.EmbeddingTables.from_config(layer.get_config())
    assert again.concat and again.compute_output_shape({"a": (5, None), "b": (5,)}) == (5, 4)


def test_tables_take_weights_and_max_norm():
    table = te.TableConfig(2, "t", "ones")
    layer = te.layers.EmbeddingTables(
        [
            te.FeatureConfig("bag", table, "sum", max_norm=1.0),
            te.FeatureConfig("plain", table, None, max_norm=1.0),
        ]
    )
    ids = {"bag": tf.constant([[1, 2]]), "plain": tf.constant([1]), "other": tf.constant([1.0])}
    found = layer(ids, weights={"bag": tf.constant([[2.0, 1.0]])})
    unit = np.sqrt(0.5)
    np.testing.assert_allclose(found["bag"], [[3 * unit, 3 * unit]], rtol=1e-6)
    np.testing.assert_allclose(found["plain"], [[unit, unit]], rtol=1e-6)
    assert list(found) == ["bag", "plain"]


def test_a_lookup_inside_xla_says_what_to_do():
    layer = te.layers.Embedding(DIM)
    layer.build(None)
    with pytest.raises(NotImplementedError, match="jit_compile=False"):
        tf.function(layer, jit_compile=True)(tf.constant([1]))


@pytest.mark.parametrize(
    "name",
    ["__init__", "feature_layers", "layers", "optimizers", "training", "updates", "variable"],
)
def test_examples_of_docstrings(name):
    suffix = "" if name == "__init__" else f".{name}"
    module = importlib.import_module(f"tf_embedding.keras3{suffix}")
    assert doctest.testmod(module).failed == 0


IMPORT = """
import keras, tensorflow as tf

def public(module, seen, depth=3):
    found = {}
    for name in dir(module) if module.__name__.startswith("keras") else ():
        value = getattr(module, name, None)
        key = module.__name__ + "." + name
        found[key] = id(value)
        if isinstance(value, type):
            for attribute, member in vars(value).items():
                if not attribute.startswith("_abc"):
                    found[key + "." + attribute] = id(member)
        elif type(value) is type(keras) and id(value) not in seen and depth:
            seen.add(id(value))
            found.update(public(value, seen, depth - 1))
    return found

roots = [keras, keras.src.optimizers, keras.src.backend.tensorflow]
before = [public(root, set()) for root in roots]
import tf_embedding.keras3
after = [public(root, set()) for root in roots]
changed = [k for b, a in zip(before, after) for k in a if a[k] != b.get(k)]
print(len(before[0]) > 1000 and (changed or "unchanged"))
"""


def test_import_changes_nothing_in_keras():
    assert oracle.run(IMPORT) == "unchanged"
