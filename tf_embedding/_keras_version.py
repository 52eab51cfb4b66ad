# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which Keras `tf.keras` is."""

from __future__ import annotations

import os

import tensorflow as tf


def is_keras_3() -> bool:
    """True where `tf.keras` is Keras 3, without importing it.

    TensorFlow 2.16 made Keras 3 its default; TF_USE_LEGACY_KERAS brings Keras 2
    back, by TensorFlow's own convention.
    """
    major, minor = (int(part) for part in tf.__version__.split(".")[:2])
    legacy = os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true")
    return (major, minor) >= (2, 16) and not legacy
