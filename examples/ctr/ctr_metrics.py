# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""AUC and log loss, exact, in numpy."""

from __future__ import annotations

import numpy as np


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Probability that a random positive scores above a random negative.

    Exact: by ranks (Mann-Whitney U), ties counting one half, not by a histogram
    of thresholds. NaN where one of the two classes is absent.

    >>> float(auc(np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.4, 0.8])))
    0.875
    """
    labels = np.asarray(labels) > 0.5
    scores = np.asarray(scores)
    if labels.shape != scores.shape or labels.ndim != 1:
        raise ValueError(
            f"labels {labels.shape} and scores {scores.shape} must be vectors of one length."
        )
    if np.isnan(scores).any():
        raise ValueError("scores hold NaN: the model has diverged; lower --learning_rate.")
    positives = int(labels.sum())
    negatives = labels.size - positives
    if not positives or not negatives:
        return float("nan")
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    mean_rank = last - (sizes - 1) / 2.0  # Ranks count from 1.
    rank_sum = mean_rank[group.reshape(-1)][labels].sum()
    return float((rank_sum - positives * (positives + 1) / 2.0) / (positives * float(negatives)))


def log_loss(labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean cross entropy of probabilities `scores`, kept 1e-7 away from 0 and 1."""
    p = np.clip(np.asarray(scores, np.float64), 1e-7, 1 - 1e-7)
    y = np.asarray(labels, np.float64)
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log1p(-p))) if y.size else float("nan")
