# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the memory allows: floor.cc, rows by number, without a framework."""

from __future__ import annotations

import ctypes
import os
from typing import Any

import draws
import native
import numpy as np
from spec import SLOTS, STEPS, Spec

_THREADS = int(os.environ.get("BENCH_THREADS", "1"))


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL(native.library("floor"))
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    library.FloorCreate.restype = pointer
    library.FloorCreate.argtypes = [integer, integer, integer, integer, integer]
    library.FloorIndex.argtypes = [pointer, pointer, integer]
    library.FloorFind.argtypes = [pointer, pointer, integer]
    library.FloorCopy.argtypes = [pointer, pointer, integer]
    library.FloorUpdate.argtypes = [pointer, pointer, integer]
    library.FloorUpdateByKey.argtypes = [pointer, pointer, integer]
    library.FloorDestroy.argtypes = [pointer]
    library.FloorGrow.argtypes = [integer, integer, integer, pointer]
    return library


class Floor:
    """Copies rows by prefetch; "train" also runs a rule on them, duplicates and all."""

    def __init__(self, spec: Spec):
        if spec.rule not in ("adagrad", "adam"):
            raise ValueError(f"it has no {spec.rule}")
        self._library = _load()
        slots = SLOTS[spec.rule] * spec.dim
        self._floor = self._library.FloorCreate(spec.keys, spec.dim, slots, spec.batch, _THREADS)
        self._batches = [
            np.ascontiguousarray(b) for b in draws.batches(spec.keys, spec.batch, spec.zipf)
        ]
        trains = spec.work == "train"
        self._call = self._library.FloorUpdate if trains else self._library.FloorCopy

    def run(self, i: int) -> None:
        batch = self._batches[i]
        self._call(self._floor, batch.ctypes.data, len(batch))

    def __del__(self) -> None:
        if hasattr(self, "_floor"):
            self._library.FloorDestroy(self._floor)


class ByKey(Floor):
    """The same, each row found in a bare hash table."""

    def __init__(self, spec: Spec):
        super().__init__(spec)
        keys = draws.keys(spec.keys)
        self._library.FloorIndex(self._floor, keys.ctypes.data, len(keys))
        self._batches = [np.ascontiguousarray(keys[batch]) for batch in self._batches]
        trains = spec.work == "train"
        self._call = self._library.FloorUpdateByKey if trains else self._library.FloorFind


class Steps(ByKey):
    """The ids of a call of model.fit."""

    CYCLE = 1

    def run(self, i: int) -> None:
        for step in range(STEPS):
            super().run(step % draws.BATCHES)


# Of a key in the table, beside its row: index, frequency, version.
_BESIDE_ROW = 24


def insert_floor(spec: dict[str, Any]) -> dict[str, Any]:
    """Fresh memory as the rows need it, batch by batch, written once."""
    own = Spec(**spec)
    seconds = np.zeros(own.keys // own.batch)
    _load().FloorGrow(
        len(seconds), own.batch * (own.row_bytes + _BESIDE_ROW), _THREADS, seconds.ctypes.data
    )
    return {
        "keys": len(seconds) * own.batch,
        "seconds": seconds.tolist(),
        "row": own.row_bytes,
    }


CONTESTANTS = {"floor": Floor, "by_key": ByKey, "steps_by_key": Steps}
EXPERIMENTS = {"insert_floor": insert_floor}
