// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of cc/ops/variable_ops.cc.

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cc/kernels/resource.h"
#include "cc/kernels/variable_handle.h"

namespace tf_embedding {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::DEVICE_GPU;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::ResourceHandle;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;
using ::tensorflow::tstring;

std::vector<float> ToVector(const Tensor& tensor) {
  const auto flat = tensor.flat<float>();
  return std::vector<float>(flat.data(), flat.data() + flat.size());
}

// The handle of a new anonymous table owns it: dropping the last copy frees the
// table. Under any other shared_name the table lives in the resource manager,
// which graphs and loaded SavedModels need, until it is destroyed there.
class VariableHandleOp : public OpKernel {
 public:
  explicit VariableHandleOp(OpKernelConstruction* context) : OpKernel(context) {
    int64_t log2_shards;
    OP_REQUIRES_OK(context, ReadVariable(context, &options_));
    OP_REQUIRES_OK(context, context->GetAttr("log2_shards", &log2_shards));
    OP_REQUIRES_OK(context, context->GetAttr("shared_name", &shared_name_));
    tensorflow::DataType row_dtype;
    OP_REQUIRES_OK(context, context->GetAttr("row_dtype", &row_dtype));
    OP_REQUIRES(context, row_dtype == tensorflow::DT_FLOAT,
                absl::UnimplementedError(absl::StrCat(
                    "row_dtype is ", tensorflow::DataTypeString(row_dtype),
                    ", but rows on the CPU are float32; make the variable "
                    "under tf.device(\"/GPU:0\"), or without row_dtype")));
    OP_REQUIRES(context, log2_shards <= kMaxLog2Shards,
                absl::InvalidArgumentError(
                    absl::StrCat("log2_shards is ", log2_shards,
                                 "; it must be in [0, ", kMaxLog2Shards, "]")));
    options_.log2_shards = static_cast<int>(log2_shards);
    OP_REQUIRES_OK(context, context->GetAttr("cache_bytes", &cache_bytes_));
  }

  void Compute(OpKernelContext* context) override {
    // A graph may have been made for another machine, such as one that trains;
    // without the cache its results are the same.
    OP_REQUIRES(
        context,
        cache_bytes_ == 0 || shared_name_ != ResourceHandle::ANONYMOUS_NAME,
        absl::InvalidArgumentError(absl::StrCat(
            "storage_option is HBM_DRAM with ", cache_bytes_,
            " bytes of HBM, but the variable is on the CPU; make it under "
            "tf.device(\"/GPU:0\") where there is a GPU, or without "
            "storage_option")));
    OP_REQUIRES_OK(context,
                   OutputHandle<TableResource>(
                       context, def(), shared_name_, options_.dim,
                       [this](TableResource** made) { return Create(made); }));
  }

 private:
  absl::Status Create(TableResource** resource) const {
    std::unique_ptr<EmbeddingTable> table;
    TF_RETURN_IF_ERROR(ToTensorFlow(EmbeddingTable::Create(options_, &table)));
    *resource = new TableResource(std::move(table));
    return absl::OkStatus();
  }

  TableOptions options_;
  std::string shared_name_;
  int64_t cache_bytes_;
};

class SizeOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table));
    Tensor* size;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &size));
    size->scalar<int64_t>()() = table->table()->size();
  }
};

class RuleOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table));
    Tensor* rule;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &rule));
    rule->scalar<tstring>()() = table->table()->rule();
  }
};

class UpsertOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table));
    const Tensor& keys = context->input(1);
    const Tensor& values = context->input(2);
    const Tensor& step = context->input(3);
    OP_REQUIRES_OK(context, CheckVector(keys, "keys"));
    OP_REQUIRES_OK(context, CheckMatrix(values, keys.NumElements(),
                                        table->table()->dim(), "values"));
    OP_REQUIRES_OK(context, CheckScalar(step, "step"));
    DeviceExecutor executor(context);
    OP_REQUIRES_OK(
        context, ToTensorFlow(table->table()->Upsert(
                     keys.vec<int64_t>().data(), values.flat<float>().data(),
                     keys.NumElements(), step.scalar<int64_t>()(), &executor)));
  }
};

class RemoveOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table));
    const Tensor& keys = context->input(1);
    OP_REQUIRES_OK(context, CheckVector(keys, "keys"));
    Tensor* removed;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &removed));
    DeviceExecutor executor(context);
    OP_REQUIRES_OK(context, ToTensorFlow(table->table()->Remove(
                                keys.vec<int64_t>().data(), keys.NumElements(),
                                &removed->scalar<int64_t>()(), &executor)));
  }
};

class ClearOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table));
    table->table()->Clear();
    table->set_initialized();
  }
};

class IsInitializedOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table));
    Tensor* out;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &out));
    out->scalar<bool>()() = table->initialized();
  }
};

// All rows are in the one memory that there is.
class PrefetchOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table));
    OP_REQUIRES_OK(context, CheckVector(context->input(1), "keys"));
  }
};

class FindOp : public OpKernel {
 public:
  explicit FindOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("dim", &dim_));
  }
  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table));
    OP_REQUIRES_OK(context, CheckDim(*table, dim_));
    const Tensor& keys = context->input(1);
    OP_REQUIRES_OK(context, CheckVector(keys, "keys"));
    const int64_t n = keys.NumElements();
    DeviceExecutor executor(context);
    absl::Status allocated;
    const auto allocate = [&](const TableShape& shape, RowColumns* out) {
      allocated = Allocate(context, n, shape.slot_width, out);
      return allocated.ok() ? Status() : ResourceExhausted("outputs");
    };
    const Status status = table->table()->Find(keys.vec<int64_t>().data(), n,
                                               allocate, &executor);
    OP_REQUIRES_OK(context, allocated);
    OP_REQUIRES_OK(context, ToTensorFlow(status));
  }

 private:
  absl::Status Allocate(OpKernelContext* context, int64_t n, int slot_width,
                        RowColumns* out) const {
    Tensor *found, *values, *slots, *frequency, *version;
    TF_RETURN_IF_ERROR(context->allocate_output(0, {n}, &found));
    TF_RETURN_IF_ERROR(context->allocate_output(1, {n, dim_}, &values));
    TF_RETURN_IF_ERROR(context->allocate_output(2, {n, slot_width}, &slots));
    TF_RETURN_IF_ERROR(context->allocate_output(3, {n}, &frequency));
    TF_RETURN_IF_ERROR(context->allocate_output(4, {n}, &version));
    out->found = found->vec<bool>().data();
    out->values = values->flat<float>().data();
    out->slots = slots->flat<float>().data();
    out->frequency = frequency->vec<int64_t>().data();
    out->version = version->vec<int64_t>().data();
    return absl::OkStatus();
  }

  int64_t dim_;
};

class ExportOp : public OpKernel {
 public:
  explicit ExportOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("dim", &dim_));
  }
  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table));
    OP_REQUIRES_OK(context, CheckDim(*table, dim_));
    DeviceExecutor executor(context);
    absl::Status allocated;
    const auto allocate = [&](const TableShape& shape, RowColumns* out) {
      allocated = Allocate(context, shape, out);
      return allocated.ok() ? Status() : ResourceExhausted("outputs");
    };
    const Status status = table->table()->Export(allocate, &executor);
    OP_REQUIRES_OK(context, allocated);
    OP_REQUIRES_OK(context, ToTensorFlow(status));
    OP_REQUIRES_OK(context, WriteInitializer(context, *table->table()));
  }

 private:
  absl::Status Allocate(OpKernelContext* context, const TableShape& shape,
                        RowColumns* out) const {
    const int64_t n = shape.size;
    const auto num_slots = static_cast<int64_t>(shape.initial_slots.size());
    Tensor *keys, *values, *slots, *frequency, *version, *rule, *initial;
    TF_RETURN_IF_ERROR(context->allocate_output(0, {n}, &keys));
    TF_RETURN_IF_ERROR(context->allocate_output(1, {n, dim_}, &values));
    TF_RETURN_IF_ERROR(
        context->allocate_output(2, {n, shape.slot_width}, &slots));
    TF_RETURN_IF_ERROR(context->allocate_output(3, {n}, &frequency));
    TF_RETURN_IF_ERROR(context->allocate_output(4, {n}, &version));
    TF_RETURN_IF_ERROR(context->allocate_output(5, {}, &rule));
    TF_RETURN_IF_ERROR(context->allocate_output(6, {num_slots}, &initial));
    out->keys = keys->vec<int64_t>().data();
    out->values = values->flat<float>().data();
    out->slots = slots->flat<float>().data();
    out->frequency = frequency->vec<int64_t>().data();
    out->version = version->vec<int64_t>().data();
    rule->scalar<tstring>()() = shape.rule;
    std::copy(shape.initial_slots.begin(), shape.initial_slots.end(),
              initial->vec<float>().data());
    return absl::OkStatus();
  }

  absl::Status WriteInitializer(OpKernelContext* context,
                                const EmbeddingTable& table) const {
    const std::shared_ptr<const Initializer> initializer = table.initializer();
    const InitializerSpec& spec = initializer->spec();
    const auto rows = static_cast<int64_t>(spec.matrix.size()) / dim_;
    Tensor *kind, *args, *seed, *matrix;
    TF_RETURN_IF_ERROR(context->allocate_output(7, {}, &kind));
    TF_RETURN_IF_ERROR(context->allocate_output(8, {2}, &args));
    TF_RETURN_IF_ERROR(context->allocate_output(9, {}, &seed));
    TF_RETURN_IF_ERROR(context->allocate_output(10, {rows, dim_}, &matrix));
    kind->scalar<tstring>()() = InitializerKindName(spec.kind);
    args->vec<float>()(0) = spec.a;
    args->vec<float>()(1) = spec.b;
    seed->scalar<int64_t>()() = static_cast<int64_t>(spec.seed);
    std::copy(spec.matrix.begin(), spec.matrix.end(),
              matrix->flat<float>().data());
    return absl::OkStatus();
  }

  int64_t dim_;
};

class ImportOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table));
    const int64_t dim = table->table()->dim();
    const Tensor& keys = context->input(1);
    const Tensor& values = context->input(2);
    const Tensor& slots = context->input(3);
    const Tensor& frequency = context->input(4);
    const Tensor& version = context->input(5);
    const int64_t n = keys.NumElements();
    OP_REQUIRES_OK(context, CheckVector(keys, "keys"));
    OP_REQUIRES_OK(context, CheckMatrix(values, n, dim, "values"));
    OP_REQUIRES(context, slots.dims() == 2 && slots.dim_size(0) == n,
                absl::InvalidArgumentError(absl::StrCat(
                    "slots has shape ", slots.shape().DebugString(),
                    "; it must have a row for each of the ", n, " keys")));
    OP_REQUIRES_OK(context, CheckLength(frequency, n, "frequency"));
    OP_REQUIRES_OK(context, CheckLength(version, n, "version"));
    std::shared_ptr<const Initializer> initializer;
    OP_REQUIRES_OK(context, ReadInitializer(context, dim, &initializer));

    const Tensor& rule = context->input(6);
    const Tensor& initial_slots = context->input(7);
    OP_REQUIRES_OK(context, CheckScalar(rule, "rule"));
    OP_REQUIRES_OK(context, CheckVector(initial_slots, "initial_slots"));
    TableShape shape;
    shape.size = n;
    shape.rule = rule.scalar<tstring>()();
    shape.slot_width = static_cast<int>(slots.dim_size(1));
    shape.initial_slots = ToVector(initial_slots);
    ConstRowColumns rows;
    rows.keys = keys.vec<int64_t>().data();
    rows.values = values.flat<float>().data();
    rows.slots = slots.flat<float>().data();
    rows.frequency = frequency.vec<int64_t>().data();
    rows.version = version.vec<int64_t>().data();
    DeviceExecutor executor(context);
    OP_REQUIRES_OK(context, ToTensorFlow(table->table()->Import(
                                shape, rows, /*replace=*/true, &executor)));
    table->table()->set_initializer(std::move(initializer));
    table->set_initialized();
    OP_REQUIRES_OK(context, table->Publish(context));
  }

 private:
  static absl::Status ReadInitializer(
      OpKernelContext* context, int64_t dim,
      std::shared_ptr<const Initializer>* initializer) {
    const Tensor& kind = context->input(8);
    const Tensor& args = context->input(9);
    const Tensor& seed = context->input(10);
    const Tensor& matrix = context->input(11);
    TF_RETURN_IF_ERROR(CheckScalar(kind, "initializer"));
    TF_RETURN_IF_ERROR(CheckLength(args, 2, "init_args"));
    TF_RETURN_IF_ERROR(CheckScalar(seed, "seed"));
    TF_RETURN_IF_ERROR(CheckMatrix(
        matrix, matrix.dims() == 2 ? matrix.dim_size(0) : 0, dim, "matrix"));
    InitializerSpec spec;
    TF_RETURN_IF_ERROR(ToTensorFlow(
        ParseInitializerKind(kind.scalar<tstring>()(), &spec.kind)));
    spec.a = args.vec<float>()(0);
    spec.b = args.vec<float>()(1);
    spec.seed = static_cast<uint64_t>(seed.scalar<int64_t>()());
    spec.matrix = ToVector(matrix);
    return ToTensorFlow(Initializer::Create(
        std::move(spec), static_cast<int>(dim), initializer));
  }
};

// Without a scope that says otherwise a variable is made on the CPU.
TFE_REGISTER_CPU_TWIN(
    Name("TfEmbedding>VariableHandle").Device(DEVICE_CPU).Priority(1),
    VariableHandleOp);

#define TFE_REGISTER(name, kernel) \
  TFE_REGISTER_CPU_TWIN(Name("TfEmbedding>" name).Device(DEVICE_CPU), kernel)

TFE_REGISTER("Size", SizeOp);
TFE_REGISTER("Rule", RuleOp);
TFE_REGISTER("Upsert", UpsertOp);
TFE_REGISTER("Remove", RemoveOp);
TFE_REGISTER("Prefetch", PrefetchOp);
TFE_REGISTER("Clear", ClearOp);
TFE_REGISTER("IsInitialized", IsInitializedOp);
TFE_REGISTER("Find", FindOp);

#undef TFE_REGISTER

REGISTER_KERNEL_BUILDER(Name("TfEmbedding>Export").Device(DEVICE_CPU),
                        ExportOp);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>Import").Device(DEVICE_CPU),
                        ImportOp);
// On a device: of a copy of the table on the host (GetTable).
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>Export")
                            .Device(DEVICE_GPU)
                            .HostMemory("handle")
                            .HostMemory("keys")
                            .HostMemory("values")
                            .HostMemory("slots")
                            .HostMemory("frequency")
                            .HostMemory("version")
                            .HostMemory("rule")
                            .HostMemory("initial_slots")
                            .HostMemory("initializer")
                            .HostMemory("init_args")
                            .HostMemory("seed")
                            .HostMemory("matrix"),
                        ExportOp);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>Import")
                            .Device(DEVICE_GPU)
                            .HostMemory("handle")
                            .HostMemory("keys")
                            .HostMemory("values")
                            .HostMemory("slots")
                            .HostMemory("frequency")
                            .HostMemory("version")
                            .HostMemory("rule")
                            .HostMemory("initial_slots")
                            .HostMemory("initializer")
                            .HostMemory("init_args")
                            .HostMemory("seed")
                            .HostMemory("matrix"),
                        ImportOp);

}  // namespace
}  // namespace tf_embedding
