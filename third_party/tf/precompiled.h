// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Headers of TensorFlow that most of cc/ops and cc/kernels include. setup.py
// compiles them once; files include what they use, with or without it.

#ifndef TF_EMBEDDING_THIRD_PARTY_TF_PRECOMPILED_H_
#define TF_EMBEDDING_THIRD_PARTY_TF_PRECOMPILED_H_

#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/util/work_sharder.h"

#endif  // TF_EMBEDDING_THIRD_PARTY_TF_PRECOMPILED_H_
