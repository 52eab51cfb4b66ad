// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of cc/ops/parts_ops.cc.

#include <string>
#include <vector>

#include "cc/core/parts.h"
#include "cc/core/pooling.h"
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
using ::tensorflow::ResourceHandle;
using ::tensorflow::Tensor;

class PartsHandleOp : public OpKernel {
 public:
  explicit PartsHandleOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("dim", &dim_));
    OP_REQUIRES_OK(context, context->GetAttr("shared_name", &name_));
  }
  void Compute(OpKernelContext* context) override {
    Tensor* out;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &out));
    ResourceHandle& handle = out->scalar<ResourceHandle>()();
    handle.set_device(context->device()->name());
    handle.set_name(name_);
    handle.set_dtypes_and_shapes(
        {{tensorflow::DT_FLOAT, tensorflow::PartialTensorShape({0, dim_})}});
  }

 private:
  int64_t dim_;
  std::string name_;
};

class SplitByPartOp : public OpKernel {
 public:
  explicit SplitByPartOp(OpKernelConstruction* context) : OpKernel(context) {
    int64_t num_parts;
    OP_REQUIRES_OK(context, context->GetAttr("num_parts", &num_parts));
    OP_REQUIRES_OK(context, ToTensorFlow(CheckNumParts(num_parts)));
    num_parts_ = static_cast<int>(num_parts);
  }
  void Compute(OpKernelContext* context) override {
    const Tensor& keys = context->input(0);
    OP_REQUIRES_OK(context, CheckVector(keys, "keys"));
    OpOutputList part_keys, positions;
    OP_REQUIRES_OK(context, context->output_list("part_keys", &part_keys));
    OP_REQUIRES_OK(context, context->output_list("positions", &positions));
    const int64_t* const values = keys.vec<int64_t>().data();
    const int64_t n = keys.NumElements();
    const std::vector<int64_t> counts = CountByPart(values, n, num_parts_);
    std::vector<int64_t*> key_rooms, position_rooms;
    for (int part = 0; part < num_parts_; ++part) {
      Tensor *some_keys, *some_positions;
      OP_REQUIRES_OK(context,
                     part_keys.allocate(part, {counts[part]}, &some_keys));
      OP_REQUIRES_OK(context,
                     positions.allocate(part, {counts[part]}, &some_positions));
      key_rooms.push_back(some_keys->vec<int64_t>().data());
      position_rooms.push_back(some_positions->vec<int64_t>().data());
    }
    SplitByPart(values, n, num_parts_, key_rooms, position_rooms);
  }

 private:
  int num_parts_;
};

class JoinPartsOp : public OpKernel {
 public:
  explicit JoinPartsOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("dim", &dim_));
  }
  void Compute(OpKernelContext* context) override {
    const Tensor& keys = context->input(1);
    OP_REQUIRES_OK(context, CheckVector(keys, "keys"));
    OpInputList positions, rows;
    OP_REQUIRES_OK(context, context->input_list("positions", &positions));
    OP_REQUIRES_OK(context, context->input_list("rows", &rows));
    std::vector<PartRows> parts(positions.size());
    for (int part = 0; part < positions.size(); ++part) {
      const int64_t count = positions[part].NumElements();
      OP_REQUIRES_OK(context, CheckVector(positions[part], "positions"));
      OP_REQUIRES_OK(context, CheckMatrix(rows[part], count, dim_, "rows"));
      parts[part].positions = positions[part].vec<int64_t>().data();
      parts[part].rows = rows[part].flat<float>().data();
      parts[part].count = count;
    }
    const int64_t n = keys.NumElements();
    Tensor* out;
    OP_REQUIRES_OK(context, context->allocate_output(0, {n, dim_}, &out));
    OP_REQUIRES_OK(context,
                   ToTensorFlow(JoinParts(parts, n, static_cast<int>(dim_),
                                          out->flat<float>().data())));
  }

 private:
  int64_t dim_;
};

class PoolOp : public OpKernel {
 public:
  explicit PoolOp(OpKernelConstruction* context) : OpKernel(context) {
    std::string combiner;
    float max_norm;
    OP_REQUIRES_OK(context, context->GetAttr("combiner", &combiner));
    OP_REQUIRES_OK(context, context->GetAttr("max_norm", &max_norm));
    OP_REQUIRES_OK(context,
                   ToTensorFlow(ParsePoolSpec(combiner, max_norm, &spec_)));
  }
  void Compute(OpKernelContext* context) override {
    const Tensor& rows = context->input(0);
    const Tensor& splits = context->input(1);
    OP_REQUIRES(context, rows.dims() == 2,
                absl::InvalidArgumentError(
                    absl::StrCat("rows has shape ", rows.shape().DebugString(),
                                 "; it must be [n, dim]")));
    const int64_t num_keys = rows.dim_size(0);
    const int64_t dim = rows.dim_size(1);
    OP_REQUIRES_OK(context, ReadSplits(splits, num_keys));
    const float* weights;
    OP_REQUIRES_OK(context, ReadWeights(context->input(2), num_keys, &weights));
    const int64_t num_bags = splits.NumElements() - 1;
    Tensor* out;
    OP_REQUIRES_OK(context, context->allocate_output(0, {num_bags, dim}, &out));
    const float* const vectors = rows.flat<float>().data();
    float* const pooled = out->flat<float>().data();
    const auto bounds = splits.vec<int64_t>();
    DeviceExecutor executor(context);
    const int64_t keys_of_a_bag = num_bags == 0 ? 0 : num_keys / num_bags + 1;
    executor.ParallelFor(
        num_bags, keys_of_a_bag * (1 + dim / 4), [&](int64_t from, int64_t to) {
          for (int64_t b = from; b < to; ++b) {
            PoolBag(spec_, vectors + bounds(b) * dim,
                    weights == nullptr ? nullptr : weights + bounds(b),
                    bounds(b + 1) - bounds(b), static_cast<int>(dim),
                    pooled + b * dim);
          }
        });
  }

 private:
  PoolSpec spec_;
};

REGISTER_KERNEL_BUILDER(Name("TfEmbedding>PartsHandle").Device(DEVICE_CPU),
                        PartsHandleOp);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>SplitByPart").Device(DEVICE_CPU),
                        SplitByPartOp);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>JoinParts").Device(DEVICE_CPU),
                        JoinPartsOp);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>Pool").Device(DEVICE_CPU), PoolOp);

}  // namespace
}  // namespace tf_embedding
