// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// The variable: its handle, its content, its checkpoint.

#include "cc/ops/shapes.h"
#include "tensorflow/core/framework/common_shape_fns.h"

namespace tf_embedding {
namespace {

using ::tensorflow::shape_inference::NoOutputs;
using ::tensorflow::shape_inference::ScalarShape;

// dtype and shape carry the names that VarHandleOp gives them, because
// TensorFlow's control flow reads them from the node. The handle says shape
// [0, dim]: the gradient of a branch that does not touch the variable is then
// an empty slice.
REGISTER_OP("TfEmbedding>VariableHandle")
    .Attr("container: string = ''")
    .Attr("shared_name: string = ''")
    .Attr("dim: int >= 1")
    .Attr(
        "initializer: {'constant', 'uniform', 'normal', 'truncated_normal', "
        "'matrix'} = 'constant'")
    .Attr("init_a: float = 0.0")
    .Attr("init_b: float = 0.0")
    .Attr("seed: int = 0")
    .Attr("matrix: list(float) = []")
    .Attr("log2_shards: int >= 0 = 7")
    .Attr("init_capacity: int = 0")
    .Attr("row_dtype: {float, bfloat16} = DT_FLOAT")
    .Attr("steps_to_live: int = 0")
    .Attr("steps_when: {'apply', 'save', 'request'} = 'apply'")
    .Attr("seconds_to_live: float = 0.0")
    .Attr("seconds_when: {'apply', 'save', 'request'} = 'apply'")
    .Attr("l2_threshold: float = 0.0")
    .Attr("l2_when: {'apply', 'save', 'request'} = 'apply'")
    .Attr("min_frequency: int = 0")
    .Attr("frequency_decay: float = 1.0")
    .Attr("every_steps: int = 1")
    .Attr("frequency_when: {'apply', 'save', 'request'} = 'apply'")
    .Attr("max_keys: int = 0")
    .Attr("max_bytes: int = 0")
    .Attr("evict_order: {'lru', 'lfu', 'version'} = 'lru'")
    .Attr("collect_evicted: int = 0")
    .Attr("filter: string = ''")
    .Attr("filter_freq: int = 1")
    .Attr("filter_probability: float = 1.0")
    .Attr("max_element_size: int = 1")
    .Attr("counter_bits: int = 64")
    .Attr("no_permission: list(float) = []")
    .Attr("cache_bytes: int >= 0 = 0")
    .Attr("cache_strategy: {'lru', 'lfu'} = 'lfu'")
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
    .Doc("Makes or finds the table of an embedding variable.");

REGISTER_OP("TfEmbedding>Size")
    .Input("handle: resource")
    .Output("size: int64")
    .SetIsStateful()
    .SetShapeFn(ScalarShape)
    .Doc("The number of rows.");

REGISTER_OP("TfEmbedding>Rule")
    .Input("handle: resource")
    .Output("rule: string")
    .SetIsStateful()
    .SetShapeFn(ScalarShape)
    .Doc("The optimizer rule whose slots the rows hold; empty before one.");

REGISTER_OP("TfEmbedding>Upsert")
    .Input("handle: resource")
    .Input("keys: int64")
    .Input("values: float")
    .Input("step: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckKeysAndRows(c, 1, 2));
      return CheckRank(c, 3, 0);
    })
    .Doc("Sets vectors; new rows get initial slots.");

REGISTER_OP("TfEmbedding>Remove")
    .Input("handle: resource")
    .Input("keys: int64")
    .Output("removed: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckRank(c, 1, 1));
      c->set_output(0, c->Scalar());
      return absl::OkStatus();
    })
    .Doc("Removes rows, slots and all; says how many there were.");

REGISTER_OP("TfEmbedding>Prefetch")
    .Input("handle: resource")
    .Input("keys: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) { return CheckRank(c, 1, 1); })
    .Doc(
        "Brings the rows of keys, where they have one, into the fast memory of "
        "a table that has two. No matter to its content.");

REGISTER_OP("TfEmbedding>Clear")
    .Input("handle: resource")
    .SetIsStateful()
    .SetShapeFn(NoOutputs)
    .Doc("Removes all rows. A graph's initializer.");

REGISTER_OP("TfEmbedding>IsInitialized")
    .Input("handle: resource")
    .Output("initialized: bool")
    .SetIsStateful()
    .SetShapeFn(ScalarShape)
    .Doc("Whether Clear or Import has run.");

REGISTER_OP("TfEmbedding>Find")
    .Input("handle: resource")
    .Input("keys: int64")
    .Attr("dim: int >= 1")
    .Output("found: bool")
    .Output("values: float")
    .Output("slots: float")
    .Output("frequency: int64")
    .Output("version: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckRank(c, 1, 1));
      DimensionHandle dim;
      TF_RETURN_IF_ERROR(GetDim(c, &dim));
      const DimensionHandle n = c->Dim(c->input(1), 0);
      c->set_output(0, c->Vector(n));
      c->set_output(1, c->Matrix(n, dim));
      c->set_output(2, c->Matrix(n, c->UnknownDim()));
      c->set_output(3, c->Vector(n));
      c->set_output(4, c->Vector(n));
      return absl::OkStatus();
    })
    .Doc("The whole rows of given keys; never changes the table.");

REGISTER_OP("TfEmbedding>Export")
    .Input("handle: resource")
    .Attr("dim: int >= 1")
    .Output("keys: int64")
    .Output("values: float")
    .Output("slots: float")
    .Output("frequency: int64")
    .Output("version: int64")
    .Output("rule: string")
    .Output("initial_slots: float")
    .Output("initializer: string")
    .Output("init_args: float")
    .Output("seed: int64")
    .Output("matrix: float")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      DimensionHandle dim;
      TF_RETURN_IF_ERROR(GetDim(c, &dim));
      TF_RETURN_IF_ERROR(SetRowsOutputs(c));
      c->set_output(5, c->Scalar());
      c->set_output(6, c->Vector(c->UnknownDim()));
      c->set_output(7, c->Scalar());
      c->set_output(8, c->Vector(2));
      c->set_output(9, c->Scalar());
      c->set_output(10, c->Matrix(c->UnknownDim(), dim));
      return absl::OkStatus();
    })
    .Doc("All rows as of one moment, and what unknown keys start with.");

REGISTER_OP("TfEmbedding>Import")
    .Input("handle: resource")
    .Input("keys: int64")
    .Input("values: float")
    .Input("slots: float")
    .Input("frequency: int64")
    .Input("version: int64")
    .Input("rule: string")
    .Input("initial_slots: float")
    .Input("initializer: string")
    .Input("init_args: float")
    .Input("seed: int64")
    .Input("matrix: float")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(CheckKeysAndRows(c, 1, 2));
      TF_RETURN_IF_ERROR(CheckKeysAndRows(c, 1, 3));
      for (int i : {4, 5}) {
        TF_RETURN_IF_ERROR(CheckRank(c, i, 1));
        TF_RETURN_IF_ERROR(CheckSameLength(c, 1, i));
      }
      for (int i : {6, 8, 10}) TF_RETURN_IF_ERROR(CheckRank(c, i, 0));
      TF_RETURN_IF_ERROR(CheckRank(c, 7, 1));
      TF_RETURN_IF_ERROR(CheckRank(c, 9, 1));
      return CheckRank(c, 11, 2);
    })
    .Doc("Makes the content of the table exactly this: the inverse of Export.");

}  // namespace
}  // namespace tf_embedding
