# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Variables in two tiers: rows in the host's memory, those in use in a GPU's.

What needs a table on a device runs where the host plays the device
(tools/device_tests.py ops). The table alone is tested by tests/cc/device_tier_test.cc.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pytest
import tensorflow as tf
from tests_support import ALL_RULES

import tf_embedding as te

v1 = tf.compat.v1

on_device = pytest.mark.skipif(
    os.environ.get("TF_EMBEDDING_CUDA") != "host",
    reason="tables are on the CPU: tools/device_tests.py ops has them on a device",
)
on_cpu = pytest.mark.skipif(
    os.environ.get("TF_EMBEDDING_CUDA") == "host" or bool(tf.config.list_physical_devices("GPU")),
    reason="of a machine without a GPU",
)

DIM = 4
# Of the widest row that a rule makes, and what the cache keeps of each.
ROW_BYTES = 4 * (4 * DIM + 1) + 24


def hbm_dram(
    nbytes: int, strategy: te.CacheStrategy = te.CacheStrategy.LFU
) -> te.EmbeddingVariableOption:
    storage = te.StorageOption(
        te.StorageType.HBM_DRAM, storage_size=[nbytes], cache_strategy=strategy
    )
    return te.EmbeddingVariableOption(storage_option=storage)


def variable(cached_rows: Optional[int], **arguments: Any) -> te.EmbeddingVariable:
    """One tier for None."""
    option = None if cached_rows is None else hbm_dram(cached_rows * ROW_BYTES)
    return te.EmbeddingVariable(
        dim=DIM, initializer="normal", seed=3, name="tier", ev_option=option, **arguments
    )


def rows(ev: te.EmbeddingVariable) -> dict[int, tuple[bytes, bytes, int, int]]:
    columns = [column.numpy() for column in ev.export()]
    return {
        int(key): (values.tobytes(), slots.tobytes(), int(frequency), int(version))
        for key, values, slots, frequency, version in zip(*columns)
    }


def train(ev: te.EmbeddingVariable, rule: te.rules.Rule, ahead: bool) -> None:
    rng = np.random.default_rng(1)
    batches = rng.integers(-60, 60, size=(8, 50))
    for step, keys in enumerate(batches):
        if ahead:
            ev.prefetch(batches[(step + 1) % len(batches)])
        gradients = rng.normal(size=(len(keys), DIM)).astype(np.float32)
        te.rules.apply(ev, tf.IndexedSlices(gradients, keys), rule, 0.1, step)


@on_device
@pytest.mark.parametrize("name", sorted(ALL_RULES))
def test_no_size_of_the_cache_changes_a_bit(name: str) -> None:
    expected = variable(None)
    train(expected, ALL_RULES[name], ahead=False)
    for cached_rows in (1, 40, 1000):
        for ahead in (False, True):
            ev = variable(cached_rows)
            train(ev, ALL_RULES[name], ahead)
            assert rows(ev) == rows(expected)
            keys = np.arange(-70, 70)
            np.testing.assert_array_equal(ev.sparse_read(keys), expected.sparse_read(keys))


@on_device
def test_checkpoints_go_both_ways(tmp_path: Path) -> None:
    tiered, plain = variable(20), variable(None)
    train(tiered, te.rules.Adam(), ahead=True)
    path = tf.train.Checkpoint(ev=tiered).write(str(tmp_path / "tiered"))
    tf.train.Checkpoint(ev=plain).read(path)
    assert rows(plain) == rows(tiered)
    train(plain, te.rules.Adam(), ahead=False)
    back = tf.train.Checkpoint(ev=plain).write(str(tmp_path / "plain"))
    tf.train.Checkpoint(ev=tiered).read(back)
    assert rows(tiered) == rows(plain)


@on_device
def test_stats_tell_the_tiers_and_the_hits() -> None:
    ev = variable(200)
    ev.upsert(range(100), np.ones((100, DIM)))
    ev.upsert(range(60), np.ones((60, DIM)))
    stats = ev.stats()
    assert int(stats.cache_misses) == 100 and int(stats.cache_hits) == 60
    usage = ev.memory_usage()
    assert usage["rows_host"] >= 100 * DIM * 4
    assert 200 * ROW_BYTES <= usage["rows_cache"] < 200 * ROW_BYTES + 4096
    assert usage["rows"] >= usage["rows_host"] + usage["rows_cache"]


@on_device
def test_prefetched_rows_are_in_the_cache() -> None:
    ev = variable(16)
    keys = np.arange(1000)
    ev.upsert(keys, np.ones((1000, DIM)))
    for ahead in (False, True):
        before = int(ev.stats().cache_hits)
        for _ in range(4):
            ev.prefetch([5000])
        if ahead:
            ev.prefetch([[500], [501]])
        ev.upsert([500, 501], np.ones((2, DIM)))
        assert int(ev.stats().cache_hits) - before == (2 if ahead else 0)
        ev.upsert(keys, np.ones((1000, DIM)))
        for _ in range(4):
            ev.prefetch([5000])
        ev.upsert(np.arange(900, 1000), np.ones((100, DIM)))


@on_device
@pytest.mark.parametrize("num_parts", [1, 3])
def test_functions_and_parts(num_parts: int) -> None:
    expected, ev = variable(None), variable(30, num_parts=num_parts)

    def step(ev: te.EmbeddingVariable, keys: tf.Tensor, following: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            vectors = tf.nn.embedding_lookup(ev, keys)
            ev.prefetch(following)
            loss = tf.reduce_sum(vectors * vectors)
        te.rules.apply(ev, tape.gradient(loss, ev), te.rules.Adagrad(), 0.1, 0)
        return loss

    steps = {id(one): tf.function(lambda a, b, one=one: step(one, a, b)) for one in (expected, ev)}
    rng = np.random.default_rng(2)
    batches = tf.constant(rng.integers(0, 100, size=(6, 40)))
    for number in range(5):
        losses = [
            float(steps[id(one)](batches[number], batches[number + 1])) for one in (expected, ev)
        ]
        assert losses[0] == losses[1]
    assert rows(ev) == rows(expected)


@on_device
def test_bytes_that_hold_no_row_are_an_error() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="storage_size is 20 bytes"):
        te.EmbeddingVariable(dim=DIM, ev_option=hbm_dram(20))


@on_device
def test_v1_graphs() -> None:
    with tf.Graph().as_default():
        with tf.device("/GPU:0"):
            ev = variable(3)
        read = ev.sparse_read([1, 2])
        ahead = ev.prefetch([1, 2])
        write = ev.upsert([1], [[1.0, 2.0, 3.0, 4.0]])
        with v1.Session(config=v1.ConfigProto(allow_soft_placement=True)) as session:
            session.run(v1.global_variables_initializer())
            session.run(write)
            session.run(ahead)
            assert session.run(read)[0].tolist() == [1.0, 2.0, 3.0, 4.0]


@on_cpu
def test_the_cpu_has_one_tier() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"HBM_DRAM .* make it under tf\.dev"):
        te.EmbeddingVariable(dim=DIM, ev_option=hbm_dram(1 << 20))
    # Where there is no GPU, its scope is the CPU's.
    with tf.device("/GPU:0"):
        with pytest.raises(tf.errors.InvalidArgumentError, match="HBM_DRAM"):
            te.EmbeddingVariable(dim=DIM, ev_option=hbm_dram(1 << 20))


def test_a_graph_without_the_scope_of_a_gpu_is_refused() -> None:
    with tf.Graph().as_default():
        with pytest.raises(ValueError, match=r"storage_option of .* make it under tf\.device"):
            te.get_embedding_variable("v", DIM, ev_option=hbm_dram(1 << 20))
        assert v1.global_variables() == []


@on_cpu
def test_a_graph_for_a_gpu_has_the_same_results_without_one() -> None:
    with tf.Graph().as_default():
        with tf.device("/GPU:0"):
            ev = te.get_embedding_variable("v", DIM, ev_option=hbm_dram(1 << 20))
        write = ev.upsert([1], [[1.0, 2.0, 3.0, 4.0]])
        read = ev.sparse_read([1])
        with v1.Session(config=v1.ConfigProto(allow_soft_placement=True)) as session:
            session.run(v1.global_variables_initializer())
            session.run(write)
            assert session.run(read).tolist() == [[1.0, 2.0, 3.0, 4.0]]


def test_prefetch_of_one_tier_changes_nothing() -> None:
    for num_parts in (1, 2):
        ev = variable(None, num_parts=num_parts)
        ev.upsert([1], [[1.0] * DIM])
        before = rows(ev)
        ev.prefetch([[1, 2], [3, -4]])
        ev.prefetch(tf.zeros([0], tf.int32))
        assert rows(ev) == before
        usage = ev.memory_usage()
        assert usage["rows_host"] == usage["rows_cache"] == 0
    with pytest.raises(TypeError, match="keys"):
        ev.prefetch([1.5])
