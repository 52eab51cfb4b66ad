// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Copies of tables on devices, for the ops that work on whole tables.

#include <memory>
#include <utility>

#include "cc/kernels/device_resource.h"

namespace tf_embedding {
namespace {

class HostCopy final : public TableResource {
 public:
  HostCopy(std::unique_ptr<EmbeddingTable> copy, DeviceTableRef device)
      : TableResource(std::move(copy)), device_(std::move(device)) {}

  absl::Status Publish(tensorflow::OpKernelContext* context) override {
    DeviceExecutor executor(context);
    TF_RETURN_IF_ERROR(ToTensorFlow(
        device_->table()->FromHost(*table(), StreamOf(context), &executor)));
    if (initialized()) device_->set_initialized();
    device_->consumers()->ContentChanged();
    return absl::OkStatus();
  }

  absl::Status BeginSave(const std::string& consumer, bool all_rows) override {
    return ToTensorFlow(
        device_->consumers()->Save(consumer, all_rows, table()));
  }

 private:
  const DeviceTableRef device_;
};

absl::Status Copy(tensorflow::OpKernelContext* context,
                  const tensorflow::ResourceHandle& handle, bool saving,
                  bool* copied, TableRef* table) {
  const auto type = tensorflow::TypeIndex::Make<DeviceTableResource>();
  if (handle.hash_code() != type.hash_code()) return absl::OkStatus();
#if !defined(TF_EMBEDDING_DEVICE_ON_HOST)
  if (context->op_device_context() == nullptr) {
    return absl::UnimplementedError(
        absl::StrCat(context->op_kernel().type_string(),
                     " is not available for a variable on a GPU; make the "
                     "variable under tf.device(\"/CPU:0\")"));
  }
#endif
  DeviceTableRef device;
  TF_RETURN_IF_ERROR(tensorflow::LookupResource(context, handle, &device));
  if (saving) {
    TF_RETURN_IF_ERROR(
        ToTensorFlow(device->table()->EvictForSave(StreamOf(context))));
  }
  DeviceExecutor executor(context);
  std::unique_ptr<EmbeddingTable> copy;
  TF_RETURN_IF_ERROR(ToTensorFlow(
      device->table()->ToHost(StreamOf(context), &executor, &copy)));
  table->reset(new HostCopy(std::move(copy), std::move(device)));
  *copied = true;
  return absl::OkStatus();
}

[[maybe_unused]] const bool registered =
    (DeviceTableCopier() = Copy) != nullptr;

}  // namespace
}  // namespace tf_embedding
