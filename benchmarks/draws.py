# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keys, and batches that draw from them: the same for every contestant.

A dynamic table is filled with random 64-bit keys; row i of a static one stands
for the i-th of them. Batches are row numbers; what has keys maps them.
"""

from __future__ import annotations

import math

import numpy as np

BATCHES = 8
SEED = 20260101
_STRIDE = 0x9E3779B1  # a prime


def keys(n: int) -> np.ndarray:
    """n random int64."""
    rng = np.random.default_rng(SEED)
    return rng.integers(-(2**63), 2**63 - 1, n, dtype=np.int64, endpoint=True)


def zipf_ranks(rng: np.random.Generator, n: int, exponent: float, size: int) -> np.ndarray:
    """Ranks 0..n-1, rank r with a probability in proportion to (r + 1) ** -exponent."""
    weights = np.cumsum(np.arange(1, n + 1, dtype=np.float64) ** -exponent)
    ranks = np.searchsorted(weights, rng.random(size) * weights[-1], side="right")
    return np.minimum(ranks, n - 1)


def scatter(ranks: np.ndarray, n: int) -> np.ndarray:
    """A permutation of 0..n-1, so that frequent rows are not neighbours.

    Raises:
      ValueError: n is a multiple of the stride, which would make it none.
    """
    if math.gcd(_STRIDE, n) != 1:
        raise ValueError(f"n is {n}; it must not be a multiple of {_STRIDE}")
    # Below 2^63 for any n up to 2^31.
    return ranks.astype(np.int64) * _STRIDE % n


def batches(n: int, batch: int, zipf: float) -> list[np.ndarray]:
    """BATCHES batches of row numbers in 0..n-1."""
    rng = np.random.default_rng(SEED + 1)
    if not zipf:
        return list(rng.integers(0, n, (BATCHES, batch)))
    ranks = zipf_ranks(rng, n, zipf, BATCHES * batch)
    return list(scatter(ranks, n).reshape(BATCHES, batch))
