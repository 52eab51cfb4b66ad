// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of cc/ops/delta_ops.cc, for tables on the CPU and on devices: what is
// theirs to do is a function for each op, of the context, the consumer and what
// it outputs.

#ifndef TF_EMBEDDING_CC_KERNELS_DELTA_KERNELS_H_
#define TF_EMBEDDING_CC_KERNELS_DELTA_KERNELS_H_

#include <cstdint>
#include <string>

#include "tensorflow/core/framework/op_kernel.h"

namespace tf_embedding {

class ConsumerOp : public tensorflow::OpKernel {
 public:
  explicit ConsumerOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("consumer", &consumer_));
    OP_REQUIRES(context, !consumer_.empty(),
                absl::InvalidArgumentError(
                    "consumer is empty; it must be a name of its own"));
  }

 protected:
  std::string consumer_;
};

// StartDelta and DeltaSince.
template <absl::Status (*ask)(tensorflow::OpKernelContext*, const std::string&,
                              uint32_t*)>
class EpochOp : public ConsumerOp {
 public:
  using ConsumerOp::ConsumerOp;
  void Compute(tensorflow::OpKernelContext* context) override {
    tensorflow::Tensor* since;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &since));
    uint32_t epoch = 0;
    OP_REQUIRES_OK(context, ask(context, consumer_, &epoch));
    since->scalar<int64_t>()() = epoch;
  }
};

// FinishDelta and ForgetConsumer.
template <absl::Status (*tell)(tensorflow::OpKernelContext*,
                               const std::string&)>
class TellOp : public ConsumerOp {
 public:
  using ConsumerOp::ConsumerOp;
  void Compute(tensorflow::OpKernelContext* context) override {
    OP_REQUIRES_OK(context, tell(context, consumer_));
  }
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_KERNELS_DELTA_KERNELS_H_
