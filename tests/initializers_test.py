# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Initial rows: what each initializer maps to, and on what they depend."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

import tf_embedding as te

KEYS = np.arange(-4000, 4000)


def rows(initializer, dim=16, seed=7, keys=KEYS):
    ev = te.EmbeddingVariable(dim, initializer=initializer, seed=seed, name="initial")
    return ev.sparse_read(keys).numpy()


def stock():
    """The same initializers from each library that is at hand."""
    makers = {"tf.keras": tf.keras.initializers, "tf.compat.v1": tf.compat.v1.initializers}
    for name, module in makers.items():
        yield name, module


@pytest.mark.parametrize(("library", "module"), list(stock()), ids=lambda x: str(x)[:12])
def test_distributions(library, module) -> None:
    names = {
        "tf.keras": ("RandomUniform", "RandomNormal", "TruncatedNormal", "Constant", "Zeros"),
        "tf.compat.v1": (
            "random_uniform", "random_normal", "truncated_normal", "constant", "zeros",
        ),
    }[library]  # fmt: skip
    uniform, normal, truncated, constant, zeros = (getattr(module, name) for name in names)
    x = rows(uniform(minval=-2.0, maxval=1.0))
    assert x.min() >= -2 and x.max() < 1
    assert abs(x.mean() + 0.5) < 0.02 and abs(x.std() - 3 / math.sqrt(12)) < 0.02
    x = rows(normal(mean=1.0, stddev=2.0))
    assert abs(x.mean() - 1) < 0.03 and abs(x.std() - 2) < 0.03
    assert np.abs(x - 1).max() > 6
    x = rows(truncated(mean=1.0, stddev=2.0))
    assert np.abs(x - 1).max() <= 4.0001 and abs(x.std() - 2 * 0.8796) < 0.03
    assert (rows(constant(0.25)) == 0.25).all() and (rows(zeros()) == 0).all()


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("glorot_uniform", 1 / 16),
        ("glorot_normal", 1 / 16),
        ("he_uniform", 2 / 16),
        ("he_normal", 2 / 16),
        ("lecun_uniform", 1 / 16),
        ("lecun_normal", 1 / 16),
        ("variance_scaling", 1 / 16),
    ],
)
def test_variance_scaling_takes_dim_for_both_fans(name: str, variance: float) -> None:
    by_name = rows(name)
    assert abs(by_name.var() / variance - 1) < 0.05
    if name != "variance_scaling":
        np.testing.assert_array_equal(by_name, rows(tf.keras.initializers.get(name)))


def test_rows_depend_on_seed_and_key_alone() -> None:
    a = rows("normal")
    np.testing.assert_array_equal(a, rows("normal"))
    np.testing.assert_array_equal(a[::-1], rows("normal", keys=KEYS[::-1]))
    np.testing.assert_array_equal(a[:, :5], rows("normal", dim=5))
    assert (a != rows("normal", seed=8)).mean() > 0.99
    assert len(np.unique(a, axis=0)) == len(a)


def test_where_the_seed_comes_from() -> None:
    seeded = tf.keras.initializers.RandomNormal(seed=5)
    assert te.EmbeddingVariable(2, initializer=seeded, name="a").seed == 5
    assert te.EmbeddingVariable(2, initializer=seeded, seed=6, name="a").seed == 6
    tf.random.set_seed(1)
    first = [te.EmbeddingVariable(2, "normal", name="a").seed for _ in range(2)]
    tf.random.set_seed(1)
    again = [te.EmbeddingVariable(2, "normal", name="a").seed for _ in range(2)]
    assert first == again and first[0] != first[1]


def test_any_callable_is_drawn_once_as_a_matrix() -> None:
    calls = []

    def initializer(shape, dtype=None):
        calls.append((tuple(shape), dtype))
        return tf.reshape(tf.range(shape[0] * shape[1], dtype=tf.float32), shape)

    got = rows(initializer, dim=2, keys=[0, 1, 4096, -1])
    assert calls == [((4096, 2), tf.float32)]
    np.testing.assert_array_equal(got, [[0, 1], [2, 3], [0, 1], [8190, 8191]])


def test_numbers_and_arrays() -> None:
    assert (rows(0.5) == 0.5).all()
    np.testing.assert_array_equal(rows([1.0, 2.0], dim=2, keys=[9, -9]), [[1, 2]] * 2)
    matrix = np.array([[1, 2], [3, 4]], np.float32)
    np.testing.assert_array_equal(rows(matrix, 2, keys=[0, 1, 2, -1]), matrix[[0, 1, 0, 1]])


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ("nonsense", "nonsense"),
        (object(), "object"),
        (np.ones([2, 3]), "shape"),
        (lambda shape, dtype: tf.fill([3, 3], 1.0), "shape"),
        (lambda shape, dtype: tf.fill(shape, float("nan")), "finite"),
    ],
)
def test_bad_initializers(bad, named) -> None:
    with pytest.raises(ValueError, match=named):
        te.EmbeddingVariable(16, initializer=bad)
    with pytest.raises(ValueError, match="default_value_dim"):
        te.initializers.get(lambda shape, dtype: None, 4, default_value_dim=0)
