// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Updating: one op for all optimizer rules.

#include "cc/ops/shapes.h"
#include "tensorflow/core/framework/common_shape_fns.h"

namespace tf_embedding {
namespace {

// The token is a data output on purpose: a caller that must make the update
// happen can depend on its value, which no graph rewrite prunes.
REGISTER_OP("TfEmbedding>Apply")
    .Input("handle: resource")
    .Input("keys: int64")
    .Input("gradients: float")
    .Input("first_column: int64")
    .Input("counts: int64")
    .Input("batch_size: int64")
    .Input("learning_rate: float")
    .Input("step: int64")
    .Input("rule_step: int64")
    .Input("hyper: float")
    .Attr("rule: string")
    .Output("token: float")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckKeysAndRows(c, 1, 2));
      TF_RETURN_IF_ERROR(CheckRank(c, 3, 0));
      TF_RETURN_IF_ERROR(CheckRank(c, 4, 1));
      TF_RETURN_IF_ERROR(CheckRank(c, 5, 0));
      TF_RETURN_IF_ERROR(CheckRank(c, 6, 0));
      TF_RETURN_IF_ERROR(CheckRank(c, 7, 0));
      TF_RETURN_IF_ERROR(CheckRank(c, 8, 0));
      TF_RETURN_IF_ERROR(CheckRank(c, 9, 1));
      c->set_output(0, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(
        "Sums the gradients of equal keys, gives birth to rows and updates "
        "them. first_column: where they begin in each row of gradients, or -1 "
        "where they are all of it. Empty counts: 1 each. batch_size: the keys "
        "of all parts. step "
        "stamps the rows; rule_step is what "
        "the rule's formula takes for the step. token: 0.");

REGISTER_OP("TfEmbedding>Rules")
    .Output("names: string")
    .Output("vector_slots: string")
    .Output("scalar_slots: string")
    .Output("hyper: string")
    .SetShapeFn([](InferenceContext* c) {
      const DimensionHandle n = c->UnknownDim();
      for (int i = 0; i < 4; ++i) c->set_output(i, c->Vector(n));
      return absl::OkStatus();
    })
    .Doc(
        "The optimizer rules: name, slots and hyper-parameters, the latter "
        "three comma-separated, in order.");

}  // namespace
}  // namespace tf_embedding
