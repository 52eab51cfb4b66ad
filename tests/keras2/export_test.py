# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""`te.export.stock` of Keras 2 models."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import tensorflow as tf
from keras2 import harness

import tf_embedding as te
from tf_embedding.keras2 import _keras, layers, optimizers

keras = _keras.keras

FEATURES = {
    "x": tf.constant([[1, 2, 2], [3, -4, 5], [1, 1, 1], [7, 8, 9]], tf.int64),
    "price": tf.constant([[0.5], [1.0], [2.0], [0.0]]),
}


def asked_elsewhere(path: str, inputs: dict[str, np.ndarray], folder: str) -> np.ndarray:
    """What "serving_default" answers in a process that does not import this package."""
    np.savez(os.path.join(folder, "inputs.npz"), **inputs)
    script = (
        "import sys, numpy as np, tensorflow as tf\n"
        "path, folder = sys.argv[1:]\n"
        "loaded = tf.saved_model.load(path)\n"
        "serving = loaded.signatures['serving_default']\n"
        "inputs = {k: tf.constant(v) for k, v in np.load(folder + '/inputs.npz').items()}\n"
        "(answer,) = serving(**inputs).values()\n"
        "assert not [m for m in sys.modules if m.startswith('tf_embedding')]\n"
        "np.save(folder + '/answer.npy', answer)\n"
    )
    subprocess.run([sys.executable, "-c", script, path, folder], check=True)
    answer: np.ndarray = np.load(os.path.join(folder, "answer.npy"))
    return answer


def test_sequential_and_its_saved_model(tmp_path):
    model = harness.model_of(harness.embedding())
    model.compile(optimizers.Adam(0.1), "mse")
    harness.fit(model)
    ids = np.concatenate([harness.data()[0], [[77, -1, 2**62]]])  # and ids without a row
    want = model.predict(ids, verbose=0)
    te.export.stock(model, tmp_path / "stock")
    model.save(str(tmp_path / "native"), save_format="tf")
    te.export.stock(str(tmp_path / "native"), tmp_path / "again")
    name = model.inputs[0].name
    for exported in ("stock", "again"):
        got = asked_elsewhere(str(tmp_path / exported), {name: ids}, str(tmp_path))
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


def test_functional_with_ragged_and_dense_features(tmp_path):
    columns = te.feature_column
    column = columns.embedding_column(
        columns.categorical_column_with_embedding("x", dtype=tf.int64), dimension=4
    )
    inputs = {
        "x": keras.Input((3,), dtype="int64", name="x"),
        "price": keras.Input((1,), name="price"),
        "bag": keras.Input((None,), dtype="int64", name="bag", ragged=True),
    }
    features = keras.layers.DenseFeatures([column])({"x": inputs["x"]})
    bag = layers.EmbeddingBag(3, combiner="mean")(inputs["bag"])
    joined = keras.layers.Concatenate()([features, inputs["price"], bag])
    model = keras.Model(inputs, keras.layers.Dense(1)(joined))
    model.compile(optimizers.Adagrad(0.1), "mse")
    asked = {**FEATURES, "bag": tf.ragged.constant([[1, 2], [], [3], [1]], dtype=tf.int64)}
    data = tf.data.Dataset.from_tensors((asked, tf.ones([4, 1])))
    model.fit(data, epochs=3, verbose=0)
    te.export.stock(model, tmp_path)
    assert b"TfEmbedding" not in (tmp_path / "saved_model.pb").read_bytes()
    loaded = tf.saved_model.load(str(tmp_path))
    got = loaded.serve(asked)
    np.testing.assert_allclose(got, model(asked, training=False), rtol=0, atol=1e-6)
