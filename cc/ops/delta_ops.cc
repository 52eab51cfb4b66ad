// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Who follows the changes of a table.

#include "cc/ops/shapes.h"

namespace tf_embedding {
namespace {

absl::Status ScalarShape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(CheckRank(c, 0, 0));
  c->set_output(0, c->Scalar());
  return absl::OkStatus();
}

REGISTER_OP("TfEmbedding>StartDelta")
    .Input("handle: resource")
    .Attr("consumer: string")
    .Output("since: int64")
    .SetIsStateful()
    .SetShapeFn(ScalarShape)
    .Doc(R"(
Begins a delta for a consumer, which SaveBlocks then writes.

since: 0 where all rows are needed, as there is no base to start from.
)");

REGISTER_OP("TfEmbedding>DeltaSince")
    .Input("handle: resource")
    .Attr("consumer: string")
    .Output("since: int64")
    .SetIsStateful()
    .SetShapeFn(ScalarShape)
    .Doc(R"(
What StartDelta said of the delta under way.

since: 0 too where the content has changed as a whole since then.
)");

REGISTER_OP("TfEmbedding>FinishDelta")
    .Input("handle: resource")
    .Attr("consumer: string")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) { return CheckRank(c, 0, 0); })
    .Doc("The delta that was begun is safe, and the base of the next.");

REGISTER_OP("TfEmbedding>ForgetConsumer")
    .Input("handle: resource")
    .Attr("consumer: string")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) { return CheckRank(c, 0, 0); })
    .Doc("The consumer wants no more deltas, if it ever did.");

}  // namespace
}  // namespace tf_embedding
