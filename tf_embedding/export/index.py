# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""A static index from any int64 key to a number, in TensorFlow's own ops.

A hash chooses a bucket of eight keys, which lie side by side: one gather brings
them, one comparison finds the key. The hash is SplitMix64's finaliser, a bijection,
so patterned keys spread; the bucket is its upper 32 bits, scaled (Lemire, "Fast
random integer generation in an interval", 2019). An unused place of a bucket holds
a key of another bucket, which nobody looks up there, so no key is reserved.
Buckets are filled to a third on average; the keys for which there is no place in
theirs, one in thousands, are sorted and found by binary search.

`tf.lookup`'s tables were not taken: `DenseHashTable` reserves two keys, and
`StaticHashTable` is filled at each load, key by key, into a map of nodes. A binary
search over all keys is slower, the more the larger the table is (see
docs/serving.md).
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

_WIDTH = 8
_KEYS_PER_BUCKET = 8 / 3
_OFFSET = 0x9E3779B97F4A7C15
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_SHIFTS = (30, 27)
_LAST_SHIFT = 31


def _buckets_of(keys: np.ndarray, num_buckets: int) -> np.ndarray:
    """The bucket of each key, int64."""
    z = keys.astype(np.int64, copy=False).view(np.uint64) + np.uint64(_OFFSET)
    for shift, multiplier in zip(_SHIFTS, _MULTIPLIERS):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(multiplier)
    z ^= z >> np.uint64(_LAST_SHIFT)
    scaled: np.ndarray = ((z >> np.uint64(32)) * np.uint64(num_buckets)) >> np.uint64(32)
    return scaled.astype(np.int64)


def _shift_right(x: tf.Tensor, bits: int) -> tf.Tensor:
    return tf.bitwise.right_shift(x, tf.constant(bits, tf.uint64))


def _bucket_ops(keys: tf.Tensor, num_buckets: int) -> tf.Tensor:
    """`_buckets_of` in TensorFlow."""
    z = tf.bitcast(keys, tf.uint64) + tf.constant(_OFFSET, tf.uint64)
    for shift, multiplier in zip(_SHIFTS, _MULTIPLIERS):
        z = tf.bitwise.bitwise_xor(z, _shift_right(z, shift)) * tf.constant(multiplier, tf.uint64)
    z = tf.bitwise.bitwise_xor(z, _shift_right(z, _LAST_SHIFT))
    scaled = _shift_right(z, 32) * tf.constant(num_buckets, tf.uint64)
    return tf.bitcast(_shift_right(scaled, 32), tf.int64)


class StaticIndex(tf.Module):  # type: ignore[misc]
    """Numbers distinct keys 0 to n - 1, in an order of its own.

    Args:
      keys: int64 [n], distinct.
      name: of its variables.

    Attributes:
      size: n.
      order: int64 [n]; the key that has number i is `keys[order[i]]`.

    Raises:
      ValueError: there are too many keys.

    >>> index = StaticIndex(np.array([5, -7, 2**62]), "numbers")
    >>> sorted(index.find(tf.constant([5, -7, 2**62], tf.int64)).numpy().tolist())
    [0, 1, 2]
    >>> index.find(tf.constant([6], tf.int64)).numpy().tolist()
    [3]
    """

    def __init__(self, keys: np.ndarray, name: str) -> None:
        super().__init__()
        n = len(keys)
        num_buckets = max(2, int(np.ceil(n / _KEYS_PER_BUCKET)))
        if num_buckets >= 2**32:
            raise ValueError(f"{name} has {n} keys; a static index holds fewer than 11 billion")
        self.size = n
        self._num_buckets = num_buckets
        buckets = _buckets_of(keys, num_buckets)
        by_bucket = np.argsort(buckets, kind="stable")
        buckets = buckets[by_bucket]
        place = np.arange(n) - np.searchsorted(buckets, buckets)
        fits = place < _WIDTH
        inside, outside = by_bucket[fits], by_bucket[~fits]
        outside = outside[np.argsort(keys[outside])]
        self.order = np.concatenate([inside, outside])
        table = np.repeat(self._fillers()[:, None], _WIDTH, axis=1)
        table[buckets[fits], place[fits]] = keys[inside]
        first = np.searchsorted(buckets[fits], np.arange(num_buckets))
        self._buckets = tf.Variable(table, trainable=False, name=f"{name}/buckets")
        self._first = tf.Variable(
            first.astype(np.int64), trainable=False, name=f"{name}/first_of_bucket"
        )
        self._num_inside = len(inside)
        self._outside = None
        if len(outside):
            self._outside = tf.Variable(
                keys[outside], trainable=False, name=f"{name}/outside_of_buckets"
            )

    def _fillers(self) -> np.ndarray:
        """For each bucket a key that is of another."""
        some = np.arange(256, dtype=np.int64)
        buckets = _buckets_of(some, self._num_buckets)
        fillers = np.full(self._num_buckets, some[0])
        fillers[buckets[0]] = some[np.flatnonzero(buckets != buckets[0])[0]]
        return fillers

    def find(self, keys: tf.Tensor) -> tf.Tensor:
        """The number of each key, int64 [m] for int64 [m]; n for a key that it does not have."""
        bucket = _bucket_ops(keys, self._num_buckets)
        equal = tf.equal(tf.gather(self._buckets, bucket), keys[:, None])
        place = tf.argmax(tf.cast(equal, tf.int8), axis=1, output_type=tf.int64)
        number = tf.gather(self._first, bucket) + place
        otherwise = tf.constant(self.size, tf.int64)
        if self._outside is not None:
            last = tf.constant(self.size - self._num_inside - 1, tf.int64)
            at = tf.searchsorted(self._outside, keys, out_type=tf.int64)
            at = tf.minimum(at, last)
            found = tf.equal(tf.gather(self._outside, at), keys)
            otherwise = tf.where(found, at + self._num_inside, otherwise)
        return tf.where(tf.reduce_any(equal, axis=1), number, otherwise)
