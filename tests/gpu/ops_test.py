# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""A variable on a GPU under TensorFlow, against the same one on the CPU.

Needs a GPU, a TensorFlow that sees it, and a library built with CUDA. Without
them everything here is skipped, and that says nothing about GPUs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tf_embedding as te
from tf_embedding import _build_info

pytestmark = [
    pytest.mark.skipif(
        not tf.config.list_physical_devices("GPU"),
        reason="NOTHING ABOUT GPUS WAS TESTED: TensorFlow sees none",
    ),
    pytest.mark.skipif(
        not _build_info.CUDA, reason="NOTHING ABOUT GPUS WAS TESTED: built without CUDA"
    ),
]

DIM = 16
KEYS = np.array([0, -1, 5, 2**63 - 1, -(2**63), 5, 0, 7], np.int64)


def pair(**arguments: object) -> tuple[te.EmbeddingVariable, te.EmbeddingVariable]:
    """The same variable on the CPU and on the GPU."""
    made = []
    for device in ("/CPU:0", "/GPU:0"):
        with tf.device(device):
            made.append(te.EmbeddingVariable(dim=DIM, seed=3, **arguments))
    assert "GPU" in made[1].handle.device
    return made[0], made[1]


def rows(ev: te.EmbeddingVariable) -> dict[int, tuple[bytes, bytes, int, int]]:
    exported = ev.export()
    columns = [column.numpy() for column in exported]
    return {
        int(key): (values.tobytes(), slots.tobytes(), int(frequency), int(version))
        for key, values, slots, frequency, version in zip(*columns)
    }


def test_default_is_the_cpu() -> None:
    assert "CPU" in te.EmbeddingVariable(dim=2).handle.device


@pytest.mark.parametrize(
    "rule", [te.rules.SGD(), te.rules.Adagrad(), te.rules.Adam(), te.rules.Ftrl()]
)
def test_training_gives_the_same_bits(rule: te.rules.Rule) -> None:
    cpu, gpu = pair(initializer="normal")
    for step in range(5):
        gradients = np.random.default_rng(step).normal(size=(len(KEYS), DIM)).astype(np.float32)
        for ev in (cpu, gpu):
            te.rules.apply(ev, tf.IndexedSlices(gradients, KEYS), rule, 0.1, step)
    assert rows(gpu) == rows(cpu)
    np.testing.assert_array_equal(gpu.sparse_read(KEYS), cpu.sparse_read(KEYS))
    assert int(gpu.size()) == int(cpu.size()) == 6


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
def test_pooled_lookups_and_their_gradients(combiner: str) -> None:
    cpu, gpu = pair(initializer="uniform")
    ids = tf.RaggedTensor.from_row_lengths(KEYS, [3, 0, 4, 1])
    results = []
    for ev, device in ((cpu, "/CPU:0"), (gpu, "/GPU:0")):
        with tf.device(device), tf.GradientTape() as tape:
            pooled = te.nn.embedding_lookup_sparse(ev, ids.to_sparse(), None, combiner=combiner)
            loss = tf.reduce_sum(pooled * pooled)
        results.append((pooled.numpy(), tape.gradient(loss, ev).values.numpy()))
    for mine, expected in zip(results[1], results[0]):
        np.testing.assert_array_equal(mine, expected)


def test_upsert_remove_clear() -> None:
    cpu, gpu = pair(initializer="ones")
    for ev in (cpu, gpu):
        ev.upsert(KEYS, np.arange(len(KEYS) * DIM, dtype=np.float32).reshape(-1, DIM))
        ev.remove([5, 6])
    assert rows(gpu) == rows(cpu)
    gpu.clear()
    assert int(gpu.size()) == 0


def test_checkpoints_go_both_ways(tmp_path: Path) -> None:
    cpu, gpu = pair(initializer="normal")
    gradients = np.ones((len(KEYS), DIM), np.float32)
    te.rules.apply(gpu, tf.IndexedSlices(gradients, KEYS), te.rules.Adam(), 0.1, 0)
    path = tf.train.Checkpoint(ev=gpu).write(str(tmp_path / "gpu"))
    tf.train.Checkpoint(ev=cpu).read(path)
    assert rows(cpu) == rows(gpu)
    back = tf.train.Checkpoint(ev=cpu).write(str(tmp_path / "cpu"))
    gpu.clear()
    tf.train.Checkpoint(ev=gpu).read(back)
    assert rows(gpu) == rows(cpu)


FILTERS = [te.CounterFilter(3), te.CBFFilter(3, 1000, 0.01), te.ProbabilisticFilter(0.4)]


@pytest.mark.parametrize("of", FILTERS, ids=lambda of: type(of).__name__)
def test_filters_decide_alike(of: object, tmp_path: Path) -> None:
    option = te.EmbeddingVariableOption(filter_option=of)
    cpu, gpu = pair(initializer="normal", ev_option=option)
    keys = np.random.default_rng(1).integers(-50, 50, size=(4, 120))
    for step, batch in enumerate(keys):
        for ev in (cpu, gpu):
            slices = tf.IndexedSlices(np.ones((120, DIM), np.float32), batch)
            te.rules.apply(ev, slices, te.rules.Adagrad(), 0.1, step)
    assert rows(gpu) == rows(cpu)
    everyone = np.arange(-50, 50)
    np.testing.assert_array_equal(gpu.frequency(everyone), cpu.frequency(everyone))
    assert int(gpu.stats().refused) == int(cpu.stats().refused) > 0
    path = tf.train.Checkpoint(ev=gpu).write(str(tmp_path / "gpu"))
    gpu.clear()
    tf.train.Checkpoint(ev=gpu).read(path)
    np.testing.assert_array_equal(gpu.frequency(everyone), cpu.frequency(everyone))


def test_rules_on_request_take_the_same_rows() -> None:
    evict = [
        te.GlobalStepEvict(3, when="request"),
        te.L2WeightEvict(2.0, when="request"),
        te.FrequencyEvict(2, decay=0.5, when="request"),
    ]
    option = te.EmbeddingVariableOption(evict_option=evict)
    cpu, gpu = pair(initializer="normal", ev_option=option)
    keys = np.random.default_rng(2).integers(-50, 50, size=(8, 60))
    for step, batch in enumerate(keys):
        for ev in (cpu, gpu):
            slices = tf.IndexedSlices(np.ones((60, DIM), np.float32), batch)
            te.rules.apply(ev, slices, te.rules.Adagrad(), 0.1, step)
    assert int(gpu.evict()) == int(cpu.evict()) > 0
    assert rows(gpu) == rows(cpu)


@pytest.mark.parametrize("order", te.eviction.ORDERS)
def test_a_bound_holds(order: str) -> None:
    option = te.EmbeddingVariableOption(
        evict_option=te.CapacityEvict(200, order=order), collect_evicted=5000
    )
    _, gpu = pair(initializer="zeros", ev_option=option)
    for step in range(20):
        slices = tf.IndexedSlices(np.ones((50, DIM), np.float32), np.arange(50) + 50 * step)
        te.rules.apply(gpu, slices, te.rules.SGD(), 0.1, step)
        assert int(gpu.size()) <= 200
    taken = gpu.take_evicted()
    assert sorted(taken.keys.numpy().tolist()) == list(range(800))
    assert sorted(rows(gpu)) == list(range(800, 1000))
