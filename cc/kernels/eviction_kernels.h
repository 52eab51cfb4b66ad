// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of cc/ops/eviction_ops.cc, for tables on the CPU and on devices: Ref
// refers to a table of either kind, and the functions reach it.

#ifndef TF_EMBEDDING_CC_KERNELS_EVICTION_KERNELS_H_
#define TF_EMBEDDING_CC_KERNELS_EVICTION_KERNELS_H_

#include "cc/kernels/resource.h"
#include "cc/kernels/rows_output.h"

namespace tf_embedding {

template <class Ref, absl::Status (*get)(tensorflow::OpKernelContext*, Ref*),
          absl::Status (*evict)(tensorflow::OpKernelContext*, const Ref&,
                                int64_t, int64_t*)>
class EvictOp : public tensorflow::OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(tensorflow::OpKernelContext* context) override {
    Ref table;
    OP_REQUIRES_OK(context, get(context, &table));
    const tensorflow::Tensor& step = context->input(1);
    OP_REQUIRES_OK(context, CheckScalar(step, "step"));
    tensorflow::Tensor* evicted;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &evicted));
    OP_REQUIRES_OK(context, evict(context, table, step.scalar<int64_t>()(),
                                  &evicted->scalar<int64_t>()()));
  }
};

template <class Ref, absl::Status (*get)(tensorflow::OpKernelContext*, Ref*),
          absl::Status (*take)(tensorflow::OpKernelContext*, const Ref&,
                               RowChunk*, int64_t*)>
class TakeEvictedOp : public tensorflow::OpKernel {
 public:
  explicit TakeEvictedOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("dim", &dim_));
  }
  void Compute(tensorflow::OpKernelContext* context) override {
    Ref table;
    OP_REQUIRES_OK(context, get(context, &table));
    OP_REQUIRES_OK(context, CheckDim(*table, dim_));
    tensorflow::Tensor* dropped;
    OP_REQUIRES_OK(context, context->allocate_output(5, {}, &dropped));
    RowChunk rows;
    OP_REQUIRES_OK(context,
                   take(context, table, &rows, &dropped->scalar<int64_t>()()));
    OP_REQUIRES_OK(context, OutputRows(context, 0, dim_, rows));
  }

 private:
  int64_t dim_;
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_KERNELS_EVICTION_KERNELS_H_
