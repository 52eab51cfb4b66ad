# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Layers, optimizers and callbacks for Keras 2: tf.keras of TensorFlow 2.15, tf_keras."""

from tf_embedding.keras2 import callbacks, layers, optimizers

__all__ = ["callbacks", "layers", "optimizers"]
