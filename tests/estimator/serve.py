# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Loads exported estimators in a process of its own; prints their answers as JSON.

Usage: serve.py PACKAGE REQUEST. PACKAGE is one to import for its ops, or "" for none;
REQUEST is a JSON file: [[directory, signature, output, examples], ...],
an example being {feature: [ints, or texts]}.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tensorflow as tf


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


def main(package, path):
    if package:
        importlib.import_module(package)
    answers = []
    with open(path) as request:
        for directory, signature, output, examples in json.load(request):
            loaded = tf.saved_model.load(directory)
            served = loaded.signatures[signature]
            answer = served(tf.constant([example(e) for e in examples]))[output]
            answers.append(answer.numpy().ravel().tolist())
    assert package or "tf_embedding" not in sys.modules
    print(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
