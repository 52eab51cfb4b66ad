# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Callbacks under Keras 2: what they write, beside what was trained."""

from __future__ import annotations

from callback_cases import CallbackCases
from keras2 import harness

from tf_embedding import keras2


class CallbacksTest(CallbackCases):
    keras = harness.keras
    face = keras2
