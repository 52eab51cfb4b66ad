# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What DeepRec's users rely on of filters, by numbers; every value is computed here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from v1.graph import OPTIMIZERS, int64, session, steps, v1

import tf_embedding as te

BATCH = [1, 1, 1, 1, 2, 2, 2, 3, 3, 4]
COUNTER = te.CounterFilter(3)
BLOOM = te.CBFFilter(3, 5, 0.01)


def filtered(filter_option: Any, initializer: Any = None, **init: Any) -> Any:
    """Rows of ones; keys without one read 0, as in DeepRec."""
    option = te.EmbeddingVariableOption(
        filter_option=filter_option,
        init_option=te.InitializerOption(initializer or v1.ones_initializer(), **init),
    )
    return te.get_embedding_variable("v", 3, ev_option=option)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_02_a_counter_admits_at_its_frequency(name: str) -> None:
    ours, stock, arguments = OPTIMIZERS[name]
    arguments = {"learning_rate": 0.1, **arguments}
    with session() as run:
        found = tf.nn.embedding_lookup(filtered(COUNTER), int64(*BATCH))
        train = ours(**arguments).minimize(tf.reduce_sum(2.0 * found))
        run.run(v1.global_variables_initializer())
        first, second = steps(run, found, train, 1)
    assert not first.any()
    # Seven occurrences are of keys that reached it: as a dense variable trains.
    with session() as run:
        dense = v1.get_variable("d", [3, 3], initializer=v1.ones_initializer(), use_resource=True)
        of_dense = tf.nn.embedding_lookup(dense, int64(*BATCH[:7]))
        train = stock(**arguments).minimize(tf.reduce_sum(2.0 * of_dense))
        run.run(v1.global_variables_initializer())
        want = steps(run, of_dense, train, 1)[1]
    np.testing.assert_allclose(second[:7], want, rtol=1e-6)
    assert (want != 1).all() and (want != 0).all()
    assert not second[7:].any()


@pytest.mark.parametrize("option", [COUNTER, BLOOM], ids=["counter", "bloom"])
def test_03_a_key_that_is_admitted_has_its_initial_row(option: Any) -> None:
    with session() as run:
        draw = v1.glorot_uniform_initializer(seed=1)
        found = tf.nn.embedding_lookup(filtered(option, draw, default_value_dim=8), int64(3))
        dense = v1.get_variable("d", [8, 3], initializer=draw)
        train = te.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(0.0 * found))
        run.run(v1.global_variables_initializer())
        forwards, want = steps(run, found, train, 3), run.run(dense)[3]
    assert not np.any(forwards[:3]) and want.all()
    np.testing.assert_array_equal(forwards[3], [want])


@pytest.mark.parametrize("counter_type", [tf.uint8, tf.uint16, tf.uint32, tf.uint64])
def test_04_a_bloom_filter_of_each_width(counter_type: Any) -> None:
    with session() as run:
        option = te.CBFFilter(3, 5, 0.01, counter_type=counter_type)
        found = tf.nn.embedding_lookup(filtered(option), int64(3))
        train = te.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(2.0 * found))
        run.run(v1.global_variables_initializer())
        forwards = steps(run, found, train, 3)
    want = np.float32(1) - np.float32(0.1) * np.float32(2)
    np.testing.assert_array_equal(forwards, [[[0.0] * 3]] * 3 + [[[want] * 3]])


def test_05_what_a_key_reads_that_has_no_permission() -> None:
    with session() as run:
        var = filtered(COUNTER, default_value_no_permission=0.2)
        found = tf.nn.embedding_lookup(var, int64(4, 4))
        train = te.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(found))
        run.run(v1.global_variables_initializer())
        forwards = steps(run, found, train, 2)
    np.testing.assert_array_equal(forwards[:2], np.full([2, 2, 3], np.float32(0.2)))
    np.testing.assert_allclose(forwards[2], np.full([2, 3], 0.8), rtol=1e-6)


def test_07_the_frequency_of_admitted_keys_is_all_their_occurrences() -> None:
    with session() as run:
        var = filtered(COUNTER)
        loss = tf.reduce_sum(tf.nn.embedding_lookup(var, int64(1, 1, 1, 2, 2, 3)))
        train = te.train.AdagradOptimizer(0.1).minimize(loss)
        run.run(v1.global_variables_initializer())
        steps(run, loss, train, 2)
        assert run.run(var.export(int64(1, 2, 3)).frequency).tolist() == [6, 4]


def test_08_queries_count_and_insert_nothing() -> None:
    with session() as run:
        var = filtered(COUNTER)
        ids = v1.placeholder(tf.int64, [None])
        step = v1.train.get_or_create_global_step()
        loss = tf.reduce_sum(tf.nn.embedding_lookup(var, ids))
        train = te.train.AdagradOptimizer(0.1).minimize(loss, global_step=step)
        run.run(v1.global_variables_initializer())
        for batch in ([1, 2, 3], [1, 3, 5], [1, 5, 7]):
            run.run(train, {ids: batch})
        keys = np.arange(1, 8)
        for _ in range(2):
            assert run.run(var.frequency(keys)).tolist() == [3, 1, 2, 0, 2, 0, 1]
            # Keys without a row have no version, where DeepRec stamps candidates.
            assert run.run(var.version(keys)).tolist() == [2, -1, -1, -1, -1, -1, -1]
            assert run.run(var.total_count()) == 1


def test_12_counts_are_saved(tmp_path: Path) -> None:
    def make() -> Any:
        var = filtered(COUNTER)
        loss = tf.reduce_sum(tf.nn.embedding_lookup(var, int64(1, 1, 1, 2, 2, 3)))
        return var, te.train.AdagradOptimizer(0.1).minimize(loss)

    with session() as run:
        var, train = make()
        run.run(v1.global_variables_initializer())
        run.run(train)
        assert run.run(var.export().keys).tolist() == [1]
        path = v1.train.Saver().save(run, str(tmp_path / "model"))
    with session() as run:
        var, train = make()
        v1.train.Saver().restore(run, path)
        assert run.run(var.export().keys).tolist() == [1]
        assert run.run(var.frequency(int64(1, 2, 3))).tolist() == [3, 2, 1]
        run.run(train)
        assert sorted(run.run(var.export().keys)) == [1, 2]
        run.run(var.initializer)
        assert run.run(var.frequency(int64(1, 2, 3))).tolist() == [0, 0, 0]
