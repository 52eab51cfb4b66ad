# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""AUC and log loss of the example against definitions written out."""

from __future__ import annotations

import math
import os
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "examples", "ctr"))

from ctr_metrics import auc, log_loss  # noqa: E402


def pair_auc(labels, scores):
    """Counts all pairs: 1 where the positive is above, one half for a tie."""
    won, pairs = 0.0, 0
    for label, score in zip(labels, scores):
        for other_label, other in zip(labels, scores):
            if label == 1 and other_label == 0:
                pairs += 1
                won += 1.0 if score > other else 0.5 if score == other else 0.0
    return won / pairs if pairs else math.nan


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3)), max_size=40))
def test_auc_is_the_share_of_pairs_won(rows):
    labels = np.array([row[0] for row in rows], np.float32)
    scores = np.array([row[1] for row in rows], np.float32)
    expected = pair_auc(labels, scores)
    found = auc(labels, scores)
    assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_auc_without_ties():
    generator = np.random.default_rng(0)
    labels = (generator.random(300) < 0.3).astype(np.float32)
    scores = generator.random(300).astype(np.float32) + 0.2 * labels
    assert auc(labels, scores) == pytest.approx(pair_auc(labels, scores), abs=1e-12)
    assert auc(labels, -scores) == pytest.approx(1 - auc(labels, scores), abs=1e-12)


def test_auc_of_a_large_set_does_not_overflow():
    labels = np.tile(np.array([0, 1], np.float32), 500_000)
    assert auc(labels, labels) == 1.0
    assert auc(labels, np.zeros_like(labels)) == 0.5


def test_auc_refuses_bad_input():
    with pytest.raises(ValueError, match="vectors of one length"):
        auc(np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match="NaN.*learning_rate"):
        auc(np.array([0, 1]), np.array([0.5, np.nan]))


def test_log_loss():
    labels, scores = np.array([1.0, 0.0, 1.0]), np.array([0.8, 0.3, 0.5])
    expected = -(math.log(0.8) + math.log(0.7) + math.log(0.5)) / 3
    assert log_loss(labels, scores) == pytest.approx(expected)
    assert math.isfinite(log_loss(np.array([1.0, 0.0]), np.array([0.0, 1.0])))
    assert math.isnan(log_loss(np.zeros(0), np.zeros(0)))
