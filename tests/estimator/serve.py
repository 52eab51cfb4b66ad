# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Loads exported estimators in a process of its own; prints their answers as JSON.

Usage: serve.py REQUEST, a JSON file: [[directory, signature, output, examples], ...],
an example being {feature: [ints, or texts]}.
"""

from __future__ import annotations

import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tensorflow as tf

import tf_embedding  # noqa: F401  (its ops)


def example(features):
    proto = tf.train.Example()
    for name, values in features.items():
        if isinstance(values[0], str):
            texts = [value.encode() for value in values]
            proto.features.feature[name].bytes_list.value.extend(texts)
        elif isinstance(values[0], float):
            proto.features.feature[name].float_list.value.extend(values)
        else:
            proto.features.feature[name].int64_list.value.extend(values)
    return proto.SerializeToString()


def main(path):
    answers = []
    with open(path) as request:
        for directory, signature, output, examples in json.load(request):
            loaded = tf.saved_model.load(directory)
            served = loaded.signatures[signature]
            answer = served(tf.constant([example(e) for e in examples]))[output]
            answers.append(answer.numpy().ravel().tolist())
    print(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1])
