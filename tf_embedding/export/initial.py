# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What keys without a row read, in TensorFlow's own ops.

The random kinds compute what cc/core/initializer.h does: words of Philox4x32-10
(Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC
2011) with counter (key, column / 4), and a value from each word. TensorFlow's own
Philox ops count on from one counter, and cannot start anew at each key; so the ten
rounds are written out, in uint64 arithmetic. Uniform values have the same bits as
the table's. Normal ones go through the same quantile (Wichura, algorithm AS 241,
1988) in float64; TensorFlow's logarithm may differ in the last bit, and then a
float32 in some ten millions does too.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np
import tensorflow as tf

RANDOM_KINDS = ("uniform", "normal", "truncated_normal")

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = 0xFFFFFFFF

# Phi(-2), and Phi(2) - Phi(-2): what a truncated normal keeps.
_BELOW_TWO_SIGMA = 0.02275013194817920720
_WITHIN_TWO_SIGMA = 0.95449973610364158560

# Coefficients of AS 241, routine PPND16.
_A = (
    3.3871328727963666080e0,
    1.3314166789178437745e2,
    1.9715909503065514427e3,
    1.3731693765509461125e4,
    4.5921953931549871457e4,
    6.7265770927008700853e4,
    3.3430575583588128105e4,
    2.5090809287301226727e3,
)
_B = (
    1.0,
    4.2313330701600911252e1,
    6.8718700749205790830e2,
    5.3941960214247511077e3,
    2.1213794301586595867e4,
    3.9307895800092710610e4,
    2.8729085735721942674e4,
    5.2264952788528545610e3,
)
_C = (
    1.42343711074968357734e0,
    4.63033784615654529590e0,
    5.76949722146069140550e0,
    3.64784832476320460504e0,
    1.27045825245236838258e0,
    2.41780725177450611770e-1,
    2.27238449892691845833e-2,
    7.74545014278341407640e-4,
)
_D = (
    1.0,
    2.05319162663775882187e0,
    1.67638483018380384940e0,
    6.89767334985100004550e-1,
    1.48103976427480074590e-1,
    1.51986665636164571966e-2,
    5.47593808499534494600e-4,
    1.05075007164441684324e-9,
)


def _u64(value: int) -> tf.Tensor:
    return tf.constant(value, tf.uint64)


def _words(keys: tf.Tensor, dim: int, seed: int) -> tf.Tensor:
    """A word below 2^32 for each key and column: uint64 [n, dim]."""
    mask, half = _u64(_LOW), _u64(32)
    xor, right_shift = tf.bitwise.bitwise_xor, tf.bitwise.right_shift
    blocks = (dim + 3) // 4
    counter = tf.bitcast(keys, tf.uint64)[:, None]
    shape = tf.stack([tf.size(keys), blocks])
    c0 = tf.broadcast_to(tf.bitwise.bitwise_and(counter, mask), shape)
    c1 = tf.broadcast_to(right_shift(counter, half), shape)
    c2 = tf.broadcast_to(tf.constant(np.arange(blocks, dtype=np.uint64))[None, :], shape)
    c3 = tf.zeros_like(c0)
    m0, m1 = _u64(_MULTIPLIERS[0]), _u64(_MULTIPLIERS[1])
    k0, k1 = seed & _LOW, (seed >> 32) & _LOW
    for _ in range(10):
        p0, p1 = c0 * m0, c2 * m1
        c0 = xor(xor(right_shift(p1, half), c1), _u64(k0))
        c2 = xor(xor(right_shift(p0, half), c3), _u64(k1))
        c1, c3 = tf.bitwise.bitwise_and(p1, mask), tf.bitwise.bitwise_and(p0, mask)
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    words = tf.stack([c0, c1, c2, c3], axis=2)
    return tf.reshape(words, tf.stack([tf.size(keys), 4 * blocks]))[:, :dim]


def _polynomial(coefficients: Sequence[float], x: tf.Tensor) -> tf.Tensor:
    total = tf.fill(tf.shape(x), tf.constant(coefficients[-1], tf.float64))
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + tf.constant(coefficient, tf.float64)
    return total


def _normal_quantile(p: tf.Tensor) -> tf.Tensor:
    """The quantile of the standard normal distribution, 2^-33 <= p <= 1 - 2^-33."""
    q = p - 0.5
    middle = 0.180625 - q * q
    inner = q * _polynomial(_A, middle) / _polynomial(_B, middle)
    tail = tf.sqrt(-tf.math.log(tf.where(q < 0, p, 1 - p))) - 1.6
    outer = _polynomial(_C, tail) / _polynomial(_D, tail)
    return tf.where(tf.abs(q) <= 0.425, inner, tf.where(q < 0, -outer, outer))


def random_rows(
    kind: str, a: float, b: float, seed: int, keys: tf.Tensor, dim: int
) -> tf.Tensor:
    """The initial vector of each key.

    Args:
      kind: "uniform", "normal" or "truncated_normal".
      a: the lower end, or the mean.
      b: the upper end, or the standard deviation.
      seed: of the table, an int64.
      keys: int64 [n].
      dim: the length of a vector.

    Returns:
      float32 [n, dim].

    >>> keys = tf.constant([3, -4], tf.int64)
    >>> random_rows("uniform", -1.0, 1.0, 7, keys, dim=5).shape.as_list()
    [2, 5]
    """
    words = _words(keys, dim, seed)
    if kind == "uniform":
        low, high = np.float32(a), np.float32(b)
        top = tf.cast(tf.bitcast(tf.bitwise.right_shift(words, _u64(8)), tf.int64), tf.float32)
        values = low + (high - low) * (top * np.float32(2.0**-24))
        return tf.minimum(np.nextafter(high, low), values)  # the sum may round up to b
    unit = (tf.cast(tf.bitcast(words, tf.int64), tf.float64) + 0.5) * 2.0**-32
    if kind == "truncated_normal":
        unit = _BELOW_TWO_SIGMA + _WITHIN_TWO_SIGMA * unit
    a, b = float(np.float32(a)), float(np.float32(b))
    return tf.cast(a + b * _normal_quantile(unit), tf.float32)
