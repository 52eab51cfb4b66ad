// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Rows as outputs of a kernel.

#ifndef TF_EMBEDDING_CC_KERNELS_ROWS_OUTPUT_H_
#define TF_EMBEDDING_CC_KERNELS_ROWS_OUTPUT_H_

#include <algorithm>
#include <cstdint>

#include "cc/core/row_chunk.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_embedding {

// Outputs first .. first + 4: keys, values, slots, frequency, version.
inline absl::Status OutputRows(tensorflow::OpKernelContext* context, int first,
                               int64_t dim, const RowChunk& rows) {
  const int64_t n = rows.size();
  tensorflow::Tensor *keys, *values, *slots, *frequency, *version;
  TF_RETURN_IF_ERROR(context->allocate_output(first, {n}, &keys));
  TF_RETURN_IF_ERROR(context->allocate_output(first + 1, {n, dim}, &values));
  TF_RETURN_IF_ERROR(
      context->allocate_output(first + 2, {n, rows.slot_width}, &slots));
  TF_RETURN_IF_ERROR(context->allocate_output(first + 3, {n}, &frequency));
  TF_RETURN_IF_ERROR(context->allocate_output(first + 4, {n}, &version));
  std::copy(rows.keys.begin(), rows.keys.end(), keys->vec<int64_t>().data());
  std::copy(rows.values.begin(), rows.values.end(),
            values->flat<float>().data());
  std::copy(rows.slots.begin(), rows.slots.end(), slots->flat<float>().data());
  std::copy(rows.frequency.begin(), rows.frequency.end(),
            frequency->vec<int64_t>().data());
  std::copy(rows.version.begin(), rows.version.end(),
            version->vec<int64_t>().data());
  return absl::OkStatus();
}

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_KERNELS_ROWS_OUTPUT_H_
