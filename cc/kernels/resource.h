// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// What all kernels share: the resource, status and threads.

#ifndef TF_EMBEDDING_CC_KERNELS_RESOURCE_H_
#define TF_EMBEDDING_CC_KERNELS_RESOURCE_H_

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "cc/core/executor.h"
#include "cc/core/status.h"
#include "cc/core/table.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/util/work_sharder.h"

namespace tf_embedding {

// The table as TensorFlow holds it: reference counted. Every kernel that runs
// holds a reference, so a variable that is dropped meanwhile is freed when the
// last of them ends.
class TableResource : public tensorflow::ResourceBase {
 public:
  explicit TableResource(std::unique_ptr<EmbeddingTable> table)
      : table_(std::move(table)) {}
  std::string DebugString() const override {
    return "tf_embedding table of dim " + std::to_string(table_->dim());
  }
  EmbeddingTable* table() const { return table_.get(); }

  // Whether a graph's initializer or a restore has run. A table works without
  // either; who waits for a chief to restore must be able to ask.
  bool initialized() const {
    return initialized_.load(std::memory_order_acquire);
  }
  void set_initialized() {
    initialized_.store(true, std::memory_order_release);
  }

  // An op that has replaced the content calls this last: where the table is a
  // copy of one on a device, the device gets it.
  virtual absl::Status Publish(tensorflow::OpKernelContext* /*context*/) {
    return absl::OkStatus();
  }
  // A save for a consumer of deltas calls this first: a copy of a table on a
  // device has to learn what changed.
  virtual absl::Status BeginSave(const std::string& /*consumer*/,
                                 bool /*all_rows*/) {
    return absl::OkStatus();
  }

 private:
  const std::unique_ptr<EmbeddingTable> table_;
  std::atomic<bool> initialized_{false};
};

using TableRef = tensorflow::core::RefCountPtr<TableResource>;

inline absl::Status ToTensorFlow(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return absl::OkStatus();
    case StatusCode::kInvalidArgument:
      return absl::InvalidArgumentError(status.message());
    case StatusCode::kResourceExhausted:
      return absl::ResourceExhaustedError(status.message());
    case StatusCode::kDataLoss:
      return absl::DataLossError(status.message());
    case StatusCode::kInternal:
      return absl::InternalError(status.message());
  }
  return absl::InternalError(status.message());
}

// The device's own worker threads, and for short work the one that the op
// runs on.
class DeviceExecutor final : public SharingExecutor {
 public:
  // The op's own thread takes part in work of up to so many nanoseconds.
  static constexpr int64_t kShort = 1000000;
  // For lookups.
  static constexpr int64_t kShortOutsideTraining = 2000000;

  explicit DeviceExecutor(tensorflow::OpKernelContext* context,
                          int64_t short_nanoseconds = kShort)
      : workers_(context->device()->tensorflow_cpu_worker_threads()),
        short_nanoseconds_(short_nanoseconds) {}

  int num_threads() const override {
    // Less than all where the op runs in a data set's own threads.
    return std::min(workers_->num_threads,
                    tensorflow::GetPerThreadMaxParallelism());
  }
  void ParallelFor(int64_t n, int64_t nanoseconds,
                   const std::function<void(int64_t, int64_t)>& body) override {
    // The pool does long work alone: it was a twentieth faster so than with
    // the op's own thread, which takes the place of one of the pool's; and a
    // training step was a seventh slower where its lookup alone did otherwise.
    if (n > short_nanoseconds_ / std::max<int64_t>(1, nanoseconds)) {
      tensorflow::Shard(workers_->num_threads, workers_->workers, n,
                        nanoseconds, body);
    } else {
      SharingExecutor::ParallelFor(n, nanoseconds, body);
    }
  }

 protected:
  void Schedule(std::function<void()> work) override {
    workers_->workers->Schedule(std::move(work));
  }

 private:
  const tensorflow::DeviceBase::CpuWorkerThreads* const workers_;
  const int64_t short_nanoseconds_;
};

// Of a handle to a table on a device: makes a copy on the host, which is what
// ops get that read a table whole or replace it. *copied: whether it was one.
// saving: what is evicted at a save goes first.
// Null where the library has no such tables; set by device_resource_gpu.cc.
using CopyDeviceTable =
    absl::Status (*)(tensorflow::OpKernelContext* context,
                     const tensorflow::ResourceHandle& handle, bool saving,
                     bool* copied, TableRef* table);
inline CopyDeviceTable& DeviceTableCopier() {
  static CopyDeviceTable copier = nullptr;
  return copier;
}

inline absl::Status GetTable(tensorflow::OpKernelContext* context, int input,
                             TableRef* table, bool saving = false) {
  const tensorflow::ResourceHandle& handle =
      tensorflow::HandleFromInput(context, input);
  if (DeviceTableCopier() != nullptr) {
    bool copied = false;
    TF_RETURN_IF_ERROR(
        DeviceTableCopier()(context, handle, saving, &copied, table));
    if (copied) return absl::OkStatus();
  }
  return tensorflow::LookupResource(context, handle, table);
}

// Registers the CPU's kernel of an op that has another one for devices. A build
// that runs the devices' kernels on the host (setup.py) leaves it out.
#if defined(TF_EMBEDDING_DEVICE_ON_HOST)
#define TFE_REGISTER_CPU_TWIN(builder, kernel)
#else
#define TFE_REGISTER_CPU_TWIN(builder, kernel) \
  REGISTER_KERNEL_BUILDER(builder, kernel)
#endif

// Errors that name the input, its shape and what it should be.
inline absl::Status CheckVector(const tensorflow::Tensor& tensor,
                                const char* name) {
  if (tensor.dims() == 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, " has shape ",
                                                 tensor.shape().DebugString(),
                                                 "; it must be a vector"));
}

inline absl::Status CheckScalar(const tensorflow::Tensor& tensor,
                                const char* name) {
  if (tensor.dims() == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, " has shape ",
                                                 tensor.shape().DebugString(),
                                                 "; it must be a scalar"));
}

inline absl::Status CheckMatrix(const tensorflow::Tensor& tensor, int64_t rows,
                                int64_t columns, const char* name) {
  if (tensor.dims() == 2 && tensor.dim_size(0) == rows &&
      tensor.dim_size(1) == columns) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      name, " has shape ", tensor.shape().DebugString(), "; it must be [", rows,
      ",", columns, "], a row of dim values for each key"));
}

inline absl::Status CheckLength(const tensorflow::Tensor& tensor, int64_t n,
                                const char* name) {
  if (tensor.dims() == 1 && tensor.dim_size(0) == n) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " has shape ", tensor.shape().DebugString(),
                   "; it must be [", n, "], one for each key"));
}

inline absl::Status CheckDim(const TableResource& resource, int64_t dim) {
  if (resource.table()->dim() == dim) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "dim is ", dim, ", but the variable has dim ", resource.table()->dim()));
}

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_KERNELS_RESOURCE_H_
