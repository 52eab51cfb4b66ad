# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The virtual environments of the contestants, in .venv/, with pinned versions."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@dataclasses.dataclass(frozen=True)
class Environment:
    """Requirements; whether this package is built into it; what must import."""

    requirements: tuple[str, ...]
    with_package: bool
    imports: str


ENVIRONMENTS = {
    "tf": Environment(("tensorflow-cpu==2.21.0", "matplotlib"), True, "tf_embedding"),
    # The last TensorFlow that TFRA runs with.
    "tfra": Environment(
        ("tensorflow==2.16.2", "tensorflow-recommenders-addons==0.8.1", "tf_keras==2.16.0"),
        True,
        "tf_embedding, tensorflow_recommenders_addons",
    ),
    "fbgemm": Environment(
        ("torch==2.13.0", "fbgemm-gpu-cpu==1.8.0", "numpy"), False, "torch, fbgemm_gpu"
    ),
}

_problems: dict[str, str] = {}
_versions: dict[str, str] = {}

_PROBE = """
import importlib.metadata, platform, {imports}
names = {names!r}
print("@@Python " + platform.python_version(), *(
    name + " " + importlib.metadata.version(name) for name in names), sep=", ")
"""


def python(name: str) -> str:
    """The interpreter of an environment."""
    return os.path.join(ROOT, ".venv", "bench-" + name, "bin", "python")


def problem(name: str) -> str:
    """Why an environment cannot be used; empty where it can."""
    return _problems.get(name, "")


def versions(name: str) -> str:
    """What an environment has, as it says itself; why it cannot be used, if so."""
    return problem(name) or _versions[name]


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if not line.startswith("WARNING")]
    return lines[-1] if lines else "no message"


def make(name: str, install: bool = True) -> None:
    """Makes or renews an environment; what goes wrong is what problem() says."""
    environment = ENVIRONMENTS[name]
    print(f"environment {name}: {', '.join(environment.requirements)}", flush=True)
    path = os.path.dirname(os.path.dirname(python(name)))
    stamp = os.path.join(path, "requirements")
    wanted = "\n".join(environment.requirements)
    pip = [python(name), "-m", "pip", "install", "--quiet"]
    steps = []
    if not os.path.exists(stamp) or open(stamp, encoding="utf-8").read() != wanted:
        steps.append([sys.executable, "-m", "venv", path])
        steps.append([*pip, *environment.requirements])
    if environment.with_package and (install or steps):
        steps.append([*pip, ROOT])
    env = dict(os.environ, TF_USE_LEGACY_KERAS="1", TF_CPP_MIN_LOG_LEVEL="3")
    names = [requirement.split("==")[0] for requirement in environment.requirements]
    names += ["tf-embedding"] if environment.with_package else []
    probe = _PROBE.format(imports=environment.imports, names=names)
    steps.append([python(name), "-c", probe])
    for step in steps:
        # Not in ROOT, where the package's own folder would be imported.
        done = subprocess.run(step, cwd=os.sep, env=env, text=True, capture_output=True)
        if done.returncode:
            _problems[name] = f"NOT INSTALLED: {_last_line(done.stderr)}"
            print(f"  {_problems[name]}", flush=True)
            return
    _versions[name] = done.stdout.split("@@")[1].strip()
    with open(stamp, "w", encoding="utf-8") as file:
        file.write(wanted)
