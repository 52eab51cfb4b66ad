# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Callbacks under Keras 3: what they write, beside what was trained."""

from __future__ import annotations

import keras
from callback_cases import CallbackCases

import tf_embedding as te


class CallbacksTest(CallbackCases):
    keras = keras
    face = te
