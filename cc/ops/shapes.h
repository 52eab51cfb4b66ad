// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Pieces that the shape functions share.

#ifndef TF_EMBEDDING_CC_OPS_SHAPES_H_
#define TF_EMBEDDING_CC_OPS_SHAPES_H_

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace tf_embedding {

using ::tensorflow::shape_inference::DimensionHandle;
using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

// Requires input i to have the given rank.
inline absl::Status CheckRank(InferenceContext* c, int i, int rank) {
  ShapeHandle unused;
  return c->WithRank(c->input(i), rank, &unused);
}

// Requires inputs a and b to agree in their first dimension.
inline absl::Status CheckSameLength(InferenceContext* c, int a, int b) {
  DimensionHandle unused;
  return c->Merge(c->Dim(c->input(a), 0), c->Dim(c->input(b), 0), &unused);
}

// Requires keys, a vector, and a matrix with a row of dim values for each.
inline absl::Status CheckKeysAndRows(InferenceContext* c, int keys, int rows) {
  TF_RETURN_IF_ERROR(CheckRank(c, keys, 1));
  TF_RETURN_IF_ERROR(CheckRank(c, rows, 2));
  return CheckSameLength(c, keys, rows);
}

// The attribute dim as a dimension; 1 at least, as the op definitions demand.
inline absl::Status GetDim(InferenceContext* c, DimensionHandle* dim) {
  int64_t value;
  TF_RETURN_IF_ERROR(c->GetAttr("dim", &value));
  *dim = c->MakeDim(value);
  return absl::OkStatus();
}

// Outputs 0 to 4 as the columns of n rows: keys, vectors, slots, frequency,
// version.
inline absl::Status SetRowsOutputs(InferenceContext* c) {
  DimensionHandle dim;
  TF_RETURN_IF_ERROR(GetDim(c, &dim));
  const DimensionHandle n = c->UnknownDim();
  c->set_output(0, c->Vector(n));
  c->set_output(1, c->Matrix(n, dim));
  c->set_output(2, c->Matrix(n, c->UnknownDim()));
  c->set_output(3, c->Vector(n));
  c->set_output(4, c->Vector(n));
  return absl::OkStatus();
}

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_OPS_SHAPES_H_
