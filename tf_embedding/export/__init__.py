# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Export for servers: a SavedModel of TensorFlow's own ops."""

from tf_embedding.export.saved_model import stock as stock

__all__ = ["stock"]
