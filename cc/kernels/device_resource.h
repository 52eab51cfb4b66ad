// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// What the kernels for devices share: a DeviceTable as a resource, and the
// stream. Compiled by a C++ compiler: no CUDA header is needed.
//
// Ops that read rows or change some have kernels of their own on a device
// (*_gpu.cc). Ops that read a table whole, or replace it, run the CPU's kernel
// on a copy of the table on the host, which GetTable makes; what they replaced
// goes back to the device by Publish.
//
// A build with TF_EMBEDDING_DEVICE_ON_HOST registers the kernels of *_gpu.cc
// for the CPU and runs them by tfe_host_launchers: so TensorFlow's side of them
// is tested where there is no device.

#ifndef TF_EMBEDDING_CC_KERNELS_DEVICE_RESOURCE_H_
#define TF_EMBEDDING_CC_KERNELS_DEVICE_RESOURCE_H_

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "cc/cuda/device_table.h"
#include "cc/kernels/device_consumers.h"
#include "cc/kernels/resource.h"

#if !defined(TF_EMBEDDING_DEVICE_ON_HOST)
#include "xla/stream_executor/stream.h"
#endif

namespace tf_embedding {

#if defined(TF_EMBEDDING_DEVICE_ON_HOST)
inline const char* TableDevice() { return tensorflow::DEVICE_CPU; }
inline const DeviceLaunchers* Launchers() { return tfe_host_launchers(); }
inline void* StreamOf(tensorflow::OpKernelContext* /*context*/) {
  return nullptr;
}
#else
inline const char* TableDevice() { return tensorflow::DEVICE_GPU; }
inline const DeviceLaunchers* Launchers() { return tfe_cuda_launchers(); }
// A cudaStream_t: the one that TensorFlow computes on.
inline void* StreamOf(tensorflow::OpKernelContext* context) {
  return context->op_device_context()
      ->stream()
      ->platform_specific_handle()
      .stream;
}
#endif

class DeviceTableResource : public tensorflow::ResourceBase {
 public:
  explicit DeviceTableResource(std::unique_ptr<DeviceTable> table)
      : table_(std::move(table)) {}
  std::string DebugString() const override {
    return "tf_embedding table of dim " + std::to_string(table_->dim()) +
           " on a device";
  }
  DeviceTable* table() const { return table_.get(); }
  DeviceConsumers* consumers() { return &consumers_; }
  bool initialized() const {
    return initialized_.load(std::memory_order_acquire);
  }
  void set_initialized() {
    initialized_.store(true, std::memory_order_release);
  }

 private:
  const std::unique_ptr<DeviceTable> table_;
  DeviceConsumers consumers_;
  std::atomic<bool> initialized_{false};
};

using DeviceTableRef = tensorflow::core::RefCountPtr<DeviceTableResource>;

inline absl::Status GetDeviceTable(tensorflow::OpKernelContext* context,
                                   int input, DeviceTableRef* table) {
  return tensorflow::LookupResource(
      context, tensorflow::HandleFromInput(context, input), table);
}

inline absl::Status CheckDim(const DeviceTableResource& resource, int64_t dim) {
  if (resource.table()->dim() == dim) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "dim is ", dim, ", but the variable has dim ", resource.table()->dim()));
}

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_KERNELS_DEVICE_RESOURCE_H_
