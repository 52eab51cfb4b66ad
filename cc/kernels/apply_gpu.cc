// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of cc/ops/apply_ops.cc for devices.
//
// Learning rate, steps and hyper-parameters are read by the host: tensors that
// TensorFlow computes on the CPU cost nothing, those of the device are waited
// for. counts below 1 are taken for 1.

#include <string>

#include "cc/kernels/apply_inputs.h"
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
    OP_REQUIRES_OK(context, ReadRuleName(context, &rule_));
  }

  void Compute(OpKernelContext* context) override {
    DeviceTableRef table;
    OP_REQUIRES_OK(context,
                   GetDeviceTable(context, ApplyInputs::kHandle, &table));
    ApplyInputs in;
    OP_REQUIRES_OK(context, in.Read(context, rule_, table->table()->dim()));
    Tensor* token;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &token));
    token->scalar<float>()() = 0;
    int64_t rows_reset = 0;
    const Status status =
        in.only_elsewhere
            ? table->table()->AdoptRule(in.rule, in.step, StreamOf(context),
                                        &rows_reset)
            : table->table()->Apply(in.rule, in.keys, in.gradients, in.counts,
                                    in.n, in.step, StreamOf(context),
                                    &rows_reset, in.gradient_stride);
    OP_REQUIRES_OK(context, ToTensorFlow(status));
    WarnOfReset(rule_, rows_reset);
  }

 private:
  std::string rule_;
};

REGISTER_KERNEL_BUILDER(Name("TfEmbedding>Apply")
                            .Device(TableDevice())
                            .HostMemory("handle")
                            .HostMemory("first_column")
                            .HostMemory("batch_size")
                            .HostMemory("learning_rate")
                            .HostMemory("step")
                            .HostMemory("rule_step")
                            .HostMemory("hyper")
                            .HostMemory("token"),
                        ApplyOp);

}  // namespace
}  // namespace tf_embedding
