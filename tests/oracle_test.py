# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Random sequences of operations against a plain dict."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import tf_embedding as te

DIM = 2
LR = np.float32(0.5)
KEYS = st.one_of(
    st.integers(-4, 4),
    st.sampled_from([-(2**63), 2**63 - 1, 2**32, -(2**32), 1 << 40]),
    st.integers(-(2**63), 2**63 - 1),
)
KEY_LISTS = st.lists(KEYS, max_size=12)


class Oracle(dict):
    """The whole of an embedding variable under Adagrad: key -> [w, a, frequency, version]."""

    def __init__(self, initial) -> None:
        super().__init__()
        self.initial = initial

    def read(self, key):
        return self[key][0] if key in self else self.initial(key)

    def apply(self, keys, gradients, step) -> None:
        for key in dict.fromkeys(keys):
            mine = [g for k, g in zip(keys, gradients) if k == key]
            g = mine[0].copy()
            for other in mine[1:]:
                g += other
            a0 = np.full(DIM, 0.1, np.float32)
            w, a, frequency, _ = self.get(key, (self.read(key), a0, 0, 0))
            a = a + g * g
            self[key] = (w - LR * g / np.sqrt(a), a, frequency + len(mine), step)

    def upsert(self, keys, values, step) -> None:
        for key, value in zip(keys, values):
            a0 = np.full(DIM, 0.1, np.float32)
            _, a, frequency, _ = self.get(key, (None, a0, 0, 0))
            self[key] = (value, a, frequency, step)


class Machine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.ev = te.EmbeddingVariable(DIM, "uniform", seed=11, name="machine")
        # Gives the rows Adagrad's slots from the start.
        nothing = tf.IndexedSlices(tf.zeros([1, DIM]), tf.constant([0], tf.int64))
        te.rules.apply(self.ev, nothing, te.rules.Adagrad(), LR, 0)
        self.ev.clear()
        fresh = te.EmbeddingVariable(DIM, "uniform", seed=11, name="fresh")
        self.oracle = Oracle(lambda key: fresh.sparse_read([key]).numpy()[0])
        self.saved = None
        self.step = 0

    def _rows(self, keys, seed):
        self.step += 1
        rng = np.random.default_rng(seed)
        return rng.normal(size=[len(keys), DIM]).astype(np.float32)

    @rule(keys=KEY_LISTS, seed=st.integers(0, 99))
    def apply(self, keys, seed) -> None:
        gradients = self._rows(keys, seed)
        slices = tf.IndexedSlices(tf.constant(gradients), tf.constant(keys, tf.int64))
        te.rules.apply(self.ev, slices, te.rules.Adagrad(), LR, self.step)
        self.oracle.apply(keys, gradients, self.step)

    @rule(keys=KEY_LISTS, seed=st.integers(0, 99))
    def upsert(self, keys, seed) -> None:
        values = self._rows(keys, seed)
        self.ev.upsert(np.array(keys, np.int64), values, step=self.step)
        self.oracle.upsert(keys, values, self.step)

    @rule(keys=KEY_LISTS)
    def remove(self, keys) -> None:
        present = {key for key in keys if key in self.oracle}
        assert int(self.ev.remove(np.array(keys, np.int64))) == len(present)
        for key in present:
            del self.oracle[key]

    @rule()
    def clear(self) -> None:
        self.ev.clear()
        self.oracle.clear()

    @rule()
    def save(self) -> None:
        self.saved = (self.ev.state(), dict(self.oracle))

    @rule()
    def restore(self) -> None:
        if self.saved is not None:
            self.ev.load_state(self.saved[0])
            self.oracle.clear()
            self.oracle.update(self.saved[1])

    @rule(keys=KEY_LISTS)
    def read(self, keys) -> None:
        array = np.array(keys, np.int64)
        want = np.array([self.oracle.read(key) for key in keys], np.float32).reshape(-1, DIM)
        np.testing.assert_array_equal(self.ev.sparse_read(array), want)
        assert self.ev.contains(array).numpy().tolist() == [key in self.oracle for key in keys]

    @invariant()
    def whole_content_agrees(self) -> None:
        if not hasattr(self, "ev"):
            return
        assert int(self.ev.size()) == len(self.oracle)
        rows = [part.numpy() for part in self.ev.export()]
        assert set(rows[0].tolist()) == set(self.oracle)
        for key, value, slots, frequency, version in zip(*rows):
            w, a, f, v = self.oracle[int(key)]
            np.testing.assert_array_equal(value, w)
            np.testing.assert_array_equal(slots, a)
            assert (frequency, version) == (f, v)


Machine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, derandomize=True
)
test_sequences = Machine.TestCase
