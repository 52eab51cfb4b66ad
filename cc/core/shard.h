// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Shard: one part of a table, by the high bits of the hash: an index, the rows,
// and the lock that guards both. The locks of a table's shards lie side by
// side, apart from the shards: a lookup takes all of them, and sixteen to a
// cache line are one line to fetch from the processor that had it last, not
// sixteen.
//
// Invariant, whenever the lock is free: the index maps each of its keys to a
// row number below rows.end(), no two keys to the same one, and the row numbers
// that no key has are exactly rows.free_rows().
//
// Changes. While a consumer of deltas is there, a ChangeLog marks the rows that
// change and keeps the keys that go. Insert, Remove, Compact and Clear tell it;
// whoever writes into a row that was there calls MarkChanged.
//
// Thread safety: every method needs the lock: const ones as a reader, the
// others as the writer. Failure: std::bad_alloc; the invariant holds.

#ifndef TF_EMBEDDING_CC_CORE_SHARD_H_
#define TF_EMBEDDING_CC_CORE_SHARD_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "cc/core/change_log.h"
#include "cc/core/found_rows.h"
#include "cc/core/index.h"
#include "cc/core/isa.h"
#include "cc/core/row_store.h"
#include "cc/core/spin_lock.h"
#include "cc/core/stats.h"

namespace tf_embedding {

class ShardEviction;

// What a bound wants to know of rows that come and move (eviction.h).
struct BoundNotes {
  struct Birth {
    int64_t key;
    uint32_t row;
  };
  std::vector<Birth> births;  // not queued yet
  // Of each row, while the queue is renewed: whether it stands in the new one.
  bool renewing = false;
  std::vector<bool> renewed;

  void Reserve(int64_t n, int64_t end) {
    const auto more = static_cast<size_t>(n);
    if (births.capacity() - births.size() < more) {
      births.reserve(births.size() * 2 + more);
    }
    if (renewing && renewed.size() < static_cast<size_t>(end) + more) {
      renewed.resize(static_cast<size_t>(end) + more);
    }
  }
  void Born(int64_t key, uint32_t row) noexcept {
    births.push_back({key, row});
    if (renewing) renewed[row] = false;
  }
  void Moved(uint32_t from, uint32_t to) noexcept {
    if (renewing) renewed[to] = renewed[from];
  }
};

// What the shards of a table share.
struct TableMemory {
  TableMemory(const RowLayout& layout, int64_t num_shards)
      : rows(layout.slab_bytes()), index(num_shards) {}

  SlabArena rows;
  SparePages index;
  FoundRows found;
};

class Shard {
 public:
  // memory and lock outlive the shard.
  Shard(double phase, const RowLayout& layout, TableMemory* memory,
        SharedSpinLock* lock)
      : lock_(lock),
        found_(&memory->found),
        index_(phase, &memory->index),
        rows_(layout, &memory->rows) {}

  SharedSpinLock* lock() const { return lock_; }

  const ShardIndex& index() const { return index_; }
  const RowStore& rows() const { return rows_; }
  ShardView view() const {
    if (index_.num_buckets() == 0) return ShardView{};
    return ShardView{index_.buckets(), rows_.slabs(), rows_.first_slab(),
                     index_.num_buckets()};
  }
  // The last moment of FoundRows in which a row was freed or moved.
  uint64_t moved_at() const { return moved_at_; }
  int64_t bytes() const { return index_.bytes() + rows_.bytes(); }
  const ShardCounters& counters() const { return counters_; }
  ShardCounters& counters() { return counters_; }

  // What evicts its rows; null if nothing does. notes: of its bound, null if it
  // has none. Both outlive the shard.
  void Attach(ShardEviction* eviction, BoundNotes* notes) {
    eviction_ = eviction;
    notes_ = notes;
  }
  ShardEviction* eviction() const { return eviction_; }

  // Null while there is no consumer of deltas.
  const ChangeLog* changes() const { return changes_.get(); }
  void set_changes(std::unique_ptr<ChangeLog> changes) {
    changes_ = std::move(changes);
  }
  void PruneChanges(uint32_t before) {
    if (changes_ != nullptr) changes_->Prune(before);
  }
  void MarkChanged(uint32_t row) noexcept {
    if (changes_ != nullptr) changes_->Mark(row);
  }
  // Of a key without a row, in a shard with a log.
  void MarkGone(uint64_t hash, int64_t key) {
    changes_->ReserveRemoval();
    changes_->Gone(hash, key);
  }

  // Makes room for n more keys. Call before Insert; may move the first rows.
  void Reserve(int64_t n) {
    index_.Reserve(n);
    rows_.Reserve(n);
    if (notes_ != nullptr) notes_->Reserve(n, rows_.end());
    if (changes_ != nullptr) changes_->ReserveRows(rows_.end() + n);
  }

  // The key must be absent, and room reserved. The row's record and meta are
  // undefined.
  uint32_t Insert(uint64_t hash, int64_t key) noexcept {
    const uint32_t row = rows_.Allocate();
    index_.Insert(hash, key, row);
    ++counters_.inserted;
    if (notes_ != nullptr) notes_->Born(key, row);
    if (rows_.layout().has_recency()) *rows_.recency(row) = 0;
    if (changes_ != nullptr) changes_->Born(hash, key, row);
    return row;
  }

  // Whether the key was there. The caller counts why it went. What the row held
  // can be read until the next Insert.
  bool Remove(uint64_t hash, int64_t key) {
    rows_.ReserveRelease();
    if (changes_ != nullptr) changes_->ReserveRemoval();
    const uint32_t row = index_.Remove(hash, key);
    if (row == kNoRow) return false;
    moved_at_ = found_->now();
    rows_.Release(row);
    if (changes_ != nullptr) changes_->Removed(hash, key, index_.size());
    return true;
  }

  // Gives memory back once a fifth of the rows is free, and a few: moves the
  // last rows into the holes. Call after a batch of Remove.
  void Compact(const RowLayout& layout);

  void Clear();

  // Takes over the keys, vectors and metas of a shard of another layout, this
  // one being empty; init_slots(record) then writes the slots of each.
  template <class InitSlots>
  void CopyRows(const Shard& other, int dim, const InitSlots& init_slots);

 private:
  SharedSpinLock* const lock_;
  const FoundRows* const found_;
  ShardIndex index_;
  RowStore rows_;
  uint64_t moved_at_ = 0;
  ShardCounters counters_;
  ShardEviction* eviction_ = nullptr;
  BoundNotes* notes_ = nullptr;
  std::unique_ptr<ChangeLog> changes_;
};

template <class InitSlots>
void Shard::CopyRows(const Shard& other, int dim, const InitSlots& init_slots) {
  Reserve(static_cast<int64_t>(other.index_.size()));
  other.index_.ForEach([&](int64_t key, const uint32_t* from) {
    const uint32_t row = Insert(MixKey(key), key);
    float* const record = rows_.record(row);
    std::copy_n(other.rows_.record(*from), dim, record);
    init_slots(record);
    *rows_.meta(row) = *other.rows_.meta(*from);
  });
}

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_SHARD_H_
