// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of cc/ops/lookup_ops.cc.

#include <string>
#include <vector>

#include "cc/core/pooling.h"
#include "cc/kernels/many_outputs.h"
#include "cc/kernels/pooling_inputs.h"
#include "cc/kernels/resource.h"

namespace tf_embedding {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpInputList;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::OpOutputList;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

class LookupOp : public OpKernel {
 public:
  explicit LookupOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("dim", &dim_));
  }
  void Compute(OpKernelContext* context) override {
    TableRef table;
    OP_REQUIRES_OK(context, GetTable(context, 0, &table));
    OP_REQUIRES_OK(context, CheckDim(*table, dim_));
    const Tensor& keys = context->input(1);
    TensorShape shape = keys.shape();
    OP_REQUIRES_OK(context, shape.AddDimWithStatus(dim_));
    Tensor* values;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &values));
    DeviceExecutor executor(context,
                            table->table()->in_training()
                                ? DeviceExecutor::kShort
                                : DeviceExecutor::kShortOutsideTraining);
    OP_REQUIRES_OK(context, ToTensorFlow(table->table()->Lookup(
                                keys.flat<int64_t>().data(), keys.NumElements(),
                                values->flat<float>().data(), &executor)));
  }

 private:
  int64_t dim_;
};

class LookupManyOp : public OpKernel {
 public:
  explicit LookupManyOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, outputs_.Read(context));
  }

  void Compute(OpKernelContext* context) override {
    OpInputList keys;
    OpOutputList values;
    OP_REQUIRES_OK(context, context->input_list("keys", &keys));
    OP_REQUIRES_OK(context, context->output_list("values", &values));
    const std::vector<int>& dims = outputs_.dims();
    const auto n = static_cast<int>(dims.size());
    std::vector<TableRef> tables(n);
    std::vector<PooledRequest> requests(n);
    for (int f = 0; f < n; ++f) {
      OP_REQUIRES_OK(context, GetTable(context, f, &tables[f]));
      OP_REQUIRES_OK(context, CheckDim(*tables[f], dims[f]));
    }
    std::vector<float*> out;
    std::vector<int64_t> strides;
    OP_REQUIRES_OK(context, outputs_.Allocate(keys, &values, &out, &strides));
    for (int f = 0; f < n; ++f) {
      PooledRequest& request = requests[f];
      request.table = tables[f]->table();
      request.keys = keys[f].flat<int64_t>().data();
      request.num_bags = keys[f].NumElements();
      request.out = out[f];
      request.out_stride = strides[f];
    }
    DeviceExecutor executor(context);
    OP_REQUIRES_OK(context, ToTensorFlow(EmbeddingTable::LookupPooled(
                                requests.data(), n, &executor)));
  }

 private:
  ManyOutputs outputs_;
};

class LookupPooledOp : public OpKernel {
 public:
  explicit LookupPooledOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, ReadPooling(context, &dims_, &keep_rows_, &specs_));
  }

  void Compute(OpKernelContext* context) override {
    OpInputList keys, splits, weights;
    OpOutputList values, rows;
    OP_REQUIRES_OK(context, context->input_list("keys", &keys));
    OP_REQUIRES_OK(context, context->input_list("row_splits", &splits));
    OP_REQUIRES_OK(context, context->input_list("weights", &weights));
    OP_REQUIRES_OK(context, context->output_list("values", &values));
    OP_REQUIRES_OK(context, context->output_list("rows", &rows));
    const auto n = static_cast<int>(specs_.size());
    std::vector<TableRef> tables(n);
    std::vector<PooledRequest> requests(n);
    for (int f = 0; f < n; ++f) {
      OP_REQUIRES_OK(context, GetTable(context, f, &tables[f]));
      OP_REQUIRES_OK(context, CheckDim(*tables[f], dims_[f]));
      OP_REQUIRES_OK(context, CheckVector(keys[f], "keys"));
      const int64_t num_keys = keys[f].NumElements();
      OP_REQUIRES_OK(context, ReadSplits(splits[f], num_keys));
      PooledRequest& request = requests[f];
      OP_REQUIRES_OK(context,
                     ReadWeights(weights[f], num_keys, &request.weights));
      request.table = tables[f]->table();
      request.keys = keys[f].vec<int64_t>().data();
      request.splits = splits[f].vec<int64_t>().data();
      request.num_bags = splits[f].NumElements() - 1;
      request.pool = specs_[f];
      Tensor *out, *kept;
      OP_REQUIRES_OK(context,
                     values.allocate(f, {request.num_bags, dims_[f]}, &out));
      OP_REQUIRES_OK(
          context,
          rows.allocate(f, {keep_rows_[f] ? num_keys : 0, dims_[f]}, &kept));
      request.out = out->flat<float>().data();
      if (keep_rows_[f]) request.rows = kept->flat<float>().data();
    }
    DeviceExecutor executor(context);
    OP_REQUIRES_OK(context, ToTensorFlow(EmbeddingTable::LookupPooled(
                                requests.data(), n, &executor)));
  }

 private:
  std::vector<int> dims_;
  std::vector<bool> keep_rows_;
  std::vector<PoolSpec> specs_;
};

class PooledGradientOp : public OpKernel {
 public:
  explicit PooledGradientOp(OpKernelConstruction* context) : OpKernel(context) {
    int n;
    OP_REQUIRES_OK(context, context->GetAttr("N", &n));
    OP_REQUIRES_OK(context, ReadPoolSpecs(context, n, &specs_));
  }

  void Compute(OpKernelContext* context) override {
    OpInputList gradients, splits, weights, rows;
    OpOutputList row_gradients, weight_gradients;
    OP_REQUIRES_OK(context, context->input_list("gradients", &gradients));
    OP_REQUIRES_OK(context, context->input_list("row_splits", &splits));
    OP_REQUIRES_OK(context, context->input_list("weights", &weights));
    OP_REQUIRES_OK(context, context->input_list("rows", &rows));
    OP_REQUIRES_OK(context,
                   context->output_list("row_gradients", &row_gradients));
    OP_REQUIRES_OK(context,
                   context->output_list("weight_gradients", &weight_gradients));
    DeviceExecutor executor(context);
    for (int f = 0; f < static_cast<int>(specs_.size()); ++f) {
      const auto num_splits = splits[f].NumElements();
      OP_REQUIRES(context, splits[f].dims() == 1 && num_splits > 0,
                  absl::InvalidArgumentError(
                      "row_splits must be a vector that starts with 0"));
      const int64_t num_keys = splits[f].vec<int64_t>()(num_splits - 1);
      OP_REQUIRES_OK(context, ReadSplits(splits[f], num_keys));
      OP_REQUIRES(
          context,
          gradients[f].dims() == 2 &&
              gradients[f].dim_size(0) == num_splits - 1,
          absl::InvalidArgumentError(absl::StrCat(
              "gradients has shape ", gradients[f].shape().DebugString(),
              "; it must have a row for each of the ", num_splits - 1,
              " bags")));
      const int64_t dim = gradients[f].dim_size(1);
      const float* weight_values;
      OP_REQUIRES_OK(context,
                     ReadWeights(weights[f], num_keys, &weight_values));
      const bool needs_rows =
          weight_values != nullptr || specs_[f].max_norm > 0;
      Tensor *row_out, *weight_out;
      OP_REQUIRES_OK(context, weight_gradients.allocate(
                                  f, {weights[f].NumElements()}, &weight_out));
      const int64_t* const bags = splits[f].vec<int64_t>().data();
      if (!needs_rows && EachBagIsOneKey(bags, 0, num_splits - 1)) {
        row_gradients.set(f, gradients[f]);
        continue;
      }
      if (needs_rows) {
        OP_REQUIRES_OK(context, CheckMatrix(rows[f], num_keys, dim, "rows"));
      }
      OP_REQUIRES_OK(context,
                     row_gradients.allocate(f, {num_keys, dim}, &row_out));
      PoolGradient(
          specs_[f], gradients[f].flat<float>().data(), bags, num_splits - 1,
          weight_values, needs_rows ? rows[f].flat<float>().data() : nullptr,
          static_cast<int>(dim), row_out->flat<float>().data(),
          weight_values != nullptr ? weight_out->vec<float>().data() : nullptr,
          &executor);
    }
  }

 private:
  std::vector<PoolSpec> specs_;
};

class RowSplitsOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    const Tensor& row_ids = context->input(0);
    OP_REQUIRES_OK(context, CheckVector(row_ids, "row_ids"));
    OP_REQUIRES_OK(context, CheckScalar(context->input(1), "num_rows"));
    const int64_t num_rows = context->input(1).scalar<int64_t>()();
    OP_REQUIRES(context, num_rows >= 0,
                absl::InvalidArgumentError(absl::StrCat(
                    "num_rows is ", num_rows, "; it must be 0 or more")));
    Tensor* out;
    OP_REQUIRES_OK(context, context->allocate_output(0, {num_rows + 1}, &out));
    const auto ids = row_ids.vec<int64_t>();
    auto splits = out->vec<int64_t>();
    int64_t row = 0;
    splits(0) = 0;
    for (int64_t i = 0; i < ids.size(); ++i) {
      OP_REQUIRES(context,
                  ids(i) >= (i == 0 ? 0 : ids(i - 1)) && ids(i) < num_rows,
                  absl::InvalidArgumentError(absl::StrCat(
                      "row_ids[", i, "] is ", ids(i),
                      "; row ids must be sorted and in [0, ", num_rows,
                      "): tf.sparse.reorder sorts a sparse tensor")));
      while (row < ids(i)) splits(++row) = i;
    }
    while (row < num_rows) splits(++row) = ids.size();
  }
};

#define TFE_REGISTER(name, kernel) \
  TFE_REGISTER_CPU_TWIN(Name("TfEmbedding>" name).Device(DEVICE_CPU), kernel)

TFE_REGISTER("Lookup", LookupOp);
TFE_REGISTER("LookupMany", LookupManyOp);
TFE_REGISTER("LookupPooled", LookupPooledOp);

#undef TFE_REGISTER

// These have no table to be beside: on the CPU unless a scope says otherwise.
TFE_REGISTER_CPU_TWIN(
    Name("TfEmbedding>PooledGradient").Device(DEVICE_CPU).Priority(1),
    PooledGradientOp);
TFE_REGISTER_CPU_TWIN(
    Name("TfEmbedding>RowSplits").Device(DEVICE_CPU).Priority(1), RowSplitsOp);

}  // namespace
}  // namespace tf_embedding
