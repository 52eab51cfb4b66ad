// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of cc/ops/delta_ops.cc for the CPU.

#include "cc/kernels/delta_kernels.h"

#include <string>

#include "cc/kernels/resource.h"

namespace tf_embedding {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernelContext;

absl::Status Start(OpKernelContext* context, const std::string& consumer,
                   uint32_t* epoch) {
  TableRef table;
  TF_RETURN_IF_ERROR(GetTable(context, 0, &table));
  return ToTensorFlow(table->table()->StartDelta(consumer, epoch));
}

absl::Status Since(OpKernelContext* context, const std::string& consumer,
                   uint32_t* epoch) {
  TableRef table;
  TF_RETURN_IF_ERROR(GetTable(context, 0, &table));
  return ToTensorFlow(table->table()->DeltaSince(consumer, epoch));
}

absl::Status Finish(OpKernelContext* context, const std::string& consumer) {
  TableRef table;
  TF_RETURN_IF_ERROR(GetTable(context, 0, &table));
  return ToTensorFlow(table->table()->FinishDelta(consumer));
}

absl::Status Forget(OpKernelContext* context, const std::string& consumer) {
  TableRef table;
  TF_RETURN_IF_ERROR(GetTable(context, 0, &table));
  table->table()->ForgetConsumer(consumer);
  return absl::OkStatus();
}

#define TFE_REGISTER(name, kernel) \
  TFE_REGISTER_CPU_TWIN(Name("TfEmbedding>" name).Device(DEVICE_CPU), kernel)

TFE_REGISTER("StartDelta", EpochOp<Start>);
TFE_REGISTER("DeltaSince", EpochOp<Since>);
TFE_REGISTER("FinishDelta", TellOp<Finish>);
TFE_REGISTER("ForgetConsumer", TellOp<Forget>);

#undef TFE_REGISTER

}  // namespace
}  // namespace tf_embedding
