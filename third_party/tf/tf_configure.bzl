# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0

"""Repository rule that shows the installed TensorFlow to Bazel.

Reads local files only: no download, no external repository. The Python that
has TensorFlow is $PYTHON_BIN_PATH (./configure writes it), else python3 on
$PATH; third_party/python/find_tf.py, which setup.py uses too, does the finding.
"""

# What custom ops include: 3,200 files rather than all 11,000.
_HEADERS = [
    "Eigen",
    "absl",
    "google/protobuf",
    "ml_dtypes",
    "tensorflow/c",
    "tensorflow/core",
    "third_party/gpus",
    "tsl",
    "unsupported",
    "xla/stream_executor",
    "xla/tsl",
]

_BUILD = """
load("@bazel_tools//tools/python:toolchain.bzl", "py_runtime_pair")

package(default_visibility = ["//visibility:public"])

cc_library(
    name = "headers",
    hdrs = glob({globs}),
    includes = ["include"],
)

cc_library(
    name = "framework",
    srcs = ["libtensorflow_framework.so.2"],
)

# For programs: the C API, and the kernels.
cc_library(
    name = "cc",
    srcs = ["libtensorflow_cc.so.2"],
    deps = [
        ":framework",
        ":headers",
    ],
)

# Without this toolchain a py_test runs the system's Python.
py_runtime(
    name = "py3",
    interpreter_path = "{python}",
    python_version = "PY3",
)

py_runtime_pair(
    name = "py_pair",
    py3_runtime = ":py3",
)

toolchain(
    name = "py_toolchain",
    toolchain = ":py_pair",
    toolchain_type = "@bazel_tools//tools/python:toolchain_type",
)
"""

_DEFS = """
TF_VERSION = {version}

CORE_COPTS = {core}

TF_COPTS = {tf}

# Tests for a Keras that is not there; tests/conftest.py decides the same.
KERAS_EXCLUDES = {excludes}
"""

def _impl(ctx):
    finder = ctx.path(Label("//third_party/python:find_tf.py"))
    ctx.path(Label("//third_party/python:cxx.py"))
    python = ctx.os.environ.get("PYTHON_BIN_PATH", "") or str(ctx.which("python3") or "")
    if not python:
        fail("tf_configure: no python3 on PATH; set PYTHON_BIN_PATH")
    probe = ctx.execute([python, finder])
    if probe.return_code != 0:
        fail("tf_configure: " + probe.stderr)
    tf = json.decode(probe.stdout)

    ctx.symlink(tf["include"], "include")
    for library in ["libtensorflow_framework.so.2", "libtensorflow_cc.so.2"]:
        ctx.symlink(tf["lib"] + "/" + library, library)
    ctx.file("BUILD", _BUILD.format(
        globs = ["include/%s/**" % d for d in _HEADERS] + ["include/xla/*"],
        python = tf["python"],
    ), executable = False)

    keras3 = int(tf["version"].split(".")[1]) >= 16
    excludes = []
    if not keras3:
        excludes.append("keras3/**")
    elif not tf["tf_keras"]:
        excludes.append("keras2/**")
    if not tf["estimator"]:
        excludes.append("estimator/**")
    ctx.file("build_defs.bzl", _DEFS.format(
        version = repr(tf["version"]),
        core = tf["core_flags"],
        tf = tf["tf_flags"],
        excludes = excludes,
    ), executable = False)

tf_configure = repository_rule(
    implementation = _impl,
    environ = ["CXX", "PATH", "PYTHON_BIN_PATH"],
    local = True,
)
