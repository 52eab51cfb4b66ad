// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// What the kernels that pool read and check.

#ifndef TF_EMBEDDING_CC_KERNELS_POOLING_INPUTS_H_
#define TF_EMBEDDING_CC_KERNELS_POOLING_INPUTS_H_

#include <string>
#include <vector>

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

// The attributes that LookupPooled and its gradient share.
inline absl::Status ReadPoolSpecs(tensorflow::OpKernelConstruction* context,
                                  int n, std::vector<PoolSpec>* specs) {
  std::vector<std::string> combiners;
  std::vector<float> max_norms;
  TF_RETURN_IF_ERROR(context->GetAttr("combiners", &combiners));
  TF_RETURN_IF_ERROR(context->GetAttr("max_norms", &max_norms));
  if (static_cast<int>(combiners.size()) != n ||
      static_cast<int>(max_norms.size()) != n) {
    return absl::InvalidArgumentError(absl::StrCat(
        "combiners has ", combiners.size(), " and max_norms ", max_norms.size(),
        " values; both need one for each of the ", n, " features"));
  }
  specs->resize(n);
  for (int f = 0; f < n; ++f) {
    TF_RETURN_IF_ERROR(
        ToTensorFlow(ParsePoolSpec(combiners[f], max_norms[f], &(*specs)[f])));
  }
  return absl::OkStatus();
}

// The attributes of LookupPooled.
inline absl::Status ReadPooling(tensorflow::OpKernelConstruction* context,
                                std::vector<int>* dims,
                                std::vector<bool>* keep_rows,
                                std::vector<PoolSpec>* specs) {
  int n;
  TF_RETURN_IF_ERROR(context->GetAttr("N", &n));
  TF_RETURN_IF_ERROR(context->GetAttr("dims", dims));
  TF_RETURN_IF_ERROR(context->GetAttr("keep_rows", keep_rows));
  if (static_cast<int>(dims->size()) != n ||
      static_cast<int>(keep_rows->size()) != n) {
    return absl::InvalidArgumentError(absl::StrCat(
        "dims has ", dims->size(), " and keep_rows ", keep_rows->size(),
        " values; both need one for each of the ", n, " features"));
  }
  return ReadPoolSpecs(context, n, specs);
}

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_KERNELS_POOLING_INPUTS_H_
