// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of cc/ops/apply_ops.cc.

#include <string>
#include <vector>

#include "cc/core/rule.h"
#include "cc/kernels/resource.h"

namespace tf_embedding {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::tstring;

class ApplyOp : public OpKernel {
 public:
  explicit ApplyOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("rule", &rule_));
    OP_REQUIRES(context, FindRule(rule_) != nullptr,
                absl::InvalidArgumentError(absl::StrCat(
                    "rule is \"", rule_, "\"; use one of ", RuleNames())));
  }

  void Compute(OpKernelContext* context) override {
    enum Inputs {
      kHandle,
      kKeys,
      kGradients,
      kCounts,
      kBatchSize,
      kRate,
      kStep,
      kRuleStep,
      kHyper
    };
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, kHandle, &table));
    const Tensor& keys = context->input(kKeys);
    const Tensor& gradients = context->input(kGradients);
    const Tensor& counts = context->input(kCounts);
    const Tensor& batch_size = context->input(kBatchSize);
    const Tensor& rate = context->input(kRate);
    const Tensor& step = context->input(kStep);
    const Tensor& rule_step = context->input(kRuleStep);
    const Tensor& hyper = context->input(kHyper);
    const int64_t n = keys.NumElements();
    OP_REQUIRES_OK(context, CheckVector(keys, "keys"));
    OP_REQUIRES_OK(
        context, CheckMatrix(gradients, n, table->table()->dim(), "gradients"));
    OP_REQUIRES_OK(context, CheckVector(counts, "counts"));
    if (counts.NumElements() > 0) {
      OP_REQUIRES_OK(context, CheckLength(counts, n, "counts"));
    }
    OP_REQUIRES_OK(context, CheckScalar(batch_size, "batch_size"));
    OP_REQUIRES_OK(context, CheckScalar(rate, "learning_rate"));
    OP_REQUIRES_OK(context, CheckScalar(step, "step"));
    OP_REQUIRES_OK(context, CheckScalar(rule_step, "rule_step"));
    OP_REQUIRES_OK(context, CheckVector(hyper, "hyper"));

    const int64_t step_value = step.scalar<int64_t>()();
    BoundRule rule;
    OP_REQUIRES_OK(context,
                   ToTensorFlow(BindRule(
                       rule_, rate.scalar<float>()(),
                       rule_step.scalar<int64_t>()(), hyper.vec<float>().data(),
                       static_cast<int>(hyper.NumElements()), &rule)));
    Tensor* token;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &token));
    token->scalar<float>()() = 0;
    DeviceExecutor executor(context);
    int64_t rows_reset = 0;
    const bool only_elsewhere = n == 0 && batch_size.scalar<int64_t>()() > 0;
    const Status status =
        only_elsewhere
            ? table->table()->AdoptRule(rule, step_value, &rows_reset)
            : table->table()->Apply(rule, keys.vec<int64_t>().data(),
                                    gradients.flat<float>().data(),
                                    counts.NumElements() > 0
                                        ? counts.vec<int64_t>().data()
                                        : nullptr,
                                    n, step_value, &executor, &rows_reset);
    OP_REQUIRES_OK(context, ToTensorFlow(status));
    if (rows_reset > 0) {
      LOG(WARNING) << "tf_embedding: rule " << rule_ << " takes over "
                   << rows_reset
                   << " rows that another rule trained: their vectors stay, "
                      "their slots start anew";
    }
  }

 private:
  std::string rule_;
};

std::string Join(const std::vector<std::string>& parts) {
  std::string joined;
  for (const std::string& part : parts) {
    if (!joined.empty()) joined += ",";
    joined += part;
  }
  return joined;
}

class RulesOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    const std::vector<RuleInfo>& rules = AllRules();
    const auto n = static_cast<int64_t>(rules.size());
    Tensor* out[4];
    for (int i = 0; i < 4; ++i) {
      OP_REQUIRES_OK(context, context->allocate_output(i, {n}, &out[i]));
    }
    for (int64_t r = 0; r < n; ++r) {
      out[0]->vec<tstring>()(r) = rules[r].name;
      out[1]->vec<tstring>()(r) = Join(rules[r].vector_slots);
      out[2]->vec<tstring>()(r) = Join(rules[r].scalar_slots);
      out[3]->vec<tstring>()(r) = Join(rules[r].hyper);
    }
  }
};

TFE_REGISTER_CPU_TWIN(Name("TfEmbedding>Apply").Device(DEVICE_CPU), ApplyOp);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>Rules").Device(DEVICE_CPU), RulesOp);

}  // namespace
}  // namespace tf_embedding
