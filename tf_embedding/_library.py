# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Loads the op library, and explains itself when it cannot."""

from __future__ import annotations

from typing import Any

try:
    import tensorflow as tf
except ImportError as error:
    raise ImportError(
        "tf_embedding needs TensorFlow, which is not installed here; "
        "install it: pip install tensorflow-cpu (or tensorflow[and-cuda])"
    ) from error

from tf_embedding import sysconfig

_REBUILD = "pip install --force-reinstall --no-deps --no-cache-dir . (in a checkout)"


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def check_versions(built: str, running: str) -> None:
    """Raises ImportError unless both are of one TensorFlow minor version.

    Args:
      built: the version that the library was compiled against.
      running: the version that is imported.
    """
    if _minor(built) != _minor(running):
        raise ImportError(
            f"tf_embedding was built for TensorFlow {built}, but TensorFlow {running} is "
            f"imported; a library of ops fits one minor version. Build it again here: {_REBUILD}"
        )


def _load() -> Any:
    try:
        from tf_embedding import _build_info
    except ImportError as error:
        raise ImportError(
            "tf_embedding was not built: its op library is missing. Build it: "
            f"{_REBUILD}"
        ) from error
    check_versions(_build_info.TF_VERSION, tf.__version__)
    try:
        return tf.load_op_library(sysconfig.get_op_library())
    except tf.errors.NotFoundError as error:
        raise ImportError(
            f"tf_embedding's op library, built for TensorFlow {_build_info.TF_VERSION}, does not "
            f"load into TensorFlow {tf.__version__}: {error.message}. Build it again: {_REBUILD}"
        ) from error


ops = _load()
