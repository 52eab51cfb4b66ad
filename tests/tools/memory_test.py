# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tools take a checkpoint several times larger than the memory that they may add.

This file is also the program that the test runs: each command in a process of its own, which
says by how much its highest resident size grew over what it was before.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROWS, DIM = 260_000, 64
# With Adam's two slots a row is 792 bytes: 206 MB. What a command may add.
ALLOWANCE = 100 << 20


def grown(folder: str, *args: str) -> None:
    """Runs a command; prints its exit code and by how many bytes the process grew."""
    from tf_embedding.tools import export_command, import_command, main  # noqa: F401

    # Everything that is loaded once is loaded now: TensorFlow, the op, pyarrow.
    main.main(["tf-embedding", "verify", os.path.join(folder, "small")])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code = main.main(["tf-embedding", *args])
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print("grown", code, (after - before) * 1024)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    """A large checkpoint, one that differs in a row, and a small one."""
    import tensorflow as tf
    from tools import harness

    import tf_embedding as te

    folder = tmp_path_factory.mktemp("large")
    small = te.EmbeddingVariable(2, name="small")
    small.upsert([1], [[1.0, 2.0]])
    harness.write(folder / "small", t=small)
    large = te.EmbeddingVariable(DIM, name="large")
    keys = np.arange(ROWS) * 7919
    for part in np.array_split(keys, 8):
        values = np.repeat(part[:, None], DIM, axis=1).astype(np.float32)
        slices = tf.IndexedSlices(tf.constant(values), tf.constant(part))
        te.rules.apply(large, slices, te.rules.Adam(), 0.1, 1)
    harness.write(folder / "large", t=large)
    large.upsert([0], np.ones([1, DIM]))
    harness.write(folder / "other", t=large)
    return str(folder)


COMMANDS = {
    "inspect": ("inspect {0}/large", 0),
    "verify": ("verify {0}/large", 0),
    "diff": ("diff {0}/large {0}/other", 1),
    "top": ("top {0}/large", 0),
    "strip": ("strip {0}/large {0}/stripped --slots", 0),
    "reshard": ("reshard {0}/large {0}/resharded --parts=4", 0),
    "export": ("export {0}/large {0}/rows.npz", 0),
    "import": ("import {0}/rows.npz {0}/imported", 0),
}


def test_memory_is_bounded(folder) -> None:
    """In this order: what one writes another reads."""
    import tf_embedding as te

    size = Path(folder, "large.data-00000-of-00001").stat().st_size
    assert size > 1.9 * ALLOWANCE
    root = os.path.dirname(os.path.dirname(os.path.abspath(te.__file__)))
    environment = {**os.environ, "PYTHONPATH": root, "TF_CPP_MIN_LOG_LEVEL": "3"}
    for name, (command, code) in COMMANDS.items():
        result = subprocess.run(
            [sys.executable, __file__, folder, *command.format(folder).split()],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert "grown" in result.stdout, f"{name}: {result.stderr}"
        _, its_code, size_grown = result.stdout.splitlines()[-1].split()
        assert int(its_code) == code, f"{name}: {result.stdout} {result.stderr}"
        assert int(size_grown) < ALLOWANCE, f"{name} grew by {int(size_grown) >> 20} MiB"
    assert te.checkpoint.verify(f"{folder}/imported") == {"table/table/.ATTRIBUTES/-blocks": ROWS}


if __name__ == "__main__":
    grown(*sys.argv[1:])
