# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Options are checked when they are made, and never ignored."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from v1.graph import session, v1

import tf_embedding as te

VALID: list[Any] = [
    te.InitializerOption(),
    te.GlobalStepEvict(steps_to_live=3),
    te.L2WeightEvict(l2_weight_threshold=0.5),
    te.TimeEvict(seconds=60),
    te.FrequencyEvict(min_frequency=2, decay=0.5, when="save"),
    te.CapacityEvict(max_bytes=1 << 30, order="lfu"),
    te.EmbeddingVariableOption(
        evict_option=[te.GlobalStepEvict(3), te.CapacityEvict(10)], collect_evicted=5
    ),
    te.CounterFilter(filter_freq=3),
    te.CBFFilter(3, max_element_size=10, false_positive_probability=0.01),
    te.ProbabilisticFilter(probability=0.1),
    te.InitializerOption(default_value_dim=None, default_value_no_permission=None),
    te.StorageOption(),
    te.CheckpointOption(),
    te.EmbeddingVariableOption(),
]

INVALID: list[tuple[Any, dict[str, Any]]] = [
    (te.InitializerOption, {"default_value_dim": 0}),
    (te.InitializerOption, {"default_value_dim": 2.5}),
    (te.InitializerOption, {"default_value_no_permission": float("nan")}),
    (te.InitializerOption, {"default_value_no_permission": "0"}),
    (te.GlobalStepEvict, {"steps_to_live": 0}),
    (te.GlobalStepEvict, {"steps_to_live": None}),
    (te.L2WeightEvict, {"l2_weight_threshold": -1.0}),
    (te.L2WeightEvict, {"l2_weight_threshold": float("inf")}),
    (te.CounterFilter, {"filter_freq": -1}),
    (te.CounterFilter, {"filter_freq": True}),
    (te.CounterFilter, {"filter_freq": 2**32}),
    (te.ProbabilisticFilter, {"probability": 0.0}),
    (te.ProbabilisticFilter, {"probability": 1e-60}),
    (te.ProbabilisticFilter, {"probability": 1.01}),
    (te.InitializerOption, {"default_value_no_permission": 1e39}),
    (te.StorageOption, {"storage_type": "DRAM"}),
    (te.StorageOption, {"storage_type": te.StorageType.LEVELDB}),
    (te.StorageOption, {"storage_size": [0]}),
    (te.StorageOption, {"storage_size": 4}),
    (te.StorageOption, {"storage_type": te.StorageType.HBM_DRAM, "storage_size": [1, 2]}),
    (te.StorageOption, {"storage_type": te.StorageType.HBM_DRAM, "storage_size": []}),
    (te.StorageOption, {"cache_strategy": "LRU"}),
    (te.CheckpointOption, {"ckpt_to_load_from": 3}),
    (te.CheckpointOption, {"always_load_from_specific_ckpt": "no"}),
    (te.EmbeddingVariableOption, {"ht_type": "dense_hash_map"}),
    (te.EmbeddingVariableOption, {"ht_partition_num": 7}),
    (te.EmbeddingVariableOption, {"evict_option": te.CounterFilter(2)}),
    (te.EmbeddingVariableOption, {"filter_option": 3}),
    (te.EmbeddingVariableOption, {"storage_option": "DRAM"}),
    (te.EmbeddingVariableOption, {"init_option": "ones"}),
    (te.EmbeddingVariableOption, {"ckpt": "path"}),
]

CBF = {"filter_freq": 3, "max_element_size": 10, "false_positive_probability": 0.01}
INVALID += [
    (te.CBFFilter, {**CBF, field: value})
    for field, value in [
        ("filter_freq", 0),
        ("max_element_size", 0),
        ("false_positive_probability", 0.0),
        ("false_positive_probability", 1.0),
        ("false_positive_probability", 1 - 1e-12),
        ("false_positive_probability", 1e-16),
        ("false_positive_probability", -1.0),
        ("counter_type", tf.int32),
    ]
]


@pytest.mark.parametrize("option", VALID, ids=lambda option: type(option).__name__)
def test_options_are_frozen_values(option: Any) -> None:
    again = dataclasses.replace(option)
    assert option == again and hash(option) == hash(again)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(option, dataclasses.fields(option)[0].name, 1)


@pytest.mark.parametrize(("cls", "fields"), INVALID)
def test_every_field_is_checked(cls: Any, fields: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)) as error:
        cls(**fields)
    assert list(fields)[-1] in str(error.value) or any(name in str(error.value) for name in fields)
    assert cls.__name__ in str(error.value)


@pytest.mark.parametrize("option", VALID, ids=lambda option: type(option).__name__)
def test_options_have_a_plain_form(option: Any) -> None:
    config = te.options.to_config(option)
    assert te.options.from_config(json.loads(json.dumps(config))) == option


def test_nested_options_have_a_plain_form() -> None:
    option = te.EmbeddingVariableOption(
        filter_option=te.CBFFilter(np.int64(3), 10, 0.01, tf.uint8),
        storage_option=te.StorageOption(te.StorageType.DRAM, storage_size=[1, 2]),
        init_option=te.InitializerOption("ones"),
    )
    config = te.options.to_config(option)
    assert te.options.from_config(json.loads(json.dumps(config))) == option
    assert te.options.to_config(None) is None and te.options.from_config(None) is None
    with pytest.raises(ValueError, match="no plain form"):
        te.options.to_config(te.InitializerOption(v1.ones_initializer()))


def test_a_counter_must_hold_the_frequency() -> None:
    te.CBFFilter(255, 10, 0.01, counter_type=tf.uint8)
    with pytest.raises(ValueError, match="filter_freq"):
        te.CBFFilter(256, 10, 0.01, counter_type=tf.uint8)


def test_lists_of_sizes_are_kept_as_tuples() -> None:
    assert te.StorageOption(storage_size=[1, 2]).storage_size == (1, 2)


@pytest.mark.parametrize(
    ("field", "option"),
    [
        ("storage_option", te.StorageOption(te.StorageType.HBM)),
        ("storage_option", te.StorageOption(te.StorageType.DRAM_SSDHASH, storage_path="rows")),
        ("ckpt", te.CheckpointOption(ckpt_to_load_from="model")),
    ],
)
def test_what_is_not_there_yet_is_refused(field: str, option: Any) -> None:
    with session():
        with pytest.raises(NotImplementedError, match=field):
            te.get_embedding_variable(
                "v", 3, ev_option=te.EmbeddingVariableOption(**{field: option})
            )
        assert v1.global_variables() == []


@pytest.mark.parametrize(
    "option",
    [
        te.EmbeddingVariableOption(filter_option=te.CounterFilter(filter_freq=1)),
        te.EmbeddingVariableOption(storage_option=te.StorageOption(te.StorageType.DRAM)),
    ],
)
def test_what_asks_for_nothing_is_taken(option: Any) -> None:
    with session():
        te.get_embedding_variable("v", 3, ev_option=option)


@pytest.mark.parametrize("parts", [1, 3])
def test_default_value_dim_is_the_matrix_of_initial_rows(parts: int) -> None:
    """Any initializer is drawn as a dense variable of so many rows."""
    keys = np.array([0, 7, 8, 9, -1, 2**62])
    draws: list[Any] = [
        v1.glorot_uniform_initializer(seed=1),
        v1.random_normal_initializer(seed=2),
        lambda shape, dtype=None, partition_info=None: tf.reshape(
            tf.range(np.prod(shape), dtype=dtype), shape
        ),
    ]
    for draw in draws:
        with session() as run:
            option = te.InitializerOption(initializer=draw, default_value_dim=8)
            var = te.get_embedding_variable(
                "v",
                4,
                initializer=v1.zeros_initializer(),
                partitioner=v1.fixed_size_partitioner(parts),
                ev_option=te.EmbeddingVariableOption(init_option=option),
            )
            dense = v1.get_variable("d", [8, 4], initializer=draw)
            run.run(v1.global_variables_initializer())
            np.testing.assert_array_equal(run.run(var.sparse_read(keys)), run.run(dense)[keys % 8])


def test_default_value_dim_of_a_named_and_of_a_constant_initializer() -> None:
    for name in ("uniform", "normal", "truncated_normal", "glorot_uniform", "he_normal"):
        spec = te.initializers.get(name, 4, default_value_dim=3)
        assert spec.kind == "matrix" and spec.matrix.shape == (3, 4)
        assert 0 < spec.matrix.std() < 3
    assert te.initializers.get("ones", 4, default_value_dim=3).kind == "constant"
    matrix = np.arange(8.0).reshape(2, 4)
    assert len(te.initializers.get(matrix, 4, default_value_dim=3).matrix) == 2
