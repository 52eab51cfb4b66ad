# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compiles tf_embedding/_ops.so against the installed TensorFlow.

Metadata is in pyproject.toml. Environment variables of the build: CXX,
CXXFLAGS, MAX_JOBS (compilers at once), CUDA_PATH, TF_EMBEDDING_CUDA=0 (no GPU
parts), TF_EMBEDDING_CUDA_ARCHS ("80;90"). TF_EMBEDDING_CUDA=host is for tests: the
kernels for GPUs take the place of those for the CPU, and run on it.
"""

import os
import shlex
import shutil
import sys
import tempfile

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(ROOT, "third_party", "python"))
import cxx  # noqa: E402
import find_cuda  # noqa: E402
import find_tf  # noqa: E402

BUILD_INFO = '''"""Written by the build: what _ops.so was compiled against."""

TF_VERSION = "%s"
CUDA = %s
'''


def _write(path, data):
    """Replaces path at once: a process that has the old file mapped keeps it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path))
    with os.fdopen(handle, "wb") as f:
        f.write(data)
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)


class BuildOps(build_ext):
    """Builds one shared library of all sources; it is no Python module."""

    def _outputs(self):
        folder = ROOT if self.inplace else self.build_lib
        return [os.path.join(folder, "tf_embedding", f) for f in ("_ops.so", "_build_info.py")]

    def get_outputs(self):
        return self._outputs()

    def get_output_mapping(self):
        return {}

    def run(self):
        compiler = cxx.compiler()
        tensorflow = find_tf.find()
        # Not self.build_temp: for an editable install that is a fresh folder
        # each time, and everything would be compiled again.
        folder = os.path.join(ROOT, "build", "ops-tf" + tensorflow["version"])
        with cxx.locked(folder):
            built, cuda = self._build(compiler, tensorflow, folder)
            library, info = self._outputs()
            with open(built, "rb") as f:
                _write(library, f.read())
        _write(info, (BUILD_INFO % (tensorflow["version"], cuda)).encode())

    def _build(self, compiler, tensorflow, folder):
        core = cxx.sources("cc/core/**/*.cc")
        face = cxx.sources("cc/ops/*.cc", "cc/kernels/*.cc")
        cuda = find_cuda.find()
        on_host = os.environ.get("TF_EMBEDDING_CUDA") == "host"
        if cuda or on_host:
            core += cxx.sources("cc/cuda/device_table*.cc")
        else:
            face = [s for s in face if not s.endswith("_gpu.cc")]
        if on_host:
            core += cxx.sources("cc/cuda/launchers_host.cc")

        include = ["-I."]
        extra = shlex.split(os.environ.get("CXXFLAGS", ""))
        core_command = compiler + cxx.core_flags() + include + extra
        # -isystem: TensorFlow's headers have hundreds of warnings of their own.
        tf_include = ["-isystem", tensorflow["include"]]
        tf_command = compiler + cxx.tf_flags(tensorflow) + include + tf_include + extra
        tf_command += cxx.precompiled("third_party/tf/precompiled.h", folder, tf_command)
        suffix = ""
        if on_host:
            suffix = ".host"  # beside the others, which stay as they are
            host_command = tf_command + ["-DTF_EMBEDDING_DEVICE_ON_HOST"]

        def job(source, command):
            end = ""
            if on_host and command is tf_command and _depends_on_device(source):
                end, command = suffix, host_command
            return cxx.Job(source, os.path.join(folder, source + end + ".o"), command)

        # The slow ones first, so that both cores end together.
        jobs = [job(s, tf_command) for s in face]
        jobs += [job(s, core_command) for s in core]
        if cuda:
            jobs = find_cuda.jobs(cuda) + jobs
        count = cxx.compile_all(jobs)

        # CUDA's runtime before TensorFlow: the GPU build of TensorFlow's library
        # exports cuda* stubs of its own, which would otherwise be taken.
        options = [cuda["cudart"]] if cuda else []
        options += ["-L" + tensorflow["lib"], "-l:" + find_tf.FRAMEWORK]
        options += ["-ldl", "-lrt", "-lpthread"]
        script = os.path.join("third_party", "tf", "exports.lds")
        options += [
            "-Wl,--no-undefined",
            "-Wl,--exclude-libs,ALL",
            "-Wl,--version-script=" + script,
        ]
        library = os.path.join(folder, "_ops%s.so" % suffix)
        cxx.link(library, compiler + ["-shared"], [j.object for j in jobs], options)
        print(
            "tf_embedding: TensorFlow %s, CUDA %s, compiled %d of %d files"
            % (tensorflow["version"], _describe(cuda, on_host), count, len(jobs)),
            flush=True,
        )
        return library, cuda is not None


def _depends_on_device(source):
    """Whether it registers kernels for GPUs, or those for the CPU beside them."""
    with open(os.path.join(ROOT, source)) as f:
        return source.endswith("_gpu.cc") or "TFE_REGISTER_CPU_TWIN" in f.read()


def _describe(cuda, on_host):
    if cuda:
        return cuda["nvcc"]
    return "on the host, for tests" if on_host else "off"


class BuildPython(build_py):
    """Starts from an empty folder: a module deleted here must not be installed."""

    def run(self):
        if not self.editable_mode:
            shutil.rmtree(os.path.join(self.build_lib, "tf_embedding"), ignore_errors=True)
        super().run()


class PlatformWheel(bdist_wheel):
    """Any Python 3: the library has no symbol of Python's in it."""

    def get_tag(self):
        return ("py3", "none", super().get_tag()[2])


setup(
    ext_modules=[Extension("tf_embedding._ops", sources=[])],
    cmdclass={"build_ext": BuildOps, "build_py": BuildPython, "bdist_wheel": PlatformWheel},
)
