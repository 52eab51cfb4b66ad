// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// What the kernels that pool read and check.

#ifndef TF_EMBEDDING_CC_KERNELS_POOLING_INPUTS_H_
#define TF_EMBEDDING_CC_KERNELS_POOLING_INPUTS_H_

#include "cc/core/pooling.h"
#include "cc/kernels/resource.h"

namespace tf_embedding {

// Null where the feature has no weights.
inline absl::Status ReadWeights(const tensorflow::Tensor& weights,
                                int64_t num_keys, const float** values) {
  *values = nullptr;
  TF_RETURN_IF_ERROR(CheckVector(weights, "weights"));
  if (weights.NumElements() == 0) return absl::OkStatus();
  TF_RETURN_IF_ERROR(CheckLength(weights, num_keys, "weights"));
  *values = weights.vec<float>().data();
  return absl::OkStatus();
}

inline absl::Status ReadSplits(const tensorflow::Tensor& splits,
                               int64_t num_keys) {
  TF_RETURN_IF_ERROR(CheckVector(splits, "row_splits"));
  return ToTensorFlow(CheckSplits(splits.vec<int64_t>().data(),
                                  splits.NumElements(), num_keys));
}

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_KERNELS_POOLING_INPUTS_H_
