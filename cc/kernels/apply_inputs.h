// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// What the kernels of Apply read and check, wherever the rows are.

#ifndef TF_EMBEDDING_CC_KERNELS_APPLY_INPUTS_H_
#define TF_EMBEDDING_CC_KERNELS_APPLY_INPUTS_H_

#include <algorithm>
#include <cstdint>
#include <string>

#include "cc/core/rule.h"
#include "cc/kernels/resource.h"

namespace tf_embedding {

inline absl::Status ReadRuleName(tensorflow::OpKernelConstruction* context,
                                 std::string* rule) {
  TF_RETURN_IF_ERROR(context->GetAttr("rule", rule));
  if (FindRule(*rule) != nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("rule is \"", *rule, "\"; use one of ", RuleNames()));
}

struct ApplyInputs {
  enum Index {
    kHandle,
    kKeys,
    kGradients,
    kFirstColumn,
    kCounts,
    kBatchSize,
    kRate,
    kStep,
    kRuleStep,
    kHyper
  };

  // Keys, gradients and counts are where the kernel computes; all else is on
  // the host.
  absl::Status Read(tensorflow::OpKernelContext* context,
                    const std::string& rule_name, int dim) {
    const tensorflow::Tensor& all_keys = context->input(kKeys);
    const tensorflow::Tensor& all_gradients = context->input(kGradients);
    const tensorflow::Tensor& column = context->input(kFirstColumn);
    const tensorflow::Tensor& all_counts = context->input(kCounts);
    const tensorflow::Tensor& batch_size = context->input(kBatchSize);
    const tensorflow::Tensor& rate = context->input(kRate);
    const tensorflow::Tensor& version = context->input(kStep);
    const tensorflow::Tensor& rule_step = context->input(kRuleStep);
    const tensorflow::Tensor& hyper = context->input(kHyper);
    n = all_keys.NumElements();
    TF_RETURN_IF_ERROR(CheckVector(all_keys, "keys"));
    TF_RETURN_IF_ERROR(CheckScalar(column, "first_column"));
    const int64_t first_column = column.scalar<int64_t>()();
    if (first_column < 0) {
      TF_RETURN_IF_ERROR(CheckMatrix(all_gradients, n, dim, "gradients"));
    } else {
      TF_RETURN_IF_ERROR(CheckColumns(all_gradients, n, dim, first_column));
    }
    TF_RETURN_IF_ERROR(CheckVector(all_counts, "counts"));
    const bool counted = all_counts.NumElements() > 0;
    if (counted) TF_RETURN_IF_ERROR(CheckLength(all_counts, n, "counts"));
    TF_RETURN_IF_ERROR(CheckScalar(batch_size, "batch_size"));
    TF_RETURN_IF_ERROR(CheckScalar(rate, "learning_rate"));
    TF_RETURN_IF_ERROR(CheckScalar(version, "step"));
    TF_RETURN_IF_ERROR(CheckScalar(rule_step, "rule_step"));
    TF_RETURN_IF_ERROR(CheckVector(hyper, "hyper"));
    keys = all_keys.vec<int64_t>().data();
    gradients =
        all_gradients.flat<float>().data() + std::max<int64_t>(0, first_column);
    gradient_stride = all_gradients.dim_size(1);
    counts = counted ? all_counts.vec<int64_t>().data() : nullptr;
    step = version.scalar<int64_t>()();
    only_elsewhere = n == 0 && batch_size.scalar<int64_t>()() > 0;
    return ToTensorFlow(BindRule(rule_name, rate.scalar<float>()(),
                                 rule_step.scalar<int64_t>()(),
                                 hyper.vec<float>().data(),
                                 static_cast<int>(hyper.NumElements()), &rule));
  }

  static absl::Status CheckColumns(const tensorflow::Tensor& gradients,
                                   int64_t n, int dim, int64_t first_column) {
    if (gradients.dims() == 2 && gradients.dim_size(0) == n &&
        first_column <= gradients.dim_size(1) - dim) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        absl::StrCat("gradients has shape ", gradients.shape().DebugString(),
                     " and first_column is ", first_column,
                     "; it must have a row for each of the ", n, " keys, and ",
                     dim, " columns from there on"));
  }

  const int64_t* keys = nullptr;
  const float* gradients = nullptr;
  int64_t gradient_stride = 0;
  const int64_t* counts = nullptr;  // one each if null
  int64_t n = 0;
  int64_t step = 0;
  // The batch has keys, all of them in other parts of the variable.
  bool only_elsewhere = false;
  BoundRule rule;
};

inline void WarnOfReset(const std::string& rule, int64_t rows_reset) {
  if (rows_reset == 0) return;
  LOG(WARNING) << "tf_embedding: rule " << rule << " takes over " << rows_reset
               << " rows that another rule trained: their vectors stay, their "
                  "slots start anew";
}

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_KERNELS_APPLY_INPUTS_H_
