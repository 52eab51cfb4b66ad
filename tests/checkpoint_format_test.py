# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The bytes of checkpoints: the documentation's reader, and files of earlier releases."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tests_support import ALL_RULES

import tf_embedding as te

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "checkpoint_format.md"
GOLDEN = {version: str(HERE / "golden" / f"format_{version}") for version in (1, 2)}
TENSOR = "{}/table/.ATTRIBUTES/-blocks"


@pytest.fixture(scope="module")
def reader() -> Any:
    """The names that the reader in the documentation defines."""
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.S)[1]
    assert "tf_embedding" not in code and 80 < len(code.splitlines()) < 150
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def read(reader: Any, prefix: str, name: str) -> tuple[dict, np.ndarray]:
    return reader["read_part"](reader["bundle_elements"](prefix, TENSOR.format(name)))


def assert_rows_are(rows: np.ndarray, ev: te.EmbeddingVariable) -> None:
    want = ev.export()
    mine, its = np.argsort(rows["key"]), np.argsort(want.keys)
    for field, name in zip(want._fields, ("key", "vector", "slots", "frequency", "version")):
        np.testing.assert_array_equal(rows[name][mine], getattr(want, field).numpy()[its])


@pytest.mark.parametrize("rule", ALL_RULES.values(), ids=ALL_RULES)
def test_the_documented_reader_reads_every_rule(rule, reader, tmp_path) -> None:
    ev = te.EmbeddingVariable(3, initializer="normal", seed=4, name="read")
    for step in range(3):
        keys = np.array([0, -1, 2**63 - 1, -(2**63), 5, step], np.int64)
        slices = tf.IndexedSlices(tf.fill([6, 3], 0.5 + step), tf.constant(keys))
        te.rules.apply(ev, slices, rule, 0.1, step)
    prefix = tf.train.Checkpoint(ev=ev).write(str(tmp_path / "ckpt"))
    footer, rows = read(reader, prefix, "ev")
    assert footer["rule"] == ev.rule() and footer["rows"] == int(ev.size())
    assert (footer["step"], footer["dim"], footer["seed"]) == (2, 3, 4)
    assert footer["initializer"] == "normal"
    core = te.rules.core_rules()[ev.rule()]
    assert footer["vector_slots"] == list(core["vector_slots"])
    assert footer["scalar_slots"] == list(core["scalar_slots"])
    assert_rows_are(rows, ev)


def test_the_documented_reader_reads_many_blocks(reader, tmp_path) -> None:
    ev = te.EmbeddingVariable(64, initializer=np.ones([2, 64], np.float32), name="big")
    ev.upsert(np.arange(3000), np.random.default_rng(0).normal(size=[3000, 64]))
    prefix = tf.train.Checkpoint(ev=ev, other=tf.Variable([1.0])).write(str(tmp_path / "ckpt"))
    elements = list(reader["bundle_elements"](prefix, TENSOR.format("ev")))
    assert len(elements) == 5
    footer, rows = reader["read_part"](elements)
    assert_rows_are(rows, ev)
    np.testing.assert_array_equal(footer["matrix"], np.ones(128))


def test_the_documented_reader_reads_deltas(reader, tmp_path) -> None:
    ev = te.EmbeddingVariable(3, initializer="normal", name="read")
    deltas = te.DeltaCheckpoint(tf.train.Checkpoint(ev=ev), tmp_path)
    ev.upsert(np.arange(4000), np.ones([4000, 3]))
    deltas.save()
    ev.upsert(np.arange(3, 9), np.zeros([6, 3]))
    ev.remove([3, 77])
    footer, rows = read(reader, deltas.save(), "ev")
    assert footer["kinds"] == ["rows", "removed"] and footer["rows"] == 5
    assert sorted(footer["removed"]) == [3, 77]
    assert sorted(rows["key"]) == [4, 5, 6, 7, 8] and not rows["vector"].any()


def filtered() -> te.EmbeddingVariable:
    option = te.EmbeddingVariableOption(filter_option=te.CounterFilter(3))
    return te.EmbeddingVariable(2, initializer="zeros", seed=13, name="filtered", ev_option=option)


def train_filtered(ev: te.EmbeddingVariable) -> None:
    """Leaves one row, of key 7, and three candidates."""
    batch = np.array([5, 5, -1, 2**63 - 1, 7, 7, 7], np.int64)
    gradient = tf.IndexedSlices(tf.ones([7, 2]), tf.constant(batch))
    te.rules.apply(ev, gradient, te.rules.SGD(), 0.5, 0)


def test_the_documented_reader_reads_candidates(reader, tmp_path) -> None:
    ev = filtered()
    train_filtered(ev)
    prefix = tf.train.Checkpoint(ev=ev).write(str(tmp_path / "ckpt"))
    footer, rows = read(reader, prefix, "ev")
    assert footer["kinds"] == ["rows", "candidates"]
    assert sorted(footer["candidates"].tolist()) == [(-1, 1), (5, 2), (2**63 - 1, 1)]
    assert_rows_are(rows, ev)


def golden_state(dim: int, slots: int) -> dict[str, np.ndarray]:
    """Rows with the extremes of each number."""
    keys = np.array([0, -1, 7, 2**63 - 1, -(2**63)], np.int64)
    column = np.arange(5, dtype=np.float32)[:, None]
    return {
        "keys": keys,
        "values": column - np.arange(dim, dtype=np.float32) / 8,
        "slots": column * 16 + np.arange(slots, dtype=np.float32),
        "frequency": np.array([0, 1, 2, 2**32 - 1, 5], np.int64),
        "version": np.array([0, 3, 2**32 - 2, 1, 9], np.int64),
    }


def make_golden(prefix: str) -> None:
    """Writes the files. Run it once for a release that changes the format."""
    adam = te.EmbeddingVariable(3, initializer="normal", seed=11, name="adam")
    rule = {"rule": "adam", "initial_slots": [0.0, 0.0]}
    adam.load_state({**adam.state(), **rule, **golden_state(3, 6)})
    matrix = np.arange(4, dtype=np.float32).reshape(2, 2)
    plain = te.EmbeddingVariable(2, initializer=matrix, seed=12, name="plain")
    plain.load_state({**plain.state(), **golden_state(2, 0)})
    counted = filtered()
    train_filtered(counted)
    tf.train.Checkpoint(adam=adam, plain=plain, counted=counted).write(prefix)


@pytest.mark.parametrize("version", GOLDEN)
def test_golden_files(version, reader, tmp_path) -> None:
    golden = GOLDEN[version]
    adam = te.EmbeddingVariable(3, name="adam")
    plain = te.EmbeddingVariable(2, name="plain")
    counted = filtered()
    checkpoint = tf.train.Checkpoint(adam=adam, plain=plain)
    if version > 1:  # The first had no filters.
        checkpoint.counted = counted
    checkpoint.read(golden).assert_consumed()
    if version > 1:
        frequency = counted.frequency([5, -1, 2**63 - 1, 7]).numpy().tolist()
        assert (int(counted.size()), frequency) == (1, [2, 1, 1, 3])
    for ev, slots in ((adam, 6), (plain, 0)):
        want = golden_state(ev.dim, slots)
        order = np.argsort(want["keys"])
        got = ev.export()
        for name, array in want.items():
            its = getattr(got, name).numpy()[np.argsort(got.keys)]
            np.testing.assert_array_equal(its, array[order])
    assert adam.rule() == "adam" and plain.rule() == ""
    np.testing.assert_array_equal(plain.sparse_read([4, 5]), [[0, 1], [2, 3]])
    born = te.EmbeddingVariable(3, initializer="normal", seed=11, name="born")
    np.testing.assert_array_equal(adam.sparse_read([123]), born.sparse_read([123]))
    assert_rows_are(read(reader, golden, "adam")[1], adam)
    for suffix in (".index", ".data-00000-of-00001"):
        assert Path(golden + suffix).stat().st_size < 4000
    if version < max(GOLDEN):
        return
    # What is written today has the same bytes.
    make_golden(str(tmp_path / "now"))
    for name in ("plain", "counted"):
        mine, its = (
            [bytes(e) for e in reader["bundle_elements"](prefix, TENSOR.format(name))]
            for prefix in (golden, str(tmp_path / "now"))
        )
        assert mine == its
