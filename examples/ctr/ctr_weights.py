# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The initial weights of the models' towers.

They are drawn by numpy from the seed, not by Keras, so a seed means the same start
whatever builds the tower: Keras 2, Keras 3 or an estimator. The random start alone
moves the AUC of wide & deep by some 0.02 on the flights; two builds of a model can
only be compared from the same.
"""

from __future__ import annotations

import zlib
from typing import Sequence

import numpy as np


def tower_kernel(shape: Sequence[int], seed: int, tower: str, layer: int) -> np.ndarray:
    """The initial kernel of a layer of a tower, Glorot uniform as Keras's default is.

    Args:
      shape: [inputs, units]. The inputs are the vectors of the features in the
        order of the features, then the numbers.
      seed: of the run.
      tower: its name.
      layer: from 0, the tower's first.

    Returns:
      float32 [inputs, units], uniform in +-sqrt(6 / (inputs + units)).

    Source: Glorot and Bengio, "Understanding the difficulty of training deep
    feedforward neural networks", AISTATS 2010.
    """
    rng = np.random.default_rng([seed, zlib.crc32(tower.encode()), layer])
    limit = np.sqrt(6.0 / sum(shape))
    return rng.uniform(-limit, limit, shape).astype(np.float32)
