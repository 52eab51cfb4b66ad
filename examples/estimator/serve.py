# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Loads an exported model and scores rows: what a server does.

    python examples/estimator/serve.py EXPORTED ROWS.tfrecord 64

scores the first 64 rows of a TFRecord file of tf.train.Examples and prints the
probabilities as JSON. It needs TensorFlow and tf_embedding, for its ops, and nothing
else: no estimator, no Keras.
"""

from __future__ import annotations

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

import tf_embedding  # noqa: F401  (its ops)


def main(exported: str, path: str, count: str) -> None:
    examples = list(tf.data.TFRecordDataset(path).take(int(count)).as_numpy_iterator())
    model = tf.saved_model.load(exported)
    answer = model.signatures["predict"](tf.constant(examples))
    print(json.dumps(answer["logistic"].numpy().ravel().tolist()))


if __name__ == "__main__":
    main(*sys.argv[1:])
