# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs the C++ tests of the core, each program as one test.

The sanitizer builds of the same programs: tools/cc_tests.py --sanitizer=...
"""

from __future__ import annotations

import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import cc_tests  # noqa: E402


@pytest.fixture(scope="module")
def programs() -> dict[str, str]:
    names = cc_tests.names()
    return dict(zip(names, cc_tests.build(names)))


@pytest.mark.parametrize("name", cc_tests.names())
def test_cc(name: str, programs: dict[str, str]) -> None:
    result = cc_tests.run(programs[name])
    assert result.returncode == 0, result.stdout


def test_there_are_tests() -> None:
    assert cc_tests.names()
