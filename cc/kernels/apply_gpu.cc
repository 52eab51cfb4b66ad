// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of cc/ops/apply_ops.cc for devices.
//
// Learning rate, steps and hyper-parameters are read by the host: tensors that
// TensorFlow computes on the CPU cost nothing, those of the device are waited
// for. counts below 1 are taken for 1.

#include <string>

#include "cc/core/rule.h"
#include "cc/kernels/device_resource.h"

namespace tf_embedding {
namespace {

using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;

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
    DeviceTableRef table;
    OP_REQUIRES_OK(context, GetDeviceTable(context, kHandle, &table));
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
    const bool counted = counts.NumElements() > 0;
    if (counted) OP_REQUIRES_OK(context, CheckLength(counts, n, "counts"));
    OP_REQUIRES_OK(context, CheckScalar(batch_size, "batch_size"));
    OP_REQUIRES_OK(context, CheckScalar(rate, "learning_rate"));
    OP_REQUIRES_OK(context, CheckScalar(step, "step"));
    OP_REQUIRES_OK(context, CheckScalar(rule_step, "rule_step"));
    OP_REQUIRES_OK(context, CheckVector(hyper, "hyper"));

    BoundRule rule;
    OP_REQUIRES_OK(context,
                   ToTensorFlow(BindRule(
                       rule_, rate.scalar<float>()(),
                       rule_step.scalar<int64_t>()(), hyper.vec<float>().data(),
                       static_cast<int>(hyper.NumElements()), &rule)));
    Tensor* token;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &token));
    token->scalar<float>()() = 0;
    int64_t rows_reset = 0;
    const bool only_elsewhere = n == 0 && batch_size.scalar<int64_t>()() > 0;
    const Status status =
        only_elsewhere
            ? table->table()->AdoptRule(rule, StreamOf(context), &rows_reset)
            : table->table()->Apply(
                  rule, keys.vec<int64_t>().data(),
                  gradients.flat<float>().data(),
                  counted ? counts.vec<int64_t>().data() : nullptr, n,
                  step.scalar<int64_t>()(), StreamOf(context), &rows_reset);
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

REGISTER_KERNEL_BUILDER(Name("TfEmbedding>Apply")
                            .Device(TableDevice())
                            .HostMemory("handle")
                            .HostMemory("batch_size")
                            .HostMemory("learning_rate")
                            .HostMemory("step")
                            .HostMemory("rule_step")
                            .HostMemory("hyper")
                            .HostMemory("token"),
                        ApplyOp);

}  // namespace
}  // namespace tf_embedding
