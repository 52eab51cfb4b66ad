# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""From the initializers that users know to rows that depend on the key alone.

Each value of an initial row is a function of (seed, key, column), computed by a
counter-based generator, so it is the same on any shard, thread, device and in
any order. Initializers of Keras and of `tf.compat.v1` are recognised by class
name and parameters:

| initializer | row |
|---|---|
| zeros, ones, constant (a scalar) | constant |
| random uniform | uniform in [minval, maxval) |
| random normal | normal |
| truncated normal | normal within two standard deviations |
| variance scaling, glorot, he, lecun | the distribution it names, with fan_in = fan_out = dim |

The fans of an open vocabulary are not the table's sides: the number of rows
is unknown and no more than one of them is active. With both equal to dim, the
variance of the family is about 1 / dim, what `tf.feature_column` uses too.

Any other callable is drawn once, as a [default_value_dim, dim] matrix, and a
key takes row `key mod default_value_dim`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from typing import Any, Callable, Optional, Union

import numpy as np
import tensorflow as tf

InitializerLike = Union[str, float, int, np.ndarray, Callable[..., Any], None]


@dataclasses.dataclass(frozen=True)
class InitializerSpec:
    """What the core draws initial rows from.

    Attributes:
      kind: "constant", "uniform", "normal", "truncated_normal" or "matrix".
      a: the constant, the lower end, or the mean.
      b: the upper end (excluded), or the standard deviation.
      seed: of the random kinds, if the initializer names one.
      matrix: float32 [n, dim] of kind "matrix", else None.
    """

    kind: str
    a: float = 0.0
    b: float = 0.0
    seed: Optional[int] = None
    matrix: Optional[np.ndarray] = None


_NAMES: dict[str, tuple[str, float, float]] = {
    # The parameters are Keras' defaults.
    "zeros": ("constant", 0.0, 0.0),
    "ones": ("constant", 1.0, 0.0),
    "uniform": ("uniform", -0.05, 0.05),
    "random_uniform": ("uniform", -0.05, 0.05),
    "normal": ("normal", 0.0, 0.05),
    "random_normal": ("normal", 0.0, 0.05),
    "truncated_normal": ("truncated_normal", 0.0, 0.05),
}

# Scale and distribution of the named members of the variance scaling family.
_SCALINGS: dict[str, tuple[float, str]] = {
    "glorot_uniform": (1.0, "uniform"),
    "glorot_normal": (1.0, "truncated_normal"),
    "he_uniform": (2.0, "uniform"),
    "he_normal": (2.0, "truncated_normal"),
    "lecun_uniform": (1.0, "uniform"),
    "lecun_normal": (1.0, "truncated_normal"),
    "variance_scaling": (1.0, "truncated_normal"),
}

# The standard deviation of a standard normal cut at two: Keras divides by it.
_TRUNCATED_STDDEV = 0.87962566103423978


def _variance_scaling(
    scale: float, distribution: str, dim: int, seed: Optional[int] = None
) -> InitializerSpec:
    variance = scale / dim
    if distribution == "uniform":
        limit = math.sqrt(3.0 * variance)
        return InitializerSpec("uniform", -limit, limit, seed)
    if distribution == "untruncated_normal":
        return InitializerSpec("normal", 0.0, math.sqrt(variance), seed)
    return InitializerSpec(
        "truncated_normal", 0.0, math.sqrt(variance) / _TRUNCATED_STDDEV, seed
    )


def _is_stock(initializer: Any) -> bool:
    """Whether the class is Keras' or TensorFlow's own, so that its name says what it does."""
    module = type(initializer).__module__.split(".", 1)[0]
    return module in ("keras", "tf_keras", "tensorflow")


def _number(initializer: Any, *names: str) -> Optional[float]:
    for name in names:
        value = getattr(initializer, name, None)
        if isinstance(value, (int, float, np.number)):
            return float(value)
    return None


def _stock_spec(initializer: Any, dim: int) -> Optional[InitializerSpec]:
    """The spec of an initializer of Keras or TensorFlow; None for an unknown one."""
    name = type(initializer).__name__.lower().replace("_", "")
    name = name[: -len("v2")] if name.endswith("v2") else name
    seed = getattr(initializer, "seed", None)
    seed = int(seed) if isinstance(seed, (int, np.integer)) else None
    if name == "zeros":
        return InitializerSpec("constant")
    if name == "ones":
        return InitializerSpec("constant", 1.0)
    if name == "constant":
        value = _number(initializer, "value")
        return None if value is None else InitializerSpec("constant", value)
    if name in ("randomuniform", "uniform"):
        low, high = _number(initializer, "minval"), _number(initializer, "maxval")
        if low is None:
            return None
        return InitializerSpec("uniform", low, 1.0 if high is None else high, seed)
    if name in ("randomnormal", "normal", "truncatednormal"):
        mean, stddev = _number(initializer, "mean"), _number(initializer, "stddev")
        if mean is None or stddev is None:
            return None
        kind = "truncated_normal" if name.startswith("truncated") else "normal"
        return InitializerSpec(kind, mean, stddev, seed)
    scale = _number(initializer, "scale")
    distribution = getattr(initializer, "distribution", None)
    if scale is not None and isinstance(distribution, str):
        if distribution == "normal":
            distribution = "truncated_normal"
        return _variance_scaling(scale, distribution, dim, seed)
    return None


def _matrix_spec(values: Any, dim: int) -> InitializerSpec:
    matrix = np.asarray(values, dtype=np.float32)
    if matrix.ndim == 1:
        matrix = matrix[np.newaxis]
    if matrix.ndim != 2 or matrix.shape[1] != dim or not len(matrix):
        raise ValueError(
            f"initializer gave values of shape {np.shape(values)}; "
            f"they must be [{dim}] or [n, {dim}], as dim is {dim}"
        )
    if not np.isfinite(matrix).all():
        raise ValueError("initializer gave values that are not finite")
    return InitializerSpec("matrix", matrix=matrix)


# Rows of the matrix that an unknown callable fills.
_MATRIX_ROWS = 4096


def get(
    initializer: InitializerLike, dim: int, default_value_dim: Optional[int] = None
) -> InitializerSpec:
    """Maps an initializer to the spec that the core draws rows from.

    Args:
      initializer: a name ("uniform", "zeros", "glorot_uniform", ...), a number, an
        array of shape [dim] or [n, dim], an initializer object of Keras or
        `tf.compat.v1`, or any callable `f(shape, dtype=...)`.
      dim: the length of a row.
      default_value_dim: if given, any initializer but a constant is drawn as a matrix
        of so many rows; None does so for unknown callables only, with 4096 rows.

    Returns:
      The spec.

    Raises:
      ValueError: the initializer is unknown, or gives values that do not fit.

    >>> get("zeros", dim=8)
    InitializerSpec(kind='constant', a=0.0, b=0.0, seed=None, matrix=None)
    """
    if default_value_dim is not None and default_value_dim < 1:
        raise ValueError(f"default_value_dim is {default_value_dim}; it must be 1 or more")
    if isinstance(initializer, type):
        initializer = initializer()
    spec = _spec(initializer, dim)
    if spec is not None and (default_value_dim is None or spec.kind in ("constant", "matrix")):
        return spec
    draw: Any = initializer
    if not callable(draw) and spec is not None:
        draw = _initializer_of(spec)
    with tf.init_scope():
        values = draw([default_value_dim or _MATRIX_ROWS, dim], dtype=tf.float32)
        if tf.is_tensor(values) and not hasattr(values, "numpy"):
            with tf.compat.v1.Session() as session:
                values = session.run(values)
    return _matrix_spec(values, dim)


def _spec(initializer: InitializerLike, dim: int) -> Optional[InitializerSpec]:
    """The spec of an initializer; None for a callable that only a draw tells about."""
    if initializer is None:
        return _spec("uniform", dim)
    if isinstance(initializer, str):
        name = initializer.lower()
        if name in _NAMES:
            return InitializerSpec(*_NAMES[name])
        if name in _SCALINGS:
            return _variance_scaling(*_SCALINGS[name], dim)
        known = ", ".join(sorted([*_NAMES, *_SCALINGS]))
        raise ValueError(f"initializer is {initializer!r}; use one of {known}, or a callable")
    if isinstance(initializer, (int, float)):
        return InitializerSpec("constant", float(initializer))
    if isinstance(initializer, (list, tuple, np.ndarray)) or tf.is_tensor(initializer):
        if tf.is_tensor(initializer):
            initializer = tf.get_static_value(initializer)
            if initializer is None:
                raise ValueError("initializer is a tensor whose value only a session knows")
        values = np.asarray(initializer, dtype=np.float32)
        if values.ndim == 0:
            return InitializerSpec("constant", float(values))
        return _matrix_spec(values, dim)
    if not callable(initializer):
        raise ValueError(
            f"initializer is {initializer!r}; use a name, a number, an array or a callable"
        )
    return _stock_spec(initializer, dim) if _is_stock(initializer) else None


def _initializer_of(spec: InitializerSpec) -> Any:
    """TensorFlow's initializer of a random spec."""
    v1 = tf.compat.v1
    if spec.kind == "uniform":
        return v1.random_uniform_initializer(spec.a, spec.b, seed=spec.seed)
    if spec.kind == "normal":
        return v1.random_normal_initializer(spec.a, spec.b, seed=spec.seed)
    return v1.truncated_normal_initializer(spec.a, spec.b, seed=spec.seed)


def with_seed(spec: InitializerSpec, seed: Optional[int], name: str) -> InitializerSpec:
    """The spec with its seed settled.

    Args:
      spec: as `get` returned it.
      seed: the user's, any integer that fits 64 bits; None to derive one.
      name: of the variable, the last resort to derive it from.

    Returns:
      The spec with a seed.
    """
    if seed is None:
        seed = spec.seed
    if seed is None:
        global_seed, op_seed = tf.compat.v1.random.get_seed(None)
        if global_seed is not None and tf.executing_eagerly():
            seed = hash_name(f"{global_seed}/{op_seed}")
        else:
            seed = hash_name(name)
    if not -(2**63) <= seed < 2**64:
        raise ValueError(f"seed is {seed}; it must fit 64 bits")
    # As the signed number of the same bits, which is what an attribute holds.
    signed = seed - 2**64 if seed >= 2**63 else seed
    return dataclasses.replace(spec, seed=signed)


def hash_name(name: str) -> int:
    """A 64-bit number that depends on the name alone."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
