# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The compiler, its flags, and a small make: what setup.py, tools/cc_tests.py
and Bazel (through find_tf.py) have in common.

An object is compiled again only if its command or a file it was made from has
changed: each has a .d file, written by the compiler, and a .cmd file beside
it. With two cores and TensorFlow's headers that is 1 s instead of 60 s.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import glob
import os
import platform
import shlex
import shutil
import subprocess
from typing import Any, Iterator, NamedTuple, Sequence

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# -ffp-contract=off everywhere: a fused multiply-add rounds once where two
# operations round twice, and a row must not depend on the CPU it was trained on.
_COMMON = ["-std=c++17", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-Wall"]

NO_COMPILER = (
    "tf_embedding: no C++ compiler ({name} not found); install one (apt-get install g++, "
    "dnf install gcc-c++) or name yours in the environment variable CXX."
)


class Job(NamedTuple):
    """One object file and the command that makes it (without -c, -o, -M)."""

    source: str
    object: str
    command: list[str]


def compiler() -> list[str]:
    """Returns $CXX or g++, as the start of a command line.

    Raises:
      SystemExit: with one line that says what to install, if it is not there.
    """
    command = shlex.split(os.environ.get("CXX") or "g++")
    if not shutil.which(command[0]):
        raise SystemExit(NO_COMPILER.format(name=command[0]))
    return command


def core_flags() -> list[str]:
    """Flags for cc/core, which includes nothing of TensorFlow."""
    flags = _COMMON + ["-O3", "-fno-math-errno", "-fno-trapping-math"]
    if platform.machine() in ("x86_64", "AMD64"):
        flags.append("-march=x86-64-v2")
    return flags


def tf_flags(tensorflow: dict[str, Any]) -> list[str]:
    """Flags for cc/ops and cc/kernels; find_tf.find() gives the argument."""
    quiet = ["-Wno-deprecated-declarations", "-Wno-interference-size"]
    return _COMMON + ["-O2"] + quiet + list(tensorflow["cflags"])


def precompiled(header: str, folder: str, command: Sequence[str]) -> list[str]:
    """Compiles a header once for all files that command compiles.

    TensorFlow's headers take two thirds of the time of a file that includes them. Only
    g++ is asked: what makes a precompiled header fit differs between compilers, and
    without one everything works too, slower.

    Args:
      header: of the repository.
      folder: for what is made.
      command: the compiler and flags, as in a Job.

    Returns:
      What to add to command; nothing for another compiler than g++.
    """
    version = subprocess.run([*command, "--version"], cwd=ROOT, text=True, capture_output=True)
    if "Free Software Foundation" not in version.stdout:
        return []
    # Not the header's own name, under which it would include itself.
    stub = os.path.join(folder, "all_of_" + os.path.basename(header))
    text = '#include "%s"\n' % header
    os.makedirs(folder, exist_ok=True)
    if not os.path.exists(stub) or open(stub).read() != text:
        with open(stub, "w") as f:
            f.write(text)
    compile_all([Job(stub, stub + ".gch", [*command, "-x", "c++-header"])])
    # -fpch-deps: the .d files name the headers inside it too.
    return ["-fpch-deps", "-include", stub]


def sources(*patterns: str) -> list[str]:
    """Files of the repository by glob pattern (** is any depth), sorted."""
    found: set[str] = set()
    for pattern in patterns:
        found.update(glob.glob(os.path.join(ROOT, pattern), recursive=True))
    return sorted(os.path.relpath(path, ROOT) for path in found)


@contextlib.contextmanager
def locked(folder: str) -> Iterator[None]:
    """Holds folder, so that two builds at once do not mix their objects."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(command: Sequence[str], what: str) -> None:
    """Runs a compiler or linker in the root of the repository.

    Raises:
      SystemExit: with one line, below the compiler's own, if it fails.
    """
    print(what + "\n", end="", flush=True)  # One write: there are other threads.
    if subprocess.run(command, cwd=ROOT).returncode:
        print(shlex.join(command), flush=True)
        raise SystemExit("tf_embedding: %s failed; the compiler says why above." % what)


def _stale(target: str, command: Sequence[str], inputs: Sequence[str]) -> bool:
    """Whether target was not made by command from inputs as they are now."""
    try:
        with open(target + ".cmd") as f:
            if f.read() != shlex.join(command):
                return True
        made = os.stat(target).st_mtime_ns
        return any(os.stat(path).st_mtime_ns > made for path in inputs)
    except OSError:
        return True


def _inputs(dep_file: str) -> list[str]:
    """What the compiler read, by its .d file; empty if there is none yet."""
    try:
        with open(dep_file) as f:
            names = f.read().replace("\\\n", " ").split(":", 1)[1].split()
    except (OSError, IndexError):
        return []
    return [os.path.join(ROOT, name) for name in names]


def _make(target: str, command: list[str], inputs: Sequence[str], what: str) -> bool:
    if not _stale(target, command, inputs):
        return False
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.remove(target + ".cmd")
    run(command, what)
    with open(target + ".cmd", "w") as f:
        f.write(shlex.join(command))
    return True


def compile_all(jobs: Sequence[Job]) -> int:
    """Compiles what is stale, $MAX_JOBS (default: all cores) at once.

    Returns:
      How many objects were compiled.
    """

    def make(job: Job) -> bool:
        dep = job.object + ".d"
        full = job.command + ["-MD", "-MF", dep, "-c", job.source, "-o", job.object]
        return _make(job.object, full, _inputs(dep), "compiling " + job.source)

    workers = int(os.environ.get("MAX_JOBS") or os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(make, jobs))


def link(
    target: str, command: Sequence[str], objects: Sequence[str], options: Sequence[str]
) -> None:
    """Links objects into target unless it is newer than all of them."""
    full = [*command, "-o", target, *objects, *options]
    _make(target, full, objects, "linking " + os.path.basename(target))
