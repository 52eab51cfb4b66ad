# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Latency and throughput of one lookup served from SavedModels, side by side.

    python benchmarks/serving.py --rows 1000000 --dim 16 --threads 2

Contestants: the SavedModel with this package's ops; `te.export.stock` with rows of
each dtype; and two that show what the stock export could be: a binary search over
sorted keys in its place, and a gather by row number, which has no keys to find. They
are loaded from files and take turns, request by request. Latency is of one client
in turn; throughput of as many as there are threads, each asking in a loop. Unknown:
one key in ten has no row, and its random vector is computed.
"""

from __future__ import annotations

import os
import platform
import tempfile
import threading
import time
from typing import Any, Callable

import numpy as np
import tensorflow as tf
from absl import app, flags

import tf_embedding as te

_ROWS = flags.DEFINE_integer("rows", 1_000_000, "Rows in the table.", lower_bound=1)
_DIM = flags.DEFINE_integer("dim", 16, "Values in a vector.", lower_bound=1)
_BATCHES = flags.DEFINE_multi_integer("batch", [32, 1024, 16384], "Keys in a request.")
_REQUESTS = flags.DEFINE_integer("requests", 200, "Requests of each contestant.", lower_bound=20)
_THREADS = flags.DEFINE_integer("threads", 2, "Clients at once, for throughput.", lower_bound=1)

_SPEC = [tf.TensorSpec([None], tf.int64, name="ids")]


class BinarySearch(tf.Module):
    """Keys sorted, and `tf.searchsorted`; a row of zeros behind the others."""

    def __init__(self, keys: np.ndarray, values: np.ndarray) -> None:
        super().__init__()
        order = np.argsort(keys)
        self.keys = tf.Variable(keys[order], trainable=False)
        rows = np.concatenate([values[order], np.zeros([1, values.shape[1]], np.float32)])
        self.rows = tf.Variable(rows, trainable=False)

    @tf.function(input_signature=_SPEC)
    def lookup(self, ids: tf.Tensor) -> tf.Tensor:
        n = self.keys.shape[0]
        at = tf.minimum(tf.searchsorted(self.keys, ids, out_type=tf.int64), n - 1)
        found = tf.equal(tf.gather(self.keys, at), ids)
        return tf.gather(self.rows, tf.where(found, at, n))


class ByNumber(tf.Module):
    """A gather of rows by their number: the ids are taken modulo the rows."""

    def __init__(self, values: np.ndarray) -> None:
        super().__init__()
        self.rows = tf.Variable(values, trainable=False)

    @tf.function(input_signature=_SPEC)
    def lookup(self, ids: tf.Tensor) -> tf.Tensor:
        return tf.gather(self.rows, tf.math.floormod(ids, self.rows.shape[0]))


def save(folder: str, keys: np.ndarray, values: np.ndarray) -> dict[str, str]:
    """Writes the contestants; returns their directories."""
    ev = te.EmbeddingVariable(_DIM.value, "uniform", seed=1, name="served")
    ev.upsert(keys, values)
    module = tf.Module()
    module.ev = ev
    module.lookup = tf.function(ev.sparse_read, _SPEC)
    paths = {}

    def path(name: str) -> str:
        paths[name] = os.path.join(folder, name.replace(" ", "_"))
        return paths[name]

    tf.saved_model.save(module, path("this package"), signatures=module.lookup)
    for rows in ("float32", "float16", "int8"):
        te.export.stock(module, path(f"stock {rows}"), rows=rows)
    for name, other in (
        ("binary search", BinarySearch(keys, values)),
        ("by number", ByNumber(values)),
    ):
        tf.saved_model.save(other, path(name), signatures=other.lookup)
    return paths


def latencies(
    servers: dict[str, Callable[..., Any]], requests: list[tf.Tensor]
) -> dict[str, np.ndarray]:
    """Seconds of each request, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in servers}
    for number in range(_REQUESTS.value + 10):
        for name, serve in servers.items():
            begin = time.perf_counter()
            serve(ids=requests[number % len(requests)])
            if number >= 10:  # the first find nothing in the caches
                seconds[name].append(time.perf_counter() - begin)
    return {name: np.array(each) for name, each in seconds.items()}


def throughput(serve: Callable[..., Any], requests: list[tf.Tensor]) -> float:
    """Keys a second of several clients at once."""

    def ask() -> None:
        for number in range(_REQUESTS.value):
            serve(ids=requests[number % len(requests)])

    clients = [threading.Thread(target=ask) for _ in range(_THREADS.value)]
    begin = time.perf_counter()
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    asked = _THREADS.value * _REQUESTS.value * int(requests[0].shape[0])
    return asked / (time.perf_counter() - begin)


def main(argv: list[str]) -> None:
    del argv
    rng = np.random.default_rng(0)
    keys = np.unique(rng.integers(-(2**63), 2**63 - 1, _ROWS.value))
    values = rng.normal(size=(len(keys), _DIM.value)).astype(np.float32)
    print(f"{platform.machine()}, TensorFlow {tf.__version__}, {os.cpu_count()} processors")
    print(f"{len(keys):,} rows of dim {_DIM.value}, {_THREADS.value} clients for throughput")
    print("| keys a request | | p50 us | p99 us | M keys/s |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        loaded = {n: tf.saved_model.load(p) for n, p in save(folder, keys, values).items()}
        servers = {name: each.signatures["serving_default"] for name, each in loaded.items()}
        for batch in _BATCHES.value:
            for unknown in (False, True):
                requests = []
                for _ in range(20):
                    asked = rng.choice(keys, batch)
                    if unknown:
                        asked[::10] = rng.integers(-(2**63), 2**63 - 1, len(asked[::10]))
                    requests.append(tf.constant(asked))
                here = {n: s for n, s in servers.items() if not unknown or n != "by number"}
                for name, each in latencies(here, requests).items():
                    p50, p99 = np.percentile(each, [50, 99]) * 1e6
                    rate = throughput(here[name], requests) / 1e6
                    kind = f"{batch:,}{', unknown' if unknown else ''}"
                    print(f"| {kind} | {name} | {p50:,.0f} | {p99:,.0f} | {rate:.2f} |", flush=True)


if __name__ == "__main__":
    app.run(main)
