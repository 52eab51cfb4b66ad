// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Dealing a batch out by shard.

#include "cc/core/batch.h"

#include <cstdint>
#include <vector>

#include "cc/core/hash.h"
#include "tests/cc/executors.h"
#include "tests/cc/random.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

TEST(SharesAreStableForAnyNumberOfPieces) {
  testing::Rng rng(1);
  for (int64_t n : {0, 1, 100, 4096, 8191, 20000, 50001}) {
    std::vector<int64_t> keys(n);
    for (int64_t& key : keys) key = rng.Below(3000);
    for (int log2_shards : {0, 1, 7, 10}) {
      const testing::Trace trace(n, " keys, log2_shards ", log2_shards);
      std::vector<std::vector<uint32_t>> expected(1 << log2_shards);
      for (int64_t i = 0; i < n; ++i) {
        expected[ShardOfHash(MixKey(keys[i]), log2_shards)].push_back(
            static_cast<uint32_t>(i));
      }
      for (int threads : {1, 2, 3, 8}) {
        testing::ThreadExecutor executor(threads);
        const BatchPartition partition =
            PartitionByShard(keys.data(), n, log2_shards, &executor);
        for (int s = 0; s < 1 << log2_shards; ++s) {
          const BatchShare share = partition.share(s);
          EXPECT_TRUE(std::vector<uint32_t>(share.positions,
                                            share.positions + share.count) ==
                      expected[s]);
          for (int64_t p = 0; p < share.count; ++p) {
            if (share.keys[p] == keys[share.positions[p]]) continue;
            EXPECT_EQ(share.keys[p], keys[share.positions[p]]);
          }
        }
      }
    }
  }
}

TEST(BatchSizesHaveALimit) {
  EXPECT_OK(CheckBatchSize(0));
  EXPECT_OK(CheckBatchSize(kMaxBatch));
  EXPECT_ERROR(CheckBatchSize(-1), StatusCode::kInvalidArgument,
               "keys has -1 elements");
  EXPECT_ERROR(CheckBatchSize(kMaxBatch + 1), StatusCode::kInvalidArgument,
               "keys has 4294967296 elements");
}

}  // namespace
}  // namespace tf_embedding
