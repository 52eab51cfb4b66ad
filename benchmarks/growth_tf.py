# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Experiments that change a table: insertion, memory, lookups beside updates."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

import draws
import numpy as np
import tables_tf
import tensorflow as tf
from spec import Spec

import tf_embedding as te

_PAGE = 4096


def _resident() -> int:
    with open("/proc/self/statm", encoding="utf-8") as file:
        return int(file.read().split()[1]) * _PAGE


def _peak() -> int:
    """The most that was resident since _reset_peak."""
    with open("/proc/self/status", encoding="utf-8") as lines:
        return next(int(x.split()[1]) * 1024 for x in lines if x.startswith("VmHWM"))


def _reset_peak() -> None:
    with open("/proc/self/clear_refs", "w", encoding="utf-8") as file:
        file.write("5")


def insert_all(insert: Any, keys: np.ndarray, batch: int, dim: int) -> dict[str, Any]:
    """Inserts keys in batches of new ones; times each, watches memory.

    Args:
      insert: function of (keys, gradients), which makes the rows.
      keys: distinct int64.
      batch: keys in each.
      dim: of a gradient.

    Returns:
      Seconds of each batch, and bytes resident before, at the end and at most.
    """
    gradients = tf.random.normal([batch, dim], seed=1)
    parts = [keys[i : i + batch] for i in range(0, len(keys) - batch + 1, batch)]
    gc.collect()
    before = _resident()
    _reset_peak()
    seconds = []
    for part in parts:
        ids = tf.constant(part)
        start = time.perf_counter()
        insert(ids, gradients)
        seconds.append(time.perf_counter() - start)
    del ids
    return {
        "keys": len(parts) * batch,
        "seconds": seconds,
        "before": before,
        "end": _resident(),
        "peak": _peak(),
    }


def warm(insert: Any, dim: int, batch: int) -> None:
    insert(tf.range(batch, dtype=tf.int64), tf.zeros([batch, dim]))


def _apply(variable: te.EmbeddingVariable, rule: str) -> Any:
    @tf.function
    def apply(ids: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
        slices = tf.IndexedSlices(gradients, ids)
        return te.rules.apply(variable, slices, tables_tf.RULES[rule], tables_tf.RATE, 0)

    return apply


def insert_table(spec: dict[str, Any]) -> dict[str, Any]:
    """Rows of an embedding variable, born by their first gradient."""
    s = Spec(**spec)
    keys = draws.keys(s.keys)
    warm(_apply(te.EmbeddingVariable(s.dim, seed=1, name="warm"), s.rule), s.dim, s.batch)
    variable = te.EmbeddingVariable(s.dim, seed=1, name="grown")
    insert = _apply(variable, s.rule)
    # Traced, and without a row: a batch of no keys.
    insert.get_concrete_function(
        tf.TensorSpec([s.batch], tf.int64), tf.TensorSpec([s.batch, s.dim])
    )
    result = insert_all(insert, keys, s.batch, s.dim)
    usage = variable.memory_usage()
    return {**result, "usage": usage["total"], "index": usage["index"], "row": s.row_bytes}


def beside(spec: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Lookups and updates of one table, each alone, then both at once in two threads.

    Returns:
      Calls a second.
    """
    s = Spec(**spec)
    keys = draws.keys(s.keys)
    variable = tables_tf.filled(s, keys, "beside")
    batches = [tf.constant(keys[b]) for b in draws.batches(s.keys, s.batch, s.zipf)]
    gradients = tf.random.normal([s.batch, s.dim], seed=1)
    apply = _apply(variable, s.rule)
    lookup = tf.function(lambda ids: tf.nn.embedding_lookup(variable, ids))

    def loop(call: Any, calls: list[int], stop: threading.Event) -> None:
        while not stop.is_set():
            call(batches[calls[0] % len(batches)])
            calls[0] += 1

    def measured(*work: Any) -> list[float]:
        stop = threading.Event()
        calls = [[0] for _ in work]
        threads = [
            threading.Thread(target=loop, args=(call, n, stop)) for call, n in zip(work, calls)
        ]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        stop.set()
        for thread in threads:
            thread.join()
        elapsed = time.perf_counter() - start
        return [n[0] / elapsed for n in calls]

    def update(ids: tf.Tensor) -> tf.Tensor:
        return apply(ids, gradients)

    measured(lookup)
    measured(update)
    (lookup_alone,) = measured(lookup)
    (update_alone,) = measured(update)
    lookup_beside, update_beside = measured(lookup, update)
    return {
        "lookup_alone": lookup_alone,
        "update_alone": update_alone,
        "lookup_beside": lookup_beside,
        "update_beside": update_beside,
    }


EXPERIMENTS = {"insert_table": insert_table, "beside": beside}
