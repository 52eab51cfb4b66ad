// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Eviction on request, and what it took.

#include "cc/ops/shapes.h"
#include "tensorflow/core/framework/common_shape_fns.h"

namespace tf_embedding {
namespace {

REGISTER_OP("TfEmbedding>Evict")
    .Input("handle: resource")
    .Input("step: int64")
    .Output("evicted: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckRank(c, 1, 0));
      c->set_output(0, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(
        "Asks all rules of eviction of all rows. step: the present; -1 for "
        "that "
        "of the last update.");

REGISTER_OP("TfEmbedding>TakeEvicted")
    .Input("handle: resource")
    .Attr("dim: int >= 1")
    .Output("keys: int64")
    .Output("values: float")
    .Output("slots: float")
    .Output("frequency: int64")
    .Output("version: int64")
    .Output("dropped: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(SetRowsOutputs(c));
      c->set_output(5, c->Scalar());
      return absl::OkStatus();
    })
    .Doc("The evicted rows that were collected, and how many did not fit.");

}  // namespace
}  // namespace tf_embedding
