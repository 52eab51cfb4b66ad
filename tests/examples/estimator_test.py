# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The example of an estimator: the whole command, on a few thousand rows."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

_EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples")
sys.path.insert(0, os.path.join(_EXAMPLES, "ctr"))

import ctr_metrics  # noqa: E402
import ctr_models  # noqa: E402
import ctr_readers  # noqa: E402

FLIGHTS = os.path.join(_EXAMPLES, "data", "flights.parquet")
WIDE_DEEP = os.path.join(_EXAMPLES, "estimator", "wide_deep.py")

HAS_KERAS_2 = tf.__version__ < "2.16" or importlib.util.find_spec("tf_keras") is not None
HAS_ESTIMATOR = importlib.util.find_spec("tensorflow_estimator") is not None

pytestmark = pytest.mark.skipif(
    not (HAS_KERAS_2 and HAS_ESTIMATOR), reason="needs tensorflow_estimator and Keras 2"
)


@pytest.fixture(scope="module")
def learnable(tmp_path_factory):
    """The first 3,000 flights, with labels that so few can teach: by carrier."""
    path = str(tmp_path_factory.mktemp("data") / "flights.parquet")
    frame = pd.read_parquet(FLIGHTS).head(3000)
    late = frame["carrier"].isin(sorted(frame["carrier"].unique())[::2])
    draws = np.random.default_rng(0).random(len(frame))
    frame["label"] = (draws < np.where(late, 0.9, 0.1)).astype(frame["label"].dtype)
    frame.to_parquet(path)
    return path


def test_the_command(learnable, tmp_path):
    printed = {}
    for source in ("parquet", "tfrecord"):
        command = [sys.executable, WIDE_DEEP, f"--data={learnable}", f"--input={source}"]
        command += [f"--out={tmp_path / source}", "--dim=4", "--hidden=8", "--deep_rate=0.1"]
        # All 21 take a minute to build, whatever the rows.
        command += ["--features=carrier,origin,carrier_x_hour"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        printed[source] = done.stdout
    for text in printed.values():
        assert "rows: 2,400 trained, 600 evaluated" in text
        assert float(re.search(r"^AUC: (\S+)", text, re.M).group(1)) > 0.8
        difference = re.search(r"answers 64 rows, largest difference (\S+)", text).group(1)
        assert float(difference) < 1e-6
    # Both read the same rows in the same order.
    figures = [re.findall(r"^(?:AUC|log loss): .*$", text, re.M) for text in printed.values()]
    assert figures[0] == figures[1] and len(figures[0]) == 2


def test_a_seed_means_the_same_start_as_in_the_keras_example(learnable, tmp_path):
    command = [sys.executable, WIDE_DEEP, f"--data={learnable}", f"--out={tmp_path}"]
    command += ["--dim=4", "--hidden=8,6", "--seed=5", "--rows=1000"]
    command += ["--features=carrier,origin,dest", "--deep_rate=1e-30", "--wide_rate=1e-30"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]

    reader = ctr_readers.open_reader(learnable)
    features = ctr_models.Features(reader)
    features.names = ("carrier", "origin", "dest")
    found = ctr_models.make_model(
        "wide_deep", features, 4, [8, 6], *ctr_models.DEFAULTS["wide_deep"], seed=5
    )
    model = found[0]
    trained = tf.train.load_checkpoint(str(tmp_path / "model"))
    assert trained.get_tensor("global_step") == 4
    for layer, name in zip(model.tower.layers, ("hiddenlayer_0", "hiddenlayer_1", "logits")):
        kernel, bias = layer.get_weights()
        theirs = trained.get_tensor(f"dnn/{name}/kernel")
        if name == "hiddenlayer_0":  # Its inputs come in another order there.
            kernel, theirs = (k[np.argsort(k[:, 0])] for k in (kernel, theirs))
        np.testing.assert_array_equal(theirs, kernel)
        np.testing.assert_allclose(trained.get_tensor(f"dnn/{name}/bias"), bias, atol=1e-20)

    # The order is the right one, and the vectors are the same: so are the scores.
    (block,) = reader.blocks(1000, 0, 1000)
    logits = np.asarray(model.predict_on_batch(features.encode(block)), np.float64)[800:, 0]
    scores, labels = 1.0 / (1.0 + np.exp(-logits)), block.labels[800:]
    printed = [re.search(rf"^{name}: (\S+)", done.stdout, re.M) for name in ("AUC", "log loss")]
    assert [float(match.group(1)) for match in printed] == pytest.approx(
        [ctr_metrics.auc(labels, scores), ctr_metrics.log_loss(labels, scores)], abs=6e-5
    )
