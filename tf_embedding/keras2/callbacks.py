# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Callbacks for Keras 2."""

from __future__ import annotations

from tf_embedding._keras_callbacks import WritesTableSummaries
from tf_embedding.keras2._keras import keras


class TableSummaries(WritesTableSummaries, keras.callbacks.Callback):  # type: ignore[misc]
    __doc__ = WritesTableSummaries.__doc__
