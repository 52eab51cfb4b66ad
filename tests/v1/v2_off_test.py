# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The tests of graphs again, in a process where TensorFlow 2 behaviour is off."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FILES = ["deeprec_test.py", "get_variable_test.py", "session_test.py", "train_test.py"]


def test_with_v2_behavior_off() -> None:
    if os.environ.get("TF_EMBEDDING_TESTS_V2_BEHAVIOR") == "off":
        pytest.skip("this is that process")
    here = os.path.dirname(os.path.abspath(__file__))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *(os.path.join(here, name) for name in FILES),
        ],
        env={**os.environ, "TF_EMBEDDING_TESTS_V2_BEHAVIOR": "off"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
