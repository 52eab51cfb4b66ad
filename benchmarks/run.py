# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs benchmarks and writes their tables.

    python benchmarks/run.py                  # all: an hour or more
    python benchmarks/run.py lookup train     # some
    python benchmarks/run.py --bars           # what the README shows, in a third of the time
    python benchmarks/run.py --quick          # small sizes: does everything work?

Any Python from 3.9 will do: the contestants run in environments of their own,
which are made in .venv/ when they are first needed. Results go to
benchmarks/results and the README, those of --quick to build/bench/quick.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from typing import Callable

import bars
import environments
import features
import fit
import growth
import readme
import report
import scaling
import tables
from contest import Workers

BENCHMARKS: dict[str, Callable[[report.Context], report.Report]] = {
    "lookup": lambda context: tables.run("lookup", context),
    "train": lambda context: tables.run("train", context),
    "scaling": scaling.run,
    "fit": fit.run,
    "insert": growth.insert,
    "probes": growth.probes,
    "pooled": features.pooled,
    "many": features.many,
    "concurrent": growth.concurrent,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHMARKS)}; default: all")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small sizes, few turns")
    size.add_argument("--bars", action="store_true", help="only the lines that bars.py reads")
    size.add_argument("--full", action="store_true", help="every point of the grids: hours")
    parser.add_argument("--turns", type=int, help="of each contestant (default 9; quick: 2)")
    parser.add_argument(
        "--max-keys", type=float, default=math.inf, help="of lookup and train: no larger tables"
    )
    parser.add_argument("--no-install", action="store_true", help="the package as installed")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    names = arguments.names or list(BENCHMARKS)
    quick, only_bars = arguments.quick, arguments.bars
    scratch = os.path.join(environments.ROOT, "build", "bench")
    os.makedirs(scratch, exist_ok=True)
    for name in environments.ENVIRONMENTS:
        environments.make(name, install=not arguments.no_install)
    log = os.path.join(scratch, "workers.log")
    print(f"what the contestants print: {os.path.relpath(log)}", flush=True)
    command = " ".join(["python", "benchmarks/run.py", *sys.argv[1:]])
    folder = os.path.join(scratch, "quick") if quick else report.RESULTS
    with Workers(log) as workers:
        turns = arguments.turns or (2 if quick else 9)
        seconds = 0.02 if quick else 0.2
        context = report.Context(
            workers, quick, only_bars, arguments.full, turns, seconds, arguments.max_keys
        )
        for name in names:
            print(f"== {name}", flush=True)
            done = BENCHMARKS[name](context)
            report.write(done, context, command, folder)
            print(open(os.path.join(folder, name + ".md"), encoding="utf-8").read(), flush=True)
            workers.stop()  # the next starts with fresh processes
    if not quick:
        readme.write()
    print(bars.table(bars.load(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
