# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Random sequences of operations on a bounded, filtered variable against a dict.

The dict knows which rows go, and when: it keeps the queue that the core documents, without the
renewals on which nothing depends.
"""

from __future__ import annotations

import collections
import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import tf_embedding as te

DIM = 2
LR = np.float32(0.25)
BOUND = 6
STEPS, NORM, MIN_FREQUENCY, DECAY = 12, 0.2, 1, 0.5
KEYS = st.one_of(st.integers(-10, 10), st.sampled_from([-(2**63), 2**63 - 1]))
KEY_LISTS = st.lists(KEYS, max_size=10)


@dataclasses.dataclass
class Row:
    value: np.ndarray
    frequency: int
    version: int
    recency: int = 0


class Model:
    """A table of one shard under CounterFilter(admit), CapacityEvict(BOUND) and rules."""

    def __init__(self, order: str, admit: int) -> None:
        self.order, self.admit = order, admit
        self.rows: dict[int, Row] = {}
        self.counts: collections.Counter = collections.Counter()
        self.queue: dict[int, list[int]] = {}
        self.clock = self.touched = self.evicted = 0
        self.new_content = True
        # Of the step at hand: its rows at most, whether it began above all, and who is spared.
        self.step = self.newest = -1
        self.of_step = 0
        self.step_is_new = self.spares_step = False
        self.aside: list[int] = []

    def priority(self, key: int) -> int:
        row = self.rows[key]
        return {"lru": row.recency, "lfu": row.frequency, "version": row.version}[self.order]

    def push(self, key: int) -> None:
        self.queue.setdefault(self.priority(key), []).append(key)

    def push_all(self, keys: list[int]) -> None:
        for key in keys:
            if key in self.rows:
                self.push(key)
        keys.clear()

    def begin(self, num_keys: int, step: int) -> None:
        if self.new_content:
            for row in self.rows.values():
                row.recency = row.version
            self.newest = self.clock = max((row.version for row in self.rows.values()), default=-1)
            self.clock = max(self.clock, 0)
            self.touched, self.new_content = BOUND, False
            self.queue = {}
            by_version = sorted(self.rows, key=lambda k: (self.rows[k].version, k))
            for key in sorted(by_version, key=self.priority):
                self.push(key)
        if step != self.step:
            self.step_is_new = step > self.newest
            self.step, self.of_step = step, 0
            self.newest = max(self.newest, step)
            self.push_all(self.aside)
        self.spares_step = self.step_is_new and self.of_step + num_keys <= BOUND
        if not self.spares_step:
            self.push_all(self.aside)
        if self.touched >= 1:
            self.clock += 1
            self.touched = 0
        self.touched += num_keys

    def end(self, touched: set[int], births: list[int]) -> None:
        spared = []
        while len(self.rows) > BOUND and self.queue:
            front = min(self.queue)
            key = self.queue[front].pop(0)
            if not self.queue[front]:
                del self.queue[front]
            if key not in self.rows:
                continue
            if key in touched:
                spared.append(key)
            elif self.priority(key) > front:
                self.push(key)
            elif self.spares_step and self.rows[key].version == self.step:
                self.aside.append(key)
            else:
                del self.rows[key]
                self.evicted += 1
        self.push_all(spared)
        self.push_all(births)

    def apply(self, keys: list[int], gradients: np.ndarray, step: int, initial) -> None:
        if not keys:
            return
        distinct = list(dict.fromkeys(keys))
        self.begin(len(distinct), step)
        births = []
        for key in distinct:
            mine = [g for k, g in zip(keys, gradients) if k == key]
            before = 0
            if key not in self.rows:
                before = self.counts[key]
                if before + len(mine) < self.admit:
                    self.counts[key] += len(mine)
                    continue
                del self.counts[key]
                self.rows[key] = Row(initial(key), before, -1)
                births.append(key)
            g = mine[0].copy()
            for other in mine[1:]:
                g += other
            row = self.rows[key]
            row.value = row.value - LR * g
            row.frequency += len(mine)
            self.of_step += row.version != step
            row.version, row.recency = step, self.clock
        self.end(set(distinct), births)

    def evict(self, step: int) -> int:
        if self.rows and self.order == "lfu":
            queue: dict[int, list[int]] = {}
            for priority in sorted(self.queue):
                queue.setdefault(int(priority * DECAY), []).extend(self.queue[priority])
            self.queue = queue
        gone = []
        for key, row in self.rows.items():
            row.frequency = int(row.frequency * DECAY)
            norm = np.float32(np.sum(row.value * row.value, dtype=np.float32))
            if (
                row.frequency < MIN_FREQUENCY
                or step - row.version > STEPS
                or np.float32(0.5) * norm < np.float32(NORM)
            ):
                gone.append(key)
        for key in gone:
            del self.rows[key]
        self.evicted += len(gone)
        return len(gone)

    def load(self, rows: dict[int, Row]) -> None:
        self.rows = {key: dataclasses.replace(row) for key, row in rows.items()}
        self.queue = {}
        self.aside = []
        self.step = -1
        self.new_content = True


class Machine(RuleBasedStateMachine):
    order, admit = "lru", 1

    def __init__(self) -> None:
        super().__init__()
        option = te.EmbeddingVariableOption(
            evict_option=[
                te.CapacityEvict(BOUND, order=self.order),
                te.GlobalStepEvict(STEPS, when="request"),
                te.L2WeightEvict(NORM, when="request"),
                te.FrequencyEvict(MIN_FREQUENCY, DECAY, when="request"),
            ],
            filter_option=te.CounterFilter(self.admit),
        )
        self.ev = te.EmbeddingVariable(DIM, "uniform", seed=11, name="machine", ev_option=option)
        fresh = te.EmbeddingVariable(DIM, "uniform", seed=11, name="fresh")
        self.initial = lambda key: fresh.sparse_read([key]).numpy()[0]
        self.model = Model(self.order, self.admit)
        self.step = 0
        self.saved = None

    def _slices(self, keys, seed):
        # Multiples of 1/8: sums do not depend on their order.
        rng = np.random.default_rng(seed)
        gradients = (rng.integers(-8, 9, [len(keys), DIM]) / 8).astype(np.float32)
        return tf.IndexedSlices(tf.constant(gradients), tf.constant(np.array(keys, np.int64)))

    @rule(keys=KEY_LISTS, seed=st.integers(0, 99), moves=st.integers(0, 3))
    def apply(self, keys, seed, moves) -> None:
        self.step += moves
        slices = self._slices(keys, seed)
        te.rules.apply(self.ev, slices, te.rules.SGD(), LR, self.step)
        self.model.apply(keys, slices.values.numpy(), self.step, self.initial)

    @rule(keys=KEY_LISTS)
    def lookup(self, keys) -> None:
        rows = self.model.rows
        want = [rows[key].value if key in rows else self.initial(key) for key in keys]
        got = self.ev.sparse_read(np.array(keys, np.int64)).numpy()
        np.testing.assert_array_equal(got, np.reshape(np.array(want, np.float32), [-1, DIM]))

    @rule(keys=KEY_LISTS)
    def ask(self, keys) -> None:
        rows, counts = self.model.rows, self.model.counts
        want = [rows[key].frequency if key in rows else counts[key] for key in keys]
        assert self.ev.frequency(np.array(keys, np.int64)).numpy().tolist() == want

    @rule()
    def evict(self) -> None:
        assert int(self.ev.evict(step=self.step)) == self.model.evict(self.step)

    @rule(keys=KEY_LISTS)
    def remove(self, keys) -> None:
        there = {key for key in keys if key in self.model.rows}
        assert int(self.ev.remove(np.array(keys, np.int64))) == len(there)
        for key in keys:
            self.model.rows.pop(key, None)
            self.model.counts.pop(key, None)

    @rule()
    def save(self) -> None:
        blocks = list(te.checkpoint.block_arrays(self.ev.table.save_blocks()))
        rows = {key: dataclasses.replace(row) for key, row in self.model.rows.items()}
        self.saved = (blocks, rows, self.model.counts.copy())

    @rule()
    def restore(self) -> None:
        if self.saved is not None:
            blocks, rows, counts = self.saved
            self.ev.table.load_blocks(te.checkpoint.blocks_from_arrays(blocks))
            self.model.load(rows)
            self.model.counts = counts.copy()

    @invariant()
    def whole_content_agrees(self) -> None:
        rows = self.ev.export()
        found = dict(zip(rows.keys.numpy().tolist(), range(len(rows.keys))))
        assert set(found) == set(self.model.rows)
        for key, at in found.items():
            want = self.model.rows[key]
            np.testing.assert_array_equal(rows.values[at], want.value)
            assert int(rows.frequency[at]) == want.frequency
            assert int(rows.version[at]) == want.version
        stats = self.ev.stats()
        assert (int(stats.keys), int(stats.evicted)) == (len(found), self.model.evicted)


@pytest.mark.parametrize("order", te.eviction.ORDERS)
@pytest.mark.parametrize("admit", [1, 3])
def test_sequences(order, admit) -> None:
    machine = type("Of", (Machine,), {"order": order, "admit": admit})
    machine.TestCase.settings = settings(
        max_examples=12, stateful_step_count=25, deadline=None, derandomize=True
    )
    machine.TestCase().runTest()
