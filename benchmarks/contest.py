# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The driver's side of workers: contestants that take turns, across processes."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from typing import Any, Callable, Mapping, Optional, Sequence

import environments
from spec import Spec

HERE = os.path.dirname(os.path.abspath(__file__))


class WorkerError(Exception):
    """What a worker answered instead of a value, or how it ended."""


class Worker:
    """A process in one environment, bound to a number of CPUs."""

    def __init__(self, environment: str, threads: int, log: str):
        self._log = open(log, "a", encoding="utf-8")
        self._process = subprocess.Popen(
            [environments.python(environment), os.path.join(HERE, "worker.py"), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=HERE,
        )

    def call(self, call: str, **arguments: Any) -> Any:
        """One request and its answer.

        Raises:
          WorkerError: the worker answers with an error, or has ended.
        """
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps({"call": call, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"the process ended with status {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["value"]

    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        if self._process.stdin:
            try:
                self._process.stdin.close()
            except BrokenPipeError:
                pass
        self._process.wait()
        self._log.close()


class Workers:
    """Keeps a worker for each environment and number of threads."""

    def __init__(self, log: str):
        self._log = log
        self._workers: dict[tuple[str, int], Worker] = {}

    def get(self, environment: str, threads: int) -> Worker:
        worker = self._workers.get((environment, threads))
        if worker is None or not worker.alive():
            worker = Worker(environment, threads, self._log)
            self._workers[environment, threads] = worker
        return worker

    def stop(self) -> None:
        for worker in self._workers.values():
            worker.stop()
        self._workers.clear()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *unused: Any) -> None:
        self.stop()


@dataclasses.dataclass(frozen=True)
class Contestant:
    """Who runs where.

    Attributes:
      title: in tables.
      environment: of environments.py.
      module: file of this folder that has it.
      name: its name there.
      memory: bytes that it holds at most while spec runs, from a Spec.
      changes: of the spec, for it alone.
    """

    title: str
    environment: str
    module: str
    name: str
    memory: Callable[[Spec], float]
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Result:
    """The turns of one contestant: units of work a second; or why there are none."""

    rates: list[float]
    note: str = ""


def available_bytes() -> int:
    with open("/proc/meminfo", encoding="utf-8") as lines:
        return next(int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable"))


def compete(
    workers: Workers,
    contestants: Sequence[Contestant],
    spec: Spec,
    turns: int,
    seconds: float,
    units: Optional[int] = None,
) -> dict[str, Result]:
    """Opens all contestants, lets them take turns, closes them.

    Whoever would not fit into 85 % of the memory that is available, beside those
    before it, is left out, and the result says so. So does that of one that fails.

    Args:
      workers: where the processes are.
      contestants: in the order of their turns.
      spec: the work.
      turns: of each.
      seconds: that a turn lasts at least.
      units: of work in a call; None for the ids in a batch.

    Returns:
      By title.
    """
    results = {c.title: Result([]) for c in contestants}
    budget = available_bytes() * 0.85
    ready = []
    for contestant in contestants:
        result = results[contestant.title]
        missing = environments.problem(contestant.environment)
        own = dataclasses.replace(spec, **contestant.changes)
        need = contestant.memory(own)
        if missing:
            result.note = missing
        elif need > budget:
            result.note = f"left out: needs {need / 1e9:.1f} GB, {budget / 1e9:.1f} GB are free"
        else:
            worker = workers.get(contestant.environment, own.threads)
            try:
                worker.call(
                    "open",
                    id=contestant.title,
                    module=contestant.module,
                    name=contestant.name,
                    spec=own.to_dict(),
                )
            except WorkerError as error:
                result.note = f"failed: {error}"
                continue
            budget -= need
            ready.append((contestant, worker))
    for turn in range(turns + 1):
        for contestant, worker in ready:
            result = results[contestant.title]
            if result.note:
                continue
            try:
                elapsed = worker.call("turn", id=contestant.title, seconds=seconds)
            except WorkerError as error:
                result.note, result.rates = f"failed: {error}", []
                continue
            if turn:  # the first warms up
                result.rates.append((units or spec.batch) / elapsed)
    for contestant, worker in ready:
        if worker.alive():
            worker.call("close", id=contestant.title)
    return results
