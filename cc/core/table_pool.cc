// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// EmbeddingTable::LookupPooled.

#include <algorithm>
#include <memory>

#include "cc/core/table_internal.h"

namespace tf_embedding {
namespace {

// Keys looked up before they are pooled: their vectors stay in the second-level
// cache, and the shards' locks are taken once for all of them.
constexpr int64_t kPoolBytes = 128 << 10;

}  // namespace

Status EmbeddingTable::LookupPooled(const int64_t* keys, const int64_t* splits,
                                    int64_t num_bags, const float* weights,
                                    const PoolSpec& pool, float* out,
                                    float* rows, Executor* executor) const {
  if (num_bags == 0) return Status();
  ReaderLock lock(&layout_lock_);
  const int64_t num_keys = splits[num_bags];
  const int64_t room =
      std::max<int64_t>(64, kPoolBytes / (dim_ * int64_t{sizeof(float)}));
  std::atomic<bool> out_of_memory{false};
  const auto pool_bags = [&](int64_t from, int64_t to) {
    std::unique_ptr<float[]> scratch;
    int64_t scratch_keys = 0;
    for (int64_t first = from; first < to;) {
      // As many bags as fit the room; one bag alone may be larger.
      int64_t last = first + 1;
      while (last < to && splits[last + 1] - splits[first] <= room) ++last;
      const int64_t begin = splits[first];
      const int64_t n = splits[last] - begin;
      float* vectors = rows == nullptr ? nullptr : rows + begin * dim_;
      if (vectors == nullptr) {
        if (n > scratch_keys) {
          scratch_keys = std::max(n, room);
          scratch.reset(new (std::nothrow) float[scratch_keys * dim_]);
          if (scratch == nullptr) {
            out_of_memory.store(true, std::memory_order_relaxed);
            return;
          }
        }
        vectors = scratch.get();
      }
      for (int64_t i = 0; i < n; i += kLookupChunk) {
        LookupRange(keys + begin + i, std::min(kLookupChunk, n - i),
                    vectors + i * dim_);
      }
      for (int64_t b = first; b < last; ++b) {
        PoolBag(pool, vectors + (splits[b] - begin) * dim_,
                weights == nullptr ? nullptr : weights + splits[b],
                splits[b + 1] - splits[b], dim_, out + b * dim_);
      }
      first = last;
    }
  };
  executor->ParallelFor(num_bags, (num_keys / num_bags + 1) * (10 + dim_ / 4),
                        pool_bags);
  if (out_of_memory.load()) return OutOfMemory(dim_, SizeLocked());
  return Status();
}

}  // namespace tf_embedding
