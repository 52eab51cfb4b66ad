# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reports and summaries show what the tables hold: read back, beside exported rows."""

from __future__ import annotations

from typing import Any

import event_files
import numpy as np
import pytest
import tensorflow as tf

import tf_embedding as te


def trained(name: str = "ids", parts: int = 1, steps: int = 5, seed: int = 0) -> Any:
    """A variable after some updates, and the keys of each."""
    ev = te.EmbeddingVariable(3, name=name, num_parts=parts, seed=1)
    rng = np.random.default_rng(seed)
    batches = [rng.zipf(1.4, 300) % 1000 - 500 for _ in range(steps)]
    for step, keys in enumerate(batches):
        slices = tf.IndexedSlices(rng.normal(size=(300, 3)).astype(np.float32), keys)
        te.rules.apply(ev, slices, te.rules.Adagrad(), 0.1, step)
    return ev, batches


@pytest.mark.parametrize("parts", [1, 3])
def test_report(parts: int) -> None:
    users, batches = trained("users", parts)
    items, others = trained("items", steps=2, seed=1)
    first = np.unique(np.concatenate(batches))
    users.sparse_read([*first[:30], 10**12, -(10**12)])
    users.remove(first[:4])
    printed: list[str] = []
    report = te.report([users, items], print_fn=printed.append)

    table, other = report.tables
    assert (table.name, table.dim, table.num_parts) == ("users", 3, parts)
    stats = table.stats
    assert stats.keys == len(first) - 4 and stats.inserted == len(first) and stats.removed == 4
    assert (stats.lookups, stats.lookup_hits, stats.hit_rate) == (32, 30, 30 / 32)
    assert all(type(value) in (int, float) for value in stats)
    assert other.stats.keys == len(np.unique(np.concatenate(others)))
    assert report.total("keys") == stats.keys + other.stats.keys
    assert report.total("total_bytes") == sum(
        ev.memory_usage()["total"] for ev in (users, items)
    )

    head, line, _, total = printed[0].splitlines()
    cells = dict(zip(head.replace("hit rate", "hit_rate").split(), line.split()))
    assert cells["table"] == "users" and cells["keys"] == f"{stats.keys:,}"
    assert cells["removed"] == "4" and cells["hit_rate"] == "93.8%"
    assert total.split()[:2] == ["total", f"{report.total('keys'):,}"]
    assert printed == [str(report)]


def test_memory_is_told_in_units_that_fit() -> None:
    from tf_embedding import monitoring

    assert monitoring._memory(0) == "0 B" and monitoring._memory(999) == "999 B"
    assert monitoring._memory(1500) == "1.5 kB" and monitoring._memory(2.5e6) == "2.5 MB"
    assert monitoring._memory(3e9) == "3.0 GB" and monitoring._memory(1.25e15) == "1,250.0 TB"


def test_variables_are_found_wherever_they_are() -> None:
    a, b, c = (te.EmbeddingVariable(2, name=name, num_parts=n) for name, n in zip("abc", (1, 1, 2)))
    module, inner = tf.Module(), tf.Module()
    module.first, module.dense, module.inner, inner.tables = a, tf.Variable(1.0), inner, [b, a]
    find = te.monitoring.variables_of
    assert find(a) == [a] and find([b, a, b]) == [b, a] and find(list(c)) == [c]
    assert {id(v) for v in find(module)} == {id(a), id(b)}
    assert find([module, c])[-1] is c
    with tf.Graph().as_default() as graph:
        inside = te.get_embedding_variable("in_graph", 2)
        tf.compat.v1.get_variable("dense", [2])
        assert find() == find(graph) == [inside]
    with pytest.raises(ValueError, match="holds no embedding variables; build or call"):
        find(tf.Module())
    with pytest.raises(ValueError, match="holds no embedding variables"):
        find([])
    with pytest.raises(TypeError, match="model is 3; it must be"):
        find(3)


def test_names_differ() -> None:
    same = [te.EmbeddingVariable(2, name="same") for _ in range(3)]
    assert te.monitoring.names_of(same) == ["same", "same_1", "same_2"]


@pytest.mark.parametrize("parts", [1, 3])
def test_summaries(tmp_path: Any, parts: int) -> None:
    ev, _ = trained(parts=parts)
    empty = te.EmbeddingVariable(2, name="empty")
    before = [column.numpy().tobytes() for column in ev.export()]
    with tf.summary.create_file_writer(str(tmp_path)).as_default():
        te.monitoring.write_summaries([ev, empty], step=7)
        te.monitoring.write_summaries(ev, step=9, histograms=False)
    after = [column.numpy().tobytes() for column in ev.export()]
    assert after == before, "looking changed the table"

    scalars = event_files.scalars(tmp_path)
    assert set(scalars) == {7, 9}
    assert not any(tag.startswith("empty/") for tag in scalars[9])
    for field, value in ev.stats()._asdict().items():
        assert scalars[7][f"ids/{field}"] == np.float32(value), field
        assert scalars[9][f"ids/{field}"] == np.float32(value), field
    assert scalars[7]["empty/keys"] == 0.0
    histograms = event_files.histograms(tmp_path)
    # No rows make no histogram.
    assert {step: set(tags) for step, tags in histograms.items()} == {
        7: {"ids/frequency", "ids/age", "ids/norm"}
    }
    rows = ev.export()
    event_files.check_histogram(histograms[7]["ids/frequency"], rows.frequency)
    event_files.check_histogram(histograms[7]["ids/age"], 7 - rows.version)
    norms = np.sqrt((rows.values.numpy().astype(np.float64) ** 2).sum(axis=1))
    event_files.check_histogram(histograms[7]["ids/norm"], norms)


def test_tensorboard_shows_them(tmp_path: Any) -> None:
    from tensorboard.backend.event_processing import event_file_loader

    ev, _ = trained()
    with tf.summary.create_file_writer(str(tmp_path)).as_default():
        te.monitoring.write_summaries(ev, step=7)
    shown = {}
    for event in event_file_loader.EventFileLoader(str(next(tmp_path.iterdir()))).Load():
        for value in event.summary.value:
            shown[value.tag] = (value.metadata.plugin_data.plugin_name, value.tensor)
    plugin, tensor = shown["ids/keys"]
    assert plugin == "scalars" and tf.make_ndarray(tensor) == int(ev.size())
    plugin, tensor = shown["ids/frequency"]
    buckets = tf.make_ndarray(tensor)  # Each is [left, right, count].
    assert plugin == "histograms" and buckets[:, 2].sum() == int(ev.size())
    frequency = ev.export().frequency.numpy()
    assert buckets[0, 0] <= frequency.min() and buckets[-1, 1] > frequency.max()


def test_what_cannot_be_done_is_said() -> None:
    with tf.Graph().as_default():
        te.get_embedding_variable("in_graph", 2)
        with pytest.raises(ValueError, match="session is None.*pass session="):
            te.report()
        with pytest.raises(RuntimeError, match="te.train.TableSummaryHook"):
            te.monitoring.write_summaries(None, step=0)
