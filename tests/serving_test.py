# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""SavedModels in servers: C++ through TensorFlow's C API, threads, reloads.

The same is asked of both kinds: with this package's ops, and of `te.export.stock`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

import tf_embedding as te

DIM = 16
NUM_KEYS = 1 << 16  # rows of 4 MiB
RNG = np.random.default_rng(1)
KEYS = np.unique(RNG.integers(-(2**63), 2**63 - 1, NUM_KEYS))
PROBE = np.concatenate([KEYS[::60], [0, -1, 2**63 - 1, -(2**63)], RNG.integers(0, 2**62, 100)])
RELOADS = 100
RELOADS_IN_PYTHON = 40  # each takes seconds where a processor is shared


class Served(NamedTuple):
    directory: str
    library: str  # "-": none
    input: str
    output: str


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("served")
    ev = te.EmbeddingVariable(DIM, "uniform", seed=5, name="served")
    ev.upsert(KEYS, RNG.normal(size=(len(KEYS), DIM)).astype(np.float32))
    module = tf.Module()
    module.ev = ev
    module.lookup = tf.function(ev.sparse_read, [tf.TensorSpec([None], tf.int64, name="ids")])
    native, stock = str(root / "native"), str(root / "stock")
    tf.saved_model.save(module, native, signatures=module.lookup)
    te.export.stock(module, stock)
    PROBE.tofile(root / "keys")
    return {
        "root": root,
        "want": module.lookup(tf.constant(PROBE)).numpy(),
        "native": served(native, te.sysconfig.get_op_library()),
        "stock": served(stock, "-"),
    }


def served(directory: str, library: str) -> Served:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        proto = tf.compat.v1.saved_model.load(session, ["serve"], directory)
    signature = proto.signature_def["serving_default"]
    (output,) = signature.outputs.values()
    names = signature.inputs["ids"].name, output.name
    return Served(directory, library, *(name[: -len(":0")] for name in names))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> str:
    """serve.cc, compiled against the TensorFlow that is installed."""
    program = str(tmp_path_factory.mktemp("program") / "serve")
    libraries = os.path.dirname(tf.sysconfig.get_lib() + "/")
    command = ["g++", "-std=c++17", "-O1", *tf.sysconfig.get_compile_flags()]
    command += [os.path.join(os.path.dirname(os.path.abspath(__file__)), "serve.cc")]
    command += [f"-L{libraries}", "-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    command += [f"-Wl,-rpath,{libraries}", "-pthread", "-o", program]
    subprocess.run(command, check=True)
    return program


def assert_flat(resident: list[int], reloads: int) -> None:
    """A table that stayed with each reload would add 4 MiB of rows alone each time."""
    assert len(resident) == reloads
    warm = reloads // 4
    leak = (reloads - warm) * NUM_KEYS * DIM * 4
    assert resident[-1] - resident[warm - 1] < 0.15 * leak, resident


@pytest.mark.parametrize("kind", ["native", "stock"])
def test_c_api(kind: str, models: dict[str, Any], server: str, tmp_path: Path) -> None:
    """Answers of C++ are Python's, in several threads at once; reloads take no memory."""
    model = models[kind]
    arguments = [model.library, model.directory, model.input, model.output]
    arguments += [str(models["root"] / "keys"), str(tmp_path / "answer"), "4", str(RELOADS)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(
        [server, *arguments], check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    got = np.fromfile(tmp_path / "answer", np.float32).reshape(-1, DIM)
    np.testing.assert_array_equal(got, models["want"])
    assert_flat([int(line) for line in done.stdout.split()], RELOADS)


def test_c_api_with_the_library_preloaded(
    models: dict[str, Any], server: str, tmp_path: Path
) -> None:
    """As Triton takes ops: the program does not know of them."""
    model = models["native"]
    arguments = ["-", model.directory, model.input, model.output]
    arguments += [str(models["root"] / "keys"), str(tmp_path / "answer"), "1", "0"]
    environment = {**os.environ, "LD_PRELOAD": model.library, "TF_CPP_MIN_LOG_LEVEL": "2"}
    subprocess.run([server, *arguments], check=True, env=environment)
    got = np.fromfile(tmp_path / "answer", np.float32).reshape(-1, DIM)
    np.testing.assert_array_equal(got, models["want"])


def test_c_api_without_the_library(models: dict[str, Any], server: str, tmp_path: Path) -> None:
    model = models["native"]
    arguments = ["-", model.directory, model.input, model.output]
    arguments += [str(models["root"] / "keys"), str(tmp_path / "answer"), "0", "0"]
    done = subprocess.run([server, *arguments], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "TfEmbedding>" in done.stderr


RELOADER = """
import gc, sys
import numpy as np, tensorflow as tf
directory, library, keys, want, reloads = sys.argv[1:]
tf.load_op_library(library)
keys, want = tf.constant(np.fromfile(keys, np.int64)), np.load(want)
for _ in range(int(reloads)):
    model = tf.saved_model.load(directory)
    (got,) = model.signatures["serving_default"](ids=keys).values()
    assert (got.numpy() == want).all()
    del model, got
    gc.collect()
    with open("/proc/self/statm") as statm:
        print(int(statm.read().split()[1]) * 4096)
assert "tf_embedding" not in sys.modules
"""


def test_reloads_in_python(models: dict[str, Any], tmp_path: Path) -> None:
    """In a process that has the op library alone."""
    np.save(tmp_path / "want.npy", models["want"])
    model = models["native"]
    arguments = [model.directory, model.library, str(models["root"] / "keys")]
    arguments += [str(tmp_path / "want.npy"), str(RELOADS_IN_PYTHON)]
    done = subprocess.run(
        [sys.executable, "-c", RELOADER, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    assert_flat([int(line) for line in done.stdout.split()], RELOADS_IN_PYTHON)
