# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""`te.export.stock` of Keras 3 models."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras3 import oracle

import tf_embedding as te

RNG = np.random.default_rng(3)


def functional():
    items = te.TableConfig(4, name="items", initializer="normal")
    words = te.TableConfig(6, name="words", initializer="glorot_uniform")
    features = [
        te.FeatureConfig("clicked", items, combiner="sqrtn", max_norm=0.1),
        te.FeatureConfig("shown", items, combiner=None),
        te.FeatureConfig("word", words, combiner="mean"),
    ]
    inputs = {
        "clicked": keras.Input((3,), dtype="int64", name="clicked"),
        "shown": keras.Input((), dtype="int64", name="shown"),
        "word": keras.Input((2,), dtype="string", name="word"),
        "price": keras.Input((1,), dtype="float32", name="price"),
    }
    ids = {name: tensor for name, tensor in inputs.items() if name != "price"}
    found = te.layers.EmbeddingTables(features)(ids)
    bag = te.layers.EmbeddingBag(5, combiner="sum")(inputs["clicked"])
    joined = keras.layers.Concatenate()([*found.values(), bag, inputs["price"]])
    hidden = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(joined))
    outputs = {"click": keras.layers.Dense(1)(hidden), "buy": keras.layers.Dense(2)(hidden)}
    return keras.Model(inputs, outputs)


def batch(n):
    return {
        "clicked": tf.constant(RNG.integers(-40, 40, (n, 3))),
        "shown": tf.constant(RNG.integers(-40, 40, n)),
        "word": tf.constant([[f"w{i % 9}", f"w{i % 5}"] for i in range(n)]),
        "price": tf.constant(RNG.random((n, 1)), tf.float32),
    }


def sequential():
    return keras.Sequential(
        [
            keras.Input((3,), dtype="int64"),
            te.layers.Embedding(4),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Trained models, written by Keras and by us, answered by a process with TensorFlow alone."""
    folder = tmp_path_factory.mktemp("export")
    dict_model, list_model = functional(), sequential()
    dict_model.compile("adam", "mse")
    labels = {"click": RNG.random((64, 1)), "buy": RNG.random((64, 2))}
    data = tf.data.Dataset.from_tensor_slices((batch(64), labels)).batch(16)
    dict_model.fit(data, verbose=0)
    list_model.compile("adagrad", "mse")
    list_model.fit(RNG.integers(-40, 40, (64, 3)), RNG.random((64, 1)), verbose=0)
    asked = {"functional": batch(20), "sequential": tf.constant(RNG.integers(-60, 60, (20, 3)))}
    models = {"functional": dict_model, "sequential": list_model}
    result = {"folder": folder, "want": {}, "got": {}, "models": models, "asked": asked}
    for name, model in models.items():
        result["want"][name] = model(asked[name], training=False)
        model.export(str(folder / f"{name}_keras"), verbose=False)
        te.export.stock(model, folder / name)
        te.export.stock(folder / f"{name}_keras", folder / f"{name}_again")
        inputs = asked[name] if isinstance(asked[name], dict) else {"ids": asked[name]}
        arrays = {key: value.numpy() for key, value in inputs.items()}
        # An array of objects could not be loaded without pickle.
        arrays = {k: a.astype("S") if a.dtype == object else a for k, a in arrays.items()}
        np.savez(folder / f"{name}.npz", **arrays)
    code = f"""
import sys
import numpy as np, tensorflow as tf
for name in ("functional", "sequential"):
    for kind in (name, name + "_again"):
        loaded = tf.saved_model.load({str(folder)!r} + "/" + kind)
        inputs = dict(np.load({str(folder)!r} + "/" + name + ".npz"))
        serving = loaded.signatures["serving_default"]
        names = list(serving.structured_input_signature[1])
        if len(names) == 1:
            inputs = {{names[0]: inputs["ids"]}}
        answers = serving(**{{k: tf.constant(v) for k, v in inputs.items()}})
        np.savez({str(folder)!r} + "/" + kind + "_answers.npz", **answers)
assert not [m for m in sys.modules if m.startswith("tf_embedding")]
print("done")
"""
    assert oracle.run(code) == "done"
    return result


@pytest.mark.parametrize("kind", ["", "_again"], ids=["model", "its SavedModel"])
def test_functional(exported, kind):
    got = np.load(exported["folder"] / f"functional{kind}_answers.npz")
    for name, want in exported["want"]["functional"].items():
        np.testing.assert_allclose(got[name], want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["", "_again"], ids=["model", "its SavedModel"])
def test_sequential(exported, kind):
    got = np.load(exported["folder"] / f"sequential{kind}_answers.npz")
    want = exported["want"]["sequential"]
    np.testing.assert_allclose(got["output_0"], want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["functional", "sequential"])
def test_the_signature_and_the_endpoint_are_those_of_keras(exported, name):
    ours = tf.saved_model.load(str(exported["folder"] / name))
    keras_own = tf.saved_model.load(str(exported["folder"] / f"{name}_keras"))
    mine, its = (m.signatures["serving_default"] for m in (ours, keras_own))
    assert mine.structured_input_signature == its.structured_input_signature
    assert mine.structured_outputs == its.structured_outputs
    asked, want = exported["asked"][name], exported["want"][name]
    for mine, its in zip(tf.nest.flatten(ours.serve(asked)), tf.nest.flatten(want)):
        np.testing.assert_allclose(mine, its, rtol=0, atol=1e-6)


def test_dense_features(tmp_path):
    columns = te.feature_column
    column = columns.embedding_column(
        columns.categorical_column_with_embedding("ids", dtype=tf.int64), dimension=4
    )
    ids = keras.Input((3,), dtype="int64", name="ids")
    outputs = keras.layers.Dense(1)(te.layers.DenseFeatures([column])({"ids": ids}))
    model = keras.Model({"ids": ids}, outputs)
    model.compile("adagrad", "mse")
    model.fit({"ids": RNG.integers(0, 40, (32, 3))}, RNG.random((32, 1)), verbose=0)
    te.export.stock(model, tmp_path)
    asked = {"ids": tf.constant(RNG.integers(0, 60, (10, 3)))}
    loaded = tf.saved_model.load(str(tmp_path))
    got = loaded.serve(asked)
    np.testing.assert_allclose(got, model(asked), rtol=0, atol=1e-6)
    assert b"TfEmbedding" not in (tmp_path / "saved_model.pb").read_bytes()


def test_a_model_that_does_not_tell_its_inputs(tmp_path):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.embedding = te.layers.Embedding(3)

        def call(self, ids):
            return tf.reduce_sum(self.embedding(ids), axis=-1)

    model = Own()
    asked = tf.constant(RNG.integers(0, 9, (4, 2)))
    want = model(asked)
    with pytest.raises(ValueError, match="Own, which does not tell its inputs; pass signatures="):
        te.export.stock(model, tmp_path / "m")
    spec = tf.TensorSpec([None, 2], tf.int64, name="ids")
    te.export.stock(model, tmp_path / "m", signatures=tf.function(model, input_signature=[spec]))
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    (got,) = loaded.signatures["serving_default"](ids=asked).values()
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
