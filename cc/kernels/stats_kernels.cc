// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of cc/ops/stats_ops.cc.

#include <algorithm>
#include <string>

#include "cc/core/stats.h"
#include "cc/kernels/resource.h"
#include "cc/kernels/rows_output.h"
#include "cc/kernels/stats_output.h"

namespace tf_embedding {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::DEVICE_GPU;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;

class StatsOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table));
    OP_REQUIRES_OK(context, OutputStats(context, table->table()->stats()));
  }
};

class TopKeysOp : public OpKernel {
 public:
  explicit TopKeysOp(OpKernelConstruction* context) : OpKernel(context) {
    std::string by;
    OP_REQUIRES_OK(context, context->GetAttr("by", &by));
    OP_REQUIRES_OK(context, ToTensorFlow(ParseRowMeasure(by, &measure_)));
  }
  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table));
    const Tensor& n = context->input(1);
    OP_REQUIRES_OK(context, CheckScalar(n, "n"));
    DeviceExecutor executor(context);
    TopKeys top;
    OP_REQUIRES_OK(context,
                   ToTensorFlow(table->table()->Top(
                       measure_, n.scalar<int64_t>()(), &executor, &top)));
    const auto found = static_cast<int64_t>(top.keys.size());
    Tensor *keys, *values;
    OP_REQUIRES_OK(context, context->allocate_output(0, {found}, &keys));
    OP_REQUIRES_OK(context, context->allocate_output(1, {found}, &values));
    std::copy(top.keys.begin(), top.keys.end(), keys->vec<int64_t>().data());
    std::copy(top.values.begin(), top.values.end(),
              values->vec<double>().data());
  }

 private:
  RowMeasure measure_;
};

class HistogramOp : public OpKernel {
 public:
  explicit HistogramOp(OpKernelConstruction* context) : OpKernel(context) {
    std::string measure;
    OP_REQUIRES_OK(context, context->GetAttr("measure", &measure));
    OP_REQUIRES_OK(context, ToTensorFlow(ParseRowMeasure(measure, &measure_)));
  }
  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table));
    const Tensor& step = context->input(1);
    OP_REQUIRES_OK(context, CheckScalar(step, "step"));
    DeviceExecutor executor(context);
    Histogram histogram;
    OP_REQUIRES_OK(context, ToTensorFlow(table->table()->Count(
                                measure_, step.scalar<int64_t>()(), &executor,
                                &histogram)));
    const auto bins = static_cast<int64_t>(histogram.counts.size());
    Tensor *edges, *counts;
    OP_REQUIRES_OK(context, context->allocate_output(0, {bins + 1}, &edges));
    OP_REQUIRES_OK(context, context->allocate_output(1, {bins}, &counts));
    std::copy(histogram.edges.begin(), histogram.edges.end(),
              edges->vec<double>().data());
    std::copy(histogram.counts.begin(), histogram.counts.end(),
              counts->vec<int64_t>().data());
  }

 private:
  RowMeasure measure_;
};

class ExportChunkOp : public OpKernel {
 public:
  explicit ExportChunkOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("dim", &dim_));
  }
  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table));
    OP_REQUIRES_OK(context, CheckDim(*table, dim_));
    const Tensor& cursor = context->input(1);
    const Tensor& max_rows = context->input(2);
    OP_REQUIRES_OK(context, CheckScalar(cursor, "cursor"));
    OP_REQUIRES_OK(context, CheckScalar(max_rows, "max_rows"));
    Tensor* next;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &next));
    RowChunk chunk;
    OP_REQUIRES_OK(context,
                   ToTensorFlow(table->table()->ExportChunk(
                       cursor.scalar<int64_t>()(), max_rows.scalar<int64_t>()(),
                       &chunk, &next->scalar<int64_t>()())));
    OP_REQUIRES_OK(context, OutputRows(context, 1, dim_, chunk));
  }

 private:
  int64_t dim_;
};

#define TFE_REGISTER(name, kernel) \
  REGISTER_KERNEL_BUILDER(Name("TfEmbedding>" name).Device(DEVICE_CPU), kernel)

TFE_REGISTER("TopKeys", TopKeysOp);
TFE_REGISTER("Histogram", HistogramOp);
TFE_REGISTER("ExportChunk", ExportChunkOp);

#undef TFE_REGISTER

TFE_REGISTER_CPU_TWIN(Name("TfEmbedding>Stats").Device(DEVICE_CPU), StatsOp);
// On a device: of a copy of the table on the host (GetTable).
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>TopKeys")
                            .Device(DEVICE_GPU)
                            .HostMemory("handle")
                            .HostMemory("n")
                            .HostMemory("keys")
                            .HostMemory("values"),
                        TopKeysOp);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>Histogram")
                            .Device(DEVICE_GPU)
                            .HostMemory("handle")
                            .HostMemory("step")
                            .HostMemory("edges")
                            .HostMemory("counts"),
                        HistogramOp);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>ExportChunk")
                            .Device(DEVICE_GPU)
                            .HostMemory("handle")
                            .HostMemory("cursor")
                            .HostMemory("max_rows")
                            .HostMemory("next")
                            .HostMemory("keys")
                            .HostMemory("values")
                            .HostMemory("slots")
                            .HostMemory("frequency")
                            .HostMemory("version"),
                        ExportChunkOp);

}  // namespace
}  // namespace tf_embedding
