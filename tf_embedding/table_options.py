# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a table is made with, resolved from the options of its variable."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tf_embedding import eviction, options


@dataclasses.dataclass(frozen=True)
class TableOptions:
    """Attributes of the op that makes a table, those of its shape and rows aside.

    Attributes:
      filter: which keys earn a row: "" for all, "counter", "bloom" or "probabilistic".
      filter_freq: occurrences that admit.
      filter_probability: of a false positive, or of admission.
      max_element_size: keys that a Bloom filter is made for.
      counter_bits: of a Bloom filter.
      no_permission: what a key without a row reads in every column; empty for its
        initial row.
      init_capacity: rows for which there is room from the start.
      cache_bytes: of the device's memory, for rows in use, all others being in the
        host's; 0 for one tier.
      cache_strategy: which rows leave it first: "lru" or "lfu".
      row_dtype: what vectors lie in memory as.
      eviction: attributes that `tf_embedding.eviction` makes.
    """

    filter: str = ""
    filter_freq: int = 1
    filter_probability: float = 1.0
    max_element_size: int = 1
    counter_bits: int = 64
    no_permission: tuple[float, ...] = ()
    init_capacity: int = 0
    cache_bytes: int = 0
    cache_strategy: str = "lfu"
    row_dtype: tf.DType = tf.float32
    eviction: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def attributes(self) -> dict[str, Any]:
        """By name, as the op takes them."""
        of_op = {**dataclasses.asdict(self), "no_permission": list(self.no_permission)}
        of_eviction = of_op.pop("eviction")
        return {**of_op, **of_eviction}


def resolve(option: options.EmbeddingVariableOption, num_parts: int) -> TableOptions:
    """What each part of a variable is made with.

    Args:
      option: of the variable.
      num_parts: in how many parts it is. Keys are dealt out evenly, so the Bloom
        filter of each part is made for its share of them.
    """
    admission: dict[str, Any] = {}
    filter_option = option.filter_option
    if isinstance(filter_option, options.ProbabilisticFilter):
        if filter_option.probability < 1:
            admission["filter"] = "probabilistic"
            admission["filter_probability"] = filter_option.probability
    elif filter_option is not None and filter_option.filter_freq > 1:
        admission["filter"] = "counter"
        admission["filter_freq"] = filter_option.filter_freq
        if isinstance(filter_option, options.CBFFilter):
            admission["filter"] = "bloom"
            admission["filter_probability"] = filter_option.false_positive_probability
            admission["max_element_size"] = -(-filter_option.max_element_size // num_parts)
            admission["counter_bits"] = tf.as_dtype(filter_option.counter_type).size * 8
    storage: dict[str, Any] = {}
    if options.is_tiered(option):
        assert option.storage_option is not None
        storage["cache_bytes"] = -(-option.storage_option.storage_size[0] // num_parts)
        storage["cache_strategy"] = option.storage_option.cache_strategy.name.lower()
    init_option = option.init_option
    if init_option is not None and init_option.default_value_no_permission is not None:
        admission["no_permission"] = (float(init_option.default_value_no_permission),)
    return TableOptions(
        **admission,
        **storage,
        init_capacity=-(-option.init_capacity // num_parts),
        row_dtype=tf.as_dtype(option.row_dtype),
        eviction=eviction.attributes(
            eviction.as_tuple(option.evict_option), option.collect_evicted, num_parts
        ),
    )
