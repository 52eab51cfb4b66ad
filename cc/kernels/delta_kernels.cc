// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of cc/ops/delta_ops.cc.

#include <string>

#include "cc/kernels/resource.h"

namespace tf_embedding {
namespace {

using ::tensorflow::DEVICE_CPU;
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
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table));
    Tensor* since;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &since));
    uint32_t epoch;
    OP_REQUIRES_OK(context,
                   ToTensorFlow(table->table()->StartDelta(consumer_, &epoch)));
    since->scalar<int64_t>()() = epoch;
  }
};

class DeltaSinceOp : public ConsumerOp {
 public:
  using ConsumerOp::ConsumerOp;
  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table));
    Tensor* since;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &since));
    uint32_t epoch;
    OP_REQUIRES_OK(context,
                   ToTensorFlow(table->table()->DeltaSince(consumer_, &epoch)));
    since->scalar<int64_t>()() = epoch;
  }
};

class FinishDeltaOp : public ConsumerOp {
 public:
  using ConsumerOp::ConsumerOp;
  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table));
    OP_REQUIRES_OK(context,
                   ToTensorFlow(table->table()->FinishDelta(consumer_)));
  }
};

class ForgetConsumerOp : public ConsumerOp {
 public:
  using ConsumerOp::ConsumerOp;
  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table));
    table->table()->ForgetConsumer(consumer_);
  }
};

#define TFE_REGISTER(name, kernel) \
  TFE_REGISTER_CPU_TWIN(Name("TfEmbedding>" name).Device(DEVICE_CPU), kernel)

TFE_REGISTER("StartDelta", StartDeltaOp);
TFE_REGISTER("DeltaSince", DeltaSinceOp);
TFE_REGISTER("FinishDelta", FinishDeltaOp);
TFE_REGISTER("ForgetConsumer", ForgetConsumerOp);

#undef TFE_REGISTER

}  // namespace
}  // namespace tf_embedding
