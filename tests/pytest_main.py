# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs pytest on the files named as arguments: the main of Bazel's py_test."""

from __future__ import annotations

import os
import sys

import pytest

import tf_embedding

if __name__ == "__main__":
    # The working directory is the root of the runfiles, laid out as the
    # repository. The package of this build is under test, not an installed one.
    assert os.path.abspath(tf_embedding.__file__).startswith(os.getcwd()), tf_embedding
    options = ["-q", "-p", "no:cacheprovider", "-c", os.path.abspath("pyproject.toml")]
    options += ["--rootdir=" + os.getcwd()]
    sys.exit(pytest.main(options + sys.argv[1:]))
