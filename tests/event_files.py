# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is in the TensorBoard event files of a directory."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import tensorflow as tf


def _values(directory: Any) -> Any:
    for name in sorted(os.listdir(directory)):
        if "tfevents" in name:
            path = os.path.join(directory, name)
            for event in tf.compat.v1.train.summary_iterator(path):
                for value in event.summary.value:
                    yield event.step, value


def scalars(directory: Any) -> dict[int, dict[str, float]]:
    """{step: {tag: value}}."""
    found: dict[int, dict[str, float]] = {}
    for step, value in _values(directory):
        if value.WhichOneof("value") == "simple_value":
            found.setdefault(step, {})[value.tag] = value.simple_value
    return found


def histograms(directory: Any) -> dict[int, dict[str, Any]]:
    """{step: {tag: HistogramProto}}."""
    found: dict[int, dict[str, Any]] = {}
    for step, value in _values(directory):
        if value.WhichOneof("value") == "histo":
            found.setdefault(step, {})[value.tag] = value.histo
    return found


def check_histogram(histogram: Any, values: Any) -> None:
    """Asserts that each bucket of a histogram counts just those of values in its range."""
    values = np.asarray(values, np.float64)
    edges = np.array([histogram.min, *histogram.bucket_limit])
    assert edges[-1] == histogram.max and histogram.num == len(values)
    inside = (values[:, None] >= edges[:-1]) & (values[:, None] < edges[1:])
    np.testing.assert_array_equal(histogram.bucket, inside.sum(axis=0))
    assert sum(histogram.bucket) == len(values)
    # From the first to the last bucket with something in it.
    assert histogram.bucket[0] > 0 and histogram.bucket[-1] > 0
