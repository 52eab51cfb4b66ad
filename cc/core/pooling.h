// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Pooling: from the vectors of a bag of keys to one vector, and back.
//
// With rows r_i, weights w_i (1 where not given) and c_i = clip(r_i):
//
//   sum    o = sum w_i c_i
//   mean   o = sum w_i c_i / sum w_i
//   sqrtn  o = sum w_i c_i / sqrt(sum w_i^2)
//   clip(r) = r max_norm / max(|r|, max_norm), where a max_norm is given
//
// as tf.nn.embedding_lookup_sparse. A bag whose divisor is 0, an empty one
// above all, gives zeros. Terms are added in position order: same bits for any
// number of threads.
//
// Thread safety: pure functions of their arguments; what they write must not
// overlap. Nothing here allocates or fails.

#ifndef TF_EMBEDDING_CC_CORE_POOLING_H_
#define TF_EMBEDDING_CC_CORE_POOLING_H_

#include <cstdint>
#include <string>

#include "cc/core/executor.h"
#include "cc/core/status.h"

namespace tf_embedding {

enum class Combiner { kSum, kMean, kSqrtN };

struct PoolSpec {
  Combiner combiner = Combiner::kMean;
  float max_norm = 0;  // 0: no clipping
};

// combiner: "sum", "mean" or "sqrtn"; max_norm: 0 or more, finite.
Status ParsePoolSpec(const std::string& combiner, float max_norm,
                     PoolSpec* spec);

// Checks that splits (num_bags + 1 values) cuts num_keys keys into bags.
Status CheckSplits(const int64_t* splits, int64_t num_splits, int64_t num_keys);

// Whether bags from..to-1 are of one key each. Without weights and clipping
// such a bag is its key's vector.
bool EachBagIsOneKey(const int64_t* splits, int64_t from, int64_t to);

// One bag of n rows. weights may be null.
void PoolBag(const PoolSpec& spec, const float* rows, const float* weights,
             int64_t n, int dim, float* out);

// Gradients of all bags: of each key's vector (row_gradients, num_keys * dim)
// and, unless null, of each weight. rows may be null where neither max_norm nor
// weight_gradients needs them.
void PoolGradient(const PoolSpec& spec, const float* gradients,
                  const int64_t* splits, int64_t num_bags, const float* weights,
                  const float* rows, int dim, float* row_gradients,
                  float* weight_gradients, Executor* executor);

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_POOLING_H_
