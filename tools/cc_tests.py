#!/usr/bin/env python3
# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Builds and runs the C++ tests of cc/core, plain or under a sanitizer.

  tools/cc_tests.py [--sanitizer=none|asan|tsan] [NAME ...]

Each tests/cc/NAME_test.cc is a program over tests/cc/testing.h that is linked
with all of cc/core and what of cc/cuda needs no nvcc; no TensorFlow is needed.
Objects are kept in build/, by sanitizer. The last line is "N passed, N failed".
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "third_party", "python")
)
import cxx  # noqa: E402

# After the library's own flags, so -O1 wins over its -O3: traces stay readable.
_FLAGS = {
    "none": [],
    "asan": ["-O1", "-g", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all"]
    + ["-fsanitize=address,undefined"],
    "tsan": ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=thread"],
}
_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


def names() -> list[str]:
    """Returns the tests there are, without folder and "_test.cc"."""
    found = cxx.sources("tests/cc/*_test.cc")
    return [os.path.basename(path)[: -len("_test.cc")] for path in found]


def build(tests: list[str], sanitizer: str = "none") -> list[str]:
    """Compiles what is stale; returns the programs of tests, in their order.

    Raises:
      SystemExit: no compiler, or it failed; one line says which.
    """
    command = cxx.compiler() + cxx.core_flags() + ["-Wextra", "-I."] + _FLAGS[sanitizer]
    folder = os.path.join(cxx.ROOT, "build", "cc-" + sanitizer)

    def job(source: str) -> cxx.Job:
        return cxx.Job(source, os.path.join(folder, source + ".o"), command)

    with cxx.locked(folder):
        core = [job(s) for s in cxx.sources("cc/core/**/*.cc", "cc/cuda/*.cc")]
        mains = [job("tests/cc/%s_test.cc" % name) for name in tests]
        cxx.compile_all(mains + core)
        programs = []
        for main in mains:
            program = main.object[: -len(".cc.o")]
            objects = [main.object] + [j.object for j in core]
            cxx.link(program, command, objects, ["-lpthread"])
            programs.append(program)
        return programs


def run(program: str, sanitizer: str = "none") -> subprocess.CompletedProcess[str]:
    """Runs one program; its output is in stdout, an exit status of 0 is success."""
    command = [program]
    # g++ 12's TSan does not know the wider address randomisation of newer kernels.
    if sanitizer == "tsan" and shutil.which("setarch"):
        command = ["setarch", "--addr-no-randomize"] + command
    return subprocess.run(
        command,
        env=dict(os.environ, **_OPTIONS),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sanitizer", choices=sorted(_FLAGS), default="none")
    parser.add_argument("tests", nargs="*", metavar="NAME", help="default: all")
    args = parser.parse_args()
    unknown = sorted(set(args.tests) - set(names()))
    if unknown:
        parser.error("no test %s; there are: %s" % (", ".join(unknown), ", ".join(names())))
    tests = args.tests or names()

    passed = failed = 0
    for name, program in zip(tests, build(tests, args.sanitizer)):
        start = time.monotonic()
        result = run(program, args.sanitizer)
        # testing.h ends with this line; a program that a sanitizer stops does not.
        count = re.search(r"^(\d+) passed, (\d+) failed$", result.stdout, re.MULTILINE)
        good, bad = (int(n) for n in count.groups()) if count else (0, 0)
        if result.returncode:
            print(result.stdout)
            bad = max(bad, 1)
        passed, failed = passed + good, failed + bad
        seconds = time.monotonic() - start
        print(
            "%s [%s]: %d passed, %d failed, %.1f s" % (name, args.sanitizer, good, bad, seconds),
            flush=True,
        )
    print("%d passed, %d failed" % (passed, failed))
    return int(failed > 0 or not passed)


if __name__ == "__main__":
    sys.exit(main())
