# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Layers and optimizers for Keras 2: tf.keras of TensorFlow 2.15, tf_keras."""

from tf_embedding.keras2 import layers, optimizers

__all__ = ["layers", "optimizers"]
