# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs the C++ tests of the core, each program as one test.

The sanitizer builds of the same programs: tools/cc_tests.py --sanitizer=...
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


def test_the_script_for_machines_with_a_gpu_works_without_one(
    programs: dict[str, str], tmp_path: Path
) -> None:
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    script = os.path.join(root, "tests", "gpu", "run.sh")
    environment = dict(os.environ, OUT=str(tmp_path), PYTHON=sys.executable)
    done = subprocess.run(
        ["bash", script, "--host"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NO FIGURE IS A GPU'S" in done.stdout
    summary = done.stdout.splitlines()[-5:]
    assert [line.split()[0] for line in summary] == ["build", "test", "sanitize", "bench", "torch"]
    assert [line.split()[1] for line in summary] == ["ok"] * 4 + ["not"]
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("| B")]
    assert {row[1].split()[0] for row in rows} == {"B1", "B2", "B3", "B4", "B5", "B6"}
    assert all(0 < float(row[2]) < float("inf") for row in rows)
    assert "nan" not in done.stdout
    assert subprocess.run(["bash", script, "--gpu"], capture_output=True).returncode == 2
