# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a variable says of itself, against counts kept by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tf_embedding as te

PARTS = pytest.mark.parametrize("num_parts", [1, 3])


def train(ev, keys, step=0):
    gradients = tf.ones([len(keys), ev.dim])
    slices = tf.IndexedSlices(gradients, tf.constant(np.array(keys, np.int64)))
    te.rules.apply(ev, slices, te.rules.SGD(), 0.5, step)


def filled(num_parts, n=1000):
    """Row k of 0..n-1: vector [k, 0], trained 1 + k % 7 times, version k % 50."""
    ev = te.EmbeddingVariable(2, "zeros", name="filled", num_parts=num_parts)
    keys = np.arange(n)
    for version in range(50):
        mine = keys[keys % 50 == version]
        train(ev, np.repeat(mine, 1 + mine % 7), version)
    state = dict(ev.state())
    state["values"] = np.stack([state["keys"], np.zeros(n)], 1).astype(np.float32)
    ev.load_state(state)
    return ev


@PARTS
def test_counts(num_parts):
    ev = te.EmbeddingVariable(4, "zeros", name="counts", num_parts=num_parts)
    zero = ev.stats()
    assert [int(x) for x in zero[:8]] == [0] * 8
    assert float(zero.hit_rate) == float(zero.load) == float(zero.mean_probe) == 0.0
    train(ev, range(300))
    ev.upsert(range(250, 400), np.zeros([150, 4], np.float32))
    ev.remove(range(50))
    ev.sparse_read(np.arange(25, 125))  # 75 of 100 have a row
    bags = te.inputs.to_bags(tf.ragged.constant([[60, 60], [1], []], dtype=tf.int64))
    te.nn.pooled_lookup([ev], [bags], ["sum"])
    stats = ev.stats()
    assert (int(stats.keys), int(stats.inserted), int(stats.removed)) == (350, 400, 50)
    assert (int(stats.admitted), int(stats.refused), int(stats.evicted)) == (0, 0, 0)
    assert (int(stats.lookups), int(stats.lookup_hits)) == (103, 77)
    assert float(stats.hit_rate) == 77 / 103
    # Content that is replaced leaves counts of events as they are.
    ev.load_state(ev.state())
    assert int(ev.stats().inserted) == 400
    ev.clear()
    assert (int(ev.stats().keys), int(ev.stats().removed)) == (0, 400)


@PARTS
def test_memory_and_index(num_parts):
    ev = te.EmbeddingVariable(4, "zeros", name="memory", num_parts=num_parts)
    train(ev, range(20000))
    stats = ev.stats()
    assert int(stats.row_used_bytes) == 20000 * (4 * 4 + 8)
    parts = stats.index_bytes + stats.row_bytes + stats.candidate_bytes + stats.eviction_bytes
    assert int(stats.total_bytes) == int(parts + stats.fixed_bytes)
    assert ev.memory_usage()["total"] == int(stats.total_bytes)
    # Buckets of 64 bytes with five slots each.
    assert float(stats.load) == 20000 / (int(stats.index_bytes) / 64 * 5)
    assert 1.0 <= float(stats.mean_probe) < 2.0
    assert int(stats.max_probe) >= 2


def test_in_graphs():
    ev = te.EmbeddingVariable(2, "zeros", name="in_graphs", num_parts=2)
    train(ev, [1, 2, 3])

    @tf.function
    def ask():
        return ev.stats(), ev.top_k(2), ev.histogram("age", 4)

    stats, top, histogram = ask()
    assert int(stats.keys) == 3
    assert top.keys.numpy().tolist() == [1, 2]
    assert int(tf.reduce_sum(histogram.counts)) == 3


@PARTS
@pytest.mark.parametrize("by", te.stats.RANKINGS)
def test_top_k(num_parts, by):
    ev = filled(num_parts)
    measure = {
        "frequency": lambda k: 1 + k % 7,
        "version": lambda k: k % 50,
        "norm": lambda k: k,
    }[by]
    want = sorted(range(1000), key=lambda k: (-measure(k), k))
    for n in (0, 1, 10, 333, 5000):
        top = ev.top_k(n, by=by)
        assert top.keys.numpy().tolist() == want[:n]
        assert top.values.numpy().tolist() == [measure(k) for k in want[:n]]


@PARTS
def test_histogram(num_parts):
    ev = filled(num_parts)
    rows = ev.export()
    measures = {
        "frequency": rows.frequency.numpy(),
        "version": rows.version.numpy(),
        "age": 60 - rows.version.numpy(),
        "norm": np.linalg.norm(rows.values.numpy().astype(np.float64), axis=1),
    }
    for name, values in measures.items():
        histogram = ev.histogram(name, step=60)
        edges = histogram.edges.numpy()
        want, _ = np.histogram(values, np.append(edges[:-1], np.inf))
        assert histogram.counts.numpy().tolist() == want.tolist()
    assert edges[0] == 0 and np.allclose(edges[2:] / edges[1:-1], 2**0.5)


def test_bad_requests():
    ev = te.EmbeddingVariable(2, name="asked")
    with pytest.raises(ValueError, match="by is 'age'"):
        ev.top_k(3, by="age")
    with pytest.raises(tf.errors.InvalidArgumentError, match="n is -1"):
        ev.top_k(-1)
    with pytest.raises(ValueError, match="measure is 'size'"):
        ev.histogram("size")
    with pytest.raises(ValueError, match="chunk_size is 0"):
        ev.iterate(0)


@PARTS
@pytest.mark.parametrize("chunk_size", [1, 100, 10**6])
def test_chunks_are_all_rows(num_parts, chunk_size):
    n = 200 if chunk_size == 1 else 3000
    ev = filled(num_parts, n)
    chunks = list(ev.iterate(chunk_size))
    assert all(len(chunk.keys) <= chunk_size + 50 for chunk in chunks)
    merged = te.Rows(*(np.concatenate(column) for column in zip(*chunks)))
    whole = ev.export()
    order, want = np.argsort(merged.keys), np.argsort(whole.keys)
    for column, of_whole in zip(merged, whole):
        np.testing.assert_array_equal(column[order], of_whole.numpy()[want])


def test_chunks_of_a_table_under_training():
    """Between chunks the table grows tenfold and shrinks: what stays comes once."""
    ev = te.EmbeddingVariable(2, "zeros", name="restless")
    stay, go = np.arange(0, 2000), np.arange(2000, 4000)
    train(ev, np.concatenate([stay, go]))
    seen = []
    for number, rows in enumerate(ev.iterate(100)):
        seen += rows.keys.numpy().tolist()
        assert np.all(rows.frequency.numpy() >= 1)
        if number < 20:
            train(ev, np.arange(10_000 + 1000 * number, 11_000 + 1000 * number))
        elif number == 20:
            ev.remove(np.arange(10_000, 30_000))
            ev.remove(go)
    assert len(seen) == len(set(seen))
    assert set(stay.tolist()) <= set(seen)
    assert set(seen) <= set(range(4000)) | set(range(10_000, 30_000))
