// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of cc/ops/delta_ops.cc for devices.

#include <memory>
#include <string>

#include "cc/kernels/delta_kernels.h"
#include "cc/kernels/device_resource.h"

namespace tf_embedding {
namespace {

using ::tensorflow::OpKernelContext;

absl::Status Start(OpKernelContext* context, const std::string& consumer,
                   uint32_t* epoch) {
  DeviceTableRef table;
  TF_RETURN_IF_ERROR(GetDeviceTable(context, 0, &table));
  DeviceExecutor executor(context);
  std::unique_ptr<EmbeddingTable> copy;
  TF_RETURN_IF_ERROR(ToTensorFlow(
      table->table()->ToHost(StreamOf(context), &executor, &copy)));
  return ToTensorFlow(table->consumers()->Start(consumer, *copy, epoch));
}

absl::Status Since(OpKernelContext* context, const std::string& consumer,
                   uint32_t* epoch) {
  DeviceTableRef table;
  TF_RETURN_IF_ERROR(GetDeviceTable(context, 0, &table));
  return ToTensorFlow(
      table->consumers()->Since(consumer, table->table()->rule(), epoch));
}

absl::Status Finish(OpKernelContext* context, const std::string& consumer) {
  DeviceTableRef table;
  TF_RETURN_IF_ERROR(GetDeviceTable(context, 0, &table));
  return ToTensorFlow(table->consumers()->Finish(consumer));
}

absl::Status Forget(OpKernelContext* context, const std::string& consumer) {
  DeviceTableRef table;
  TF_RETURN_IF_ERROR(GetDeviceTable(context, 0, &table));
  table->consumers()->Forget(consumer);
  return absl::OkStatus();
}

REGISTER_KERNEL_BUILDER(Name("TfEmbedding>StartDelta")
                            .Device(TableDevice())
                            .HostMemory("handle")
                            .HostMemory("since"),
                        EpochOp<Start>);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>DeltaSince")
                            .Device(TableDevice())
                            .HostMemory("handle")
                            .HostMemory("since"),
                        EpochOp<Since>);
REGISTER_KERNEL_BUILDER(
    Name("TfEmbedding>FinishDelta").Device(TableDevice()).HostMemory("handle"),
    TellOp<Finish>);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>ForgetConsumer")
                            .Device(TableDevice())
                            .HostMemory("handle"),
                        TellOp<Forget>);

}  // namespace
}  // namespace tf_embedding
