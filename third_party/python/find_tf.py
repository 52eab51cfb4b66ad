# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Finds the TensorFlow to compile against, without importing it here.

pip builds a package in an isolated environment that cannot see the one that
it installs into, and puts it on PYTHONPATH. A child process without that
variable sees the target environment again, so the library is compiled against
the very TensorFlow that will load it and none is downloaded for the build.

Run as a program, it prints what it found as JSON: Bazel's repository rule
(third_party/tf/tf_configure.bzl) reads that, so both builds share one finder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Iterator

_PROBE = """
import importlib.util, json, os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
print("@@" + json.dumps({
    "version": tf.__version__,
    "include": tf.sysconfig.get_include(),
    "lib": tf.sysconfig.get_lib(),
    "cflags": [f.replace("--std", "-std") for f in tf.sysconfig.get_compile_flags()
               if not f.startswith("-I")],
    "python": sys.executable,
    "tf_keras": importlib.util.find_spec("tf_keras") is not None,
    # Canned estimators need Keras 2.
    "estimator": importlib.util.find_spec("tensorflow_estimator") is not None and (
        int(tf.__version__.split(".")[1]) < 16
        or importlib.util.find_spec("tf_keras") is not None
    ),
}))
"""

FRAMEWORK = "libtensorflow_framework.so.2"

MISSING = (
    "tf_embedding: no TensorFlow to build against in the environment of {python}; "
    "install one there first: pip install tensorflow-cpu (2.15 to 2.21)."
)
BROKEN = "tf_embedding: the TensorFlow of {python} does not import ({why}); reinstall it first."


def _environments() -> Iterator[dict[str, str]]:
    """The target environment (no PYTHONPATH of pip's), then this one."""
    hidden = ("PYTHONPATH", "PYTHONNOUSERSITE")
    yield {k: v for k, v in os.environ.items() if k not in hidden}
    yield dict(os.environ)


def _run(code: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=env, text=True, capture_output=True, cwd=os.sep
    )


def present() -> bool:
    """Whether a TensorFlow is installed. Fast: it is not imported."""
    code = "import importlib.util as u; print(u.find_spec('tensorflow') is not None)"
    return any("True" in _run(code, env).stdout for env in _environments())


def find() -> dict[str, Any]:
    """Returns version, include, lib, cflags, python, tf_keras and estimator.

    Raises:
      SystemExit: with one line that says what to install, if there is no
        TensorFlow or it does not import.
    """
    why = ""
    for env in _environments():
        probe = _run(_PROBE, env)
        if "@@" in probe.stdout:
            found: dict[str, Any] = json.loads(probe.stdout.split("@@", 1)[1])
            return found
        lines = probe.stderr.strip().splitlines() or ["exit code %d" % probe.returncode]
        if "No module named 'tensorflow'" not in lines[-1]:
            why = why or lines[-1]
    raise SystemExit((BROKEN if why else MISSING).format(python=sys.executable, why=why))


if __name__ == "__main__":
    import cxx

    tensorflow = find()
    flags = {"core_flags": cxx.core_flags(), "tf_flags": cxx.tf_flags(tensorflow)}
    print(json.dumps(dict(tensorflow, **flags)))
