#!/usr/bin/env python3
# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Everything that must pass before a change is taken, on a fresh machine.

The tests under TensorFlow 2.21.0 (Keras 3 and tf_keras) and 2.15.1 (Keras 2), a
part of them under 2.16.2, the GPU's code as far as it goes without a GPU, style
and types, Bazel without a network, and the C++ tests under ASan, UBSan and TSan.
Needs Python, g++ and a package index; Bazel is installed where apt-get can.
The last line is "N passed, N failed".
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REPORTS = os.path.join(ROOT, "build", "ci")

# Under 2.16.2, one between the two others, and by Bazel: that it builds, loads and trains.
SMOKE = [f"tests/{name}_test.py" for name in ("build", "rules", "saver", "variable")]


def call(command, **environment):
    """Runs command in the root of the repository; returns its exit status."""
    print("+ " + " ".join(command), flush=True)
    env = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="2", **environment)
    return subprocess.run(command, cwd=ROOT, env=env).returncode


def output(command, **environment):
    """Like call, and returns (exit status, output), shown as it comes."""
    print("+ " + " ".join(command), flush=True)
    env = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="2", **environment)
    text = []
    with subprocess.Popen(
        command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            text.append(line)
    return process.returncode, "".join(text)


def pytest(version, *arguments, **environment):
    """The tests under one TensorFlow: (passed, failed)."""
    report = os.path.join(REPORTS, "tf%s.xml" % version)
    if os.path.exists(report):
        os.remove(report)
    status = call(
        ["tools/run_tests.sh", "--junitxml=" + report, "--durations=5"] + list(arguments),
        TF_VERSION=version,
        **environment,
    )
    return read_report(report, status)


def read_report(report, status):
    """What pytest wrote, and how it ended: (passed, failed)."""
    if not os.path.exists(report):
        return 0, 1
    suite = xml.etree.ElementTree.parse(report).getroot().find("testsuite")
    count = {k: int(suite.get(k)) for k in ("tests", "failures", "errors", "skipped")}
    failed = count["failures"] + count["errors"]
    passed = count["tests"] - failed - count["skipped"]
    return passed, max(failed, int(status != 0))


def venv_python(version):
    """The Python of the virtual environment that run_tests.sh made for a TensorFlow."""
    venvs = os.path.join(ROOT, ".venv")
    venv = next(name for name in sorted(os.listdir(venvs)) if name.startswith("tf%s-" % version))
    return os.path.join(venvs, venv, "bin", "python")


def lint():
    """Style and types: one check."""
    status = call(["tools/lint.sh"])
    return int(status == 0), int(status != 0)


def bazel():
    """All targets by Bazel, and of their tests those in C++ and SMOKE: (passed, failed)."""
    if not shutil.which("bazel-4"):
        if not shutil.which("apt-get") or os.geteuid() != 0:
            print("bazel-4 is not installed; as root: apt-get install bazel-bootstrap")
            return 0, 1
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        call(["apt-get", "-qq", "update"], **quiet)
        install = ["apt-get", "-qq", "install", "-y", "--no-install-recommends"]
        if call(install + ["bazel-bootstrap"], **quiet):
            return 0, 1
    python = venv_python("2.21.0")
    if call(["./configure", "--offline"], PYTHON_BIN_PATH=python):
        return 0, 1
    options = ["--jobs=2", "--noshow_progress", "--color=no"]
    found = glob.glob(os.path.join(ROOT, "tests", "cc", "*_test.cc"))
    sources = sorted(os.path.relpath(path, ROOT) for path in found) + SMOKE
    tests = [re.sub(r"^tests/(.*)\.(cc|py)$", r"//tests:\1", source) for source in sources]
    try:
        if call(["bazel-4", "build", *options, "//..."]):
            return 0, 1
        status, text = output(["bazel-4", "test", *options, *tests])
    finally:
        call(["bazel-4", "shutdown"])
    passed = len(re.findall(r"^//\S+ .*PASSED in", text, re.MULTILINE))
    failed = len(re.findall(r"^//\S+ .*(?:FAILED|TIMEOUT|NO STATUS)", text, re.MULTILINE))
    return passed, max(failed, int(status != 0))


def sanitizer(name):
    """The C++ tests under a sanitizer: (passed, failed)."""
    status, text = output(["tools/cc_tests.py", "--sanitizer=" + name])
    count = re.search(r"^(\d+) passed, (\d+) failed$", text, re.MULTILINE)
    if not count:
        return 0, 1
    return int(count.group(1)), max(int(count.group(2)), int(status != 0))


def nvcc():
    """Every .cu compiles for GPUs without a warning, within its budgets: (passed, failed)."""
    status, text = output(["tools/device_tests.py", "compile"])
    count = re.search(r"^(\d+) passed, (\d+) failed$", text, re.MULTILINE)
    if not count:
        return 0, 1
    return int(count.group(1)), max(int(count.group(2)), int(status != 0))


def kernels_on_host():
    """The variable's own tests, the GPU's kernels run by the host: (passed, failed)."""
    report = os.path.join(REPORTS, "device.xml")
    if os.path.exists(report):
        os.remove(report)
    command = [venv_python("2.21.0"), "tools/device_tests.py", "ops", "--junitxml=" + report]
    return read_report(report, call(command + ["-n", "auto", "--dist", "loadfile"]))


STEPS = [
    ("tests, TensorFlow 2.21.0", lambda: pytest("2.21.0")),
    # The GPU's code, the same for every TensorFlow, is built with the first.
    ("tests, TensorFlow 2.15.1", lambda: pytest("2.15.1", TF_EMBEDDING_CUDA="0")),
    ("smoke tests, TensorFlow 2.16.2", lambda: pytest("2.16.2", *SMOKE, TF_EMBEDDING_CUDA="0")),
    ("GPU code, nvcc", nvcc),
    ("GPU kernels on the host", kernels_on_host),
    ("style and types", lint),
    ("Bazel", bazel),
    ("C++ tests, ASan and UBSan", lambda: sanitizer("asan")),
    ("C++ tests, TSan", lambda: sanitizer("tsan")),
]


def main():
    os.makedirs(REPORTS, exist_ok=True)
    rows = []
    for name, step in STEPS:
        print("\n=== " + name, flush=True)
        start = time.monotonic()
        passed, failed = step()
        rows.append((name, passed, failed, time.monotonic() - start))
        print("=== %s: %d passed, %d failed, %.0f s" % rows[-1], flush=True)
    print()
    for row in rows:
        print("%-32s %5d passed %5d failed %6.0f s" % row)
    passed, failed = (sum(row[i] for row in rows) for i in (1, 2))
    print("%d passed, %d failed" % (passed, failed))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
