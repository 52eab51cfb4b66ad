// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Tables as tensors of blocks, and back. The format is in
// docs/checkpoint_format.md.

#include "cc/ops/shapes.h"

namespace tf_embedding {
namespace {

REGISTER_OP("TfEmbedding>SaveBlocks")
    .Input("handle: resource")
    .Attr("part: int >= 0 = 0")
    .Attr("num_parts: int >= 1 = 1")
    .Attr("consumer: string = ''")
    .Attr("all_rows: bool = false")
    .Output("blocks: variant")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->Vector(c->UnknownDim()));
      return absl::OkStatus();
    })
    .Doc(R"(
The table as a tensor that can be saved.

blocks: the blocks of rows, then the footer. An element holds no rows: it makes
its bytes, each row whole, when it is written, so a save never holds the table
a second time.
consumer: of the delta that StartDelta began, which then holds what changed
since its base; empty for all rows.
all_rows: the consumer gets all rows, to base its next delta on.
)");

REGISTER_OP("TfEmbedding>LoadBlocks")
    .Input("handles: N * resource")
    .Input("blocks: variant")
    .Attr("N: int >= 1")
    .Attr("part: int >= 0 = 0")
    .Attr("num_parts: int >= 1 = 1")
    .Attr("partial: bool = false")
    .Attr("change_dim: bool = false")
    .Attr("take: bool = false")
    .Attr("delta: bool = false")
    .Output("report: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckRank(c, c->num_inputs() - 1, 1));
      c->set_output(0, c->Vector(3));
      return absl::OkStatus();
    })
    .Doc(R"(
Makes the content of the tables that of the blocks, or leaves all as they are.

handles: of parts part, part + 1, ... of num_parts. Each takes its keys only.
blocks: what SaveBlocks gave, of any number of parts, one after the other.
partial: parts may be missing; rows that the blocks lack stay.
change_dim: vectors of another dim are cut or filled up.
take: empties the blocks on the way, so that the rows are held once.
delta: the blocks are of a delta, which is applied to what the tables hold.
report: rows loaded, rows whose slots begin anew, rows of other parts.
)");

REGISTER_OP("TfEmbedding>JoinBlocks")
    .Input("blocks: N * variant")
    .Attr("N: int >= 1")
    .Output("joined: variant")
    .SetShapeFn([](InferenceContext* c) {
      for (int i = 0; i < c->num_inputs(); ++i) {
        TF_RETURN_IF_ERROR(CheckRank(c, i, 1));
      }
      c->set_output(0, c->Vector(c->UnknownDim()));
      return absl::OkStatus();
    })
    .Doc(
        "What SaveBlocks gave for each part of a variable, one after another.");

REGISTER_OP("TfEmbedding>WriteBlocks")
    .Input("prefix: string")
    .Input("tensor_names: string")
    .Input("blocks: N * variant")
    .Attr("N: int >= 1")
    .Output("written: string")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckRank(c, 0, 0));
      TF_RETURN_IF_ERROR(CheckRank(c, 1, 1));
      for (int i = 2; i < c->num_inputs(); ++i) {
        TF_RETURN_IF_ERROR(CheckRank(c, i, 1));
      }
      c->set_output(0, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(R"(
Writes tables as a shard of a checkpoint, as SaveV2 would, only faster.

prefix: of the shard's files.
blocks: what SaveBlocks gave, of each table.
written: the prefix, once the files are there.
)");

REGISTER_OP("TfEmbedding>ReadBlocks")
    .Input("prefix: string")
    .Input("tensor_names: string")
    .Attr("N: int >= 1")
    .Output("blocks: N * variant")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckRank(c, 0, 0));
      TF_RETURN_IF_ERROR(CheckRank(c, 1, 1));
      for (int i = 0; i < c->num_outputs(); ++i) {
        c->set_output(i, c->Vector(c->UnknownDim()));
      }
      return absl::OkStatus();
    })
    .Doc(R"(
Reads tables of a checkpoint, as RestoreV2 would. Its errors name the file, the
tensor and what is wrong.

blocks: of each table, for LoadBlocks.
)");

REGISTER_OP("TfEmbedding>VerifyCheckpoint")
    .Input("prefix: string")
    .Output("names: string")
    .Output("rows: int64")
    .Output("checksums: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckRank(c, 0, 0));
      for (int i = 0; i < c->num_outputs(); ++i) {
        c->set_output(i, c->Vector(c->UnknownDim()));
      }
      return absl::OkStatus();
    })
    .Doc(R"(
Reads all of a checkpoint, and fails where anything of it is damaged.

names, rows: the tensors that hold tables, and how many rows each has.
checksums: of each table, as BlocksChecksum gives it.
)");

REGISTER_OP("TfEmbedding>BlocksChecksum")
    .Input("blocks: variant")
    .Output("checksum: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckRank(c, 0, 1));
      c->set_output(0, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(R"(
Over the checksums of the elements of what SaveBlocks gave, once they were
written, or of what was read: it tells one save from another.
)");

REGISTER_OP("TfEmbedding>BlockBytes")
    .Input("blocks: variant")
    .Input("index: int64")
    .Output("bytes: string")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckRank(c, 0, 1));
      TF_RETURN_IF_ERROR(CheckRank(c, 1, 0));
      c->set_output(0, c->Scalar());
      return absl::OkStatus();
    })
    .Doc("The bytes of one element of what SaveBlocks gave.");

REGISTER_OP("TfEmbedding>BlocksFromBytes")
    .Input("bytes: string")
    .Output("blocks: variant")
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckRank(c, 0, 1));
      c->set_output(0, c->input(0));
      return absl::OkStatus();
    })
    .Doc("The inverse of BlockBytes, for all elements at once.");

REGISTER_OP("TfEmbedding>Crc32c")
    .Input("data: uint8")
    .Input("before: uint32")
    .Output("crc: uint32")
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckRank(c, 0, 1));
      TF_RETURN_IF_ERROR(CheckRank(c, 1, 0));
      c->set_output(0, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(R"(
CRC-32C, the checksum of blocks and of TensorFlow's files.

before: that of the bytes before these; 0 where there are none.
)");

}  // namespace
}  // namespace tf_embedding
