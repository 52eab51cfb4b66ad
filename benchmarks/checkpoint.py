# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Save and restore beside a dense variable of the same bytes, and plain files.

    python benchmarks/checkpoint.py --rows 4000000 --dim 16 --folder /path/on/the/disk

Saves and restores an embedding variable under Adagrad by `tf.train.Checkpoint`;
does the same with a dense `tf.Variable` of as many bytes, which shows what of the
time is TensorFlow's; writes and reads the table's tensor by SaveV2 and RestoreV2, as
they do any variant tensor; and writes and reads those bytes by plain calls, which shows
the disk (or its cache). In turns, in any order; medians, with the spread. Before each,
its old files go, and what others wrote goes to the disk, as that is not this one's time.
Seconds of the process' processor time are given too, as they do not depend on who else
is there.
Then trains one row in a hundred and saves a delta.
"""

from __future__ import annotations

import glob
import os
import platform
import resource
import statistics
import tempfile
import threading
import time
from typing import Any, Callable

import numpy as np
import tensorflow as tf
from absl import app, flags

import tf_embedding as te

_ROWS = flags.DEFINE_integer("rows", 4_000_000, "Rows in the table.", lower_bound=1)
_DIM = flags.DEFINE_integer("dim", 16, "Values in a vector.", lower_bound=1)
_TURNS = flags.DEFINE_integer("turns", 5, "Turns of each contestant.", lower_bound=3)
_FOLDER = flags.DEFINE_string("folder", None, "Where to write; default: a temporary folder.")

CHUNK = 8 << 20


def make_variable() -> te.EmbeddingVariable:
    """Trained in batches, one Adagrad slot a row."""
    ev = te.EmbeddingVariable(_DIM.value, seed=1, name="saved")
    rng = np.random.default_rng(0)
    for start in range(0, _ROWS.value, 100_000):
        n = min(100_000, _ROWS.value - start)
        keys = tf.constant(rng.integers(-(2**63), 2**63 - 1, n))
        slices = tf.IndexedSlices(tf.ones([n, _DIM.value]), keys)
        te.rules.apply(ev, slices, te.rules.Adagrad(), 0.1, step=0)
    return ev


def size_of(prefix: str) -> int:
    folder, name = os.path.split(prefix)
    return sum(
        os.path.getsize(os.path.join(folder, file))
        for file in os.listdir(folder)
        if file.startswith(name + ".")
    )


def remove(path: str) -> None:
    for name in glob.glob(path) + glob.glob(f"{path}.*"):
        os.remove(name)


def write_plain(path: str, data: np.ndarray) -> None:
    with open(path, "wb", buffering=0) as file:
        for start in range(0, data.size, CHUNK):
            file.write(data[start : start + CHUNK])


def read_plain(path: str) -> None:
    buffer = bytearray(CHUNK)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


class PeakMemory:
    """The growth of resident memory while a block runs, looked at every 2 ms."""

    def __enter__(self) -> PeakMemory:
        self._start = self._peak = self._resident()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _resident(self) -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    def _watch(self) -> None:
        while not self._done.wait(0.002):
            self._peak = max(self._peak, self._resident())

    def __exit__(self, *unused: Any) -> None:
        self._done.set()
        self._thread.join()
        self.bytes = self._peak - self._start


def measure_delta(ev: te.EmbeddingVariable, folder: str) -> None:
    """A delta of a hundredth of the rows, beside the full checkpoint that it is upon."""
    keys = ev.export().keys.numpy()
    touched = np.random.default_rng(2).choice(keys, _ROWS.value // 100, replace=False)
    deltas = te.DeltaCheckpoint(tf.train.Checkpoint(ev=ev), folder, name="chain")
    restored = te.EmbeddingVariable(_DIM.value, name="follows")
    reader = te.DeltaCheckpoint(
        tf.train.Checkpoint(ev=restored), folder, name="chain", read_only=True
    )
    full = size_of(deltas.save(full=True))
    reader.restore()
    sizes, saves, applies = [], [], []
    for _ in range(_TURNS.value):
        gradient = tf.IndexedSlices(tf.ones([len(touched), _DIM.value]), tf.constant(touched))
        te.rules.apply(ev, gradient, te.rules.Adagrad(), 0.1, step=0)
        start = time.perf_counter()
        sizes.append(size_of(deltas.save()))
        saves.append(time.perf_counter() - start)
        start = time.perf_counter()
        reader.catch_up()
        applies.append(time.perf_counter() - start)
    start = time.perf_counter()
    compacted = size_of(deltas.compact())
    compaction = time.perf_counter() - start
    ratio = statistics.median(sizes) / full
    print(
        f"a delta of {len(touched):,} rows: {ratio:.2%} of the full checkpoint's bytes, saved in "
        f"{statistics.median(saves):.3f} s, applied in {statistics.median(applies):.3f} s; "
        f"compaction of {_TURNS.value} of them {compacted / 1e9 / compaction:.2f} GB/s"
    )


def main(argv: list[str]) -> None:
    del argv
    folder = _FOLDER.value or tempfile.mkdtemp()
    os.makedirs(folder, exist_ok=True)
    ev = make_variable()
    rows_path, variant_path, dense_path, plain_path = (
        os.path.join(folder, name) for name in ("rows", "variant", "dense", "plain")
    )
    with PeakMemory() as save_memory:
        tf.train.Checkpoint(ev=ev).write(rows_path)
    size = size_of(rows_path)
    plain = np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8)
    dense = tf.Variable(tf.zeros([size // 64, 16]))
    restored = te.EmbeddingVariable(_DIM.value, name="restored")
    with PeakMemory() as restore_memory:
        tf.train.Checkpoint(ev=restored).read(rows_path)

    def save_v2() -> None:
        tf.raw_ops.SaveV2(
            prefix=variant_path,
            tensor_names=["ev"],
            shape_and_slices=[""],
            tensors=[ev.table.save_blocks()],
        )

    def restore_v2() -> None:
        (blocks,) = tf.raw_ops.RestoreV2(
            prefix=variant_path, tensor_names=["ev"], shape_and_slices=[""], dtypes=[tf.variant]
        )
        restored.table.load_blocks(blocks)

    contestants: dict[str, Callable[[], Any]] = {
        "save rows": lambda: tf.train.Checkpoint(ev=ev).write(rows_path),
        "save by SaveV2": save_v2,
        "save dense": lambda: tf.train.Checkpoint(v=dense).write(dense_path),
        "write plain": lambda: write_plain(plain_path, plain),
        "restore rows": lambda: tf.train.Checkpoint(ev=restored).read(rows_path),
        "restore by RestoreV2": restore_v2,
        "restore dense": lambda: tf.train.Checkpoint(v=dense).read(dense_path),
        "read plain": lambda: read_plain(plain_path),
    }
    written = {
        "save rows": rows_path,
        "save by SaveV2": variant_path,
        "save dense": dense_path,
        "write plain": plain_path,
    }
    walls: dict[str, list[float]] = {name: [] for name in contestants}
    cpus: dict[str, list[float]] = {name: [] for name in contestants}
    order = np.random.default_rng(3)
    for turn in range(_TURNS.value):
        # Each leaves its memory to the next, so in any order, once there are files.
        names = list(contestants) if turn == 0 else order.permutation(list(contestants))
        for name in names:
            contestant = contestants[name]
            if name in written:
                remove(written[name])
            os.sync()
            wall, cpu = time.perf_counter(), time.process_time()
            contestant()
            walls[name].append(time.perf_counter() - wall)
            cpus[name].append(time.process_time() - cpu)

    print(f"{platform.machine()}, TensorFlow {tf.__version__}, {os.cpu_count()} processors")
    print(f"{int(ev.size()):,} rows of dim {_DIM.value}, 1 slot: {size / 1e9:.2f} GB in files")
    megabytes = [
        n / 1e6 for n in (ev.memory_usage()["total"], save_memory.bytes, restore_memory.bytes)
    ]
    print("MB of memory: table {:.0f}, save +{:.0f}, restore +{:.0f}".format(*megabytes))
    print("| | GB/s | slowest to fastest | processor s/GB |\n|---|---|---|---|")
    for name in contestants:
        rates = [size / 1e9 / wall for wall in walls[name]]
        cpu = statistics.median(cpus[name]) / (size / 1e9)
        print(
            f"| {name} | {statistics.median(rates):.2f} | {min(rates):.2f} to {max(rates):.2f} "
            f"| {cpu:.2f} |"
        )
    for what, beside in (
        ("save rows", "write plain"),
        ("save rows", "save dense"),
        ("save by SaveV2", "save dense"),
        ("restore rows", "restore dense"),
    ):
        ratio = statistics.median(b / w for b, w in zip(walls[beside], walls[what]))
        print(f"{what}: {ratio:.2f} of the speed of {beside}, the median of the turns")
    measure_delta(ev, os.path.join(folder, "chain"))


if __name__ == "__main__":
    app.run(main)
