# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Filters: which keys earn a row, against plain dicts and recomputed draws."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests_support import ALL_RULES

import tf_embedding as te

DIM = 2
RATE = np.float32(0.5)
INITIAL = np.float32(0.25)
EXTREMES = [0, -1, -3, 2**63 - 1, -(2**63), 2**32, -(2**32)]


def filtered(filter_option: Any, name: str = "filtered", **arguments: Any) -> te.EmbeddingVariable:
    """Rows born at 1/4 in every column."""
    option = te.EmbeddingVariableOption(
        filter_option=filter_option, init_option=arguments.pop("init_option", None)
    )
    initializer = arguments.pop("initializer", tf.constant_initializer(0.25))
    return te.EmbeddingVariable(DIM, initializer, name=name, ev_option=option, **arguments)


def train(ev: te.EmbeddingVariable, keys: Any, step: int = 0, by: Any = None) -> None:
    """Gradient descent by a gradient of ones for each occurrence."""
    keys = np.array(keys, np.int64)
    slices = tf.IndexedSlices(tf.ones([len(keys), DIM]), tf.constant(keys))
    te.rules.apply(ev, slices, by or te.rules.SGD(), RATE, step)


def contents(ev: te.EmbeddingVariable) -> dict[int, tuple]:
    rows = ev.export()
    columns = (rows.values.numpy().tolist(), rows.frequency.numpy(), rows.version.numpy())
    return {
        int(key): (tuple(value), int(frequency), int(version))
        for key, value, frequency, version in zip(rows.keys.numpy(), *columns)
    }


class Oracle:
    """CounterFilter: candidates are key -> count, rows are key -> (w, frequency, version)."""

    def __init__(self, filter_freq: int) -> None:
        self.filter_freq = filter_freq
        self.candidates: dict[int, int] = {}
        self.rows: dict[int, tuple] = {}

    def train(self, keys: list[int], step: int) -> None:
        for key in dict.fromkeys(keys):
            count = keys.count(key)
            w, frequency, _ = self.rows.get(key, ((float(INITIAL),) * DIM, None, 0))
            if frequency is None:
                frequency = self.candidates.pop(key, 0)
                if frequency + count < self.filter_freq:
                    self.candidates[key] = frequency + count
                    continue
            w = tuple(float(np.float32(x) - RATE * np.float32(count)) for x in w)
            self.rows[key] = (w, frequency + count, step)

    def frequency(self, key: int) -> int:
        return self.rows[key][1] if key in self.rows else self.candidates.get(key, 0)


def test_a_key_is_admitted_in_the_batch_that_reaches_the_frequency() -> None:
    ev = filtered(te.CounterFilter(3))
    train(ev, [*EXTREMES, *EXTREMES, 5], step=1)
    assert int(ev.size()) == 0
    assert ev.frequency([*EXTREMES, 5, 6]).numpy().tolist() == [2] * 7 + [1, 0]
    assert not ev.contains(EXTREMES).numpy().any()
    np.testing.assert_array_equal(ev.version(EXTREMES), [-1] * 7)
    # Two more occurrences: both are applied, though the first reached it.
    train(ev, [*EXTREMES, *EXTREMES], step=2)
    want = (float(INITIAL - 2 * RATE),) * DIM
    assert contents(ev) == {key: (want, 4, 2) for key in EXTREMES}
    assert ev.frequency([5]).numpy().tolist() == [1]
    stats = ev.stats()
    counted = (stats.keys, stats.inserted, stats.admitted, stats.refused, stats.candidates)
    assert [int(n) for n in counted] == [7, 7, 7, 15, 1]


@pytest.mark.parametrize("by", ALL_RULES.values(), ids=ALL_RULES)
def test_every_rule_drops_the_gradients_of_refused_keys(by: Any) -> None:
    ev = filtered(te.CounterFilter(2), seed=1)
    plain = te.EmbeddingVariable(DIM, tf.constant_initializer(0.25), name="plain", seed=1)
    many = np.arange(100)
    train(ev, [*many, *many[:40], 7], 0, by)
    train(plain, [*many[:40], *many[:40], 7], 0, by)
    train(ev, [1, 2, 200], 1, by)
    train(plain, [1, 2], 1, by)
    assert contents(ev) == contents(plain)
    assert ev.rule() == plain.rule()


KEYS = st.one_of(st.integers(-4, 4), st.sampled_from(EXTREMES))


class Machine(RuleBasedStateMachine):
    """Every operation, against the oracle."""

    folder: Path

    @initialize(filter_freq=st.integers(2, 4), num_parts=st.sampled_from([1, 3]))
    def start(self, filter_freq: int, num_parts: int) -> None:
        self.ev = filtered(te.CounterFilter(filter_freq), "machine", num_parts=num_parts)
        self.oracle = Oracle(filter_freq)
        self.saves = 0
        self.saved: Optional[tuple] = None

    @rule(keys=st.lists(KEYS, min_size=1, max_size=12), step=st.integers(0, 9))
    def train(self, keys: list[int], step: int) -> None:
        train(self.ev, keys, step)
        self.oracle.train(keys, step)

    @rule(keys=st.lists(KEYS, min_size=1, max_size=3, unique=True))
    def upsert(self, keys: list[int]) -> None:
        self.ev.upsert(keys, np.ones([len(keys), DIM]), step=3)
        for key in keys:
            self.oracle.candidates.pop(key, None)
            _, frequency, _ = self.oracle.rows.get(key, (None, 0, 0))
            self.oracle.rows[key] = ((1.0,) * DIM, frequency, 3)

    @rule(keys=st.lists(KEYS, max_size=3, unique=True))
    def remove(self, keys: list[int]) -> None:
        removed = int(self.ev.remove(keys))
        for key in keys:
            self.oracle.candidates.pop(key, None)
        assert removed == sum(self.oracle.rows.pop(key, None) is not None for key in keys)

    @rule()
    def clear(self) -> None:
        self.ev.clear()
        self.oracle.rows, self.oracle.candidates = {}, {}

    @rule()
    def save(self) -> None:
        self.saves += 1
        prefix = str(self.folder / f"{id(self)}_{self.saves}")
        path = tf.train.Checkpoint(ev=self.ev).write(prefix)
        self.saved = (path, dict(self.oracle.rows), dict(self.oracle.candidates))

    @rule()
    def restore(self) -> None:
        if self.saved is None:
            return
        path, rows, candidates = self.saved
        tf.train.Checkpoint(ev=self.ev).read(path).assert_consumed()
        self.oracle.rows, self.oracle.candidates = dict(rows), dict(candidates)

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "ev"):
            return
        assert contents(self.ev) == self.oracle.rows
        keys = [*EXTREMES, *range(-4, 5)]
        counted = self.ev.frequency(keys).numpy().tolist()
        assert counted == [self.oracle.frequency(key) for key in keys]


def test_sequences(tmp_path: Path) -> None:
    Machine.folder = tmp_path
    case = Machine.TestCase
    case.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
    case("runTest").runTest()


def stream(seed: int, n: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.zipf(1.3, n) % 5000 - 2500).astype(np.int64)


@pytest.mark.parametrize(
    "option",
    [te.CounterFilter(4), te.ProbabilisticFilter(0.2)],
    ids=lambda option: type(option).__name__,
)
def test_same_bits_in_any_number_of_parts(option: Any) -> None:
    whole = filtered(option, "whole", initializer="normal", seed=3)
    parts = filtered(option, "parts", initializer="normal", seed=3, num_parts=3)
    for step in range(6):
        for ev in (whole, parts):
            train(ev, stream(step, 2000), step)
    assert 0 < int(whole.size()) < 1500
    assert contents(whole) == contents(parts)
    keys = np.arange(-2500, 2500)
    np.testing.assert_array_equal(whole.frequency(keys), parts.frequency(keys))


# The Bloom filter.


def test_a_bloom_filter_never_counts_too_low() -> None:
    oracle = Oracle(5)
    exact = te.CBFFilter(5, 10000, 0.001, tf.uint32)
    full = te.CBFFilter(5, 200, 0.3, tf.uint8)
    large, small = filtered(exact, "large"), filtered(full, "small")
    for step in range(5):
        keys = stream(step, 2000)
        oracle.train(keys.tolist(), step)
        train(large, keys, step)
        train(small, keys, step)
    keys = np.arange(-2500, 2500)
    true = np.array([oracle.frequency(key) for key in keys])
    for ev in (large, small):
        counted = ev.frequency(keys).numpy()
        assert (counted >= true).all()
        assert set(oracle.rows) <= set(contents(ev))
    assert (large.frequency(keys).numpy() > true).mean() < 0.001
    assert int(small.size()) > len(oracle.rows)


@pytest.mark.parametrize("counter_type", [tf.uint8, tf.uint16, tf.uint32, tf.uint64])
@pytest.mark.parametrize("num_parts", [1, 4])
def test_the_memory_of_a_bloom_filter_is_its_formula(counter_type: Any, num_parts: int) -> None:
    n, p = 100_000, 0.01
    option = te.CBFFilter(3, n, p, counter_type)
    bloom = filtered(option, "bloom", num_parts=num_parts)
    counter = filtered(te.CounterFilter(3), "counter", num_parts=num_parts)
    expected = n / num_parts / 1024
    segment = math.ceil(-math.log(p) / math.log(2) ** 2 * (expected + math.sqrt(expected) + 2))
    want = num_parts * 1024 * segment * counter_type.size
    spare = counter.memory_usage()["admission"]
    assert bloom.memory_usage()["admission"] == want + spare
    # Not much more than a filter of one piece has.
    assert want < 1.4 * math.ceil(-math.log(p) / math.log(2) ** 2 * n) * counter_type.size


# The probabilistic filter.


def mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser after its odd offset, modulo 2^64."""
    z = x + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@pytest.mark.parametrize("occurrences", [1, 3])
def test_draws_are_a_hash_of_seed_key_and_step(occurrences: int) -> None:
    p, seed, step = 0.25, 77, 5
    ev = filtered(te.ProbabilisticFilter(p), seed=seed)
    keys = np.arange(-2000, 2000)
    train(ev, np.tile(keys, occurrences), step)
    with np.errstate(over="ignore"):
        stepped = mix(mix(np.array([seed], np.uint64)) + np.uint64(step))
        drawn = mix(mix(keys.astype(np.uint64)) ^ stepped) >> np.uint64(11)
    admits = drawn.astype(np.float64) * 2.0**-53 < 1 - (1 - p) ** occurrences
    np.testing.assert_array_equal(ev.contains(keys), admits)
    assert abs(admits.mean() - (1 - (1 - p) ** occurrences)) < 0.04
    # A row's frequency is that of the batch that gave birth to it.
    np.testing.assert_array_equal(ev.frequency(keys), admits * occurrences)
    assert ev.memory_usage()["admission"] < 100_000


# Reading.


@pytest.mark.parametrize("value", [None, 0.2])
def test_keys_without_a_row_read_what_they_have_no_permission_for(value: Any) -> None:
    init = te.InitializerOption(default_value_dim=None, default_value_no_permission=value)
    ev = filtered(te.CounterFilter(3), init_option=init)
    absent = [float(INITIAL if value is None else np.float32(value))] * DIM
    train(ev, [7, 7])
    for keys in ([7, 8], [-(2**63), 7]):
        assert ev.sparse_read(keys).numpy().tolist() == [absent, absent]
    sums = te.nn.embedding_lookup_sparse(
        ev, tf.sparse.from_dense(tf.constant([[7, 8]], tf.int64)), None, combiner="sum"
    )
    assert sums.numpy().tolist() == [[2 * absent[0]] * DIM]
    assert ev.frequency([7, 8]).numpy().tolist() == [2, 0]
    train(ev, [7])
    # Born by its initializer, whatever it read before.
    assert ev.sparse_read([7]).numpy().tolist() == [[float(INITIAL - RATE)] * DIM]
    # Without a filter it has no meaning.
    plain = filtered(None, "plain", init_option=init)
    assert plain.sparse_read([7]).numpy().tolist() == [[float(INITIAL)] * DIM]


def test_a_saved_model_reads_as_the_variable_does(tmp_path: Path) -> None:
    init = te.InitializerOption(default_value_dim=None, default_value_no_permission=-1.0)
    module = tf.Module()
    module.ev = filtered(te.CounterFilter(2), init_option=init, num_parts=2)
    module.read = tf.function(
        lambda keys: module.ev.sparse_read(keys),
        input_signature=[tf.TensorSpec([None], tf.int64)],
    )
    train(module.ev, [1, 1, 2])
    tf.saved_model.save(module, str(tmp_path / "model"))
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    read = loaded.read(tf.constant([1, 2, 3], tf.int64)).numpy()
    assert read.tolist() == [[-0.75] * DIM, [-1.0] * DIM, [-1.0] * DIM]


# Checkpoints.

COUNTING = {
    "counter": te.CounterFilter(3),
    "bloom": te.CBFFilter(3, 1000, 0.001, tf.uint16),
}


@pytest.mark.parametrize("kind", COUNTING)
def test_counts_survive_a_checkpoint(kind: str, tmp_path: Path) -> None:
    ev = filtered(COUNTING[kind])
    train(ev, [*EXTREMES, *EXTREMES, 5, 9, 9, 9], step=4)
    path = tf.train.Checkpoint(ev=ev).write(str(tmp_path / "ckpt"))
    other = filtered(COUNTING[kind], "other")
    train(other, [5, 6, 6])
    tf.train.Checkpoint(ev=other).read(path).assert_consumed()
    keys = [*EXTREMES, 5, 6, 9]
    assert other.frequency(keys).numpy().tolist() == [2] * 7 + [1, 0, 3]
    for each in (ev, other):
        train(each, [*EXTREMES, 5], step=5)
    assert contents(ev) == contents(other) and int(ev.size()) == 8


@pytest.mark.parametrize(("saved", "restored"), [(1, 3), (3, 1), (2, 5)])
def test_candidates_restore_into_any_number_of_parts(
    saved: int, restored: int, tmp_path: Path
) -> None:
    ev = filtered(te.CounterFilter(4), num_parts=saved)
    for step in range(3):
        train(ev, stream(step, 1000), step)
    path = tf.train.Checkpoint(ev=ev).write(str(tmp_path / "ckpt"))
    other = filtered(te.CounterFilter(4), "other", num_parts=restored)
    tf.train.Checkpoint(ev=other).read(path).assert_consumed()
    keys = np.arange(-2500, 2500)
    np.testing.assert_array_equal(ev.frequency(keys), other.frequency(keys))
    assert contents(ev) == contents(other)


def test_rows_stay_under_another_filter(tmp_path: Path) -> None:
    ev = filtered(te.CounterFilter(3))
    train(ev, [1, 1, 1, 2, 2])
    path = tf.train.Checkpoint(ev=ev).write(str(tmp_path / "ckpt"))
    stricter = filtered(te.CounterFilter(100), "stricter")
    looser = filtered(te.CounterFilter(2), "looser")
    others = [
        filtered(option, f"other_{i}")
        for i, option in enumerate([None, *COUNTING.values(), te.ProbabilisticFilter(0.5)])
    ]
    for other in (stricter, looser, *others):
        tf.train.Checkpoint(ev=other).read(path).assert_consumed()
        assert contents(other) == contents(ev)
    assert stricter.frequency([1, 2]).numpy().tolist() == [3, 2]
    train(looser, [2])
    assert looser.frequency([2]).numpy().tolist() == [3] and int(looser.size()) == 2
    # Another kind of filter counts anew.
    assert others[2].frequency([1, 2]).numpy().tolist() == [3, 0]


def test_a_state_has_rows_and_no_counts() -> None:
    ev = filtered(te.CounterFilter(3))
    train(ev, [1, 1, 1, 2, 2])
    state = ev.state()
    train(ev, [3])
    ev.load_state(state)
    assert ev.frequency([1, 2, 3]).numpy().tolist() == [3, 0, 0]


# What cannot be.


def test_bad_filters_are_refused() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="max_element_size is 4611686018"):
        filtered(te.CBFFilter(2, 2**62, 0.01))
    with pytest.raises(TypeError, match="ev_option"):
        te.EmbeddingVariable(DIM, ev_option=te.CounterFilter(2))
    with pytest.raises(TypeError, match="ev_option"):
        te.TableConfig(DIM, ev_option=3)
