# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trains canned estimators, prints what came out as JSON: estimator_test.py runs it.

A process of its own, because canned estimators need Keras 2 in tf.keras, and
which Keras that is is settled when TensorFlow is imported.

Usage: canned.py DIRECTORY [all]. With "all" each estimator runs over a vocabulary
too; without, those that have parts no other has. estimator_test.py's PINNED are the
losses of the stock ones.
"""

from __future__ import annotations

import json
import os
import re
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import rewriter_config_pb2

import tf_embedding as te

LOADED = set(sys.modules)
tf1 = tf.compat.v1
fc = tf.feature_column

rng = np.random.default_rng(7)
IDS = rng.integers(0, 40, size=(256, 3))
OTHER = rng.integers(0, 40, size=(256, 1))
NUMBERS = rng.normal(size=(256, 2)).astype(np.float32)
WEIGHTS = rng.normal(size=40)
LABELS = (WEIGHTS[IDS].sum(axis=1) + WEIGHTS[OTHER[:, 0]] + NUMBERS[:, 0] > 0).astype(np.int64)
VOCABULARY = 40


def input_fn():
    features = {"x": IDS, "y": OTHER, "d": NUMBERS}
    return tf1.data.Dataset.from_tensor_slices((features, LABELS)).repeat(2).batch(64)


def categorical(key, is_open):
    if is_open:
        return te.feature_column.categorical_column_with_embedding(key, tf.int64)
    return fc.categorical_column_with_identity(key, VOCABULARY)


def embedding(key, is_open, make=None):
    make = make or fc.embedding_column
    return make(categorical(key, is_open), 4, "sum", initializer=tf1.constant_initializer(0.1))


# Grappler takes longer than these graphs.
_REWRITES = rewriter_config_pb2.RewriterConfig(disable_meta_optimizer=True)
CONFIG = te.estimator.RunConfig(
    save_summary_steps=None,
    session_config=tf1.ConfigProto(graph_options=tf1.GraphOptions(rewrite_options=_REWRITES)),
)


class KernelsOnGrid(tf1.train.SessionRunHook):
    """Gives the kernels of dense layers values that depend on their shape alone.

    Their initializers depend on how many ops the graph has, and so on the columns.
    """

    def begin(self):
        self._sets = []
        for variable in tf1.global_variables():
            if re.search(r"kernel(/part_0)?:0$", variable.name):
                size = int(np.prod(variable.shape.as_list()))
                grid = np.sin(np.arange(1, size + 1)).reshape(variable.shape.as_list()) / 2
                self._sets.append(variable.assign(grid.astype(np.float32)))

    def after_create_session(self, session, coord):
        session.run(self._sets)


def arguments(family, version, is_open, make=None):
    """Of the constructor of an estimator."""
    deep = [embedding("x", is_open, make), fc.numeric_column("d", (2,))]
    wide = [categorical("y", is_open), fc.numeric_column("d", (2,))]
    train = te.train if is_open else tf1.train

    def wrapped(name, rate):
        def made():
            return getattr(train, name)(rate)

        if version == "v1":
            return made
        return lambda: te.estimator.canned_optimizer(made())

    adagrad, ftrl = wrapped("AdagradOptimizer", 0.1), wrapped("FtrlOptimizer", 0.2)
    if family == "DNN":
        return {"hidden_units": [4], "feature_columns": deep, "optimizer": adagrad}
    if family == "Linear":
        return {"feature_columns": wide, "optimizer": ftrl}
    return {
        "linear_feature_columns": wide,
        "linear_optimizer": ftrl,
        "dnn_feature_columns": deep,
        "dnn_optimizer": adagrad,
        "dnn_hidden_units": [4],
    }


def run(family, kind, version, is_open, directory, make=None):
    home = te.estimator.v1 if version == "v1" else te.estimator
    estimator = getattr(home, family + kind)(
        model_dir=directory,
        config=CONFIG,
        **arguments(family, version, is_open, make),
    )
    hooks = [] if family == "Linear" else [KernelsOnGrid()]
    estimator.train(input_fn, hooks=hooks)
    metrics = {name: float(value) for name, value in estimator.evaluate(input_fn).items()}
    return estimator, {"metrics": metrics, "predictions": predict(estimator, kind)}


def predict(estimator, kind):
    key = "logistic" if kind == "Classifier" else "predictions"

    def few():
        return input_fn().unbatch().take(5).batch(5)

    return [float(answer[key][0]) for answer in estimator.predict(few)]


FAMILIES = ("DNN", "Linear", "DNNLinearCombined")
KINDS = ("Classifier", "Regressor")


def export(estimator, columns, directory):
    """The SavedModel, for another process to load."""
    receiver = te.estimator.export.build_parsing_serving_input_receiver_fn(
        fc.make_parse_example_spec(columns)
    )
    return estimator.export_saved_model(directory, receiver).decode()


COLUMNS = ("feature_columns", "linear_feature_columns", "dnn_feature_columns")
# Run over a vocabulary each time: a classifier of each family, and what has all parts.
COMPARED = (
    "v1/DNNClassifier/stock",
    "v1/LinearClassifier/stock",
    "v1/DNNLinearCombinedClassifier/stock",
    "v1/DNNLinearCombinedRegressor/stock",
    "v2/DNNLinearCombinedClassifier/stock",
)


def main(directory, which=""):
    lazy = ("tensorflow_estimator", "tf_embedding.estimator", "tf_embedding.feature_column")
    results = {"loaded": [name for name in lazy if name in LOADED]}
    for version in ("v1", "v2"):
        for family in FAMILIES:
            for kind in KINDS:
                for is_open in (True, False):
                    name = f"{version}/{family}{kind}/{'open' if is_open else 'stock'}"
                    if not is_open and which != "all" and name not in COMPARED:
                        continue
                    path = os.path.join(directory, name)
                    estimator, results[name] = run(family, kind, version, is_open, path)
                    results[name]["variables"] = sorted(estimator.get_variable_names())
                    if is_open and version == "v2":
                        made = arguments(family, version, is_open)
                        columns = [c for name in COLUMNS for c in made.get(name, [])]
                        results[name]["exported"] = export(estimator, columns, path + "_exported")
    name = "own/DNNClassifier/open"
    path = os.path.join(directory, name)
    estimator, results[name] = run(
        "DNN", "Classifier", "v1", True, path, te.feature_column.embedding_column
    )
    results[name]["variables"] = sorted(estimator.get_variable_names())

    columns = arguments("DNN", "v1", True)["feature_columns"]
    results["exported"] = export(estimator, columns, os.path.join(directory, "exported"))
    rows = zip(IDS[:5].tolist(), OTHER[:5].tolist(), NUMBERS[:5].tolist())
    results["examples"] = [{"x": ids, "y": other, "d": numbers} for ids, other, numbers in rows]
    print(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
