# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The tests of graphs again, in a process where TensorFlow 2 behaviour is off."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FILES = ["deeprec_test.py", "get_variable_test.py", "session_test.py", "train_test.py"]


def test_with_v2_behavior_off() -> None:
    if os.environ.get("TF_EMBEDDING_TESTS_V2_BEHAVIOR") == "off":
        pytest.skip("this is that process")
    # Resolved: under Bazel this file is a link, and the others are not beside it.
    here = Path(__file__).resolve().parent
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            # Slow ones whose other case is enough here.
            *("-k", "not (clipped and not adam) and not resumes_to_the_same_bits"),
            *(str(here / name) for name in FILES),
        ],
        env={**os.environ, "TF_EMBEDDING_TESTS_V2_BEHAVIOR": "off"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
