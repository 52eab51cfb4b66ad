# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""A variable in parts is the variable: same rows, same bits, one object."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tests_support

import tf_embedding as te

KEYS = np.random.default_rng(1).integers(-(2**63), 2**63 - 1, 300, dtype=np.int64)
PARTS = (1, 2, 3, 8)

if not tf.executing_eagerly():
    pytest.skip("these run outside graphs; session_test.py has graphs", allow_module_level=True)


def make(num_parts: int, **kwargs: Any) -> te.EmbeddingVariable:
    kwargs.setdefault("initializer", "normal")
    return te.EmbeddingVariable(4, seed=5, name="parted", num_parts=num_parts, **kwargs)


def sorted_state(ev: te.EmbeddingVariable) -> dict[str, np.ndarray]:
    rows = ev.export()
    order = np.argsort(rows.keys)
    return {name: np.asarray(column)[order] for name, column in rows._asdict().items()}


def assert_same(found: te.EmbeddingVariable, want: te.EmbeddingVariable) -> None:
    states = sorted_state(found), sorted_state(want)
    for name in states[0]:
        np.testing.assert_array_equal(states[0][name], states[1][name], err_msg=name)
    np.testing.assert_array_equal(found.sparse_read(KEYS), want.sparse_read(KEYS))


def owner(key: int, num_parts: int) -> int:
    """The documented hash, written anew."""
    with np.errstate(over="ignore"):
        z = np.uint64(key % 2**64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (int(z >> np.uint64(32)) % 2**16) * num_parts // 2**16


def test_the_part_of_a_key_is_the_documented_hash() -> None:
    for num_parts in PARTS:
        ev = make(num_parts)
        ev.upsert(KEYS, np.ones([len(KEYS), 4]))
        for number, part in enumerate(ev):
            found = sorted(part.export().keys.numpy().tolist())
            want = sorted(int(key) for key in KEYS if owner(int(key), num_parts) == number)
            assert found == want
        assert [te.parts.part_of(int(key), num_parts) for key in KEYS] == [
            owner(int(key), num_parts) for key in KEYS
        ]


def test_keys_of_any_pattern_spread() -> None:
    for keys in (np.arange(40000), np.arange(40000) * 1024, np.arange(40000) << 40):
        ev = make(8)
        ev.upsert(keys, np.zeros([len(keys), 4]))
        sizes = [int(part.total_count()) for part in ev]
        assert sum(sizes) == len(keys)
        assert 4500 < min(sizes) and max(sizes) < 5500


@pytest.mark.parametrize("rule", tests_support.ALL_RULES)
def test_same_bits_in_any_number_of_parts(rule: str) -> None:
    rng = np.random.default_rng(2)
    variables = [make(num_parts) for num_parts in PARTS]
    for step in range(4):
        # The first batches leave some parts without a key.
        keys = rng.choice(KEYS[: 2 + 80 * step], 1 + 200 * step)
        values = rng.normal(size=(len(keys), 4)).astype(np.float32)
        counts = rng.integers(1, 5, len(keys)) if step % 2 else None
        for ev in variables:
            gradient = tf.IndexedSlices(tf.constant(values), tf.constant(keys))
            te.rules.apply(ev, gradient, tests_support.ALL_RULES[rule], 0.1, step, counts)
    for ev in variables[1:]:
        assert_same(ev, variables[0])
        assert ev.rule() == rule
    assert int(variables[0].size()) > 100


def test_rows_without_slots_meet_the_first_rule_in_every_part() -> None:
    for num_parts in PARTS:
        ev = make(num_parts, initializer="zeros")
        ev.upsert(KEYS, np.ones([len(KEYS), 4]))
        one = tf.IndexedSlices(tf.ones([1, 4]), tf.constant(KEYS[:1]))
        te.rules.apply(ev, one, te.rules.Adagrad(), 0.1, 0)
        slots = np.sort(ev.export().slots[:, 0])
        np.testing.assert_allclose(slots, [0.1] * (len(KEYS) - 1) + [1.1], rtol=1e-6)


def test_an_empty_batch_changes_no_part() -> None:
    for num_parts in PARTS:
        ev = trained(num_parts)
        empty = tf.IndexedSlices(tf.zeros([0, 4]), tf.zeros([0], tf.int64))
        te.rules.apply(ev, empty, te.rules.SGD(), 0.1, 7)
        assert ev.rule() == "adam"
        assert_same(ev, trained(1))


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
@pytest.mark.parametrize("max_norm", [None, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_lookups_and_their_gradients(combiner: str, max_norm: Any, weighted: bool) -> None:
    """Bit for bit those of a variable in one piece, through TensorFlow's own names."""
    rng = np.random.default_rng(3)
    lengths = rng.integers(0, 6, 40)
    ids = tf.RaggedTensor.from_row_lengths(rng.choice(KEYS, lengths.sum()), lengths)
    weights = tf.constant(rng.random(int(lengths.sum())), tf.float32)
    upstream = tf.constant(rng.normal(size=(40, 4)), tf.float32)
    found = []
    for num_parts in (1, 3):
        ev = make(num_parts)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            pooled = tf.nn.embedding_lookup_sparse(
                ev,
                ids.to_sparse(),
                ids.with_flat_values(weights).to_sparse() if weighted else None,
                combiner=combiner,
                max_norm=max_norm,
            )
            filled = tf.nn.safe_embedding_lookup_sparse(
                ev, tf.abs(ids).to_sparse(), combiner=combiner, default_id=7, max_norm=max_norm
            )
            plain = tf.nn.embedding_lookup(ev, ids, max_norm=max_norm).flat_values
            loss = tf.reduce_sum(pooled * upstream) + tf.reduce_sum(filled * upstream)
            loss += tf.reduce_sum(plain)
        gradients = tape.gradient(loss, [ev, weights])
        slices = te.rules.sum_duplicates(gradients[0])
        order = np.argsort(slices.indices)
        found.append(
            [
                pooled,
                filled,
                plain,
                np.asarray(slices.indices)[order],
                np.asarray(slices.values)[order],
                tf.zeros([]) if gradients[1] is None else gradients[1],
            ]
        )
    for one, three in zip(*found):
        np.testing.assert_array_equal(one, three)
    assert (gradients[1] is not None) == weighted


def test_two_features_in_one_op_one_of_them_in_parts() -> None:
    whole, cut = make(1), make(4)
    bags = te.inputs.to_bags(tf.ragged.constant([[1, 2], [], [3]], dtype=tf.int64))
    found = te.nn.pooled_lookup([cut, whole, cut], [bags] * 3, ["sum", "sum", "mean"])
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(
        found[2], te.nn.pooled_lookup([whole], [bags], ["mean"])[0]
    )


def test_a_list_of_all_parts_is_the_variable() -> None:
    ev = make(3)
    ids = tf.ragged.constant([[5, 6], [7]], dtype=tf.int64).to_sparse()
    found = tf.nn.embedding_lookup_sparse(list(ev), ids, None)
    np.testing.assert_array_equal(found, tf.nn.embedding_lookup_sparse(ev, ids, None))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.nn.embedding_lookup(list(ev), [5, 6]))
    assert tape.gradient(loss, ev).indices.numpy().tolist() == [5, 6]


def test_other_lists_of_parts_are_refused() -> None:
    ev, other = make(3), make(3)
    parts = list(ev)
    for wrong in (parts[0], parts[:1], parts[:2], parts[::-1], [*parts[:2], list(other)[2]]):
        with pytest.raises(TypeError, match="part of a variable|one EmbeddingVariable"):
            tf.nn.embedding_lookup(wrong, [5])
    with pytest.raises(TypeError, match="one EmbeddingVariable"):
        tf.nn.embedding_lookup([ev, other], [5])


def test_parts_are_variables_to_look_into() -> None:
    ev = make(3)
    assert len(ev) == ev.num_parts == 3
    assert [part.name for part in ev] == ["parted/part_0:0", "parted/part_1:0", "parted/part_2:0"]
    assert not any(part.trainable for part in ev)
    alone = make(1)
    assert list(alone) == [alone] and len(alone) == 1


def test_rows_by_hand() -> None:
    """upsert, find, remove, clear against a dict, in any number of parts."""
    for num_parts in PARTS:
        ev = make(num_parts)
        rows = {int(key): np.full(4, i, np.float32) for i, key in enumerate(KEYS)}
        ev.upsert(KEYS, np.stack(list(rows.values())), step=3)
        ev.upsert([KEYS[0], KEYS[1], KEYS[0]], [[1.0] * 4, [2.0] * 4, [3.0] * 4], step=4)
        rows[int(KEYS[0])], rows[int(KEYS[1])] = np.full(4, 3.0), np.full(4, 2.0)
        assert int(ev.remove([KEYS[5], KEYS[6], 12345])) == 2
        del rows[int(KEYS[5])], rows[int(KEYS[6])]
        assert int(ev.size()) == len(rows)
        assert ev.contains([[KEYS[0]], [KEYS[5]]]).numpy().tolist() == [[True], [False]]
        found = ev.export([KEYS[1], KEYS[5], KEYS[0], KEYS[9]])
        assert found.keys.numpy().tolist() == [KEYS[1], KEYS[0], KEYS[9]]
        np.testing.assert_array_equal(found.values, [rows[int(k)] for k in found.keys.numpy()])
        assert found.version.numpy().tolist() == [4, 4, 3]
        everything = ev.export()
        assert dict(zip(everything.keys.numpy().tolist(), everything.values[:, 0].numpy())) == {
            key: row[0] for key, row in rows.items()
        }
        assert ev.memory_usage()["total"] > 0
        ev.clear()
        assert int(ev.size()) == 0


def test_bad_input_changes_no_part() -> None:
    ev = make(4)
    ev.upsert(KEYS[:9], np.ones([9, 4]))
    before = sorted_state(ev)
    with pytest.raises(tf.errors.InvalidArgumentError, match="row of dim values"):
        ev.upsert(KEYS[:9], np.ones([9, 3]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="row of dim values"):
        ev.upsert(KEYS[:9], np.ones([8, 4]))
    gradient = tf.IndexedSlices(tf.ones([9, 4]), tf.constant(KEYS[:9]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="learning_rate"):
        te.rules.apply(ev, gradient, te.rules.SGD(), float("nan"), 0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="step"):
        te.rules.apply(ev, gradient, te.rules.SGD(), 0.1, -1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="counts"):
        te.rules.apply(ev, gradient, te.rules.SGD(), 0.1, 0, counts=[1] * 8 + [0])
    for name, column in sorted_state(ev).items():
        np.testing.assert_array_equal(column, before[name])


@pytest.mark.parametrize("num_parts", [0, -1, 1025, 1.5, True, "2"])
def test_the_number_of_parts_is_checked(num_parts: Any) -> None:
    with pytest.raises(ValueError, match="num_parts is"):
        make(num_parts)


def trained(num_parts: int) -> te.EmbeddingVariable:
    ev = make(num_parts)
    gradient = tf.IndexedSlices(tf.ones([len(KEYS), 4]), tf.constant(KEYS))
    te.rules.apply(ev, gradient, te.rules.Adam(), 0.1, 6)
    return ev


@pytest.mark.parametrize("saved", [1, 4])
def test_a_checkpoint_restores_into_any_number_of_parts(tmp_path: Path, saved: int) -> None:
    want = trained(saved)
    path = tf.train.Checkpoint(ev=want).save(str(tmp_path / "model"))
    for num_parts in PARTS:
        ev = make(num_parts, initializer="zeros")
        ev.upsert([1, 2], np.ones([2, 4]))
        tf.train.Checkpoint(ev=ev).restore(path).assert_consumed()
        assert_same(ev, want)
        ev = make(num_parts)
        ev.load_state(want.state())
        assert_same(ev, want)


def test_a_saved_model_serves(tmp_path: Path) -> None:
    ev = trained(2)
    module = tf.Module()
    module.ev = ev
    module.read = tf.function(ev.sparse_read, input_signature=[tf.TensorSpec([None], tf.int64)])
    tf.saved_model.save(module, str(tmp_path))
    want = ev.sparse_read(KEYS).numpy()
    del module, ev
    gc.collect()
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_array_equal(loaded.read(KEYS), want)


def test_in_a_function() -> None:
    ev = make(4, initializer="zeros")

    @tf.function
    def train(keys: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(ev.sparse_read(keys))
        token = te.rules.apply(ev, tape.gradient(loss, ev), te.rules.SGD(), 1.0, 0)
        with tf.control_dependencies([token]):
            return tf.nn.embedding_lookup(ev, keys)

    for n in (3, 5):
        keys = tf.constant(KEYS[:n])
        found = train(keys)
    assert train.experimental_get_tracing_count() <= 2
    np.testing.assert_array_equal(found, [[-2.0] * 4] * 3 + [[-1.0] * 4] * 2)


def test_dropping_the_variable_frees_its_parts() -> None:
    ev = make(3)
    parts = list(ev)
    tables = [weakref.ref(part.table) for part in parts]
    del ev, parts
    gc.collect()
    assert [table() for table in tables] == [None] * 3
