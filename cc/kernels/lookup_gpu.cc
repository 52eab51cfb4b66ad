// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of cc/ops/lookup_ops.cc for devices.
//
// A host cannot look at tensors in device memory without waiting for them, so
// row_splits and row_ids are not checked here as on the CPU; the device takes
// bad ones for the nearest good ones (pooling_functors.h).

#include <string>
#include <vector>

#include "cc/kernels/device_resource.h"
#include "cc/kernels/many_outputs.h"
#include "cc/kernels/pooling_inputs.h"

namespace tf_embedding {
namespace {

using ::tensorflow::OpInputList;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::OpOutputList;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

absl::Status CheckDevice(int error) {
  if (error == 0) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("the device failed in an embedding ",
                   "op: ", Launchers()->describe(error)));
}

absl::Status GetNumBags(const Tensor& splits, int64_t* num_bags) {
  if (splits.dims() == 1 && splits.NumElements() > 0) {
    *num_bags = splits.NumElements() - 1;
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("row_splits has shape ", splits.shape().DebugString(),
                   "; it must be a vector that starts with 0"));
}

class LookupOp : public OpKernel {
 public:
  explicit LookupOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("dim", &dim_));
  }
  void Compute(OpKernelContext* context) override {
    DeviceTableRef table;
    OP_REQUIRES_OK(context, GetDeviceTable(context, 0, &table));
    OP_REQUIRES_OK(context, CheckDim(*table, dim_));
    const Tensor& keys = context->input(1);
    TensorShape shape = keys.shape();
    OP_REQUIRES_OK(context, shape.AddDimWithStatus(dim_));
    Tensor* values;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &values));
    OP_REQUIRES_OK(context,
                   ToTensorFlow(table->table()->Lookup(
                       keys.flat<int64_t>().data(), keys.NumElements(),
                       values->flat<float>().data(), StreamOf(context))));
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
    std::vector<DeviceTableRef> tables(n);
    for (int f = 0; f < n; ++f) {
      OP_REQUIRES_OK(context, GetDeviceTable(context, f, &tables[f]));
      OP_REQUIRES_OK(context, CheckDim(*tables[f], dims[f]));
    }
    std::vector<float*> out;
    std::vector<int64_t> strides;
    OP_REQUIRES_OK(context, outputs_.Allocate(keys, &values, &out, &strides));
    for (int f = 0; f < n; ++f) {
      OP_REQUIRES_OK(context,
                     ToTensorFlow(tables[f]->table()->Lookup(
                         keys[f].flat<int64_t>().data(), keys[f].NumElements(),
                         out[f], StreamOf(context), strides[f])));
    }
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
    for (int f = 0; f < static_cast<int>(specs_.size()); ++f) {
      DeviceTableRef table;
      OP_REQUIRES_OK(context, GetDeviceTable(context, f, &table));
      OP_REQUIRES_OK(context, CheckDim(*table, dims_[f]));
      OP_REQUIRES_OK(context, CheckVector(keys[f], "keys"));
      DevicePooledRequest request;
      request.num_keys = keys[f].NumElements();
      OP_REQUIRES_OK(context, GetNumBags(splits[f], &request.num_bags));
      OP_REQUIRES_OK(
          context, ReadWeights(weights[f], request.num_keys, &request.weights));
      request.keys = keys[f].vec<int64_t>().data();
      request.splits = splits[f].vec<int64_t>().data();
      request.pool = specs_[f];
      Tensor *out, *kept;
      OP_REQUIRES_OK(context,
                     values.allocate(f, {request.num_bags, dims_[f]}, &out));
      OP_REQUIRES_OK(
          context,
          rows.allocate(f, {keep_rows_[f] ? request.num_keys : 0, dims_[f]},
                        &kept));
      request.out = out->flat<float>().data();
      if (keep_rows_[f]) request.rows = kept->flat<float>().data();
      OP_REQUIRES_OK(context, ToTensorFlow(table->table()->LookupPooled(
                                  request, StreamOf(context))));
    }
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
    OpInputList gradients, splits, weights, rows, keys;
    OpOutputList row_gradients, weight_gradients;
    OP_REQUIRES_OK(context, context->input_list("gradients", &gradients));
    OP_REQUIRES_OK(context, context->input_list("row_splits", &splits));
    OP_REQUIRES_OK(context, context->input_list("weights", &weights));
    OP_REQUIRES_OK(context, context->input_list("rows", &rows));
    OP_REQUIRES_OK(context, context->input_list("keys", &keys));
    OP_REQUIRES_OK(context,
                   context->output_list("row_gradients", &row_gradients));
    OP_REQUIRES_OK(context,
                   context->output_list("weight_gradients", &weight_gradients));
    for (int f = 0; f < static_cast<int>(specs_.size()); ++f) {
      int64_t num_bags, num_keys;
      OP_REQUIRES_OK(context, GetNumBags(splits[f], &num_bags));
      OP_REQUIRES(
          context,
          gradients[f].dims() == 2 && gradients[f].dim_size(0) == num_bags,
          absl::InvalidArgumentError(absl::StrCat(
              "gradients has shape ", gradients[f].shape().DebugString(),
              "; it must have a row for each of the ", num_bags, " bags")));
      const int64_t dim = gradients[f].dim_size(1);
      // As in the CPU's kernel, but for the last split, which the host would
      // have to wait for.
      num_keys = weights[f].NumElements();
      if (num_keys == 0)
        num_keys = rows[f].dims() > 0 ? rows[f].dim_size(0) : 0;
      if (num_keys == 0) num_keys = keys[f].NumElements();
      PoolGradients kernel = {};
      OP_REQUIRES_OK(context,
                     ReadWeights(weights[f], num_keys, &kernel.weights));
      if (kernel.weights != nullptr || specs_[f].max_norm > 0) {
        OP_REQUIRES_OK(context, CheckMatrix(rows[f], num_keys, dim, "rows"));
        kernel.rows = rows[f].flat<float>().data();
      }
      Tensor *row_out, *weight_out;
      OP_REQUIRES_OK(context, weight_gradients.allocate(
                                  f, {weights[f].NumElements()}, &weight_out));
      OP_REQUIRES_OK(context,
                     row_gradients.allocate(f, {num_keys, dim}, &row_out));
      kernel.spec = specs_[f];
      kernel.dim = static_cast<int>(dim);
      kernel.gradients = gradients[f].flat<float>().data();
      kernel.splits = splits[f].vec<int64_t>().data();
      kernel.num_bags = num_bags;
      kernel.num_keys = num_keys;
      kernel.row_gradients = row_out->flat<float>().data();
      if (kernel.weights != nullptr) {
        kernel.weight_gradients = weight_out->vec<float>().data();
      }
      OP_REQUIRES(context, num_bags > 0 || num_keys == 0,
                  absl::InvalidArgumentError(
                      absl::StrCat("row_splits makes no bag of the ", num_keys,
                                   " keys; it must end with their number")));
      OP_REQUIRES_OK(context, CheckDevice(Launchers()->pool_gradients(
                                  kernel, num_bags, StreamOf(context))));
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
    const FindSplits kernel{row_ids.vec<int64_t>().data(),
                            row_ids.NumElements(), out->vec<int64_t>().data()};
    OP_REQUIRES_OK(context, CheckDevice(Launchers()->find_splits(
                                kernel, num_rows + 1, StreamOf(context))));
  }
};

REGISTER_KERNEL_BUILDER(
    Name("TfEmbedding>Lookup").Device(TableDevice()).HostMemory("handle"),
    LookupOp);
REGISTER_KERNEL_BUILDER(
    Name("TfEmbedding>LookupMany").Device(TableDevice()).HostMemory("handles"),
    LookupManyOp);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>LookupPooled")
                            .Device(TableDevice())
                            .HostMemory("handles"),
                        LookupPooledOp);
REGISTER_KERNEL_BUILDER(
    Name("TfEmbedding>PooledGradient").Device(TableDevice()), PooledGradientOp);
REGISTER_KERNEL_BUILDER(
    Name("TfEmbedding>RowSplits").Device(TableDevice()).HostMemory("num_rows"),
    RowSplitsOp);

}  // namespace
}  // namespace tf_embedding
