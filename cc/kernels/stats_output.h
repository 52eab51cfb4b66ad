// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// The output of the Stats op, in the order that tf_embedding/stats.py reads.

#ifndef TF_EMBEDDING_CC_KERNELS_STATS_OUTPUT_H_
#define TF_EMBEDDING_CC_KERNELS_STATS_OUTPUT_H_

#include <algorithm>
#include <iterator>

#include "cc/kernels/resource.h"

namespace tf_embedding {

inline absl::Status OutputStats(tensorflow::OpKernelContext* context,
                                const TableStats& s) {
  const int64_t values[] = {s.size,
                            s.counters.inserted,
                            s.counters.admitted,
                            s.counters.refused,
                            s.counters.evicted,
                            s.counters.removed,
                            s.lookups,
                            s.lookup_hits,
                            s.index_bytes,
                            s.row_bytes,
                            s.row_used_bytes,
                            s.candidate_bytes,
                            s.eviction_bytes,
                            s.fixed_bytes,
                            s.index_slots,
                            s.sampled_keys,
                            s.sampled_probes,
                            s.max_probe,
                            s.candidates,
                            s.host_bytes,
                            s.cache_bytes,
                            s.cache_hits,
                            s.cache_misses};
  tensorflow::Tensor* out;
  TF_RETURN_IF_ERROR(context->allocate_output(
      0, {static_cast<int64_t>(std::size(values))}, &out));
  std::copy(std::begin(values), std::end(values), out->vec<int64_t>().data());
  return absl::OkStatus();
}

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_KERNELS_STATS_OUTPUT_H_
