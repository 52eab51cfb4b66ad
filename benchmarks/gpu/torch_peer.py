#!/usr/bin/env python3
# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""torch's own embedding at the size of B2: a dense table, no keys, no hash.

Forward is torch.nn.functional.embedding. Backward is what its sparse gradient
costs: summing equal indices (coalesce), then SGD on the rows.
"""

from __future__ import annotations

import statistics
from typing import Any, Callable

import torch

ROWS, DIM, N, ALPHA, INPUTS = 16 << 20, 128, 1048570, 1.05, 8


def milliseconds(call: Callable[[int], Any], calls: int = 10, series: int = 7) -> float:
    """The median time of a call."""
    for i in range(2):
        call(i)
    times = []
    for _ in range(series):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for i in range(calls):
            call(i)
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / calls)
    return statistics.median(times)


def main() -> None:
    generator = torch.Generator(device="cuda").manual_seed(2)
    table = torch.rand(ROWS, DIM, device="cuda", generator=generator)
    gradients = torch.zeros(N, DIM, device="cuda")
    inputs = []
    for _ in range(INPUTS):
        uniform = torch.rand(N, device="cuda", generator=generator, dtype=torch.float64)
        ranks = (1 + uniform * ((ROWS + 1) ** (1 - ALPHA) - 1)) ** (1 / (1 - ALPHA))
        inputs.append((ranks.long() - 1).clamp_(0, ROWS - 1))

    def forward(i: int) -> Any:
        return torch.nn.functional.embedding(inputs[i % INPUTS], table)

    def backward(i: int) -> None:
        keys, where = torch.unique(inputs[i % INPUTS], return_inverse=True)
        sums = torch.zeros(len(keys), DIM, device="cuda").index_add_(0, where, gradients)
        table.index_add_(0, keys, sums, alpha=-0.01)

    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}")
    print(f"| torch forward, dim {DIM}, power law {ALPHA} | {milliseconds(forward):.4f} ms |")
    print(f"| torch backward, sgd | {milliseconds(backward):.4f} ms |")


if __name__ == "__main__":
    main()
