# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The variable itself: what reads, writes, removals and errors do."""

from __future__ import annotations

import gc
import os

import numpy as np
import pytest
import tensorflow as tf

import tf_embedding as te

EXTREME = np.array(
    [0, 1, -1, -(2**63), 2**63 - 1, 2**62, -(2**62), 9223372036854775806, -111, -222], np.int64
)
DIMS = [1, 3, 8, 17, 64, 128, 257]


def make(dim: int = 4, **kwargs) -> te.EmbeddingVariable:
    return te.EmbeddingVariable(dim, **{"name": "variable_test", **kwargs})


def train(ev: te.EmbeddingVariable, keys, rule=None, step: int = 0) -> None:
    keys = tf.constant(keys, tf.int64)
    slices = tf.IndexedSlices(tf.ones([len(keys), ev.dim]), keys)
    te.rules.apply(ev, slices, rule or te.rules.Adagrad(), 0.1, step)


@pytest.mark.parametrize("dim", DIMS)
def test_every_int64_is_a_key(dim: int) -> None:
    ev = make(dim, initializer="normal")
    before = ev.sparse_read(EXTREME).numpy()
    assert int(ev.size()) == 0
    train(ev, EXTREME, te.rules.SGD())
    assert int(ev.size()) == len(EXTREME)
    np.testing.assert_allclose(ev.sparse_read(EXTREME), before - 0.1, atol=1e-6)
    assert sorted(ev.export().keys.numpy()) == sorted(EXTREME)
    assert int(ev.remove(EXTREME[:3])) == 3
    assert ev.contains(EXTREME).numpy().tolist() == [False] * 3 + [True] * 7


@pytest.mark.parametrize(
    "keys",
    [
        np.arange(20000),
        np.arange(20000) * 4096,
        np.arange(20000, dtype=np.int64) << 40,
        -np.arange(20000) * 1000,
    ],
    ids=["sequential", "strided", "high bits", "negative"],
)
def test_patterned_keys(keys: np.ndarray) -> None:
    ev = make(3, initializer="zeros")
    values = np.random.default_rng(0).normal(size=[len(keys), 3]).astype(np.float32)
    ev.upsert(keys, values)
    assert int(ev.size()) == len(keys)
    np.testing.assert_array_equal(ev.sparse_read(keys), values)
    assert int(ev.remove(keys[::2])) == len(keys) // 2
    np.testing.assert_array_equal(ev.sparse_read(keys[1::2]), values[1::2])
    np.testing.assert_array_equal(ev.sparse_read(keys[::2]), 0 * values[::2])


def test_reading_never_changes_the_table() -> None:
    ev = make()
    keys = np.arange(1000)
    first = ev.sparse_read(keys)
    ev.contains(keys), ev.frequency(keys), ev.version(keys), ev.export(keys)
    te.nn.embedding_lookup_sparse(ev, tf.sparse.from_dense([[1, 2], [3, 4]]))
    assert int(ev.size()) == 0 and len(ev.export().keys) == 0
    np.testing.assert_array_equal(first, ev.sparse_read(keys))


def test_empty_batches() -> None:
    ev = make()
    none = np.zeros([0], np.int64)
    assert ev.sparse_read(none).shape == (0, 4)
    assert ev.sparse_read(np.zeros([0, 3], np.int64)).shape == (0, 3, 4)
    ev.upsert(none, np.zeros([0, 4]))
    train(ev, none)
    assert int(ev.remove(none)) == 0
    assert len(ev.export(none).keys) == 0
    assert int(ev.size()) == 0


def test_a_row_is_born_as_it_was_read() -> None:
    ev = make(8, initializer="truncated_normal")
    read = ev.sparse_read([42]).numpy()
    slices = tf.IndexedSlices(tf.zeros([1, 8]), tf.constant([42], tf.int64))
    te.rules.apply(ev, slices, te.rules.SGD(), 0.1, 0)
    np.testing.assert_array_equal(ev.export().values, read)


def test_upsert() -> None:
    ev = make(2)
    ev.upsert([7, 8, 7], [[1, 1], [2, 2], [3, 3]], step=5)
    np.testing.assert_array_equal(ev.sparse_read([7, 8]), [[3, 3], [2, 2]])
    assert ev.frequency([7]).numpy() == [0] and ev.version([7]).numpy() == [5]
    train(ev, [7], step=6)
    slots = ev.export([7]).slots
    ev.upsert([7, 9], [[0, 0], [0, 0]], step=7)
    np.testing.assert_array_equal(ev.export([7]).slots, slots)
    np.testing.assert_allclose(ev.export([9]).slots, [[0.1, 0.1]])
    assert ev.frequency([7, 9]).numpy().tolist() == [1, 0]


def test_export_of_chosen_keys_leaves_out_the_absent() -> None:
    ev = make(1, initializer="zeros")
    train(ev, [3, 4])
    rows = ev.export([4, 99, 3])
    assert rows.keys.numpy().tolist() == [4, 3] and int(ev.size()) == 2
    assert rows.slots.shape == (2, 1)


def test_clear_and_reuse() -> None:
    ev = make()
    train(ev, range(500))
    ev.clear()
    assert int(ev.size()) == 0 and len(ev.export().keys) == 0
    train(ev, [1])
    assert int(ev.size()) == int(ev.total_count()) == 1


def test_memory_goes_back_after_removal() -> None:
    ev = make(16)
    empty = ev.memory_usage()["total"]
    keys = np.arange(200000)
    train(ev, keys)
    full = ev.memory_usage()
    assert full["rows_used"] == 200000 * (2 * 16 * 4 + 8)
    assert full["total"] == full["index"] + full["rows"] + full["fixed"]
    assert int(ev.remove(keys[1000:])) == 199000
    assert ev.memory_usage()["total"] < full["total"] / 10
    np.testing.assert_array_equal(ev.frequency(keys[:1000]), 1)
    ev.remove(keys)
    assert ev.memory_usage()["total"] == empty


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
def test_a_dropped_variable_frees_its_table() -> None:
    values = np.ones([40000, 256], np.float32)  # 40 MB

    def use() -> None:
        ev = make(256)
        ev.upsert(np.arange(len(values)), values)
        lookup = tf.function(ev.sparse_read)
        lookup(tf.constant([1], tf.int64))

    use()
    gc.collect()
    before = resident_bytes()
    for _ in range(10):
        use()
        gc.collect()
    assert resident_bytes() - before < 2 * values.nbytes


def test_a_function_keeps_the_table_it_reads() -> None:
    ev = make(2, initializer="ones")
    lookup = tf.function(ev.sparse_read).get_concrete_function(tf.TensorSpec([None], tf.int64))
    assert lookup(tf.constant([1], tf.int64)).numpy().tolist() == [[1.0, 1.0]]


def test_int32_keys_are_widened() -> None:
    ev = make(1, initializer="zeros")
    train(ev, [-5])
    assert ev.sparse_read(tf.constant([-5], tf.int32)).numpy() == ev.sparse_read([-5]).numpy()


def test_two_variables_of_one_name_do_not_share() -> None:
    a, b = make(2), make(2)
    train(a, [1])
    assert int(a.size()) == 1 and int(b.size()) == 0


def test_it_has_no_dense_value() -> None:
    ev = make()
    for use in (
        lambda: ev + 1,
        lambda: tf.convert_to_tensor(ev),
        ev.value,
        ev.read_value,
        ev.numpy,
        lambda: ev.assign(1),
        lambda: ev.assign_add(1),
        lambda: ev.assign_sub(1),
        lambda: ev.gather_nd([[0]]),
    ):
        with pytest.raises(TypeError, match="no dense value"):
            use()
    with pytest.raises(TypeError, match="tf_embedding.optimizers"):
        ev.scatter_sub(tf.IndexedSlices(tf.ones([1, 4]), tf.constant([1])))
    assert ev.shape.as_list() == [None, 4] and ev.dtype == tf.float32


@pytest.mark.parametrize(
    ("make_it", "error", "named"),
    [
        (lambda: make(0), ValueError, "dim is 0"),
        (lambda: make(4097), ValueError, "dim is 4097"),
        (lambda: make(2.5), ValueError, "dim is 2.5"),
        (lambda: make(initializer="fancy"), ValueError, "initializer is 'fancy'"),
        (lambda: make(initializer=np.ones([3])), ValueError, r"shape \(3,\)"),
        (lambda: make(initializer=float("nan")), tf.errors.InvalidArgumentError, "initializer"),
        (lambda: make(seed=2**64), ValueError, "seed"),
        (lambda: make().sparse_read([0.5]), TypeError, "indices has dtype float"),
        (lambda: make().sparse_read(["a"]), TypeError, "hash_strings"),
        (lambda: make().remove(["a"]), TypeError, "keys has dtype string"),
        (lambda: make().upsert([1], [[1, 2]]), tf.errors.InvalidArgumentError, "values"),
        (lambda: make().upsert([[1]], [[1, 2, 3, 4]]), tf.errors.InvalidArgumentError, "keys|rank"),
        (
            lambda: make().upsert([1], [[1, 2, 3, 4]], step=-1),
            tf.errors.InvalidArgumentError,
            "step is -1",
        ),
        (lambda: make().load_state({}), ValueError, "state lacks keys"),
        (
            lambda: make(3).load_state(make(4).state()),
            tf.errors.InvalidArgumentError,
            "values has shape",
        ),
    ],
)
def test_bad_input(make_it, error, named) -> None:
    with pytest.raises(error, match=named):
        make_it()


@pytest.mark.parametrize(
    ("entry", "value", "named"),
    [
        ("slots", np.ones([2, 3], np.float32), "slots"),
        ("rule", "nonsense", "nonsense"),
        ("version", np.array([-1, 0]), "version of key"),
        ("frequency", np.array([0, 2**32]), "frequency of key"),
        ("frequency", np.array([0]), "frequency"),
        ("initial_slots", np.ones([3], np.float32), "initial_slots"),
        ("initializer", "nonsense", "nonsense"),
        ("init_args", np.array([np.nan, 0], np.float32), "initializer"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(entry, value, named) -> None:
    ev = make()
    train(ev, [1, 2])
    before = ev.state()
    with pytest.raises(tf.errors.InvalidArgumentError, match=named):
        ev.load_state({**before, entry: value})
    for name, tensor in ev.state().items():
        np.testing.assert_array_equal(tensor, before[name])


def test_state_goes_round() -> None:
    a = make(5, initializer=np.arange(10, dtype=np.float32).reshape(2, 5))
    train(a, [4, -4, 2**40], te.rules.Adam(), step=9)
    b = make(5, initializer="zeros")
    train(b, [77])
    b.load_state({name: tensor.numpy() for name, tensor in a.state().items()})
    probe = [4, -4, 2**40, 77, 78]
    np.testing.assert_array_equal(a.sparse_read(probe), b.sparse_read(probe))
    assert b.rule() == "adam" and int(b.size()) == 3
    for ev in (a, b):
        train(ev, [4, 78], te.rules.Adam(), step=10)
    rows_a, rows_b = a.export(probe), b.export(probe)
    for x, y in zip(rows_a, rows_b):
        np.testing.assert_array_equal(x, y)


def test_more_than_one_replica_is_refused() -> None:
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        make()

    class Two(tf.distribute.OneDeviceStrategy):
        @property
        def num_replicas_in_sync(self) -> int:
            return 2

    with Two("CPU:0").scope(), pytest.raises(NotImplementedError, match="replica"):
        make()
