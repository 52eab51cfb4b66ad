# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""get_embedding_variable under variable scopes, as get_variable behaves there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from v1.graph import int64, session, v1, variable

import tf_embedding as te


def test_two_lines_that_users_bring() -> None:
    with session() as run:
        tf1 = v1
        var = te.get_embedding_variable(
            "var_0",
            embedding_dim=3,
            initializer=tf1.ones_initializer(tf.float32),
            partitioner=tf1.fixed_size_partitioner(num_shards=4),
        )
        shape = [var1.total_count() for var1 in var]
        emb = tf.nn.embedding_lookup(var, tf.cast([0, 1, 2, 5, 6, 7], tf.int64))
        train = te.train.AdagradOptimizer(0.1).minimize(tf.reduce_sum(emb))
        run.run(tf1.global_variables_initializer())
        assert run.run(shape) == [0, 0, 0, 0]
        assert run.run(emb).tolist() == [[1.0] * 3] * 6
        run.run(train)
        sizes = run.run(shape)
        assert sum(sizes) == 6 and len(sizes) == 4
    if tf.executing_eagerly():
        var = te.get_embedding_variable(
            "var_0",
            embedding_dim=3,
            initializer=tf1.ones_initializer(tf.float32),
            partitioner=tf1.fixed_size_partitioner(num_shards=4),
        )
        assert [int(var1.total_count()) for var1 in var] == [0, 0, 0, 0]
        emb = tf.nn.embedding_lookup(var, tf.cast([0, 1, 2, 5, 6, 7], tf.int64))
        assert emb.numpy().tolist() == [[1.0] * 3] * 6


def test_names_go_by_variable_scopes_not_name_scopes() -> None:
    with session():
        with v1.variable_scope("a"), tf.name_scope("n"), v1.variable_scope("b"):
            var = variable("c", parts=2)
        assert var.name == "a/b/c:0" and var.op.name == "a/b/c"
        assert [part.op.name for part in var] == ["a/b/c/part_0", "a/b/c/part_1"]


def test_reuse() -> None:
    with session():
        with v1.variable_scope("s"):
            first = variable("v", parts=2)
        with v1.variable_scope("s", reuse=True):
            assert variable("v", parts=2) is first
            with pytest.raises(ValueError, match="s/w does not exist"):
                variable("w")
        with v1.variable_scope("s", reuse=v1.AUTO_REUSE):
            assert variable("v", parts=2) is first
            assert variable("w") is variable("w")
        with v1.variable_scope("s"), pytest.raises(ValueError, match="s/v already exists"):
            variable("v", parts=2)


def test_reuse_with_another_shape_is_refused() -> None:
    with session(), v1.variable_scope("", reuse=v1.AUTO_REUSE):
        variable("v", dim=3, parts=2)
        with pytest.raises(ValueError, match="specified shape"):
            variable("v", dim=4, parts=2)
        with pytest.raises(ValueError, match="in 2 parts.*asks for 1"):
            variable("v", dim=3)
        v1.get_variable("d", [5, 3], use_resource=True)
        with pytest.raises(ValueError, match="d"):
            variable("d", dim=3)


def test_defaults_come_from_the_scope() -> None:
    with session() as run:
        with v1.variable_scope(
            "s",
            initializer=v1.constant_initializer(0.25),
            partitioner=v1.fixed_size_partitioner(3),
        ):
            var = te.get_embedding_variable("v", 2)
        assert var.num_parts == 3
        assert run.run(var.sparse_read([9])).tolist() == [[0.25, 0.25]]


def test_without_an_initializer_rows_are_truncated_normal() -> None:
    with session() as run:
        values = run.run(te.get_embedding_variable("v", 8).sparse_read(np.arange(5000)))
    assert abs(values.mean()) < 0.02 and 0.85 < values.std() < 0.9
    assert np.abs(values).max() <= 2.0


def test_collections() -> None:
    keys = v1.GraphKeys
    with session():
        var = variable("a", parts=2)
        assert v1.global_variables() == [var] and v1.trainable_variables() == [var]
        still = variable("b", trainable=False)
        own = variable("c", collections=["mine", keys.LOCAL_VARIABLES])
        assert v1.global_variables() == [var, still]
        assert v1.trainable_variables() == [var, own]
        assert v1.get_collection("mine") == [own] and v1.local_variables() == [own]
        assert v1.trainable_variables("a") == [var]


def test_custom_getters() -> None:
    asked = []

    def getter(getter: Any, name: str, **kwargs: Any) -> Any:
        asked.append((name, kwargs["trainable"]))
        return getter(name=name, **{**kwargs, "trainable": False})

    def plain(getter: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(("plain", None))
        return getter(*args, **kwargs)

    with session():
        with v1.variable_scope("s", custom_getter=getter):
            assert not variable("v", parts=2).trainable
            assert variable("w", custom_getter=plain).trainable
        assert asked == [("s/v", True), ("plain", None)]
        assert v1.trainable_variables() == v1.get_collection("variables", "s/w")


def test_partitioners() -> None:
    with session():
        assert variable("a", parts=None).num_parts == 1
        assert variable("b", parts=5).num_parts == 5
        most = v1.min_max_variable_partitioner(max_partitions=6, min_slice_size=1 << 20)
        assert te.get_embedding_variable("c", 4, partitioner=most).num_parts == 6
        with pytest.raises(ValueError, match="by rows only"):
            te.get_embedding_variable("d", 4, partitioner=v1.fixed_size_partitioner(2, axis=1))
        with pytest.raises(ValueError, match="num_parts is 2000"):
            variable("e", parts=2000)


@pytest.mark.parametrize(
    ("argument", "value", "remedy"),
    [
        ("regularizer", tf.nn.l2_loss, "FtrlOptimizer"),
        ("constraint", tf.abs, "max_norm"),
        ("caching_device", "/cpu:0", "leave it out"),
        ("init_data_source", "rows", "upsert"),
        ("use_resource", False, "resource"),
        ("key_dtype", tf.string, "hash_strings"),
        ("value_dtype", tf.float16, "float32"),
        ("embedding_dim", 0, "4096"),
        ("steps_to_live", 0, "steps_to_live of GlobalStepEvict"),
        ("ev_option", 3, "EmbeddingVariableOption"),
    ],
)
def test_what_cannot_be_is_refused(argument: str, value: Any, remedy: str) -> None:
    arguments = {"name": "v", "embedding_dim": 3, argument: value}
    with session():
        with pytest.raises((ValueError, TypeError, NotImplementedError)) as error:
            te.get_embedding_variable(**arguments)
        assert remedy in str(error.value)
        assert v1.global_variables() == []


@pytest.mark.parametrize("argument", ["regularizer", "constraint", "caching_device"])
def test_what_a_scope_has_and_rows_cannot_is_refused(argument: str) -> None:
    value = {"caching_device": "/cpu:0"}.get(argument, tf.abs)
    with session(), v1.variable_scope("s", **{argument: value}):
        with pytest.raises(ValueError, match=argument):
            variable("v")


def test_int32_keys_are_widened() -> None:
    with session() as run:
        var = variable("v", key_dtype=tf.int32)
        run.run(var.upsert(tf.constant([-1], tf.int32), [[1.0, 2.0, 3.0]]))
        assert run.run(tf.nn.embedding_lookup(var, int64(-1))).tolist() == [[1.0, 2.0, 3.0]]


def test_outside_graphs_each_call_makes_one() -> None:
    if not tf.executing_eagerly():
        pytest.skip("there is no eager mode without v2 behaviour")
    first, second = te.get_embedding_variable("v", 3), te.get_embedding_variable("v", 3)
    first.upsert([1], [[1.0, 2.0, 3.0]])
    assert int(second.size()) == 0
    with v1.variable_scope("s"):
        assert te.get_embedding_variable("v", 3).name == "s/v:0"
