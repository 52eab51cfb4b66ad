#!/usr/bin/env python3
# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests the GPU's code where there is no GPU.

  tools/device_tests.py compile              every .cu, with budgets
  tools/device_tests.py ops [PYTEST ARGS]    the kernels under TensorFlow

compile: by nvcc for sm_80, sm_90 and as PTX, warnings being errors, and checks
what each kernel takes of registers and spills; without nvcc it installs one
into build/. ops: builds the library with the
kernels for GPUs in the place of those for the CPU (TF_EMBEDDING_CUDA=host) and
runs the variable's own tests with it, in the Python that runs this. The tests
of the kernels alone are tests/cc/device_table_test.cc.

The last line of compile is "N passed, N failed".
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import sys
from typing import Any

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "third_party", "python"))
import cxx  # noqa: E402
import find_cuda  # noqa: E402

# Of the table's own kernels; those of CUB have their own mind. 64 registers let
# four blocks of 256 threads share a multiprocessor. Below that the compiler spills
# only what lives across a call: initial values of keys without a row have some.
_MAX_REGISTERS = 64
_MAX_SPILL_BYTES = 64

_TESTS = ["variable", "rules", "admission", "eviction", "stats", "delta", "tier", "columns"]
_TESTS += ["gpu/bfloat16"]
# What a table on a device does not do, by docs/gpu.md, or does otherwise.
_OTHERWISE = {
    "test_nothing_is_followed_once_it_is_closed": "a device keeps no log of changes",
    "test_frequencies_that_only_decay": "rows are compared, and those found changed too",
    "changes_nothing[change9-counts]": "counts that make no sense are no error",
    "test_memory_goes_back": "removed rows are used again; clear gives memory back",
    "test_bytes": "max_bytes counts rows in use, not memory that is held",
    "test_of_many_taken_rows_the_last_stay": "rows of one sweep are in the order of row numbers",
    "test_a_million_duplicates_are_summed_in_position_order": "summed in pieces of 256",
}


# A toolkit that pip can install, where the machine has none.
_TOOLKIT = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-cuda-crt==13.0.*",
    "nvidia-nvvm==13.0.*",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
]


def _find_cuda() -> dict[str, Any] | None:
    """The machine's nvcc, else one from the package index."""
    os.environ.pop("TF_EMBEDDING_CUDA", None)
    cuda = find_cuda.find()
    if cuda:
        return cuda
    folder = os.path.join(ROOT, "build", "toolkit")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [os.path.join(folder, "bin", "pip"), "install", "--quiet"]
    subprocess.run(pip + ["--disable-pip-version-check", *_TOOLKIT], check=True)
    (os.environ["CUDA_PATH"],) = glob.glob(folder + "/lib/python3*/site-packages/nvidia/cu13")
    return find_cuda.find()


def compile_all() -> int:
    """Compiles cc/cuda; prints each kernel over its budget; returns how many failed."""
    os.environ["TF_EMBEDDING_CUDA_ARCHS"] = "80;90"
    cuda = _find_cuda()
    if not cuda:
        print("no toolkit of CUDA: nothing was checked")
        print("0 passed, 1 failed")
        return 1
    strict = ["-Werror=all-warnings", "-Xptxas=-v"]
    jobs = find_cuda.jobs(cuda, "cuda-check", strict)
    kernels = failed = 0
    for job in jobs:
        os.makedirs(os.path.dirname(job.object), exist_ok=True)
        # One after the other, so that what ptxas says of two does not mix.
        command = [word for word in job.command if not word.startswith("--threads")]
        command += ["-c", job.source, "-o", job.object]
        result = subprocess.run(command, cwd=cxx.ROOT, capture_output=True, text=True)
        if result.returncode:
            print(result.stdout + result.stderr)
            print("0 passed, 1 failed")
            return 1
        found = re.findall(
            r"Compiling entry function '(\w+)' for '(\w+)'.*?(\d+) bytes spill stores, "
            r"(\d+) bytes spill loads.*?Used (\d+) registers",
            result.stdout + result.stderr,
            re.DOTALL,
        )
        for name, arch, stores, loads, registers in found:
            if "tf_embedding" not in name or "3cub" in name:
                continue
            kernels += 1
            spilled = int(stores) + int(loads)
            if int(registers) > _MAX_REGISTERS or spilled > _MAX_SPILL_BYTES:
                failed += 1
                print(f"{arch} {name}: {registers} registers, {spilled} bytes spilled")
    # Two architectures; a pattern that finds nothing must not pass.
    failed += int(kernels < 60)
    print(f"{kernels} kernels, at most {_MAX_REGISTERS} registers")
    print(f"{kernels - failed} passed, {failed} failed")
    return failed


def ops(arguments: list[str]) -> int:
    """Runs the variable's tests with the device's kernels; returns pytest's status."""
    folder = os.path.join(ROOT, "build", "device-on-host")
    environment = dict(os.environ, TF_EMBEDDING_CUDA="host")
    build = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", folder]
    subprocess.run(build, cwd=ROOT, env=environment, check=True)
    package = os.path.join(folder, "tf_embedding")
    ours = shutil.ignore_patterns("_ops.so", "_build_info.py", "__pycache__")
    shutil.copytree(os.path.join(ROOT, "tf_embedding"), package, ignore=ours, dirs_exist_ok=True)
    for name, why in _OTHERWISE.items():
        print(f"left out: {name}: {why}")
    without = " and ".join(f"not {name}" for name in _OTHERWISE)
    # Not python -m pytest, which would put the checkout before the folder.
    pytest = os.path.join(os.path.dirname(sys.executable), "pytest")
    command = [pytest, "-q", "-p", "no:cacheprovider", "-k", without]
    environment["PYTHONPATH"] = folder
    named = any(argument.startswith("tests/") for argument in arguments)
    tests = [] if named else [f"tests/{name}_test.py" for name in _TESTS]
    return subprocess.run(command + arguments + tests, cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    if sys.argv[1:2] == ["compile"]:
        sys.exit(int(compile_all() > 0))
    if sys.argv[1:2] == ["ops"]:
        sys.exit(ops(sys.argv[2:]))
    sys.exit(__doc__)
