// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/batch.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "cc/core/hash.h"

namespace tf_embedding {
namespace {

constexpr int64_t kMinPiece = 4096;
constexpr int64_t kNanosecondsPerKey = 4;

}  // namespace

Status CheckBatchSize(int64_t n) {
  if (n >= 0 && n <= kMaxBatch) return Status();
  return InvalidArgument("keys has ", n, " elements; a batch takes up to ",
                         kMaxBatch, ": split it");
}

BatchPartition PartitionByShard(const int64_t* keys, int64_t n, int log2_shards,
                                Executor* executor,
                                const FoundRows::Batch* found) {
  const int num_shards = 1 << log2_shards;
  BatchPartition partition;
  partition.keys.reset(new int64_t[n]);
  partition.positions.reset(new uint32_t[n]);
  partition.begin.assign(num_shards + 1, 0);
  if (n == 0) return partition;

  const int64_t num_pieces = std::clamp<int64_t>(
      n / kMinPiece, 1, 4 * std::max(1, executor->num_threads()));
  const int64_t piece = (n + num_pieces - 1) / num_pieces;
  std::unique_ptr<uint16_t[]> shard_of(new uint16_t[n]);
  // next[p * num_shards + s]: where piece p writes its next position of s.
  std::vector<int64_t> next(num_pieces * num_shards, 0);

  const auto for_pieces = [&](const auto& body) {
    executor->ParallelFor(num_pieces, piece * kNanosecondsPerKey,
                          [&](int64_t from, int64_t to) {
                            for (int64_t p = from; p < to; ++p) {
                              body(p * piece, std::min(n, (p + 1) * piece),
                                   next.data() + p * num_shards);
                            }
                          });
  };
  std::atomic<bool> known{found != nullptr};
  for_pieces([&](int64_t from, int64_t to, int64_t* counts) {
    if (found != nullptr && std::memcmp(keys + from, found->keys.get() + from,
                                        (to - from) * sizeof(*keys)) != 0) {
      known.store(false, std::memory_order_relaxed);
    }
    for (int64_t i = from; i < to; ++i) {
      const uint32_t shard = ShardOfHash(MixKey(keys[i]), log2_shards);
      shard_of[i] = static_cast<uint16_t>(shard);
      ++counts[shard];
    }
  });
  int64_t total = 0;
  for (int s = 0; s < num_shards; ++s) {
    partition.begin[s] = total;
    for (int64_t p = 0; p < num_pieces; ++p) {
      const int64_t count = next[p * num_shards + s];
      next[p * num_shards + s] = total;
      total += count;
    }
  }
  partition.begin[num_shards] = total;
  const bool with_rows = known.load(std::memory_order_relaxed);
  if (with_rows) partition.rows.reset(new uint32_t[n]);
  for_pieces([&](int64_t from, int64_t to, int64_t* write) {
    for (int64_t i = from; i < to; ++i) {
      const int64_t place = write[shard_of[i]]++;
      partition.keys[place] = keys[i];
      partition.positions[place] = static_cast<uint32_t>(i);
      if (with_rows) partition.rows[place] = found->rows[i];
    }
  });
  return partition;
}

}  // namespace tf_embedding
