// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Dealing keys out to the parts of a variable, and putting rows together again.
//
// A variable may be cut into parts, each a table of its own, on whatever
// device. PartOfHash says which part owns a key. Positions stay in order inside
// a part, so the gradients of equal keys meet in the same order in a part as in
// the whole: a row has the same bits in any number of parts.
//
// Cost: SplitByPart hashes each key once and writes 16 bytes for it; JoinParts
// copies each row once. Both are linear passes of the caller's thread.
//
// Thread safety: pure functions of their arguments. Failure: JoinParts checks
// its positions before it writes.

#ifndef TF_EMBEDDING_CC_CORE_PARTS_H_
#define TF_EMBEDDING_CC_CORE_PARTS_H_

#include <cstdint>
#include <vector>

#include "cc/core/status.h"

namespace tf_embedding {

// In 1..kMaxParts.
Status CheckNumParts(int64_t num_parts);

// How many of n keys each part owns.
std::vector<int64_t> CountByPart(const int64_t* keys, int64_t n, int num_parts);

// Writes each part's keys and their positions, in position order; every part
// has room for what CountByPart said.
void SplitByPart(const int64_t* keys, int64_t n, int num_parts,
                 const std::vector<int64_t*>& part_keys,
                 const std::vector<int64_t*>& positions);

// The rows of one part: count rows of the whole's dim, and where each belongs.
struct PartRows {
  const int64_t* positions = nullptr;
  const float* rows = nullptr;
  int64_t count = 0;
};

// Writes n * dim values. The positions of all parts together must be 0..n-1,
// each once.
Status JoinParts(const std::vector<PartRows>& parts, int64_t n, int dim,
                 float* out);

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_PARTS_H_
