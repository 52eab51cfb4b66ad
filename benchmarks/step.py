# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Lookup and training step beside a static tf.Variable, in one process.

    python benchmarks/step.py --rows 1000000 --dim 16 --batch 65536

The two are run in turns, and each figure is the median over the turns, with the
spread from the fastest to the slowest. The keys are random 64-bit numbers; the
static variable gets the indices 0..rows-1 of the same draw. Its training step is
what an optimizer of TensorFlow does for it: sum the gradients of equal indices,
then run the sparse kernel. Everything goes through tf.function.
"""

from __future__ import annotations

import platform
import statistics
import subprocess
import time
from typing import Any, Callable

import numpy as np
import tensorflow as tf
from absl import app, flags

import tf_embedding as te

_ROWS = flags.DEFINE_integer("rows", 1_000_000, "Rows in each table.", lower_bound=1)
_DIM = flags.DEFINE_integer("dim", 16, "Values in a row.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch", 65536, "Ids in a batch.", lower_bound=1)
_TURNS = flags.DEFINE_integer("turns", 15, "Turns of each contestant.", lower_bound=3)
_ZIPF = flags.DEFINE_float("zipf", 0.0, "Exponent of the id distribution; 0 for uniform.")

BATCHES = 8
PER_TURN = 8


def draw(rng: np.random.Generator) -> list[np.ndarray]:
    """Row numbers of each batch."""
    rows, batch = _ROWS.value, _BATCH.value
    if not _ZIPF.value:
        return [rng.integers(0, rows, batch) for _ in range(BATCHES)]
    weights = np.cumsum(np.arange(1, rows + 1, dtype=np.float64) ** -_ZIPF.value)
    return [np.searchsorted(weights, rng.random(batch) * weights[-1]) for _ in range(BATCHES)]


def static_kernels(
    dense: tf.Variable, slots: list[tf.Variable]
) -> dict[str, Callable[..., Any]]:
    """The update of a dense variable by summed gradients, for each rule."""
    a, b = (slot.handle for slot in slots)
    w, raw = dense.handle, tf.raw_ops
    return {
        "sgd": lambda g, i: raw.ResourceScatterSub(resource=w, indices=i, updates=0.01 * g),
        "adagrad": lambda g, i: raw.ResourceSparseApplyAdagradV2(
            var=w, accum=a, lr=0.01, epsilon=1e-7, grad=g, indices=i
        ),
        "ftrl": lambda g, i: raw.ResourceSparseApplyFtrlV2(
            var=w, accum=a, linear=b, lr=0.01, l1=0.0, l2=0.0, l2_shrinkage=0.0,
            lr_power=-0.5, grad=g, indices=i,
        ),
    }  # fmt: skip


def contest(name: str, ours: Callable, theirs: Callable, keys: list, indices: list) -> str:
    """One row of the table."""
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for turn in range(_TURNS.value + 1):
        for who, function, batches in (("ours", ours, keys), ("theirs", theirs, indices)):
            start = time.perf_counter()
            for i in range(PER_TURN):
                result = function(batches[i % BATCHES])
            result.numpy()
            elapsed = (time.perf_counter() - start) / PER_TURN
            if turn:  # the first warms up
                times[who].append(_BATCH.value / elapsed / 1e6)

    def show(values: list[float]) -> str:
        return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"

    ratio = statistics.median(times["ours"]) / statistics.median(times["theirs"])
    return f"| {name} | {show(times['ours'])} | {show(times['theirs'])} | {ratio:.2f} |"


def commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(x.split(":")[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main(argv: list[str]) -> None:
    del argv
    rng = np.random.default_rng(0)
    rows, dim, batch = _ROWS.value, _DIM.value, _BATCH.value
    all_keys = rng.integers(-(2**63), 2**63 - 1, rows)
    drawn = draw(rng)
    keys = [tf.constant(all_keys[i]) for i in drawn]
    indices = [tf.constant(i) for i in drawn]
    ev = te.EmbeddingVariable(dim, "uniform", name="contestant")
    dense = tf.Variable(tf.random.uniform([rows, dim]))
    gradient = tf.random.normal([batch, dim])
    for start in range(0, rows, 1 << 18):
        part = all_keys[start : start + (1 << 18)]
        ev.upsert(part, np.zeros([len(part), dim], np.float32))

    print(f"{cpu()}, {tf.config.list_physical_devices()}, {platform.platform()}")
    print(f"tf_embedding {te.__version__} ({commit()}), TensorFlow {tf.__version__}")
    print(f"rows {rows}, dim {dim}, batch {batch}, zipf {_ZIPF.value}, turns {_TURNS.value}\n")
    print("| work | tf_embedding, M ids/s | tf.Variable, M ids/s | ratio |\n|---|---|---|---|")

    ours = tf.function(lambda b: tf.nn.embedding_lookup(ev, b))
    theirs = tf.function(lambda b: tf.nn.embedding_lookup(dense, b))
    print(contest("lookup", ours, theirs, keys, indices), flush=True)

    rules = {"sgd": te.rules.SGD(), "adagrad": te.rules.Adagrad(), "ftrl": te.rules.Ftrl()}
    slots = [tf.Variable(tf.fill(dense.shape, 0.1)) for _ in range(2)]
    for name, kernel in static_kernels(dense, slots).items():

        @tf.function
        def train(b, rule=rules[name]):
            rows = tf.nn.embedding_lookup(ev, b)
            slices = tf.IndexedSlices(gradient * rows[0, 0], b)
            return te.rules.apply(ev, slices, rule, 0.01, 0)

        @tf.function
        def train_static(b, kernel=kernel):
            rows = tf.nn.embedding_lookup(dense, b)
            unique, positions = tf.unique(b)
            sums = tf.math.unsorted_segment_sum(
                gradient * rows[0, 0], positions, tf.size(unique)
            )
            kernel(sums, unique)
            return tf.constant(0)

        print(contest(f"lookup + {name}", train, train_static, keys, indices), flush=True)
    usage = ev.memory_usage()
    print(f"\nmemory: {usage['total'] / rows:.1f} bytes a row in all, rule {ev.rule()}, of it "
          f"{usage['index'] / rows:.1f} index")  # fmt: skip


if __name__ == "__main__":
    app.run(main)
