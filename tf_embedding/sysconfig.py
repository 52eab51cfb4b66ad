# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where the op library is, for programs that load it themselves."""

from __future__ import annotations

import os


def get_op_library() -> str:
    """The path of the op library: for `tf.load_op_library`, or `TF_LoadLibrary` in C.

    It fits the minor version of TensorFlow that it was built for.

    >>> import os
    >>> os.path.basename(get_op_library())
    '_ops.so'
    """
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "_ops.so")
