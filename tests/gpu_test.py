# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What can be known of the GPU's kernels where there is no GPU."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

import tf_embedding as te
from tf_embedding import _build_info
from tf_embedding._library import ops

needs_cuda_build = pytest.mark.skipif(
    not _build_info.CUDA, reason="the library was built without CUDA: no nvcc, or turned off"
)
no_gpu = pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU: tests/gpu tests it"
)

# Ops of the whole variable in parts, or of bytes: they have no table, and run on the CPU.
WITHOUT_A_TABLE = {
    "PartsHandle",
    "SplitByPart",
    "JoinParts",
    "Pool",
    "Rules",
    "JoinBlocks",
    "WriteBlocks",
    "ReadBlocks",
    "VerifyCheckpoint",
    "BlocksChecksum",
    "CompactCheckpoints",
    "Crc32c",
    "BlockBytes",
    "BlocksFromBytes",
}

def all_ops() -> set[str]:
    names = {name for name in dir(ops) if name.startswith("TfEmbedding")}
    found = set()
    for name in names:
        match = re.fullmatch(r"TfEmbedding_?>?_?(\w+)", name)
        if match:
            found.add(match.group(1))
    return found


def devices_of(op: str) -> set[str]:
    registered = kernels.get_registered_kernels_for_op(f"TfEmbedding>{op}").kernel
    return {kernel.device_type for kernel in registered}


@needs_cuda_build
def test_every_op_of_a_table_has_a_kernel_for_gpus() -> None:
    wanted = all_ops() - WITHOUT_A_TABLE
    assert len(wanted) >= 20
    for op in sorted(wanted):
        assert devices_of(op) == {"CPU", "GPU"}, op


def test_every_op_has_a_kernel_for_cpus() -> None:
    for op in sorted(all_ops()):
        assert "CPU" in devices_of(op), op


@no_gpu
def test_without_a_gpu_a_variable_under_its_scope_is_on_the_cpu() -> None:
    with tf.device("/GPU:0"):
        ev = te.EmbeddingVariable(dim=2, initializer="ones")
        ev.upsert([1], [[2.0, 3.0]])
        assert ev.sparse_read([1, 2]).numpy().tolist() == [[2.0, 3.0], [1.0, 1.0]]
    assert "CPU" in ev.handle.device


@no_gpu
def test_without_a_gpu_a_strict_scope_is_an_error() -> None:
    tf.config.set_soft_device_placement(False)
    try:
        with pytest.raises(tf.errors.InvalidArgumentError, match="GPU"):
            with tf.device("/GPU:0"):
                te.EmbeddingVariable(dim=2)
    finally:
        tf.config.set_soft_device_placement(True)


def test_rows_in_bfloat16_are_refused_on_the_cpu() -> None:
    option = te.EmbeddingVariableOption(row_dtype="bfloat16")
    assert option.row_dtype == tf.bfloat16
    with tf.device("/CPU:0"):
        with pytest.raises(tf.errors.UnimplementedError, match="row_dtype is bfloat16.*GPU:0"):
            te.EmbeddingVariable(dim=2, ev_option=option)
        with pytest.raises(tf.errors.UnimplementedError, match="row_dtype is bfloat16.*GPU:0"):
            te.get_embedding_variable("half", 2, ev_option=option)
    with pytest.raises(ValueError, match="value_dtype is bfloat16.*row_dtype"):
        te.get_embedding_variable("half", 2, value_dtype=tf.bfloat16)


@pytest.mark.parametrize("bad", [tf.float16, "half", "no dtype", 3, None])
def test_another_row_dtype_is_an_error(bad: object) -> None:
    with pytest.raises(ValueError, match="row_dtype of EmbeddingVariableOption is .*tf.bfloat16"):
        te.EmbeddingVariableOption(row_dtype=bad)


def test_the_kernels_for_gpus_include_no_header_of_cuda_or_of_tensorflow() -> None:
    root = Path(__file__).absolute().parent.parent
    sources = [*(root / "cc" / "cuda").iterdir()]
    assert len(sources) >= 10
    for source in sources:
        includes = re.findall(r'#include ["<](.*)[">]', source.read_text())
        for include in includes:
            assert not include.startswith(("tensorflow", "xla", "absl")), (source, include)
            if source.suffix != ".cu":
                assert not include.startswith(("cuda", "cub")), (source, include)
