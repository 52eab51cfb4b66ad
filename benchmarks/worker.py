# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The process of some contestants: it does one timed turn when it is told to.

    python worker.py THREADS

A request is a line of JSON on standard input, the answer one on standard output:

    {"call": "open", "id": I, "module": M, "name": N, "spec": {...}}
                                                         makes a contestant, filled and warm
    {"call": "turn", "id": I, "seconds": S}              seconds a batch, over S seconds or more
    {"call": "close", "id": I}
    {"call": "experiment", "module": M, "name": N, "arguments": {...}}   a dictionary

M is a file of this folder. Its CONTESTANTS maps a name to what makes, from a
Spec, an object with run(i), which does the work on batch i, and perhaps CYCLE, how
many different calls there are, and BATCHES, how many batches a call does. Its
EXPERIMENTS maps a name to a function. An answer has "value" or "error".
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
import traceback
from typing import Any

from draws import BATCHES
from spec import Spec


def _cycle(contestant: Any) -> int:
    return getattr(contestant, "CYCLE", BATCHES)


class Worker:
    """The contestants of this process."""

    def __init__(self) -> None:
        self._open: dict[str, Any] = {}

    def open(self, id: str, module: str, name: str, spec: dict[str, Any]) -> None:
        contestant = importlib.import_module(module).CONTESTANTS[name](Spec(**spec))
        for i in range(_cycle(contestant)):
            contestant.run(i)
        self._open[id] = contestant

    def turn(self, id: str, seconds: float) -> float:
        run, cycle = self._open[id].run, _cycle(self._open[id])
        batches = 0
        of_a_call = getattr(self._open[id], "BATCHES", 1)
        start = time.perf_counter()
        while True:
            for i in range(cycle):  # every turn has the same mix of batches
                run(i)
            batches += cycle * of_a_call
            elapsed = time.perf_counter() - start
            if elapsed >= seconds:
                return elapsed / batches

    def close(self, id: str) -> None:
        self._open.pop(id, None)
        gc.collect()

    def experiment(self, module: str, name: str, arguments: dict[str, Any]) -> Any:
        return importlib.import_module(module).EXPERIMENTS[name](**arguments)


def main() -> None:
    # Before any library counts the CPUs and makes its threads.
    threads = int(sys.argv[1])
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    os.environ.update(BENCH_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Libraries print to standard output; the answers go elsewhere.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    gc.disable()  # a collection would fall into somebody's turn
    worker = Worker()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"value": getattr(worker, request.pop("call"))(**request)}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
