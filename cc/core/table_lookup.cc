// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// EmbeddingTable::Lookup and in_training.

#include <algorithm>
#include <bitset>
#include <memory>
#include <utility>

#include "cc/core/table_internal.h"

namespace tf_embedding {
namespace {

// Below this many keys a chunk locks only the shards that it needs.
constexpr int64_t kLockAllFrom = 256;

// Locks shards for reading, in ascending order, for a scope.
class ShardReaderLocks {
 public:
  ShardReaderLocks(SharedSpinLock* locks, int num_shards,
                   const std::bitset<1 << kMaxLog2Shards>& wanted)
      : locks_(locks), num_shards_(num_shards), wanted_(wanted) {
    for (int s = 0; s < num_shards_; ++s) {
      if (wanted_[s]) locks_[s].lock_shared();
    }
  }
  ~ShardReaderLocks() {
    for (int s = 0; s < num_shards_; ++s) {
      if (wanted_[s]) locks_[s].unlock_shared();
    }
  }
  ShardReaderLocks(const ShardReaderLocks&) = delete;
  ShardReaderLocks& operator=(const ShardReaderLocks&) = delete;

 private:
  SharedSpinLock* const locks_;
  const int num_shards_;
  const std::bitset<1 << kMaxLog2Shards> wanted_;
};

std::bitset<1 << kMaxLog2Shards> AllShards() {
  return std::bitset<1 << kMaxLog2Shards>().set();
}

}  // namespace

void EmbeddingTable::FillAbsent(int64_t key, float* out) const {
  if (admission_ != nullptr && admission_->spec().no_permission) {
    std::fill_n(out, dim_, *admission_->spec().no_permission);
  } else {
    initializer_->Fill(key, out);
  }
}

void EmbeddingTable::LookupRange(const int64_t* keys, int64_t n, float* out,
                                 int64_t out_stride, FoundRows::Batch* found,
                                 int64_t begin) const {
  int64_t missing[kLookupChunk];
  int64_t num_missing;
  uint32_t* rows = nullptr;
  if (found != nullptr) {
    std::copy_n(keys, n, found->keys.get() + begin);
    rows = found->rows.get() + begin;
  }
  const auto lookup = [&] {
    return ActiveKernels().lookup(ViewLocked(), keys, n, out, out_stride,
                                  missing, rows);
  };
  if (read_gate_.TryEnterReader()) {
    num_missing = lookup();
    read_gate_.LeaveReader();
  } else {
    std::bitset<1 << kMaxLog2Shards> wanted;
    if (n >= kLockAllFrom) {
      wanted = AllShards();
    } else {
      for (int64_t i = 0; i < n; ++i) {
        wanted.set(ShardOfHash(MixKey(keys[i]), log2_shards_));
      }
    }
    ShardReaderLocks locks(shard_locks_.get(), 1 << log2_shards_, wanted);
    num_missing = lookup();
  }
  lookups_.keys.fetch_add(n, std::memory_order_relaxed);
  lookups_.hits.fetch_add(n - num_missing, std::memory_order_relaxed);
  for (int64_t m = 0; m < num_missing; ++m) {
    const int64_t i = missing[m];
    FillAbsent(keys[i], out + i * out_stride);
  }
}

bool EmbeddingTable::in_training() const {
  return memory_->found.expects_update();
}

Status EmbeddingTable::Lookup(const int64_t* keys, int64_t n, float* out,
                              Executor* executor) const {
  ReaderLock lock(&layout_lock_);
  std::unique_ptr<FoundRows::Batch> found = memory_->found.Start(n);
  // Many for each thread, so that one that comes late is not waited for.
  const int64_t chunk =
      std::clamp<int64_t>(n / (32 * std::max(1, executor->num_threads())) + 1,
                          kMinLookupChunk, kLookupChunk);
  const int64_t num_chunks = (n + chunk - 1) / chunk;
  executor->ParallelFor(
      num_chunks, chunk * (20 + dim_ / 4), [&](int64_t from, int64_t to) {
        for (int64_t c = from; c < to; ++c) {
          const int64_t begin = c * chunk;
          LookupRange(keys + begin, std::min(chunk, n - begin),
                      out + begin * dim_, dim_, found.get(), begin);
        }
      });
  if (found != nullptr) memory_->found.Keep(std::move(found));
  return Status();
}

}  // namespace tf_embedding
