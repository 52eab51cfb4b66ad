// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Who follows the changes of a table, and chains of deltas.

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

REGISTER_OP("TfEmbedding>CompactCheckpoints")
    .Input("prefixes: string")
    .Input("output: string")
    .Output("checksums: int64")
    .Output("source_checksums: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckRank(c, 0, 1));
      TF_RETURN_IF_ERROR(CheckRank(c, 1, 0));
      c->set_output(0, c->Vector(c->UnknownDim()));
      c->set_output(1, c->Matrix(c->UnknownDim(), c->UnknownDim()));
      return absl::OkStatus();
    })
    .Doc(R"(
Writes a full checkpoint of what a full one and deltas upon it restore to.

prefixes: the full one, then the deltas in order.
output: the prefix to write. What is not a table comes from the last delta.
checksums: of the tables that were written, as BlocksChecksum gives them.
source_checksums: of the same tables in each of the prefixes.
)");

}  // namespace
}  // namespace tf_embedding
