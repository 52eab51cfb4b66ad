// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Shared by the translation units of EmbeddingTable.

#ifndef TF_EMBEDDING_CC_CORE_TABLE_INTERNAL_H_
#define TF_EMBEDDING_CC_CORE_TABLE_INTERNAL_H_

#include <algorithm>
#include <atomic>
#include <limits>
#include <new>
#include <vector>

#include "cc/core/table.h"

namespace tf_embedding {

constexpr int64_t kNanosecondsPerRow = 80;

// The keys that one Lookup chunk reads under one set of locks: enough to make
// the locks' price vanish, few enough that writers do not wait long.
constexpr int64_t kLookupChunk = 16384;
constexpr int64_t kMinLookupChunk = 1024;

constexpr int64_t kMaxUint32 = std::numeric_limits<uint32_t>::max();

// A row keeps its version in 32 bits.
inline Status CheckStep(int64_t step) {
  if (step >= 0 && step < kMaxUint32) return Status();
  return InvalidArgument("step is ", step, "; it must be in [0, 4294967294]");
}

// Checks what Import takes; rule: that of the shape, null for none.
Status CheckImport(const TableShape& shape, const ConstRowColumns& rows,
                   int dim, const RuleInfo** rule);

inline Status OutOfMemory(int dim, int64_t size) {
  return ResourceExhausted(
      "out of memory in an embedding table of dim ", dim, " with ", size,
      " rows; remove keys, bound the table, or spread it over more machines");
}

// Held by a batch that changes rows, around the locks of its shards.
class RowWriterLock {
 public:
  RowWriterLock(SharedSpinLock* update_lock, ReadGate* gate)
      : update_lock_(update_lock), gate_(gate) {
    gate_->EnterWriter();
  }
  ~RowWriterLock() { gate_->LeaveWriter(); }
  RowWriterLock(const RowWriterLock&) = delete;
  RowWriterLock& operator=(const RowWriterLock&) = delete;

 private:
  const ReaderLock update_lock_;
  ReadGate* const gate_;
};

// body throws only std::bad_alloc; here it becomes a Status.
template <class Body>
Status CatchOutOfMemory(const EmbeddingTable& table, const Body& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return OutOfMemory(table.dim(), table.size());
  }
}

// What rows that are set, not updated, mean to eviction. Of a share that keeps
// within a bound it knows the keys; else it does nothing.
class ShareEviction final : public TouchedKeys {
 public:
  // Throws std::bad_alloc.
  ShareEviction(const EvictionMoment& moment, Shard* shard,
                const BatchShare& share)
      : moment_(moment),
        shard_(shard),
        eviction_(shard->eviction()),
        num_keys_(share.count) {
    if (eviction_ == nullptr) return;
    keys_.assign(share.keys, share.keys + share.count);
    std::sort(keys_.begin(), keys_.end());
    eviction_->BeginShare(moment_, shard, num_keys_);
  }
  // Its version being set.
  void Touch(uint32_t row) {
    if (eviction_ == nullptr) return;
    newest_ = std::max(newest_, shard_->rows().meta(row)->version);
    if (shard_->rows().layout().has_recency()) {
      *shard_->rows().recency(row) = eviction_->recency();
    }
  }
  void End() const {
    if (eviction_ == nullptr) return;
    eviction_->Stamped(num_keys_, newest_);
    eviction_->EndShare(moment_, shard_, num_keys_, *this);
  }
  bool Contains(uint64_t /*hash*/, int64_t key) const override {
    return std::binary_search(keys_.begin(), keys_.end(), key);
  }

 private:
  const EvictionMoment moment_;
  Shard* const shard_;
  ShardEviction* const eviction_;
  const int64_t num_keys_;
  uint32_t newest_ = 0;
  std::vector<int64_t> keys_;
};

// The shards of a group, from first to end-1, locked by a writer: those of them
// that have keys, in ascending order. Their views follow even a share that
// failed half way.
class EmbeddingTable::ShareGroup {
 public:
  // As many as together have few keys; one at least, before end.
  ShareGroup(EmbeddingTable* table, const BatchPartition& partition,
             int64_t first, int64_t end)
      : table_(table) {
    int64_t keys = 0;
    for (end_ = first; end_ < end; ++end_) {
      const BatchShare share = partition.share(static_cast<int>(end_));
      if (share.count == 0) continue;
      keys += share.count;
      if (size_ == kMaxShares || (size_ > 0 && keys > kMaxKeys)) break;
      shares_[size_] = share;
      numbers_[size_] = end_;
      ++size_;
      shard(size_ - 1)->lock()->lock();
    }
  }
  ~ShareGroup() {
    for (int i = size_ - 1; i >= 0; --i) {
      table_->views_[numbers_[i]] = shard(i)->view();
      shard(i)->lock()->unlock();
    }
  }
  ShareGroup(const ShareGroup&) = delete;
  ShareGroup& operator=(const ShareGroup&) = delete;

  static constexpr int kMaxShares = 8;
  // Few enough for the first-level cache to keep what was asked for.
  static constexpr int64_t kMaxKeys = 128;

  int64_t end() const { return end_; }
  int size() const { return size_; }
  Shard* shard(int i) const { return table_->shards_[numbers_[i]].get(); }
  const BatchShare& share(int i) const { return shares_[i]; }

 private:
  EmbeddingTable* const table_;
  int64_t end_;
  int size_ = 0;
  BatchShare shares_[kMaxShares];
  int64_t numbers_[kMaxShares];
};

template <class Scratch, class Body>
Status EmbeddingTable::ForEachGroup(const int64_t* keys, int64_t n,
                                    const FoundRows::Batch* found,
                                    Executor* executor, const Body& body) {
  const BatchPartition partition =
      PartitionByShard(keys, n, log2_shards_, executor, found);
  const int num_shards = 1 << log2_shards_;
  const RowWriterLock writer_lock(&update_lock_, &read_gate_);
  std::atomic<bool> out_of_memory{false};
  executor->ParallelFor(num_shards, n * kNanosecondsPerRow / num_shards + 1,
                        [&](int64_t from, int64_t to) {
                          Scratch scratch;
                          while (from < to) {
                            const ShareGroup group(this, partition, from, to);
                            if (!body(group, &scratch)) {
                              out_of_memory.store(true,
                                                  std::memory_order_relaxed);
                            }
                            from = group.end();
                          }
                        });
  if (out_of_memory.load()) throw std::bad_alloc();
  return Status();
}

template <class Body>
Status EmbeddingTable::ForEachShare(const int64_t* keys, int64_t n,
                                    Executor* executor, const Body& body) {
  struct None {};
  return ForEachGroup<None>(keys, n, /*found=*/nullptr, executor,
                            [&](const ShareGroup& group, None*) {
                              bool done = true;
                              for (int i = 0; i < group.size(); ++i) {
                                try {
                                  body(group.shard(i), group.share(i));
                                } catch (const std::bad_alloc&) {
                                  done = false;
                                }
                              }
                              return done;
                            });
}

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_TABLE_INTERNAL_H_
