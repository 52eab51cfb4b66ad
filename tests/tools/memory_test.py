# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tools take a checkpoint several times larger than the memory that they add.

This file is also the program that the test runs: all commands in one process, which says by
how much its highest resident size has grown over what it was before the first.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np

ROWS, DIM = 160_000, 64
# With Adam's two slots a row is 792 bytes: 127 MB. What all commands together may add.
ALLOWANCE = 40 << 20

# In this order: what one writes another reads. The exit code of each.
COMMANDS = {
    "inspect {0}/large": 0,
    "verify {0}/large": 0,
    "diff {0}/large {0}/other": 1,
    "top {0}/large": 0,
    "strip {0}/large {0}/stripped --slots": 0,
    "reshard {0}/large {0}/resharded --parts=4": 0,
    "export {0}/large {0}/rows.npz": 0,
    "import {0}/rows.npz {0}/imported": 0,
}


def run_all(folder: str) -> None:
    """Runs the commands; prints of each its exit code and by how many bytes the process grew."""
    from tf_embedding.tools import export_command, import_command, main, writing  # noqa: F401

    # The files of the sort are to be much smaller than the table, as they are of large ones.
    writing.FILE_BYTES = writing.WAITING_BYTES = 4 << 20
    # Everything that is loaded once is loaded now.
    main.main(["tf-embedding", "inspect", f"{folder}/small"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for command in COMMANDS:
        code = main.main(["tf-embedding", *command.format(folder).split()])
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"grown {code} {(after - before) * 1024} {command}")


def test_memory_is_bounded(tmp_path) -> None:
    import tensorflow as tf
    import tools_harness as harness

    import tf_embedding as te

    small = te.EmbeddingVariable(2, name="small")
    small.upsert([1], [[1.0, 2.0]])
    harness.write(tmp_path / "small", t=small)
    large = te.EmbeddingVariable(DIM, name="large")
    keys = np.arange(ROWS) * 7919
    values = np.repeat(keys[:, None], DIM, axis=1).astype(np.float32)
    slices = tf.IndexedSlices(tf.constant(values), tf.constant(keys))
    te.rules.apply(large, slices, te.rules.Adam(), 0.1, 1)
    harness.write(tmp_path / "large", t=large)
    large.upsert([0], np.ones([1, DIM]))
    harness.write(tmp_path / "other", t=large)
    assert Path(f"{tmp_path}/large.data-00000-of-00002").stat().st_size > 3 * ALLOWANCE
    root = os.path.dirname(os.path.dirname(os.path.abspath(te.__file__)))
    result = subprocess.run(
        [sys.executable, __file__, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": root, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    lines = [line.split(" ", 3) for line in result.stdout.splitlines() if line.startswith("grown")]
    assert [line[3] for line in lines] == list(COMMANDS), result.stderr
    for _, code, grown, command in lines:
        assert int(code) == COMMANDS[command], f"{command}: {result.stderr}"
        assert int(grown) < ALLOWANCE, f"{command}: grew by {int(grown) >> 20} MiB"
    assert te.checkpoint.verify(f"{tmp_path}/imported") == {"table/table/.ATTRIBUTES/-blocks": ROWS}


if __name__ == "__main__":
    run_all(sys.argv[1])
