# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Graphs and sessions, with TensorFlow 2 behaviour on or, in a process of its own, off."""

from __future__ import annotations

import os

import tensorflow as tf

if os.environ.get("TF_EMBEDDING_TESTS_V2_BEHAVIOR") == "off":
    tf.compat.v1.disable_v2_behavior()
