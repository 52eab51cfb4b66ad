# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a variable says of itself: counts, memory, foremost keys, distributions.

Functions of the handles of a variable's tables, for the methods of
`EmbeddingVariable`; all work in graphs. Parts are summed.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

import tensorflow as tf

from tf_embedding import parts
from tf_embedding._library import ops

RANKINGS = ("frequency", "version", "norm")
MEASURES = ("frequency", "version", "age", "norm")


class TableStats(NamedTuple):
    """Counts and memory of an embedding variable, scalar tensors, parts summed.

    Counts of events are since the variable was made in this process, and are in no
    checkpoint. Counting lookups costs one addition for each 16,384 keys.

    Attributes:
      keys: int64, rows.
      inserted: int64, rows born by updates and `upsert`; not those of restores.
      admitted: int64, keys that earned their row by an admission filter.
      refused: int64, occurrences whose gradient was dropped because their key had no
        row yet.
      evicted: int64, rows that eviction took.
      removed: int64, rows that `remove` and `clear` took.
      lookups: int64, occurrences of keys that were looked up.
      lookup_hits: int64, those of them that had a row.
      hit_rate: float64, lookup_hits / lookups; 0 before the first lookup.
      index_bytes: int64, from keys to rows.
      row_bytes: int64, held for rows, used or not.
      row_used_bytes: int64, those of rows with a key.
      candidate_bytes: int64, of an admission filter: keys that it counts, or the
        counters of a Bloom filter, touched or not.
      eviction_bytes: int64, of what eviction keeps: queues, and evicted rows that are
        collected.
      fixed_bytes: int64, whatever the size, and what the last lookups left for updates.
      total_bytes: int64, of index, rows, candidates, eviction and fixed.
      load: float64, the used share of the index's slots.
      mean_probe: float64, cache lines of the index read to find a key that is there,
        on average of a sample: that of the first 65,536 lines.
      max_probe: int64, at most, in the same sample.
      candidates: int64, keys without a row that a `CounterFilter` counts.
      host_bytes: int64, those of row_bytes that are in the host's memory, of a variable
        in two tiers (`StorageType.HBM_DRAM`), as the three below.
      cache_bytes: int64, those of row_bytes that are its cache of rows in HBM.
      cache_hits: int64, occurrences of keys in updates whose row was in the cache.
      cache_misses: int64, those whose row was not.
    """

    keys: tf.Tensor
    inserted: tf.Tensor
    admitted: tf.Tensor
    refused: tf.Tensor
    evicted: tf.Tensor
    removed: tf.Tensor
    lookups: tf.Tensor
    lookup_hits: tf.Tensor
    hit_rate: tf.Tensor
    index_bytes: tf.Tensor
    row_bytes: tf.Tensor
    row_used_bytes: tf.Tensor
    candidate_bytes: tf.Tensor
    eviction_bytes: tf.Tensor
    fixed_bytes: tf.Tensor
    total_bytes: tf.Tensor
    load: tf.Tensor
    mean_probe: tf.Tensor
    max_probe: tf.Tensor
    candidates: tf.Tensor
    host_bytes: tf.Tensor
    cache_bytes: tf.Tensor
    cache_hits: tf.Tensor
    cache_misses: tf.Tensor


class TopKeys(NamedTuple):
    """Keys in order of a measure.

    Attributes:
      keys: int64 [k], highest first; of equal ones the smaller key first.
      values: float64 [k], the measure of each; whole numbers are exact.
    """

    keys: tf.Tensor
    values: tf.Tensor


class Histogram(NamedTuple):
    """How many rows have a measure in which range.

    Attributes:
      edges: float64 [b + 1], the same for all variables.
      counts: int64 [b], rows from edges[i] up to, not including, edges[i + 1]; the last
        bin takes all above and what is not a number.
    """

    edges: tf.Tensor
    counts: tf.Tensor


def _sum(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return tensors[0] if len(tensors) == 1 else tf.add_n(tensors)


def _ratio(part: tf.Tensor, whole: tf.Tensor) -> tf.Tensor:
    return tf.math.divide_no_nan(tf.cast(part, tf.float64), tf.cast(whole, tf.float64))


def of_tables(handles: Sequence[tf.Tensor]) -> TableStats:
    """The stats of a variable with these tables."""
    each = parts.beside_each(handles, lambda handle: ops.tf_embedding_stats(handle=handle))
    total = tf.unstack(_sum(each), num=23)
    counts, memory = total[:8], total[8:14]
    index, rows, _, candidates, eviction, fixed = memory
    slots, sampled_keys, sampled_probes = total[14:17]
    return TableStats._make(
        [
            *counts,
            _ratio(counts[7], counts[6]),
            *memory,
            index + rows + candidates + eviction + fixed,
            _ratio(counts[0], slots),
            _ratio(sampled_probes, sampled_keys),
            tf.reduce_max(tf.stack([of_part[17] for of_part in each])),
            *total[18:],
        ]
    )


def top_keys(handles: Sequence[tf.Tensor], n: Any, by: str) -> TopKeys:
    """The foremost keys of a variable with these tables; see `EmbeddingVariable.top_k`."""
    if by not in RANKINGS:
        raise ValueError(f"by is {by!r}; use frequency, version or norm")
    n = tf.cast(n, tf.int64)
    each = parts.beside_each(
        handles, lambda handle: ops.tf_embedding_top_keys(handle=handle, n=n, by=by)
    )
    if len(each) == 1:
        return TopKeys(*each[0])
    keys, values = (tf.concat(column, axis=0) for column in zip(*each))
    by_key = tf.argsort(keys, stable=True)
    keys, values = tf.gather(keys, by_key), tf.gather(values, by_key)
    # What is not a number comes first, as inside a table.
    rank = tf.where(tf.math.is_nan(values), tf.constant(float("inf"), tf.float64), values)
    order = tf.argsort(-rank, stable=True)[: tf.cast(n, tf.int32)]
    return TopKeys(tf.gather(keys, order), tf.gather(values, order))


def histogram(handles: Sequence[tf.Tensor], measure: str, step: Any) -> Histogram:
    """The histogram of a variable with these tables; see `EmbeddingVariable.histogram`."""
    if measure not in MEASURES:
        raise ValueError(f"measure is {measure!r}; use frequency, version, age or norm")
    step = tf.cast(step, tf.int64)
    each = parts.beside_each(
        handles,
        lambda handle: ops.tf_embedding_histogram(handle=handle, step=step, measure=measure),
    )
    return Histogram(each[0][0], _sum([counts for _, counts in each]))
