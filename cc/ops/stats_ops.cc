// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Looking into a table: counts, memory, the foremost keys, rows in chunks.

#include "cc/ops/shapes.h"
#include "tensorflow/core/framework/common_shape_fns.h"

namespace tf_embedding {
namespace {

REGISTER_OP("TfEmbedding>Stats")
    .Input("handle: resource")
    .Output("stats: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->Vector(23));
      return absl::OkStatus();
    })
    .Doc(
        "Rows; rows inserted, keys admitted, occurrences refused, rows evicted "
        "and removed; keys looked up and those found; bytes of the index, held "
        "for rows, of rows in use, of the filter, of eviction, fixed; slots of "
        "the index; keys sampled, their probes, the longest; candidates; of "
        "two tiers: bytes of the host, of the cache, hits and misses.");

REGISTER_OP("TfEmbedding>TopKeys")
    .Input("handle: resource")
    .Input("n: int64")
    .Attr("by: {'frequency', 'version', 'norm'}")
    .Output("keys: int64")
    .Output("values: double")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckRank(c, 1, 0));
      const DimensionHandle n = c->UnknownDim();
      c->set_output(0, c->Vector(n));
      c->set_output(1, c->Vector(n));
      return absl::OkStatus();
    })
    .Doc("The n keys that are foremost by a measure, then by key.");

REGISTER_OP("TfEmbedding>Histogram")
    .Input("handle: resource")
    .Input("step: int64")
    .Attr("measure: {'frequency', 'version', 'age', 'norm'}")
    .Output("edges: double")
    .Output("counts: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckRank(c, 1, 0));
      c->set_output(0, c->Vector(c->UnknownDim()));
      c->set_output(1, c->Vector(c->UnknownDim()));
      return absl::OkStatus();
    })
    .Doc("How many rows have a measure from edges[i] up to edges[i + 1].");

REGISTER_OP("TfEmbedding>ExportChunk")
    .Input("handle: resource")
    .Input("cursor: int64")
    .Input("max_rows: int64")
    .Attr("dim: int >= 1")
    .Output("next: int64")
    .Output("keys: int64")
    .Output("values: float")
    .Output("slots: float")
    .Output("frequency: int64")
    .Output("version: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckRank(c, 1, 0));
      TF_RETURN_IF_ERROR(CheckRank(c, 2, 0));
      DimensionHandle dim;
      TF_RETURN_IF_ERROR(GetDim(c, &dim));
      const DimensionHandle n = c->UnknownDim();
      c->set_output(0, c->Scalar());
      c->set_output(1, c->Vector(n));
      c->set_output(2, c->Matrix(n, dim));
      c->set_output(3, c->Matrix(n, c->UnknownDim()));
      c->set_output(4, c->Vector(n));
      c->set_output(5, c->Vector(n));
      return absl::OkStatus();
    })
    .Doc(
        "About max_rows rows from a cursor on. cursor: 0, then next, until "
        "that "
        "is -1.");

}  // namespace
}  // namespace tf_embedding
