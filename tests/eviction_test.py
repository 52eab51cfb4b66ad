# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rows that go: rules, bounds, what was taken, through every face of a variable.

Models of the bounds are in tests/cc/eviction_bound_test.cc and tests/eviction_oracle_test.py;
here are the numbers of DeepRec's tests, and the ways options come in.
"""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

import tf_embedding as te

PARTS = pytest.mark.parametrize("num_parts", [1, 3])


def variable(*evict_options, dim=2, num_parts=1, name="evicts", **options):
    return te.EmbeddingVariable(
        dim,
        "ones",
        name=name,
        num_parts=num_parts,
        ev_option=te.EmbeddingVariableOption(evict_option=evict_options, **options),
    )


def train(ev, keys, step=0, of=None, gradient=0.0, learning_rate=0.1):
    slices = tf.IndexedSlices(
        tf.fill([len(keys), ev.dim], gradient), tf.constant(np.array(keys, np.int64))
    )
    te.rules.apply(ev, slices, of or te.rules.SGD(), learning_rate, step)


def keys_of(ev):
    return sorted(ev.export().keys.numpy().tolist())


# DeepRec's numbers.


@PARTS
def test_steps_at_a_save_as_deeprec(tmp_path, num_parts):
    ev = variable(te.GlobalStepEvict(2), num_parts=num_parts)
    train(ev, [1, 2, 3], 0, gradient=1.0)
    for step in (1, 2, 3):
        train(ev, [2, 3], step, gradient=1.0)
    path = tf.train.Checkpoint(ev=ev).write(str(tmp_path / "saved"))
    restored = variable(te.GlobalStepEvict(2), num_parts=2)
    tf.train.Checkpoint(ev=restored).read(path).assert_consumed()
    assert keys_of(restored) == [2, 3]
    assert restored.version([1, 2, 3]).numpy().tolist() == [-1, 3, 3]
    # A key that is gone reads what it would be born with.
    np.testing.assert_array_equal(restored.sparse_read([1]), [[1.0, 1.0]])


def test_norm_at_a_save_as_deeprec(tmp_path):
    ev = variable(te.L2WeightEvict(0.9), dim=3)
    ids = [0, 0, 0, 1, 1, 2]
    train(ev, ids, 0, te.rules.GroupFtrl(l1=2.0), gradient=2.0)
    norms = 0.5 * np.sum(ev.sparse_read([0, 1, 2]).numpy() ** 2, axis=1)
    np.testing.assert_allclose(norms, [1.0291, 0.9426, 0.7101], atol=1e-4)
    path = tf.train.Checkpoint(ev=ev).write(str(tmp_path / "saved"))
    restored = variable(te.L2WeightEvict(0.9), dim=3)
    tf.train.Checkpoint(ev=restored).read(path).assert_consumed()
    assert keys_of(restored) == [0, 1]
    np.testing.assert_allclose(
        restored.sparse_read([0, 1, 2]),
        [[0.8282884] * 3, [0.7927219] * 3, [1.0] * 3],
        rtol=1e-6,
    )


def test_filter_and_steps_as_deeprec():
    ev = variable(te.GlobalStepEvict(2), filter_option=te.CounterFilter(3))
    for step, keys in enumerate(([1, 2, 3], [1, 3, 5], [1, 5, 7])):
        train(ev, keys, step)
    asked = [1, 2, 3, 4, 5, 6, 7]
    assert ev.frequency(asked).numpy().tolist() == [3, 1, 2, 0, 2, 0, 1]
    assert ev.version(asked).numpy()[0] == 2
    # Asking inserts nothing.
    assert keys_of(ev) == [1]


def test_filter_and_norm_together(tmp_path):
    ev = variable(te.L2WeightEvict(0.5), filter_option=te.CounterFilter(2))
    train(ev, [1, 1, 2, 3, 3], 0, gradient=3.0)  # row 1: 1 - 0.6, and so is row 3
    train(ev, [2, 5, 5], 1)
    tf.train.Checkpoint(ev=ev).write(str(tmp_path / "saved"))
    assert keys_of(ev) == [2, 5]
    # An evicted key has to earn its row again.
    train(ev, [1], 2)
    assert keys_of(ev) == [2, 5]
    train(ev, [1], 3)
    assert keys_of(ev) == [1, 2, 5]


@pytest.mark.parametrize("of", te.rules.ALL, ids=lambda of: of.name)
def test_every_rule_keeps_hot_keys(of):
    """DeepRec's FTRL does not stamp versions, and loses them."""
    ev = variable(te.GlobalStepEvict(3))
    for step in range(12):
        train(ev, [-5, 100 + step], step, of(), gradient=0.1)
    assert int(ev.evict()) + int(ev.stats().evicted) >= 8
    assert keys_of(ev) == [-5, 108, 109, 110, 111]
    assert ev.version([-5]).numpy() == [11] and ev.frequency([-5]).numpy() == [12]


# Rules and bounds.


@PARTS
def test_evict_on_request(num_parts):
    rules = [
        te.GlobalStepEvict(5, when="request"),
        te.L2WeightEvict(0.3, when="request"),
        te.FrequencyEvict(2, decay=0.5, when="request"),
    ]
    ev = variable(*rules, num_parts=num_parts)
    keys = np.arange(200)
    for step in range(10):
        train(ev, np.repeat(keys[keys % 10 <= step], 1 + step // 8), step)
    values = np.stack([keys / 100, keys * 0], 1).astype(np.float32)
    ev.load_state({**ev.state(), "values": values[ev.state()["keys"].numpy()]})
    rows = ev.export()
    frequency = rows.frequency.numpy() // 2
    keep = (12 - rows.version.numpy() <= 5) & (frequency >= 2)
    keep &= 0.5 * np.sum(rows.values.numpy() ** 2, axis=1) >= np.float32(0.3)
    want = sorted(rows.keys.numpy()[keep].tolist())
    assert int(ev.evict(step=12)) == 200 - len(want)
    assert keys_of(ev) == want and 0 < len(want) < 150
    order = np.argsort(rows.keys.numpy()[keep])
    np.testing.assert_array_equal(ev.frequency(want), frequency[keep][order])
    assert int(ev.stats().evicted) == 200 - len(want)


def test_seconds():
    ev = variable(te.TimeEvict(0.05), te.GlobalStepEvict(1000))
    train(ev, [1, 2], 0)
    train(ev, [2], 1)
    time.sleep(0.2)
    train(ev, [3], 2)
    time.sleep(0.2)
    train(ev, [4], 3)
    ev.evict()
    assert 4 in keys_of(ev) and not {1, 2} & set(keys_of(ev))


@PARTS
def test_lru_keeps_the_newest(num_parts):
    """Four times as many keys as the bound, without steps: 96 % of the newest stay."""
    max_keys = 12_000
    ev = variable(te.CapacityEvict(max_keys), num_parts=num_parts)
    for batch in np.arange(4 * max_keys).reshape(-1, 1000):
        train(ev, batch * 7919)
        assert int(ev.size()) <= max_keys
    newest = set((np.arange(3 * max_keys, 4 * max_keys) * 7919).tolist())
    assert len(newest & set(keys_of(ev))) >= 0.96 * max_keys


def test_lfu_keeps_the_head():
    """Of a Zipf stream, counted by numpy: the bound's most frequent quarter stays."""
    rng = np.random.default_rng(3)
    max_keys = 2000
    ev = variable(te.CapacityEvict(max_keys, order="lfu"))
    stream = (rng.zipf(1.2, 200_000) % 10**9).reshape(-1, 2000)
    for step, batch in enumerate(stream):
        train(ev, batch, step)
    keys, counts = np.unique(stream, return_counts=True)
    head = keys[np.argsort(-counts, kind="stable")][: max_keys // 4]
    assert np.isin(head, keys_of(ev)).mean() >= 0.99
    top = ev.top_k(5)
    order = np.lexsort((keys, -counts))[:5]
    assert top.keys.numpy().tolist() == keys[order].tolist()
    assert top.values.numpy().tolist() == counts[order].tolist()


def test_bytes():
    max_bytes = 6_000_000
    ev = variable(te.CapacityEvict(max_bytes=max_bytes), dim=16)
    for step in range(60):
        train(ev, np.arange(1000) + step * 1000, step, te.rules.Adagrad(), gradient=1.0)
    stats = ev.stats()
    held = int(stats.index_bytes + stats.row_bytes + stats.eviction_bytes)
    # But for what a batch adds before it takes.
    assert 0.75 * max_bytes < held <= max_bytes + 1000 * (2 * 16 * 4 + 12 + 17)
    assert int(stats.evicted) > 10_000


def test_memory_goes_back():
    ev = variable(te.GlobalStepEvict(1), dim=64)
    train(ev, np.arange(50_000), 0)
    full = int(ev.stats().total_bytes)
    assert int(ev.evict(step=9)) == 50_000
    assert int(ev.stats().total_bytes) < full / 10


@PARTS
def test_taken_rows_are_collected(num_parts):
    ev = variable(
        te.CapacityEvict(300), te.GlobalStepEvict(10**6), num_parts=num_parts, collect_evicted=10**4
    )
    for step in range(20):
        train(ev, np.arange(50) + 50 * step, step, te.rules.Adagrad(), gradient=1.0)
    before = {int(key) for key in ev.export().keys}
    taken = ev.take_evicted()
    assert int(taken.dropped) == 0
    keys = taken.keys.numpy()
    assert set(keys.tolist()) == set(range(1000)) - before and len(keys) == 1000 - len(before)
    np.testing.assert_array_equal(taken.version, keys // 50)
    np.testing.assert_array_equal(taken.frequency, np.ones_like(keys))
    np.testing.assert_allclose(taken.slots, np.full([len(keys), 2], 1.1), rtol=1e-6)
    np.testing.assert_allclose(taken.values, 1 - 0.1 / np.sqrt(taken.slots), rtol=1e-6)
    assert len(ev.take_evicted().keys) == 0


def test_of_many_taken_rows_the_last_stay():
    ev = variable(te.CapacityEvict(100), collect_evicted=40)
    for step in range(20):
        train(ev, np.arange(10) + 10 * step, step)
    taken = ev.take_evicted()
    assert int(taken.dropped) == 60
    assert taken.keys.numpy().tolist() == list(range(60, 100))


def test_init_capacity_reserves():
    ev = variable(dim=8, init_capacity=100_000)
    reserved = int(ev.stats().index_bytes)
    assert reserved > 100_000 * 12.8 and int(ev.size()) == 0
    train(ev, np.arange(85_000), 0)
    assert int(ev.stats().index_bytes) == reserved


def test_training_resumes_under_a_bound(tmp_path):
    """Versions and frequencies carry the order over a save, also to a tighter bound."""
    for order in te.eviction.ORDERS:
        ev = variable(te.CapacityEvict(60, order=order))
        for step in range(30):
            train(ev, np.repeat(np.arange(2) + 2 * step, step + 1), step)
        path = tf.train.Checkpoint(ev=ev).write(str(tmp_path / order))
        restored = variable(te.CapacityEvict(20, order=order))
        tf.train.Checkpoint(ev=restored).read(path).assert_consumed()
        assert int(restored.size()) == 60
        train(restored, [1000], 40)
        assert keys_of(restored) == [*range(41, 60), 1000]


# Where options come in.


def test_bad_options():
    for make, message in (
        (lambda: te.GlobalStepEvict(0), "steps_to_live of GlobalStepEvict is 0"),
        (lambda: te.GlobalStepEvict(1, when="never"), "when of GlobalStepEvict is 'never'"),
        (lambda: te.TimeEvict(0), "seconds of TimeEvict is 0"),
        (lambda: te.L2WeightEvict(-1.0), "l2_weight_threshold of L2WeightEvict is -1.0"),
        (lambda: te.FrequencyEvict(0), "min_frequency of FrequencyEvict is 0"),
        (lambda: te.FrequencyEvict(1, decay=2.0), "decay of FrequencyEvict is 2.0"),
        (lambda: te.CapacityEvict(), "max_keys and max_bytes of CapacityEvict are None"),
        (lambda: te.CapacityEvict(0), "max_keys of CapacityEvict is 0"),
        (lambda: te.CapacityEvict(5, order="mru"), "order of CapacityEvict is 'mru'"),
        (lambda: variable(te.TimeEvict(1), te.TimeEvict(2)), "one of each kind"),
        (lambda: variable(collect_evicted=5), "collect_evicted of EmbeddingVariableOption is 5"),
        (lambda: variable(init_capacity=-1), "init_capacity of EmbeddingVariableOption is -1"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match="evict_option of EmbeddingVariableOption has 'lru'"):
        variable("lru")
    with pytest.raises(tf.errors.InvalidArgumentError, match="step must be 0 or more"):
        variable(te.GlobalStepEvict(3)).evict(step=-7)


def test_easyrec_knobs():
    option = te.EmbeddingVariableOption.from_ev_params(
        filter_freq=2, steps_to_live=100, use_cache=True, init_capacity=1000, max_capacity=5000
    )
    assert option == te.EmbeddingVariableOption(
        filter_option=te.CounterFilter(2),
        evict_option=(te.GlobalStepEvict(100), te.CapacityEvict(5000)),
        init_capacity=1000,
    )
    none = te.EmbeddingVariableOption.from_ev_params(init_capacity=0)
    assert none == te.EmbeddingVariableOption()


def test_a_graph_and_steps_to_live():
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ev = te.get_embedding_variable(
            "ids", 2, steps_to_live=2, partitioner=tf.compat.v1.fixed_size_partitioner(2)
        )
        step = tf.compat.v1.train.get_or_create_global_step()
        ids = tf.compat.v1.placeholder(tf.int64, [None])
        loss = tf.reduce_sum(tf.nn.embedding_lookup(ev, ids))
        minimize = te.train.AdagradOptimizer(0.1).minimize(loss, global_step=step)
        evicted, keys = ev.evict(), ev.export().keys
        session.run(tf.compat.v1.global_variables_initializer())
        for fed in ([1, 2, 3], [2, 3], [2, 3], [2, 3], [3]):
            session.run(minimize, {ids: fed})
        session.run(evicted)
        assert sorted(session.run(keys).tolist()) == [2, 3]
    with pytest.raises(ValueError, match="steps_to_live is 2"):
        te.get_embedding_variable(
            "twice",
            2,
            steps_to_live=2,
            ev_option=te.EmbeddingVariableOption(evict_option=te.GlobalStepEvict(3)),
        )


def test_a_keras_layer_keeps_its_bound(tmp_path):
    option = te.EmbeddingVariableOption(
        evict_option=[te.CapacityEvict(50), te.GlobalStepEvict(1000)]
    )
    layer = te.layers.Embedding(2, ev_option=option)
    model = tf.keras.Sequential(
        [tf.keras.Input((), dtype="int64"), layer, tf.keras.layers.Dense(1)]
    )
    model.compile(te.optimizers.Adagrad(), "mse")
    model.fit(np.arange(1000), np.zeros(1000), batch_size=10, verbose=0, shuffle=False)
    assert keys_of(layer.variable) == list(range(950, 1000))
    path = str(tmp_path / "model.keras")
    model.save(path)
    loaded = tf.keras.models.load_model(path)
    assert loaded.layers[0].get_config() == layer.get_config()
    loaded.fit(np.arange(2000, 2040), np.zeros(40), batch_size=10, verbose=0, shuffle=False)
    assert keys_of(loaded.layers[0].variable) == [*range(990, 1000), *range(2000, 2040)]


def test_a_feature_column_keeps_its_bound():
    column = te.feature_column.categorical_column_with_embedding(
        "id",
        dtype=tf.int64,
        ev_option=te.EmbeddingVariableOption(evict_option=te.CapacityEvict(20)),
    )
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        ids = v1.placeholder(tf.int64, [None, 1])
        dense = v1.feature_column.input_layer(
            {"id": ids}, [tf.feature_column.embedding_column(column, 2)]
        )
        step = v1.train.get_or_create_global_step()
        minimize = te.train.AdagradOptimizer(0.1).minimize(tf.reduce_sum(dense), global_step=step)
        (ev,) = [v for v in v1.global_variables() if isinstance(v, te.EmbeddingVariable)]
        keys = ev.export().keys
        session.run(v1.global_variables_initializer())
        for start in range(0, 100, 5):
            session.run(minimize, {ids: np.arange(start, start + 5).reshape(-1, 1)})
        assert sorted(session.run(keys).tolist()) == list(range(80, 100))


def test_same_bits_in_one_thread_and_in_many():
    program = """
import sys, hashlib, numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
import tf_embedding as te
digest = hashlib.sha256()
for order in ("lru", "lfu"):
    rules = [te.CapacityEvict(9000, order=order), te.GlobalStepEvict(6),
             te.L2WeightEvict(0.02, when="apply"), te.FrequencyEvict(2, 0.5, every_steps=5)]
    ev = te.EmbeddingVariable(8, "uniform", seed=3, name=order, ev_option=
        te.EmbeddingVariableOption(evict_option=rules, collect_evicted=500))
    rng = np.random.default_rng(5)
    for step in range(16):
        keys = rng.integers(0, 1 + rng.integers(1, 40000, 5000))
        gradient = rng.normal(size=[5000, 8]).astype(np.float32)
        te.rules.apply(ev, tf.IndexedSlices(tf.constant(gradient), tf.constant(keys)),
                       te.rules.Adagrad(), 0.1, step)
    for column in (*ev.export(), *ev.take_evicted()):
        digest.update(column.numpy().tobytes())
    assert int(ev.size()) > 1000 and int(ev.stats().evicted) > 1000
print(digest.hexdigest())
"""
    digests = {
        subprocess.run(
            [sys.executable, "-c", program, threads], check=True, capture_output=True
        ).stdout
        for threads in ("1", "4")
    }
    assert len(digests) == 1 and len(digests.pop()) == 65
