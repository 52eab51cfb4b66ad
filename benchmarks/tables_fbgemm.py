# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""FBGEMM's table-batched embeddings on the CPU, in PyTorch: static tables.

A lookup is a bag of one, summed: its unpooled form is slower. Checking that the
ids are in range is off, which favours it.
"""

from __future__ import annotations

import os

import draws
import torch
from fbgemm_gpu.split_embedding_configs import EmbOptimType
from fbgemm_gpu.split_table_batched_embeddings_ops_common import (
    BoundsCheckMode,
    EmbeddingLocation,
    PoolingMode,
)
from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
    ComputeDevice,
    SplitTableBatchedEmbeddingBagsCodegen,
)
from spec import Spec

torch.set_num_threads(int(os.environ.get("BENCH_THREADS", "1")))
torch.manual_seed(1)

_OPTIMIZERS = {
    "sgd": EmbOptimType.EXACT_SGD,
    "adagrad": EmbOptimType.EXACT_ADAGRAD,
    "rowwise_adagrad": EmbOptimType.EXACT_ROWWISE_ADAGRAD,
}


class Fbgemm:
    """Lookups, pooled or bags of one, and training."""

    def __init__(self, spec: Spec):
        if spec.rule not in _OPTIMIZERS:
            raise ValueError(f"it has no {spec.rule} on the CPU")
        rows = spec.keys // spec.tables
        self._module = SplitTableBatchedEmbeddingBagsCodegen(
            [(rows, spec.dim, EmbeddingLocation.HOST, ComputeDevice.CPU)] * spec.tables,
            optimizer=_OPTIMIZERS[spec.rule],
            learning_rate=0.01,
            pooling_mode=PoolingMode.MEAN if spec.combiner == "mean" else PoolingMode.SUM,
            bounds_check_mode=BoundsCheckMode.NONE,
        )
        self._module.init_embedding_weights_uniform(-0.05, 0.05)
        self._batches = [torch.from_numpy(b) for b in draws.batches(rows, spec.batch, spec.zipf)]
        self._offsets = torch.arange(0, spec.batch + 1, spec.bag)
        self._weights = torch.rand(spec.batch) if spec.weighted else None
        self._trains = spec.work == "train"

    def run(self, i: int) -> None:
        if not self._trains:
            with torch.no_grad():
                self._module(self._batches[i], self._offsets, self._weights)
            return
        rows = self._module(self._batches[i], self._offsets)
        rows.backward(2.0 * rows.detach())


CONTESTANTS = {"fbgemm": Fbgemm}
