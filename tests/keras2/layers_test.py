# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The Keras 2 layers: what they return, refuse, show and serialize."""

from __future__ import annotations

import os
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from keras2 import harness

import tf_embedding as te
from tf_embedding import keras2
from tf_embedding.keras2 import _keras, layers, optimizers

keras = harness.keras

RAGGED = tf.ragged.constant([[3, 4, 3], [], [-5]], dtype=tf.int64)


def forms(ids):
    """The same bags of ids, ragged and sparse."""
    return {"ragged": ids, "sparse": ids.to_sparse()}


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64, tf.string])
def test_embedding_of_ids(dtype):
    layer = layers.Embedding(4, seed=1)
    ids = tf.constant([[1, 2, 1], [7, 8, 9]])
    ids = tf.strings.as_string(ids) if dtype == tf.string else tf.cast(ids, dtype)
    out = layer(ids)
    assert out.shape == (2, 3, 4) and out.dtype == tf.float32
    keys = te.hashing.hash_strings(ids) if dtype == tf.string else ids
    np.testing.assert_array_equal(out, layer.variable.sparse_read(keys))
    assert int(layer.variable.size()) == 0


def test_embedding_of_ragged_ids():
    layer = layers.Embedding(4)
    out = layer(RAGGED)
    assert isinstance(out, tf.RaggedTensor) and out.row_lengths().numpy().tolist() == [3, 0, 1]
    np.testing.assert_array_equal(out.flat_values, layer.variable.sparse_read(RAGGED.flat_values))


@pytest.mark.parametrize("own", [None, "sgd"])
@pytest.mark.parametrize("combiner", ["mean", "sum", "sqrtn"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("form", ["ragged", "sparse"])
def test_embedding_bag(form, weighted, combiner, own):
    layer = layers.EmbeddingBag(4, combiner, initializer=harness.initializer(), optimizer=own)
    weights = RAGGED.with_flat_values([0.5, 2.0, 1.0, 3.0]) if weighted else None
    if weighted:
        weights = forms(weights)[form]
    out = layer(forms(RAGGED)[form], weights=weights)
    want = np.zeros([3, 4])
    for bag, (ids, scale) in enumerate([([3, 4, 3], [0.5, 2.0, 1.0]), ([], []), ([-5], [3.0])]):
        scale = np.array(scale if weighted else np.ones(len(ids)))[:, None]
        if not ids:
            continue
        vectors = layer.variable.sparse_read(ids).numpy() * scale
        divisor = {"sum": 1.0, "mean": scale.sum(), "sqrtn": np.sqrt((scale**2).sum())}[combiner]
        want[bag] = vectors.sum(0) / divisor
    np.testing.assert_allclose(out, want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("ids, shape", [([[1, 2], [3, 4]], (2, 4)), ([1, 2, 3], (3, 4))])
def test_embedding_bag_of_dense_ids(ids, shape):
    layer = layers.EmbeddingBag(4, "sum")
    out = layer(tf.constant(ids))
    assert out.shape == shape
    rows = layer.variable.sparse_read(ids).numpy().reshape(shape[0], -1, 4)
    np.testing.assert_allclose(out, rows.sum(1), rtol=1e-6)


def test_keras_inputs_of_all_kinds():
    dense = keras.Input((2,), dtype="int64")
    ragged = keras.Input((None,), dtype="int64", ragged=True)
    sparse = keras.Input((None,), dtype="string", sparse=True)
    weights = keras.Input((2,))
    outputs = [
        layers.EmbeddingBag(4)(dense, weights=weights),
        layers.EmbeddingBag(4)(ragged),
        layers.EmbeddingBag(4)(sparse),
    ]
    assert all(tuple(o.shape) == (None, 4) for o in outputs)
    model = keras.Model(
        [dense, weights, ragged, sparse],
        keras.layers.Dense(1)(keras.layers.Concatenate()(outputs)),
    )
    model.compile(optimizers.Adagrad(0.1), "mse")
    strings = tf.sparse.from_dense([["a", ""], ["b", "c"]])
    ids = tf.ragged.constant([[1, 2], [3]], dtype=tf.int64)
    model.train_on_batch([np.arange(4).reshape(2, 2), np.ones([2, 2]), ids, strings], np.ones([2]))
    bags = [layer for layer in model.layers if isinstance(layer, layers.EmbeddingBag)]
    assert [int(bag.variable.size()) for bag in bags] == [4, 3, 3]


SHARED = te.TableConfig(dim=2, name="shared", initializer="ones")
OTHER = te.TableConfig(dim=3, name="other", seed=5)
FEATURES = [
    te.FeatureConfig("a", SHARED, combiner="sum"),
    te.FeatureConfig("b", SHARED, combiner=None, max_norm=0.5),
    te.FeatureConfig("c", OTHER, combiner="mean"),
]


def test_tables():
    layer = layers.EmbeddingTables(FEATURES)
    ids = {"a": RAGGED, "b": tf.constant([3, 9]), "c": RAGGED.to_sparse(), "unused": None}
    del ids["unused"]
    out = layer(ids, weights={"a": RAGGED.with_flat_values([1.0, 2.0, 3.0, 4.0])})
    assert list(out) == ["a", "b", "c"]
    assert out["a"].numpy().tolist() == [[6.0, 6.0], [0.0, 0.0], [4.0, 4.0]]
    np.testing.assert_allclose(np.linalg.norm(out["b"], axis=1), 0.5, rtol=1e-6)
    rows = layer.variables_by_feature
    assert rows["a"] is rows["b"] is not rows["c"]
    np.testing.assert_allclose(out["c"][2], rows["c"].sparse_read([-5])[0], rtol=1e-6)
    shapes = layer.compute_output_shape({"a": (None, None), "b": (None, 7), "c": (None, 2)})
    assert [tuple(s) for s in shapes.values()] == [(None, 2), (None, 7, 2), (None, 3)]
    with tf.GradientTape() as tape:
        out = layer(ids)
        loss = tf.add_n([tf.reduce_sum(v) for v in out.values()])
    variables = layer.trainable_variables
    assert len(variables) == 2
    optimizers.SGD(1.0).apply_gradients(zip(tape.gradient(loss, variables), variables))
    # Key 3 is in feature a twice and, clipped, in feature b.
    moved = rows["a"].sparse_read([3, 4, -5]).numpy()
    assert moved[0, 0] < moved[1, 0] - 0.9 and moved[1].tolist() == moved[2].tolist() == [0.0, 0.0]
    assert int(rows["a"].size()) == 4 and int(rows["c"].size()) == 3


@pytest.mark.parametrize("own", [(None, None), ("sgd", "sgd"), ("sgd", None)])
@pytest.mark.parametrize("length", [(), (3,)])
def test_concat_is_the_concatenation(own, length):
    """Also where some or all tables have an optimizer of their own."""
    found = []
    for concat in (True, False):
        tables = [
            te.TableConfig(dim, f"t{dim}", "normal", seed=dim, optimizer=optimizer)
            for dim, optimizer in zip((4, 6), own)
        ]
        features = [te.FeatureConfig("a", tables[0]), te.FeatureConfig("b", tables[1])]
        layer = layers.EmbeddingTables(features, concat=concat)
        inputs = {name: keras.Input(length, dtype="int64", name=name) for name in "ab"}
        keras.utils.set_random_seed(1)
        vectors = layer(inputs)
        if not concat:
            vectors = keras.layers.Concatenate()(list(vectors.values()))
        assert vectors.shape.as_list() == [None, 10]
        model = keras.Model(inputs, keras.layers.Dense(1)(vectors))
        model.compile(optimizers.Adagrad(0.1), "mse")
        rng = np.random.default_rng(3)
        ids = {name: rng.integers(0, 20, (64, *length)) for name in "ab"}
        model.fit(ids, rng.normal(size=64), batch_size=16, verbose=0, shuffle=False)
        rows = layer.variables_by_feature
        found.append([rows[name].sparse_read(tf.range(20)).numpy() for name in "ab"])
        found[-1].append(model.predict(ids, verbose=0))
    for ours, expected in zip(*found):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
    again = layers.EmbeddingTables.from_config({**layer.get_config(), "concat": True})
    shape = {"a": (5, *length), "b": (5, *length)}
    assert again.concat and tuple(again.compute_output_shape(shape)) == (5, 10)


def test_tables_with_an_optimizer_of_their_own():
    own = te.TableConfig(dim=2, name="own", initializer="zeros", optimizer="adagrad")
    layer = layers.EmbeddingTables(
        [te.FeatureConfig("x", own, combiner="sum"), te.FeatureConfig("y", SHARED)]
    )
    ids = tf.constant([[1, 1]])
    layer({"x": ids, "y": ids})
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_sum(v) for v in layer({"x": ids, "y": ids}).values()])
    variables = layer.trainable_variables
    optimizers.SGD(1.0).apply_gradients(zip(tape.gradient(loss, variables), variables))
    rows = layer.variables_by_feature
    want = -0.001 * 2 / np.sqrt(0.1 + 4 + 1e-7)
    np.testing.assert_allclose(rows["x"].sparse_read([1]), [[want, want]], rtol=1e-6)
    np.testing.assert_allclose(rows["y"].sparse_read([1]), [[0.0, 0.0]], atol=1e-6)


def test_mask():
    layer = layers.Embedding(4, mask_zero=True)
    assert layer.compute_mask(tf.constant([[0, 1]])).numpy().tolist() == [[False, True]]
    assert layer.compute_mask(tf.constant([["", "x"]])).numpy().tolist() == [[False, True]]
    assert layers.Embedding(4).compute_mask(tf.constant([[0]])) is None
    ids = np.array([[0, 1, 2], [3, 0, 0]])
    out = keras.layers.GlobalAveragePooling1D()(layer(ids))
    rows = layer.variable.sparse_read(ids).numpy()
    np.testing.assert_allclose(out, [rows[0, 1:].mean(0), rows[1, 0]], rtol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.Embedding(
            4, keras.initializers.RandomNormal(stddev=0.1), "rowwiseadagrad", mask_zero=True, seed=3
        ),
        lambda: layers.EmbeddingBag(4, "sqrtn", [0.1, 0.2, 0.3, 0.4], keras.optimizers.Ftrl(0.5)),
        lambda: layers.EmbeddingTables(FEATURES, name="tables", trainable=False),
        lambda: layers.EmbeddingBag(
            4, ev_option=te.EmbeddingVariableOption(filter_option=te.ProbabilisticFilter(0.5))
        ),
    ],
)
def test_config(layer):
    layer = layer()
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    restored = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(restored) is type(layer) and restored.get_config() == layer.get_config()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_output_has_the_compute_dtype(policy):
    layer = layers.EmbeddingBag(4, dtype=policy)
    assert layer(tf.constant([[1, 2]])).dtype == layer.compute_dtype
    assert layer.variable.dtype == tf.float32


@pytest.mark.parametrize("own", [None, "sgd"])
def test_summary_shows_the_table(own):
    model = harness.model_of(harness.embedding(optimizer=own, name="users"))
    model.compile("sgd" if own else optimizers.SGD(), "mse")
    harness.fit(model)
    lines = []
    model.summary(print_fn=lambda text, **_: lines.append(text))
    (line,) = [x for x in "\n".join(lines).split("\n") if x.strip().startswith("users")]
    assert line.split()[-1] == str(harness.VOCABULARY * harness.DIM)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: layers.Embedding(0), ValueError, "dim"),
        (lambda: layers.EmbeddingBag(4, combiner="max"), ValueError, "combiner.*'max'"),
        (lambda: layers.Embedding(4, optimizer="lion"), ValueError, "optimizer='lion'"),
        (lambda: layers.Embedding(4, optimizer=3), ValueError, "optimizer=3"),
        (
            lambda: layers.Embedding(4, optimizer=keras.optimizers.legacy.SGD()),
            ValueError,
            "Legacy Keras optimizers",
        ),
        (lambda: layers.EmbeddingTables([]), ValueError, "one at least"),
        (lambda: layers.EmbeddingTables(FEATURES[:1] * 2), ValueError, "no name twice"),
        (
            lambda: layers.EmbeddingTables(FEATURES, concat=True),
            ValueError,
            r"features \['b'\] have no combiner",
        ),
        (
            lambda: layers.EmbeddingTables(
                [*FEATURES, te.FeatureConfig("d", te.TableConfig(2, name="shared"))]
            ),
            ValueError,
            "its own name",
        ),
        (lambda: layers.EmbeddingTables(FEATURES)({"a": RAGGED}), ValueError, r"\['b', 'c'\]"),
        (lambda: layers.Embedding(4)(RAGGED.to_sparse()), TypeError, "EmbeddingBag"),
        (lambda: layers.Embedding(4)(tf.constant([0.5])), TypeError, "float32"),
        (lambda: layers.Embedding(4).variable, ValueError, "before it is built"),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_without_keras_2():
    newer = mock.patch.object(tf, "__version__", "2.21.0")
    absent = mock.patch.dict(sys.modules, {"tf_keras": None})
    with newer, absent, pytest.raises(ImportError, match="pip install 'tf_keras==2.21"):
        _keras._import_keras()


def test_public_names():
    names = "SGD Adagrad RowwiseAdagrad RMSprop Adam AdamW Ftrl GroupFtrl AdagradDecay"
    for name in [*names.split(), "LossScaleOptimizer"]:
        assert hasattr(keras2.optimizers, name)
    for name in ("Embedding", "EmbeddingBag", "EmbeddingTables"):
        assert hasattr(keras2.layers, name)


def test_import_changes_nothing_in_keras():
    script = (
        "import tensorflow as tf\n"
        "try:\n"
        "    import tf_keras as keras\n"
        "except ImportError:\n"
        "    keras = tf.keras\n"
        "def look():\n"
        "    seen = {}\n"
        "    for base in (keras.layers, keras.optimizers, keras.optimizers.legacy,\n"
        "                 keras.mixed_precision, keras.saving, tf.nn, keras.Model,\n"
        "                 keras.layers.Layer, keras.optimizers.Optimizer, tf.Variable):\n"
        "        for name, value in vars(base).items():\n"
        "            if callable(value):\n"
        "                seen[repr(base), name] = value\n"
        "            if isinstance(value, type):\n"
        "                for part, item in vars(value).items():\n"
        "                    if callable(item):\n"
        "                        seen[repr(base), name, part] = item\n"
        "    return seen\n"
        "look(); before = look()\n"
        "from tf_embedding.keras2 import _keras, layers, optimizers\n"
        "after = look()\n"
        "changed = [k for k in before if before[k] is not after.get(k)]\n"
        "assert len(before) > 500 and not changed and before.keys() == after.keys(), changed\n"
    )
    root = os.path.dirname(os.path.dirname(te.__file__))
    environment = {**os.environ, "PYTHONPATH": root, "TF_CPP_MIN_LOG_LEVEL": "2"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
