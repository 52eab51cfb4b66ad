// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// A variable in parts: its handle, and the way of keys to parts and of rows
// back.

#include "cc/ops/shapes.h"
#include "tensorflow/core/framework/common_shape_fns.h"

namespace tf_embedding {
namespace {

// What gradients of the whole variable are taken of; there is nothing behind
// it. dtype and shape as VariableHandle has them.
REGISTER_OP("TfEmbedding>PartsHandle")
    .Attr("shared_name: string = ''")
    .Attr("dim: int >= 1")
    .Attr("dtype: type = DT_FLOAT")
    .Attr("shape: shape = { unknown_rank: true }")
    .Output("handle: resource")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      DimensionHandle dim;
      TF_RETURN_IF_ERROR(GetDim(c, &dim));
      c->set_output(0, c->Scalar());
      c->set_output_handle_shapes_and_types(
          0, std::vector<tensorflow::shape_inference::ShapeAndType>{
                 {c->Matrix(0, dim), tensorflow::DT_FLOAT}});
      return absl::OkStatus();
    })
    .Doc("The handle of a variable in parts: it names the whole.");

REGISTER_OP("TfEmbedding>SplitByPart")
    .Input("keys: int64")
    .Attr("num_parts: int >= 1")
    .Output("part_keys: num_parts * int64")
    .Output("positions: num_parts * int64")
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckRank(c, 0, 1));
      for (int i = 0; i < c->num_outputs(); ++i) {
        c->set_output(i, c->Vector(c->UnknownDim()));
      }
      return absl::OkStatus();
    })
    .Doc("The keys of each part, and where they were, in position order.");

REGISTER_OP("TfEmbedding>JoinParts")
    .Input("handle: resource")
    .Input("keys: int64")
    .Input("positions: N * int64")
    .Input("rows: N * float")
    .Attr("N: int >= 1")
    .Attr("dim: int >= 1")
    .Output("values: float")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckRank(c, 1, 1));
      DimensionHandle dim;
      TF_RETURN_IF_ERROR(GetDim(c, &dim));
      c->set_output(0, c->Matrix(c->Dim(c->input(1), 0), dim));
      return absl::OkStatus();
    })
    .Doc(
        "The rows that the parts looked up, in the order of keys. The handle "
        "is what their gradient goes to.");

REGISTER_OP("TfEmbedding>Pool")
    .Input("rows: float")
    .Input("row_splits: int64")
    .Input("weights: float")
    .Attr("combiner: string")
    .Attr("max_norm: float = 0.0")
    .Output("values: float")
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckRank(c, 0, 2));
      TF_RETURN_IF_ERROR(CheckRank(c, 1, 1));
      TF_RETURN_IF_ERROR(CheckRank(c, 2, 1));
      const DimensionHandle splits = c->Dim(c->input(1), 0);
      DimensionHandle bags = c->UnknownDim();
      if (c->ValueKnown(splits)) {
        TF_RETURN_IF_ERROR(c->Subtract(splits, 1, &bags));
      }
      c->set_output(0, c->Matrix(bags, c->Dim(c->input(0), 1)));
      return absl::OkStatus();
    })
    .Doc(
        "Combines the rows of each bag, as LookupPooled does after its "
        "lookup.");

}  // namespace
}  // namespace tf_embedding
