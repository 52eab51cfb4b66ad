#!/usr/bin/env python3
# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Builds the tests and the benchmark of the device's tables, without TensorFlow.

  tests/gpu/build.py [--host]

Puts the device_*_test and table_bench into build/gpu, made by nvcc for the GPU
of this machine; with --host into build/cc-none, where the C++ tests are, with the
kernels run by the host.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

_ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(_ROOT, "third_party", "python"))
import cxx  # noqa: E402
import find_cuda  # noqa: E402


def _archs() -> str:
    """Of the GPUs of this machine, as TF_EMBEDDING_CUDA_ARCHS has them; 90 if it has none."""
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    if not shutil.which(command[0]):
        return "90"
    said = subprocess.run(command, capture_output=True, text=True).stdout
    found = {int(major + minor) for major, minor in re.findall(r"(\d+)\.(\d+)", said)}
    return ";".join(str(arch) for arch in sorted(found)) or "90"


def build(host: bool) -> list[str]:
    """Returns the programs.

    Raises:
      SystemExit: something is missing or does not compile; one line says what.
    """
    folder = os.path.join(cxx.ROOT, "build", "cc-none" if host else "gpu")
    command = cxx.compiler() + cxx.core_flags() + ["-Wextra", "-I."]
    if host:
        of_test, of_bench = [], ["-DTF_EMBEDDING_BENCH_ON_HOST"]
        device = []
        sources = cxx.sources("cc/core/**/*.cc", "cc/cuda/*.cc")
        options = ["-lpthread"]
    else:
        os.environ["TF_EMBEDDING_CUDA_ARCHS"] = _archs()
        cuda = find_cuda.find()
        if not cuda:
            raise SystemExit("nvcc or libcudart_static.a not found; set CUDA_PATH")
        of_test, of_bench = ["-DTF_EMBEDDING_TEST_ON_CUDA"], []
        device = find_cuda.jobs(cuda, "gpu", ["-Werror=all-warnings"])
        sources = cxx.sources("cc/core/**/*.cc", "cc/cuda/device_table*.cc")
        options = [cuda["cudart"], "-ldl", "-lrt", "-lpthread"]

    def job(source: str, extra: list[str]) -> cxx.Job:
        return cxx.Job(source, os.path.join(folder, source + ".o"), command + extra)

    with cxx.locked(folder):
        core = [job(source, []) for source in sources]
        mains = [job(test, of_test) for test in cxx.sources("tests/cc/device_*_test.cc")]
        mains.append(job("benchmarks/gpu/table_bench.cc", of_bench))
        cxx.compile_all(device + mains + core)
        programs = []
        for main in mains:
            program = os.path.join(folder, os.path.basename(main.source)[: -len(".cc")])
            objects = [main.object] + [j.object for j in device + core]
            cxx.link(program, command, objects, options)
            programs.append(program)
        return programs


if __name__ == "__main__":
    for path in build("--host" in sys.argv[1:]):
        print(path)
