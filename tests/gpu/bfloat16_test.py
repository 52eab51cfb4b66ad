# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rows in bfloat16 under TensorFlow: on a GPU, or the GPU's kernels run by the host.

The latter is what `tools/device_tests.py ops` does. Elsewhere all of this is skipped.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tf_embedding as te
from tf_embedding import _build_info

_GPU = bool(tf.config.list_physical_devices("GPU")) and _build_info.CUDA
_DEVICE = "/GPU:0" if _GPU else "/CPU:0"

pytestmark = pytest.mark.skipif(
    not _GPU and os.environ.get("TF_EMBEDDING_CUDA") != "host",
    reason="NOTHING ABOUT GPUS WAS TESTED: no GPU, and not the build for tests of its kernels",
)

DIM = 40
KEYS = np.array([0, -1, 5, 2**63 - 1, -(2**63), 7, 123456789], np.int64)
ABSENT = np.array([-77, 2**40], np.int64)


def make(row_dtype: object = tf.bfloat16, dim: int = DIM, **kwargs) -> te.EmbeddingVariable:
    option = te.EmbeddingVariableOption(row_dtype=row_dtype)
    arguments = {"initializer": "normal", "seed": 3, "name": "half", **kwargs}
    with tf.device(_DEVICE):
        return te.EmbeddingVariable(dim, ev_option=option, **arguments)


def nearest(values: object) -> np.ndarray:
    """What TensorFlow's own bfloat16 makes of values."""
    return tf.cast(tf.cast(values, tf.bfloat16), tf.float32).numpy()


def train(ev: te.EmbeddingVariable, rule: te.rules.Rule, steps: range) -> None:
    for step in steps:
        rng = np.random.default_rng(step)
        keys = rng.choice(KEYS, 30)
        gradients = rng.normal(size=[30, ev.dim]).astype(np.float32)
        te.rules.apply(ev, tf.IndexedSlices(gradients, keys), rule, 0.01, step)


def content(ev: te.EmbeddingVariable) -> dict[int, tuple]:
    return {
        int(key): (values.tobytes(), slots.tobytes(), int(frequency), int(version))
        for key, values, slots, frequency, version in zip(*(x.numpy() for x in ev.export()))
    }


def test_reading_gives_float32_and_the_row_that_would_be_born() -> None:
    ev, full = make(), make(tf.float32)
    assert ev.dtype == tf.float32
    keys = np.concatenate([KEYS, ABSENT])
    before = ev.sparse_read(keys)
    assert before.dtype == tf.float32
    np.testing.assert_array_equal(before, nearest(full.sparse_read(keys)))
    # Born by updates that change nothing.
    slices = tf.IndexedSlices(tf.zeros([len(KEYS), DIM]), KEYS)
    te.rules.apply(ev, slices, te.rules.SGD(), 0.1, 0)
    assert int(ev.size()) == len(KEYS)
    np.testing.assert_array_equal(ev.sparse_read(keys), before)
    ids = tf.RaggedTensor.from_row_lengths(keys, [3, 0, 6]).to_sparse()
    pooled = te.nn.embedding_lookup_sparse(ev, ids, None, combiner="sum")
    expected = np.stack([np.sum(before[:3], 0), np.zeros(DIM), np.sum(before[3:], 0)])
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)


def test_values_that_are_set_round_to_nearest() -> None:
    ev = make()
    values = np.random.default_rng(1).normal(size=[len(KEYS), DIM]).astype(np.float32)
    values[0, :4] = [0.0, -0.0, np.inf, 3.4e38]
    ev.upsert(KEYS, values, step=4)
    np.testing.assert_array_equal(ev.sparse_read(KEYS), nearest(values))
    rows = ev.export(KEYS)
    np.testing.assert_array_equal(rows.values, nearest(values))
    assert rows.version.numpy().tolist() == [4] * len(KEYS)


def test_small_updates_add_up_where_rounding_to_nearest_stalls() -> None:
    """Mean and spread, against float32 and the binomial distribution."""
    keys, updates, rate = np.arange(3000), 200, 2.0**-13
    ev, full = make(dim=8, initializer="ones"), make(tf.float32, dim=8, initializer="ones")
    slices = tf.IndexedSlices(tf.ones([len(keys), 8]), keys)
    stalled = np.float32(1)
    for step in range(updates):
        for each in (ev, full):
            te.rules.apply(each, slices, te.rules.SGD(), rate, step)
        stalled = nearest(stalled - np.float32(rate))
    assert stalled == 1
    values = ev.sparse_read(keys).numpy().astype(np.float64)
    np.testing.assert_array_equal(values, nearest(values.astype(np.float32)))
    # Below 1 a unit in the last place is 2^-8: an update takes one with p = 1/32.
    deviation = 2.0**-8 * np.sqrt(updates / 32 * (31 / 32))
    error = values.mean() - full.sparse_read(keys).numpy().mean(dtype=np.float64)
    assert abs(error) < 5 * deviation / np.sqrt(values.size)
    np.testing.assert_allclose(values.std(), deviation, rtol=0.05)


RULES = [te.rules.SGD(), te.rules.Adagrad(), te.rules.RowwiseAdagrad(), te.rules.Adam()]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_training_stays_near_float32_and_slots_are_float32(rule: te.rules.Rule) -> None:
    ev, full = make(), make(tf.float32)
    # From the same rows.
    for each in (ev, full):
        each.upsert(KEYS, nearest(full.sparse_read(KEYS)))
        train(each, rule, range(1))
    mine, theirs = (each.export(KEYS) for each in (ev, full))
    # One update: a unit in the last place, which is 2^-7 of the value at most.
    np.testing.assert_allclose(mine.values, theirs.values, rtol=2.0**-7, atol=1e-30)
    np.testing.assert_array_equal(mine.slots, theirs.slots)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_runs_parts_and_restored_training_give_the_same_bits(rule, tmp_path: Path) -> None:
    straight, again, in_parts = make(), make(), make(num_parts=3)
    for each in (straight, again, in_parts):
        train(each, rule, range(6))
    assert content(again) == content(straight) == content(in_parts)
    first = make()
    train(first, rule, range(3))
    path = tf.train.Checkpoint(ev=first).write(str(tmp_path / "half"))
    # The seed comes with the checkpoint.
    second = make(seed=99)
    tf.train.Checkpoint(ev=second).read(path).assert_consumed()
    assert content(second) == content(first)
    train(second, rule, range(3, 6))
    assert content(second) == content(straight)
    other = make(seed=99)
    train(other, rule, range(6))
    assert content(other) != content(straight)


def test_checkpoints_go_to_float32_and_come_back(tmp_path: Path) -> None:
    ev, full = make(), make(tf.float32)
    train(ev, te.rules.Adagrad(), range(3))
    path = tf.train.Checkpoint(ev=ev).write(str(tmp_path / "half"))
    tf.train.Checkpoint(ev=full).read(path).assert_consumed()
    assert content(full) == content(ev)
    back = make()
    back.load_state({name: value.numpy() for name, value in full.state().items()})
    assert content(back) == content(ev)
    # Rows that bfloat16 cannot hold come as the nearest that it can.
    train(full, te.rules.Adagrad(), range(3, 5))
    path = tf.train.Checkpoint(ev=full).write(str(tmp_path / "full"))
    tf.train.Checkpoint(ev=ev).read(path).assert_consumed()
    np.testing.assert_array_equal(ev.export(KEYS).values, nearest(full.export(KEYS).values))
    np.testing.assert_array_equal(ev.export(KEYS).slots, full.export(KEYS).slots)


def test_memory_per_row() -> None:
    keys = np.arange(5000)
    used = {}
    for dtype in (tf.float32, tf.bfloat16):
        ev = make(dtype, dim=64)
        ev.upsert(keys, np.zeros([5000, 64], np.float32))
        used[dtype] = ev.memory_usage()["rows_used"] / 5000
    assert used == {tf.float32: 256 + 8, tf.bfloat16: 128 + 8}


def test_an_optimizer_and_a_layer(tmp_path: Path) -> None:
    option = te.EmbeddingVariableOption(row_dtype="bfloat16")
    ev = make()
    optimizer = te.optimizers.Adagrad(0.1)
    with tf.device(_DEVICE):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.nn.embedding_lookup(ev, KEYS) ** 2)
        optimizer.apply_gradients([(tape.gradient(loss, ev), ev)])
        assert float(tf.reduce_sum(tf.nn.embedding_lookup(ev, KEYS) ** 2)) < float(loss)
        layer = te.layers.Embedding(4, ev_option=option)
        layer(KEYS)
    same = te.layers.Embedding.from_config(layer.get_config())
    assert same.get_config() == layer.get_config()
    assert "bfloat16" in str(layer.get_config()["ev_option"])


def test_a_saved_model_has_float32_rows_of_the_same_values(tmp_path: Path) -> None:
    ev = make()
    train(ev, te.rules.SGD(), range(3))
    module = tf.Module()
    module.ev = ev
    signature = tf.TensorSpec([None], tf.int64)
    module.read = tf.function(lambda keys: ev.sparse_read(keys), input_signature=[signature])
    tf.saved_model.save(module, str(tmp_path / "model"))
    with open(tmp_path / "model" / "saved_model.pb", "rb") as file:
        assert b"VariableHandle" in file.read()
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.read(KEYS), ev.sparse_read(KEYS))
