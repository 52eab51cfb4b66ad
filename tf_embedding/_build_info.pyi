# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The types of _build_info.py, which the build writes (setup.py, BUILD)."""

# The TensorFlow that _ops.so was compiled against, such as "2.21.0".
TF_VERSION: str
# Whether it has kernels for GPUs.
CUDA: bool
