# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Builds the C++ programs and libraries of this folder, and runs a program.

    python benchmarks/native.py core_bench --keys=1e6 --threads=2 lookup apply

Objects lie in build/bench and are compiled again when a source has changed.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "third_party", "python")
)
import cxx  # noqa: E402

_FOLDER = os.path.join(cxx.ROOT, "build", "bench")


def _build(name: str, target: str, with_core: bool, options: list[str]) -> str:
    command = cxx.compiler() + cxx.core_flags() + ["-Wextra", "-I."]
    sources = ["benchmarks/%s.cc" % name] + (cxx.sources("cc/core/**/*.cc") if with_core else [])
    target = os.path.join(_FOLDER, target)
    with cxx.locked(_FOLDER):
        jobs = [cxx.Job(s, os.path.join(_FOLDER, s + ".o"), command) for s in sources]
        cxx.compile_all(jobs)
        cxx.link(target, command, [job.object for job in jobs], [*options, "-lpthread"])
    return target


def program(name: str) -> str:
    """The path of the program of benchmarks/NAME.cc, linked with cc/core."""
    return _build(name, name, True, [])


def library(name: str) -> str:
    """The path of the shared library of benchmarks/NAME.cc, which is all of it."""
    return _build(name, "lib%s.so" % name, False, ["-shared"])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    path = program(sys.argv[1])
    os.execv(path, [path, *sys.argv[2:]])
