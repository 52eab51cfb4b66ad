// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of cc/ops/eviction_ops.cc for the CPU.

#include "cc/kernels/eviction_kernels.h"

namespace tf_embedding {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernelContext;

absl::Status Get(OpKernelContext* context, TableRef* table) {
  return GetTable(context, 0, table);
}

absl::Status Evict(OpKernelContext* context, const TableRef& table,
                   int64_t step, int64_t* evicted) {
  DeviceExecutor executor(context);
  return ToTensorFlow(table->table()->Evict(step, evicted, &executor));
}

absl::Status Take(OpKernelContext* /*context*/, const TableRef& table,
                  RowChunk* rows, int64_t* dropped) {
  return ToTensorFlow(table->table()->TakeEvicted(rows, dropped));
}

using EvictHostOp = EvictOp<TableRef, Get, Evict>;
using TakeEvictedHostOp = TakeEvictedOp<TableRef, Get, Take>;

#define TFE_REGISTER(name, kernel) \
  TFE_REGISTER_CPU_TWIN(Name("TfEmbedding>" name).Device(DEVICE_CPU), kernel)

TFE_REGISTER("Evict", EvictHostOp);
TFE_REGISTER("TakeEvicted", TakeEvictedHostOp);

#undef TFE_REGISTER

}  // namespace
}  // namespace tf_embedding
