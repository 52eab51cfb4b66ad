// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of cc/ops/variable_ops.cc for devices.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cc/kernels/device_resource.h"
#include "cc/kernels/stats_output.h"
#include "cc/kernels/variable_handle.h"

namespace tf_embedding {
namespace {

using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::ResourceHandle;
using ::tensorflow::Tensor;
using ::tensorflow::tstring;

#if !defined(TF_EMBEDDING_DEVICE_ON_HOST)
// Memory from TensorFlow's own allocator, which holds most of the device's, and
// hands memory that was given back to later work of the same stream only.
class TensorFlowAllocator final : public DeviceAllocator {
 public:
  explicit TensorFlowAllocator(tensorflow::Allocator* allocator)
      : allocator_(allocator) {}
  void* Allocate(int64_t bytes) override {
    return allocator_->AllocateRaw(/*alignment=*/256, bytes);
  }
  void Release(void* memory) override {
    if (memory != nullptr) allocator_->DeallocateRaw(memory);
  }

 private:
  tensorflow::Allocator* const allocator_;
};
#endif

std::unique_ptr<DeviceAllocator> AllocatorOf(OpKernelContext* context) {
#if defined(TF_EMBEDDING_DEVICE_ON_HOST)
  static_cast<void>(context);
  return MakeDeviceAllocator(Launchers());
#else
  return std::make_unique<TensorFlowAllocator>(
      context->device()->GetAllocator(tensorflow::AllocatorAttributes()));
#endif
}

class VariableHandleOp : public OpKernel {
 public:
  explicit VariableHandleOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, ReadVariable(context, &options_));
    OP_REQUIRES_OK(context, context->GetAttr("shared_name", &shared_name_));
    std::string strategy;
    OP_REQUIRES_OK(context,
                   context->GetAttr("cache_bytes", &options_.cache_bytes));
    OP_REQUIRES_OK(context, context->GetAttr("cache_strategy", &strategy));
    options_.cache_strategy =
        strategy == "lru" ? CacheStrategy::kLru : CacheStrategy::kLfu;
    tensorflow::DataType row_dtype;
    OP_REQUIRES_OK(context, context->GetAttr("row_dtype", &row_dtype));
    if (row_dtype == tensorflow::DT_BFLOAT16) {
      options_.row_dtype = RowDtype::kBfloat16;
    }
    options_.name = name();
  }

  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, OutputHandle<DeviceTableResource>(
                                context, def(), shared_name_, options_.dim,
                                [this, context](DeviceTableResource** made) {
                                  return Create(context, made);
                                }));
  }

 private:
  absl::Status Create(OpKernelContext* context,
                      DeviceTableResource** resource) const {
    std::unique_ptr<DeviceTable> table;
    TF_RETURN_IF_ERROR(ToTensorFlow(
        DeviceTable::Create(options_, Launchers(), AllocatorOf(context),
                            StreamOf(context), &table)));
    *resource = new DeviceTableResource(std::move(table));
    return absl::OkStatus();
  }

  DeviceTableOptions options_;
  std::string shared_name_;
};

class SizeOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    DeviceTableRef table;
    OP_REQUIRES_OK(context, GetDeviceTable(context, 0, &table));
    Tensor* size;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &size));
    OP_REQUIRES_OK(context,
                   ToTensorFlow(table->table()->Size(
                       StreamOf(context), &size->scalar<int64_t>()())));
  }
};

class StatsOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    DeviceTableRef table;
    OP_REQUIRES_OK(context, GetDeviceTable(context, 0, &table));
    TableStats stats;
    OP_REQUIRES_OK(context, ToTensorFlow(table->table()->Stats(
                                StreamOf(context), &stats)));
    OP_REQUIRES_OK(context, OutputStats(context, stats));
  }
};

class RuleOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    DeviceTableRef table;
    OP_REQUIRES_OK(context, GetDeviceTable(context, 0, &table));
    Tensor* rule;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &rule));
    rule->scalar<tstring>()() = table->table()->rule();
  }
};

class UpsertOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    DeviceTableRef table;
    OP_REQUIRES_OK(context, GetDeviceTable(context, 0, &table));
    const Tensor& keys = context->input(1);
    const Tensor& values = context->input(2);
    const Tensor& step = context->input(3);
    OP_REQUIRES_OK(context, CheckVector(keys, "keys"));
    OP_REQUIRES_OK(context, CheckMatrix(values, keys.NumElements(),
                                        table->table()->dim(), "values"));
    OP_REQUIRES_OK(context, CheckScalar(step, "step"));
    OP_REQUIRES_OK(context, ToTensorFlow(table->table()->Upsert(
                                keys.vec<int64_t>().data(),
                                values.flat<float>().data(), keys.NumElements(),
                                step.scalar<int64_t>()(), StreamOf(context))));
  }
};

class RemoveOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    DeviceTableRef table;
    OP_REQUIRES_OK(context, GetDeviceTable(context, 0, &table));
    const Tensor& keys = context->input(1);
    OP_REQUIRES_OK(context, CheckVector(keys, "keys"));
    Tensor* removed;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &removed));
    OP_REQUIRES_OK(context,
                   ToTensorFlow(table->table()->Remove(
                       keys.vec<int64_t>().data(), keys.NumElements(),
                       StreamOf(context), &removed->scalar<int64_t>()())));
  }
};

class PrefetchOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    DeviceTableRef table;
    OP_REQUIRES_OK(context, GetDeviceTable(context, 0, &table));
    const Tensor& keys = context->input(1);
    OP_REQUIRES_OK(context, CheckVector(keys, "keys"));
    OP_REQUIRES_OK(context, ToTensorFlow(table->table()->Prefetch(
                                keys.vec<int64_t>().data(), keys.NumElements(),
                                StreamOf(context))));
  }
};

class ClearOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    DeviceTableRef table;
    OP_REQUIRES_OK(context, GetDeviceTable(context, 0, &table));
    OP_REQUIRES_OK(context,
                   ToTensorFlow(table->table()->Clear(StreamOf(context))));
    table->consumers()->ContentChanged();
    table->set_initialized();
  }
};

class IsInitializedOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    DeviceTableRef table;
    OP_REQUIRES_OK(context, GetDeviceTable(context, 0, &table));
    Tensor* out;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &out));
    out->scalar<bool>()() = table->initialized();
  }
};

class FindOp : public OpKernel {
 public:
  explicit FindOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("dim", &dim_));
  }
  void Compute(OpKernelContext* context) override {
    DeviceTableRef table;
    OP_REQUIRES_OK(context, GetDeviceTable(context, 0, &table));
    OP_REQUIRES_OK(context, CheckDim(*table, dim_));
    const Tensor& keys = context->input(1);
    OP_REQUIRES_OK(context, CheckVector(keys, "keys"));
    const int64_t n = keys.NumElements();
    absl::Status allocated;
    const auto allocate = [&](int slot_width, DeviceColumns* out) {
      allocated = Allocate(context, n, slot_width, out);
      return allocated.ok() ? Status() : ResourceExhausted("outputs");
    };
    const Status status = table->table()->Find(keys.vec<int64_t>().data(), n,
                                               allocate, StreamOf(context));
    OP_REQUIRES_OK(context, allocated);
    OP_REQUIRES_OK(context, ToTensorFlow(status));
  }

 private:
  absl::Status Allocate(OpKernelContext* context, int64_t n, int slot_width,
                        DeviceColumns* out) const {
    Tensor *found, *values, *slots, *frequency, *version;
    TF_RETURN_IF_ERROR(context->allocate_output(0, {n}, &found));
    TF_RETURN_IF_ERROR(context->allocate_output(1, {n, dim_}, &values));
    TF_RETURN_IF_ERROR(context->allocate_output(2, {n, slot_width}, &slots));
    TF_RETURN_IF_ERROR(context->allocate_output(3, {n}, &frequency));
    TF_RETURN_IF_ERROR(context->allocate_output(4, {n}, &version));
    *out = DeviceColumns{nullptr,
                         values->flat<float>().data(),
                         slots->flat<float>().data(),
                         frequency->vec<int64_t>().data(),
                         version->vec<int64_t>().data(),
                         found->vec<bool>().data()};
    return absl::OkStatus();
  }

  int64_t dim_;
};

REGISTER_KERNEL_BUILDER(Name("TfEmbedding>VariableHandle")
                            .Device(TableDevice())
                            .HostMemory("handle"),
                        VariableHandleOp);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>Size")
                            .Device(TableDevice())
                            .HostMemory("handle")
                            .HostMemory("size"),
                        SizeOp);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>Stats")
                            .Device(TableDevice())
                            .HostMemory("handle")
                            .HostMemory("stats"),
                        StatsOp);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>Rule")
                            .Device(TableDevice())
                            .HostMemory("handle")
                            .HostMemory("rule"),
                        RuleOp);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>Upsert")
                            .Device(TableDevice())
                            .HostMemory("handle")
                            .HostMemory("step"),
                        UpsertOp);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>Remove")
                            .Device(TableDevice())
                            .HostMemory("handle")
                            .HostMemory("removed"),
                        RemoveOp);
REGISTER_KERNEL_BUILDER(
    Name("TfEmbedding>Prefetch").Device(TableDevice()).HostMemory("handle"),
    PrefetchOp);
REGISTER_KERNEL_BUILDER(
    Name("TfEmbedding>Clear").Device(TableDevice()).HostMemory("handle"),
    ClearOp);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>IsInitialized")
                            .Device(TableDevice())
                            .HostMemory("handle")
                            .HostMemory("initialized"),
                        IsInitializedOp);
REGISTER_KERNEL_BUILDER(
    Name("TfEmbedding>Find").Device(TableDevice()).HostMemory("handle"),
    FindOp);

}  // namespace
}  // namespace tf_embedding
