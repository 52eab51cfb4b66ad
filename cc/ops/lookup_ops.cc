// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Reading: plain and pooled lookups, and the gradient of pooling.

#include <cstdint>
#include <numeric>
#include <vector>

#include "cc/ops/many_attributes.h"
#include "cc/ops/shapes.h"
#include "tensorflow/core/framework/common_shape_fns.h"

namespace tf_embedding {
namespace {

REGISTER_OP("TfEmbedding>Lookup")
    .Input("handle: resource")
    .Input("keys: int64")
    .Attr("dim: int >= 1")
    .Output("values: float")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      DimensionHandle dim;
      TF_RETURN_IF_ERROR(GetDim(c, &dim));
      ShapeHandle values;
      TF_RETURN_IF_ERROR(c->Concatenate(c->input(1), c->Vector(dim), &values));
      c->set_output(0, values);
      return absl::OkStatus();
    })
    .Doc("The vector of each key; of one without a row, its initial vector.");

REGISTER_OP("TfEmbedding>LookupMany")
    .Input("handles: N * resource")
    .Input("keys: N * int64")
    .Attr("N: int >= 1")
    .Attr("dims: list(int) >= 1")
    .Attr("num_values: int >= 1")
    .Output("values: num_values * float")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      std::vector<int> dims;
      bool side_by_side;
      TF_RETURN_IF_ERROR(ReadManyAttributes(c, &dims, &side_by_side));
      const int n = static_cast<int>(dims.size());
      if (side_by_side) {
        ShapeHandle shape = c->input(n);
        for (int f = 1; f < n; ++f) {
          TF_RETURN_IF_ERROR(c->Merge(shape, c->input(n + f), &shape));
        }
        ShapeHandle values;
        TF_RETURN_IF_ERROR(c->Concatenate(
            shape,
            c->Vector(std::accumulate(dims.begin(), dims.end(), int64_t{0})),
            &values));
        c->set_output(0, values);
        return absl::OkStatus();
      }
      for (int f = 0; f < n; ++f) {
        ShapeHandle values;
        TF_RETURN_IF_ERROR(
            c->Concatenate(c->input(n + f), c->Vector(dims[f]), &values));
        c->set_output(f, values);
      }
      return absl::OkStatus();
    })
    .Doc(
        "Lookup of many features, shared out among the threads together. Of "
        "features whose keys have one shape num_values = 1 puts the vectors "
        "side "
        "by side, along the last axis of one tensor.");

// num_bags of feature f, from its row_splits at input first + f.
absl::Status NumBags(InferenceContext* c, int input, DimensionHandle* bags) {
  TF_RETURN_IF_ERROR(CheckRank(c, input, 1));
  const DimensionHandle splits = c->Dim(c->input(input), 0);
  if (!c->ValueKnown(splits)) {
    *bags = c->UnknownDim();
    return absl::OkStatus();
  }
  return c->Subtract(splits, 1, bags);
}

REGISTER_OP("TfEmbedding>LookupPooled")
    .Input("handles: N * resource")
    .Input("keys: N * int64")
    .Input("row_splits: N * int64")
    .Input("weights: N * float")
    .Attr("N: int >= 1")
    .Attr("dims: list(int) >= 1")
    .Attr("combiners: list(string) >= 1")
    .Attr("max_norms: list(float) >= 1")
    .Attr("keep_rows: list(bool) >= 1")
    .Output("values: N * float")
    .Output("rows: N * float")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      int n;
      std::vector<int> dims;
      std::vector<bool> keep_rows;
      TF_RETURN_IF_ERROR(c->GetAttr("N", &n));
      TF_RETURN_IF_ERROR(c->GetAttr("dims", &dims));
      TF_RETURN_IF_ERROR(c->GetAttr("keep_rows", &keep_rows));
      if (static_cast<int>(dims.size()) != n ||
          static_cast<int>(keep_rows.size()) != n) {
        return absl::InvalidArgumentError(
            "dims, combiners, max_norms and keep_rows must have one value for "
            "each of the N features");
      }
      for (int f = 0; f < n; ++f) {
        TF_RETURN_IF_ERROR(CheckRank(c, n + f, 1));
        TF_RETURN_IF_ERROR(CheckRank(c, 3 * n + f, 1));
        DimensionHandle bags;
        TF_RETURN_IF_ERROR(NumBags(c, 2 * n + f, &bags));
        c->set_output(f, c->Matrix(bags, dims[f]));
        c->set_output(n + f, c->Matrix(keep_rows[f] ? c->Dim(c->input(n + f), 0)
                                                    : c->MakeDim(0),
                                       dims[f]));
      }
      return absl::OkStatus();
    })
    .Doc(
        "Looks up N features and combines the vectors of each bag. Empty "
        "weights: 1 each. rows: the vectors before they were combined, where "
        "keep_rows asks for them.");

REGISTER_OP("TfEmbedding>PooledGradient")
    .Input("gradients: N * float")
    .Input("row_splits: N * int64")
    .Input("weights: N * float")
    .Input("rows: N * float")
    .Input("keys: N * int64")
    .Attr("N: int >= 1")
    .Attr("combiners: list(string) >= 1")
    .Attr("max_norms: list(float) >= 1")
    .Output("row_gradients: N * float")
    .Output("weight_gradients: N * float")
    .SetShapeFn([](InferenceContext* c) {
      int n;
      TF_RETURN_IF_ERROR(c->GetAttr("N", &n));
      for (int f = 0; f < n; ++f) {
        TF_RETURN_IF_ERROR(CheckRank(c, f, 2));
        TF_RETURN_IF_ERROR(CheckRank(c, n + f, 1));
        TF_RETURN_IF_ERROR(CheckRank(c, 2 * n + f, 1));
        TF_RETURN_IF_ERROR(CheckRank(c, 3 * n + f, 2));
        c->set_output(f, c->Matrix(c->UnknownDim(), c->Dim(c->input(f), 1)));
        c->set_output(n + f, c->Vector(c->Dim(c->input(2 * n + f), 0)));
      }
      return absl::OkStatus();
    })
    .Doc(
        "The gradients of LookupPooled for each vector and each weight. keys: "
        "only their number is read, and only where rows and weights, which may "
        "be empty, do not say it.");

REGISTER_OP("TfEmbedding>RowSplits")
    .Input("row_ids: int64")
    .Input("num_rows: int64")
    .Output("row_splits: int64")
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckRank(c, 0, 1));
      TF_RETURN_IF_ERROR(CheckRank(c, 1, 0));
      c->set_output(0, c->Vector(c->UnknownDim()));
      return absl::OkStatus();
    })
    .Doc(
        "Where each row of a sparse tensor begins, from the sorted row ids of "
        "its values.");

}  // namespace
}  // namespace tf_embedding
