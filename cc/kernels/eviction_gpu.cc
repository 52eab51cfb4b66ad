// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of cc/ops/eviction_ops.cc for devices. Rows that were taken go to the
// host's memory, which is where they are kept.

#include "cc/kernels/device_resource.h"
#include "cc/kernels/rows_output.h"

namespace tf_embedding {
namespace {

using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;

class EvictOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    DeviceTableRef table;
    OP_REQUIRES_OK(context, GetDeviceTable(context, 0, &table));
    const Tensor& step = context->input(1);
    OP_REQUIRES_OK(context, CheckScalar(step, "step"));
    Tensor* evicted;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &evicted));
    OP_REQUIRES_OK(context, ToTensorFlow(table->table()->Evict(
                                step.scalar<int64_t>()(), StreamOf(context),
                                &evicted->scalar<int64_t>()())));
  }
};

class TakeEvictedOp : public OpKernel {
 public:
  explicit TakeEvictedOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("dim", &dim_));
  }
  void Compute(OpKernelContext* context) override {
    DeviceTableRef table;
    OP_REQUIRES_OK(context, GetDeviceTable(context, 0, &table));
    OP_REQUIRES_OK(context, CheckDim(*table, dim_));
    Tensor* dropped;
    OP_REQUIRES_OK(context, context->allocate_output(5, {}, &dropped));
    RowChunk rows;
    OP_REQUIRES_OK(
        context, ToTensorFlow(table->table()->TakeEvicted(
                     StreamOf(context), &rows, &dropped->scalar<int64_t>()())));
    OP_REQUIRES_OK(context, OutputRows(context, 0, dim_, rows));
  }

 private:
  int64_t dim_;
};

REGISTER_KERNEL_BUILDER(Name("TfEmbedding>Evict")
                            .Device(TableDevice())
                            .HostMemory("handle")
                            .HostMemory("step")
                            .HostMemory("evicted"),
                        EvictOp);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>TakeEvicted")
                            .Device(TableDevice())
                            .HostMemory("handle")
                            .HostMemory("keys")
                            .HostMemory("values")
                            .HostMemory("slots")
                            .HostMemory("frequency")
                            .HostMemory("version")
                            .HostMemory("dropped"),
                        TakeEvictedOp);

}  // namespace
}  // namespace tf_embedding
