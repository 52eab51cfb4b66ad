# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Estimators over embedding variables: train, evaluate, predict, go on, export.

The oracle is the same estimator over a vocabulary, with its dense weights and the
stock optimizer. Figures that both versions of TensorFlow must give are written
down: PINNED.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import event_files
import numpy as np
import pytest
import tensorflow as tf

import tf_embedding as te

tf1 = tf.compat.v1
fc = tf1.feature_column
HERE = Path(__file__).resolve().parent

rng = np.random.default_rng(3)
IDS = rng.integers(0, 30, size=(192, 3))
WORDS = np.array([f"w{i}" for i in range(12)])[rng.integers(0, 12, size=(192, 2))]
LABELS = (rng.normal(size=30)[IDS].sum(axis=1) > 0).astype(np.float32)

# The losses of the stock estimators of `canned.py DIRECTORY all`, over a vocabulary,
# whatever the version of TensorFlow.
PINNED = {
    "v1/DNNClassifier": 27.9564,
    "v1/DNNRegressor": 8.8029,
    "v1/LinearClassifier": 34.36056,
    "v1/LinearRegressor": 9.798489,
    "v1/DNNLinearCombinedClassifier": 22.97893,
    "v1/DNNLinearCombinedRegressor": 5.558346,
    "v2/DNNClassifier": 0.6469928,
    "v2/DNNRegressor": 0.2182194,
    "v2/LinearClassifier": 0.6161256,
    "v2/LinearRegressor": 0.18642,
    "v2/DNNLinearCombinedClassifier": 0.6059245,
    "v2/DNNLinearCombinedRegressor": 0.1799714,
}


def run_script(name, *arguments):
    environment = dict(os.environ)
    if importlib.util.find_spec("tf_keras") is not None:  # TensorFlow 2.15 has Keras 2 itself.
        environment["TF_USE_LEGACY_KERAS"] = "1"
    done = subprocess.run(
        [sys.executable, str(HERE / name), *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def input_fn(repeat=2):
    features = {"x": IDS, "s": WORDS}
    return tf1.data.Dataset.from_tensor_slices((features, LABELS)).repeat(repeat).batch(48)


def model_fn(features, labels, mode, params):
    """A model_fn as one writes it oneself; its columns have a vocabulary if params say so."""
    is_open = params["is_open"]
    if is_open:
        option = te.EmbeddingVariableOption(filter_option=te.CounterFilter(params["filter_freq"]))
        of_ids = te.feature_column.categorical_column_with_embedding(
            "x", tf.int64, ev_option=option
        )
        of_words = te.feature_column.categorical_column_with_embedding("s")
    else:
        of_ids = fc.categorical_column_with_identity("x", 30)
        of_words = fc.categorical_column_with_vocabulary_list("s", [f"w{i}" for i in range(12)])
    ones = tf1.constant_initializer(0.2)
    deep = fc.input_layer(features, [fc.embedding_column(of_ids, 3, "sum", initializer=ones)])
    wide = fc.linear_model(features, [of_words])[:, 0]
    kernel = np.linspace(-1.0, 1.0, 3, dtype=np.float32)[:, np.newaxis]
    kernel = tf1.get_variable("kernel", initializer=kernel)
    logits = tf.matmul(deep, kernel)[:, 0] + wide
    predictions = {"probability": tf.sigmoid(logits)}
    exports = {"serving_default": te.estimator.export.PredictOutput(predictions)}
    if mode == "infer":
        return te.estimator.EstimatorSpec(mode, predictions, export_outputs=exports)
    loss = tf.reduce_sum(
        tf1.nn.sigmoid_cross_entropy_with_logits(labels=tf.cast(labels, tf.float32), logits=logits)
    )
    optimizer = (te.train if is_open else tf1.train).AdagradOptimizer(params["rate"])
    train_op = optimizer.minimize(loss, global_step=tf1.train.get_global_step())
    metrics = {"auc": tf1.metrics.auc(labels, predictions["probability"])}
    return te.estimator.EstimatorSpec(mode, predictions, loss, train_op, metrics)


def estimator_in(directory, is_open=True, rate=0.2, filter_freq=0, **kwargs):
    params = {"is_open": is_open, "rate": rate, "filter_freq": filter_freq}
    return te.estimator.Estimator(model_fn, str(directory), params=params, **kwargs)


def predict(estimator):
    answers = estimator.predict(lambda: input_fn(1))
    return np.array([answer["probability"] for answer in answers])


def test_a_model_fn_trains_as_with_a_vocabulary(tmp_path):
    metrics, predictions = [], []
    for is_open in (True, False):
        estimator = estimator_in(tmp_path / str(is_open), is_open)
        estimator.train(input_fn)
        metrics.append(estimator.evaluate(lambda: input_fn(1)))
        predictions.append(predict(estimator))
    np.testing.assert_allclose(predictions[0], predictions[1], rtol=1e-4)
    assert metrics[0]["auc"] == pytest.approx(metrics[1]["auc"], abs=1e-4)
    assert metrics[0]["loss"] == pytest.approx(metrics[1]["loss"], rel=1e-5)
    assert metrics[0]["global_step"] == 8
    # Both metrics again, in numpy.
    p = predictions[0].astype(np.float64)
    losses = -(LABELS * np.log(p) + (1 - LABELS) * np.log1p(-p))
    assert metrics[0]["loss"] == pytest.approx(losses.reshape(-1, 48).sum(axis=1).mean(), rel=1e-5)
    above = p[LABELS == 1][:, np.newaxis] - p[LABELS == 0]
    auc = np.mean((above > 0) + (above == 0) / 2)
    assert metrics[0]["auc"] == pytest.approx(auc, abs=5e-3)  # TensorFlow's has 200 thresholds.
    assert auc > 0.75


# Some ids come 28 times and more in all, and none so often in a half.
@pytest.mark.parametrize("filter_freq", [0, 28])
def test_training_goes_on_where_it_stopped(filter_freq, tmp_path):
    counts = np.bincount(IDS.ravel())
    assert filter_freq == 0 or counts.max() < filter_freq < 2 * counts.max()

    def make(name):
        return estimator_in(tmp_path / name, filter_freq=filter_freq)

    make("whole").train(input_fn, steps=8)
    for _ in range(2):  # A new object each time, as in a new process.
        make("halves").train(lambda: input_fn(1), steps=4)
    np.testing.assert_array_equal(predict(make("halves")), predict(make("whole")))
    if filter_freq:
        estimator_in(tmp_path / "open").train(input_fn, steps=8)
        assert (predict(make("whole")) != predict(estimator_in(tmp_path / "open"))).any()


def test_train_and_evaluate(tmp_path):
    estimator = estimator_in(tmp_path / "model")
    logs = tmp_path / "logs"
    hook = te.train.TableSummaryHook(save_steps=100, output_dir=str(logs))
    metrics, _ = te.estimator.train_and_evaluate(
        estimator,
        te.estimator.TrainSpec(lambda: input_fn(None), max_steps=12, hooks=[hook]),
        te.estimator.EvalSpec(lambda: input_fn(1), steps=None, start_delay_secs=0, throttle_secs=0),
    )
    assert metrics["global_step"] == 12 and metrics["auc"] > 0.75
    # A hook as of any session; both columns have a table.
    scalars = event_files.scalars(logs)
    assert sorted(scalars) == [1, 12]
    keys = {tag: value for tag, value in scalars[12].items() if tag.endswith("/keys")}
    assert sorted(keys.values()) == [12, 30]


def test_warm_start(tmp_path):
    first = estimator_in(tmp_path / "first")
    first.train(input_fn)
    second = estimator_in(
        tmp_path / "second", rate=1e-30, warm_start_from=str(tmp_path / "first")
    )
    second.train(input_fn, steps=1)
    np.testing.assert_allclose(predict(second), predict(first), rtol=1e-6)
    cold = estimator_in(tmp_path / "cold", rate=1e-30)
    cold.train(input_fn, steps=1)
    assert np.abs(predict(cold) - predict(first)).max() > 0.05


def test_early_stopping(tmp_path):
    config = te.estimator.RunConfig(save_checkpoints_steps=2)
    estimator = estimator_in(tmp_path, config=config)
    hook = te.estimator.experimental.stop_if_higher_hook(
        estimator, "auc", threshold=0.0, run_every_secs=None, run_every_steps=1
    )
    te.estimator.train_and_evaluate(
        estimator,
        te.estimator.TrainSpec(lambda: input_fn(None), max_steps=50, hooks=[hook]),
        te.estimator.EvalSpec(lambda: input_fn(1), steps=1, start_delay_secs=0, throttle_secs=0),
    )
    assert 2 <= estimator.get_variable_value("global_step") < 10


def test_what_is_not_there_is_said():
    with pytest.raises(AttributeError, match="NoSuchEstimator"):
        te.estimator.NoSuchEstimator  # noqa: B018
    if int(getattr(tf.keras, "__version__", "2").split(".")[0]) >= 3:
        with pytest.raises(RuntimeError, match="TF_USE_LEGACY_KERAS=1"):
            te.estimator.v1.DNNClassifier  # noqa: B018
        with pytest.raises(RuntimeError, match="TF_USE_LEGACY_KERAS=1"):
            te.estimator.LinearRegressor  # noqa: B018


@pytest.fixture(scope="module")
def canned(tmp_path_factory):
    return run_script("canned.py", str(tmp_path_factory.mktemp("canned")))


def test_nothing_loads_before_it_is_asked_for(canned):
    assert canned["loaded"] == []


@pytest.mark.parametrize("name", PINNED)
def test_canned_estimators_train_as_with_a_vocabulary(canned, name):
    ours = canned[f"{name}/open"]
    assert ours["metrics"]["loss"] == pytest.approx(PINNED[name], rel=1e-5)
    assert ours["metrics"]["global_step"] == 8
    assert any(variable.endswith("_rows-blocks") for variable in ours["variables"])
    stock = canned.get(f"{name}/stock")
    if stock is None:  # It has no part that the others lack: its loss above says it.
        return
    np.testing.assert_allclose(ours["predictions"], stock["predictions"], rtol=1e-4)
    assert ours["metrics"].keys() == stock["metrics"].keys()
    for metric, value in stock["metrics"].items():
        assert ours["metrics"][metric] == pytest.approx(value, rel=1e-4, abs=1e-6), metric


def test_a_canned_estimator_over_our_column(canned):
    ours, stock = canned["own/DNNClassifier/open"], canned["v1/DNNClassifier/stock"]
    np.testing.assert_allclose(ours["predictions"], stock["predictions"], rtol=1e-4)
    # The rows are all that it has; a stock column has a weight beside them.
    names = [name for name in ours["variables"] if name.endswith("embedding_weights")]
    assert len(names) == 1 and names[0] + "-blocks" in ours["variables"]


def test_canned_v2_estimators_answer_in_a_fresh_process(canned, tmp_path):
    names = [f"{name}/open" for name in PINNED if name.startswith("v2/")]
    assert len(names) == 6
    request = []
    for name in names:
        output = "logistic" if "Classifier" in name else "predictions"
        request.append([canned[name]["exported"], "predict", output, canned["examples"]])
    (tmp_path / "request.json").write_text(json.dumps(request))
    served = run_script("serve.py", "tf_embedding", str(tmp_path / "request.json"))
    for name, answers in zip(names, served):
        np.testing.assert_allclose(answers, canned[name]["predictions"], rtol=1e-5, err_msg=name)


def test_exported_estimators_answer_in_a_fresh_process(canned, tmp_path):
    estimator = estimator_in(tmp_path / "model")
    estimator.train(input_fn)
    spec = {"x": tf.io.VarLenFeature(tf.int64), "s": tf.io.VarLenFeature(tf.string)}
    receiver = te.estimator.export.build_parsing_serving_input_receiver_fn(spec)
    exported = estimator.export_saved_model(str(tmp_path / "exported"), receiver).decode()
    own = [{"x": x.tolist(), "s": s.tolist()} for x, s in zip(IDS[:4], WORDS[:4])]
    requests = [
        [exported, "serving_default", "probability", own],
        [canned["exported"], "predict", "logistic", canned["examples"]],
    ]
    (tmp_path / "request.json").write_text(json.dumps(requests))
    # And with TensorFlow's own ops, where nothing is imported.
    for number, request in enumerate(requests):
        stock = str(tmp_path / f"stock_{number}")
        te.export.stock(request[0], stock)
        request[0] = stock
    (tmp_path / "stock.json").write_text(json.dumps(requests))
    for package, file in (("tf_embedding", "request.json"), ("", "stock.json")):
        answers = run_script("serve.py", package, str(tmp_path / file))
        np.testing.assert_allclose(answers[0], predict(estimator)[:4], rtol=1e-5)
        np.testing.assert_allclose(
            answers[1], canned["own/DNNClassifier/open"]["predictions"], rtol=1e-5
        )
