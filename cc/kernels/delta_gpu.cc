// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of cc/ops/delta_ops.cc for devices.

#include <memory>
#include <string>

#include "cc/kernels/device_resource.h"

namespace tf_embedding {
namespace {

using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;

class ConsumerOp : public OpKernel {
 public:
  explicit ConsumerOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("consumer", &consumer_));
    OP_REQUIRES(context, !consumer_.empty(),
                absl::InvalidArgumentError(
                    "consumer is empty; it must be a name of its own"));
  }

 protected:
  std::string consumer_;
};

class StartDeltaOp : public ConsumerOp {
 public:
  using ConsumerOp::ConsumerOp;
  void Compute(OpKernelContext* context) override {
    DeviceTableRef table;
    OP_REQUIRES_OK(context, GetDeviceTable(context, 0, &table));
    Tensor* since;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &since));
    DeviceExecutor executor(context);
    std::unique_ptr<EmbeddingTable> copy;
    OP_REQUIRES_OK(context, ToTensorFlow(table->table()->ToHost(
                                StreamOf(context), &executor, &copy)));
    uint32_t epoch = 0;
    OP_REQUIRES_OK(context, ToTensorFlow(table->consumers()->Start(
                                consumer_, *copy, &epoch)));
    since->scalar<int64_t>()() = epoch;
  }
};

class DeltaSinceOp : public ConsumerOp {
 public:
  using ConsumerOp::ConsumerOp;
  void Compute(OpKernelContext* context) override {
    DeviceTableRef table;
    OP_REQUIRES_OK(context, GetDeviceTable(context, 0, &table));
    Tensor* since;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &since));
    uint32_t epoch = 0;
    OP_REQUIRES_OK(context, ToTensorFlow(table->consumers()->Since(
                                consumer_, table->table()->rule(), &epoch)));
    since->scalar<int64_t>()() = epoch;
  }
};

class FinishDeltaOp : public ConsumerOp {
 public:
  using ConsumerOp::ConsumerOp;
  void Compute(OpKernelContext* context) override {
    DeviceTableRef table;
    OP_REQUIRES_OK(context, GetDeviceTable(context, 0, &table));
    OP_REQUIRES_OK(context,
                   ToTensorFlow(table->consumers()->Finish(consumer_)));
  }
};

class ForgetConsumerOp : public ConsumerOp {
 public:
  using ConsumerOp::ConsumerOp;
  void Compute(OpKernelContext* context) override {
    DeviceTableRef table;
    OP_REQUIRES_OK(context, GetDeviceTable(context, 0, &table));
    table->consumers()->Forget(consumer_);
  }
};

REGISTER_KERNEL_BUILDER(Name("TfEmbedding>StartDelta")
                            .Device(TableDevice())
                            .HostMemory("handle")
                            .HostMemory("since"),
                        StartDeltaOp);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>DeltaSince")
                            .Device(TableDevice())
                            .HostMemory("handle")
                            .HostMemory("since"),
                        DeltaSinceOp);
REGISTER_KERNEL_BUILDER(
    Name("TfEmbedding>FinishDelta").Device(TableDevice()).HostMemory("handle"),
    FinishDeltaOp);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>ForgetConsumer")
                            .Device(TableDevice())
                            .HostMemory("handle"),
                        ForgetConsumerOp);

}  // namespace
}  // namespace tf_embedding
