# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Callbacks for Keras 3."""

from __future__ import annotations

import keras

from tf_embedding._keras_callbacks import WritesTableSummaries


class TableSummaries(WritesTableSummaries, keras.callbacks.Callback):  # type: ignore[misc]
    __doc__ = WritesTableSummaries.__doc__
