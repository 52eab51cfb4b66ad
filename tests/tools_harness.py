# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the tests of the tools share: running commands, checkpoints, the documented reader."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

import tf_embedding as te
from tf_embedding.tools import main

PAGE = Path(__file__).resolve().parents[1] / "docs" / "checkpoint_format.md"


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*args: Any) -> Result:
    """Runs a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main.main(["tf-embedding", *map(str, args)])
    return Result(code, out.getvalue(), err.getvalue())


def succeed(*args: Any) -> Result:
    result = run(*args)
    assert result.code == 0, result.err + result.out
    return result


def fail(*args: Any) -> str:
    """Runs a command that cannot be done; what it says on standard error."""
    result = run(*args)
    assert result.code == 2, result
    return result.err


def trained(
    name: str, rows: int = 3000, dim: int = 4, rule: Any = None, num_parts: int = 1, seed: int = 0
) -> te.EmbeddingVariable:
    """A variable whose rows differ in everything: keys of all sizes, three steps."""
    random = np.random.default_rng(seed)
    variable = te.EmbeddingVariable(dim, seed=seed, name=name, num_parts=num_parts)
    keys = random.integers(-(2**63), 2**63 - 1, rows)
    keys[:4] = [0, -1, 2**63 - 1, -(2**63)]
    for step in range(3):
        chosen = keys if step == 0 else random.choice(keys, rows)
        values = random.normal(size=[rows, dim]).astype(np.float32)
        slices = tf.IndexedSlices(tf.constant(values), tf.constant(chosen))
        te.rules.apply(variable, slices, rule or te.rules.Adam(), 0.1, step * 5)
    return variable


def write(path: Path, **objects: Any) -> str:
    return tf.train.Checkpoint(**objects).write(str(path))


def rows_of(variable: te.EmbeddingVariable) -> dict[str, np.ndarray]:
    """All rows in order of key."""
    rows = variable.export()
    order = np.argsort(rows.keys.numpy())
    return {field: getattr(rows, field).numpy()[order] for field in rows._fields}


def assert_same_rows(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for field in a:
        np.testing.assert_array_equal(a[field], b[field], err_msg=field)


def restored(path: Any, dim: int, name: str = "table", **options: Any) -> te.EmbeddingVariable:
    """A new variable with the content of the checkpoint's object `name`."""
    variable = te.EmbeddingVariable(dim, name="restored", **options)
    status = tf.train.Checkpoint(**{name: variable}).read(str(path))
    status.expect_partial().assert_existing_objects_matched()
    return variable


def documented_reader() -> Any:
    """The names of the reader in docs/checkpoint_format.md, which knows nothing of the package."""
    names: dict[str, Any] = {}
    exec(re.search(r"```python\n(.*?)```", PAGE.read_text(), re.S)[1], names)
    return names
