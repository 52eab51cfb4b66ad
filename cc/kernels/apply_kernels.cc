// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of cc/ops/apply_ops.cc.

#include <string>
#include <vector>

#include "cc/core/rule.h"
#include "cc/kernels/apply_inputs.h"
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
    OP_REQUIRES_OK(context, ReadRuleName(context, &rule_));
  }

  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, ApplyInputs::kHandle, &table));
    ApplyInputs in;
    OP_REQUIRES_OK(context, in.Read(context, rule_, table->table()->dim()));
    Tensor* token;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &token));
    token->scalar<float>()() = 0;
    DeviceExecutor executor(context);
    int64_t rows_reset = 0;
    const Status status =
        in.only_elsewhere
            ? table->table()->AdoptRule(in.rule, in.step, &rows_reset)
            : table->table()->Apply(in.rule, in.keys, in.gradients, in.counts,
                                    in.n, in.step, &executor, &rows_reset,
                                    in.gradient_stride);
    OP_REQUIRES_OK(context, ToTensorFlow(status));
    WarnOfReset(rule_, rows_reset);
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
