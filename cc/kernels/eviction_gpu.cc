// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of cc/ops/eviction_ops.cc for devices. Rows that were taken go to the
// host's memory, which is where they are kept.

#include "cc/kernels/device_resource.h"
#include "cc/kernels/eviction_kernels.h"

namespace tf_embedding {
namespace {

using ::tensorflow::OpKernelContext;

absl::Status Get(OpKernelContext* context, DeviceTableRef* table) {
  return GetDeviceTable(context, 0, table);
}

absl::Status Evict(OpKernelContext* context, const DeviceTableRef& table,
                   int64_t step, int64_t* evicted) {
  return ToTensorFlow(table->table()->Evict(step, StreamOf(context), evicted));
}

absl::Status Take(OpKernelContext* context, const DeviceTableRef& table,
                  RowChunk* rows, int64_t* dropped) {
  return ToTensorFlow(
      table->table()->TakeEvicted(StreamOf(context), rows, dropped));
}

using EvictDeviceOp = EvictOp<DeviceTableRef, Get, Evict>;
using TakeEvictedDeviceOp = TakeEvictedOp<DeviceTableRef, Get, Take>;

REGISTER_KERNEL_BUILDER(Name("TfEmbedding>Evict")
                            .Device(TableDevice())
                            .HostMemory("handle")
                            .HostMemory("step")
                            .HostMemory("evicted"),
                        EvictDeviceOp);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>TakeEvicted")
                            .Device(TableDevice())
                            .HostMemory("handle")
                            .HostMemory("keys")
                            .HostMemory("values")
                            .HostMemory("slots")
                            .HostMemory("frequency")
                            .HostMemory("version")
                            .HostMemory("dropped"),
                        TakeEvictedDeviceOp);

}  // namespace
}  // namespace tf_embedding
