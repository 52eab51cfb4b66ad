// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Dealing a batch out by shard.
//
// Positions 0..n-1 are grouped by the shard of their key, in position order
// inside a group: a stable counting sort, in two parallel passes over pieces of
// the batch. The result does not depend on how many pieces there are. Keys move
// along with their positions, so that a shard's share is read front to back,
// and so do the rows that a lookup of the same keys found (found_rows.h).

#ifndef TF_EMBEDDING_CC_CORE_BATCH_H_
#define TF_EMBEDDING_CC_CORE_BATCH_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "cc/core/executor.h"
#include "cc/core/found_rows.h"
#include "cc/core/status.h"

namespace tf_embedding {

// Positions are 32 bits wide.
constexpr int64_t kMaxBatch = 0xFFFFFFFFll;

Status CheckBatchSize(int64_t n);

// What one shard has of a batch: keys[p] stands at positions[p] of it, and a
// lookup found it at rows[p], if it found it (kNoRow). rows is null where
// nothing is known.
struct BatchShare {
  const int64_t* keys;
  const uint32_t* positions;
  const uint32_t* rows;
  int64_t count;
};

struct BatchPartition {
  std::unique_ptr<int64_t[]> keys;        // n
  std::unique_ptr<uint32_t[]> positions;  // n
  std::unique_ptr<uint32_t[]> rows;       // n, or null
  std::vector<int64_t> begin;             // of each shard, and the end

  BatchShare share(int shard) const {
    const int64_t first = begin[shard];
    return BatchShare{keys.get() + first, positions.get() + first,
                      rows == nullptr ? nullptr : rows.get() + first,
                      begin[shard + 1] - first};
  }
};

// Throws std::bad_alloc. n as CheckBatchSize allows. found: of a lookup of n
// keys, whose rows are dealt out too if its keys are the same; or null.
BatchPartition PartitionByShard(const int64_t* keys, int64_t n, int log2_shards,
                                Executor* executor,
                                const FoundRows::Batch* found = nullptr);

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_BATCH_H_
