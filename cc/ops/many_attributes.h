// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// The attributes of LookupMany, for its shape function and its kernels.

#ifndef TF_EMBEDDING_CC_OPS_MANY_ATTRIBUTES_H_
#define TF_EMBEDDING_CC_OPS_MANY_ATTRIBUTES_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"

namespace tf_embedding {

// side_by_side: whether all vectors go to one tensor. Context has GetAttr:
// InferenceContext, OpKernelConstruction.
template <class Context>
absl::Status ReadManyAttributes(Context* context, std::vector<int>* dims,
                                bool* side_by_side) {
  int n, num_values;
  TF_RETURN_IF_ERROR(context->GetAttr("N", &n));
  TF_RETURN_IF_ERROR(context->GetAttr("dims", dims));
  TF_RETURN_IF_ERROR(context->GetAttr("num_values", &num_values));
  if (static_cast<int>(dims->size()) != n) {
    return absl::InvalidArgumentError(
        absl::StrCat("dims has ", dims->size(),
                     " values; it needs one for each of the ", n, " features"));
  }
  if (num_values != n && num_values != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("num_values is ", num_values,
                     "; it must be 1 or the number of features, ", n));
  }
  *side_by_side = num_values != n;
  return absl::OkStatus();
}

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_OPS_MANY_ATTRIBUTES_H_
