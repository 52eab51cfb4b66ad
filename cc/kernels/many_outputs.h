// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Where the kernels of LookupMany, wherever the rows are, put their vectors.

#ifndef TF_EMBEDDING_CC_KERNELS_MANY_OUTPUTS_H_
#define TF_EMBEDDING_CC_KERNELS_MANY_OUTPUTS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cc/kernels/resource.h"
#include "cc/ops/many_attributes.h"

namespace tf_embedding {

// The vectors of LookupMany: each feature's in a tensor of its own, or side by
// side in one.
class ManyOutputs {
 public:
  absl::Status Read(tensorflow::OpKernelConstruction* context) {
    return ReadManyAttributes(context, &dims_, &side_by_side_);
  }

  const std::vector<int>& dims() const { return dims_; }

  // out[f]: where the first vector of feature f goes; strides[f]: from one of
  // its vectors to the next.
  absl::Status Allocate(const tensorflow::OpInputList& keys,
                        tensorflow::OpOutputList* values,
                        std::vector<float*>* out,
                        std::vector<int64_t>* strides) const {
    out->resize(dims_.size());
    strides->assign(dims_.begin(), dims_.end());
    if (!side_by_side_) {
      for (size_t f = 0; f < dims_.size(); ++f) {
        tensorflow::TensorShape shape = keys[f].shape();
        TF_RETURN_IF_ERROR(shape.AddDimWithStatus(dims_[f]));
        TF_RETURN_IF_ERROR(AllocateOne(f, shape, values, &(*out)[f]));
      }
      return absl::OkStatus();
    }
    int64_t width = 0;
    for (size_t f = 0; f < dims_.size(); ++f) {
      if (keys[f].shape() != keys[0].shape()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "keys[", f, "] has shape ", keys[f].shape().DebugString(),
            ", keys[0] ", keys[0].shape().DebugString(),
            "; vectors can be put side by side where all have one shape"));
      }
      width += dims_[f];
    }
    tensorflow::TensorShape shape = keys[0].shape();
    TF_RETURN_IF_ERROR(shape.AddDimWithStatus(width));
    float* first;
    TF_RETURN_IF_ERROR(AllocateOne(0, shape, values, &first));
    for (size_t f = 0; f < dims_.size(); ++f) {
      (*out)[f] = first;
      first += dims_[f];
      (*strides)[f] = width;
    }
    return absl::OkStatus();
  }

 private:
  static absl::Status AllocateOne(int i, const tensorflow::TensorShape& shape,
                                  tensorflow::OpOutputList* values,
                                  float** out) {
    tensorflow::Tensor* tensor;
    TF_RETURN_IF_ERROR(values->allocate(i, shape, &tensor));
    *out = tensor->flat<float>().data();
    return absl::OkStatus();
  }

  std::vector<int> dims_;
  bool side_by_side_ = false;
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_KERNELS_MANY_OUTPUTS_H_
