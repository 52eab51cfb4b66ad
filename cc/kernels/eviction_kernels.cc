// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of cc/ops/eviction_ops.cc.

#include "cc/kernels/resource.h"
#include "cc/kernels/rows_output.h"

namespace tf_embedding {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;

class EvictOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table));
    const Tensor& step = context->input(1);
    OP_REQUIRES_OK(context, CheckScalar(step, "step"));
    Tensor* evicted;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &evicted));
    DeviceExecutor executor(context);
    OP_REQUIRES_OK(context, ToTensorFlow(table->table()->Evict(
                                step.scalar<int64_t>()(),
                                &evicted->scalar<int64_t>()(), &executor)));
  }
};

class TakeEvictedOp : public OpKernel {
 public:
  explicit TakeEvictedOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("dim", &dim_));
  }
  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table));
    OP_REQUIRES_OK(context, CheckDim(*table, dim_));
    Tensor* dropped;
    OP_REQUIRES_OK(context, context->allocate_output(5, {}, &dropped));
    RowChunk rows;
    OP_REQUIRES_OK(context, ToTensorFlow(table->table()->TakeEvicted(
                                &rows, &dropped->scalar<int64_t>()())));
    OP_REQUIRES_OK(context, OutputRows(context, 0, dim_, rows));
  }

 private:
  int64_t dim_;
};

#define TFE_REGISTER(name, kernel) \
  TFE_REGISTER_CPU_TWIN(Name("TfEmbedding>" name).Device(DEVICE_CPU), kernel)

TFE_REGISTER("Evict", EvictOp);
TFE_REGISTER("TakeEvicted", TakeEvictedOp);

#undef TFE_REGISTER

}  // namespace
}  // namespace tf_embedding
