// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Two tiers: kernels that move records between the host's memory and a cache of
// bounded size in the device's.
//
// Index, frequency and version of all rows are in device memory; so a search
// and a choice of what leaves the cache never cross the bus. Records, the
// vector and its slots, lie in pinned slabs of the host, which kernels address
// as they address their own memory.
//
//   places[row] == 0   the record is in its slab
//   places[row] == s   it is in slot s - 1 of the cache; its slab is out of
//   date
//
// There is one record of a row at any time, and every kernel finds it through
// RowsView::Record. So what a table holds and answers cannot depend on what is
// in the cache: that decides how fast alone.
//
// The cache is set-associative: row r may be in the kWays slots of set
// r mod sets, and row numbers are dense, so sets fill evenly. Of each slot it
// keeps the row, when it was last used, and whether it was written since it
// came. Times are numbers of promotions. A promotion is two launches:
//
//   TouchCached    marks the slots of the batch's rows as used now
//   PromoteRows  of the other rows each takes a slot of its set, if there is
//   one
//                that was not used in the last kKeptTimes promotions: a free
//                one, else the one that the strategy gives up. The record there
//                goes back to its slab, unless it was not written; the new one
//                is copied in.
//
// A row that finds no slot stays where it is, and the batch works on it there,
// across the bus. So a batch may be larger than the cache. Rows used in the
// last promotions stay, so that what was fetched ahead is there when its batch
// comes.
//
// Which of several rows gets the last slot of a set is a race, and so are the
// counts of hits in a set that is full; contents never are.

#ifndef TF_EMBEDDING_CC_CUDA_TIER_FUNCTORS_H_
#define TF_EMBEDDING_CC_CUDA_TIER_FUNCTORS_H_

#include "cc/cuda/table_view.h"

namespace tf_embedding {

constexpr int kWays = 16;
constexpr uint32_t kKeptTimes = 2;
constexpr uint32_t kFirstTime = kKeptTimes + 1;  // slots start with time 0
constexpr int64_t kCacheCounters = 256;

enum class CacheStrategy { kLru, kLfu };

// Of the cache's slots, in device memory.
struct CacheView {
  uint32_t* used = nullptr;     // the time
  uint32_t* owners = nullptr;   // row + 1; 0: the slot is free
  uint32_t* written = nullptr;  // since the record came
  // kCacheCounters each, to be added up: so that threads do not queue.
  uint64_t* hits = nullptr;
  uint64_t* misses = nullptr;
  uint32_t sets = 0;  // 0: there is no cache
  int ways = 0;
  CacheStrategy strategy = CacheStrategy::kLfu;
};

// Item i: row rows_of_batch[i], which may be kNoRow, and may come often.
struct TouchCached {
  RowsView rows;
  CacheView cache;
  const uint32_t* rows_of_batch;
  uint32_t time;
  bool writes;  // the batch writes the rows, and is counted

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t i) const {
    const uint32_t row = rows_of_batch[i];
    if (row == kNoRow) return;
    const uint32_t place = rows.places[row];
    if (writes) {
      AtomicAdd((place == kNotCached ? cache.misses : cache.hits) +
                    i % kCacheCounters,
                uint64_t{1});
    }
    if (place == kNotCached) return;
    const uint32_t slot = place - 1;
    if (AtomicLoad(cache.used + slot) != time) {
      AtomicStore(cache.used + slot, time);
    }
    if (writes && AtomicLoad(cache.written + slot) == 0) {
      AtomicStore(cache.written + slot, 1);
    }
  }
};

struct PromoteRows {
  RowsView rows;
  CacheView cache;
  const uint32_t* rows_of_batch;
  uint32_t time;
  bool writes;

  template <class Group>
  TFE_DEVICE void operator()(const Group& group, int64_t i) const {
    const uint32_t row = rows_of_batch[i];
    if (row == kNoRow) return;
    uint32_t taken = 0;  // slot + 1
    if (group.rank() == 0) taken = TakeSlot(row);
    taken = group.FromFirst(taken);
    if (taken == 0) return;
    const uint32_t slot = taken - 1;
    const uint32_t owner = AtomicLoad(cache.owners + slot);
    auto* const cached =
        reinterpret_cast<uint32_t*>(rows.cache + int64_t{slot} * rows.stride);
    // A lane has the same words in both copies, so it reads before it writes.
    if (owner != 0 && cache.written[slot] != 0) {
      CopyRecord(group, cached, rows.InSlab(owner - 1));
    }
    CopyRecord(group, reinterpret_cast<const uint32_t*>(rows.InSlab(row)),
               reinterpret_cast<char*>(cached));
    group.Sync();
    if (group.rank() != 0) return;
    if (owner != 0) AtomicStore(rows.places + owner - 1, kNotCached);
    AtomicStore(cache.owners + slot, row + 1);
    cache.written[slot] = writes ? 1 : 0;
    AtomicStore(rows.places + row, slot + 1);
  }

 private:
  static constexpr uint32_t kTaking = 0xFFFFFFFFu;  // a place, in this launch

  template <class Group>
  TFE_DEVICE void CopyRecord(const Group& group, const uint32_t* from,
                             char* to) const {
    auto* const words = reinterpret_cast<uint32_t*>(to);
    const auto n = static_cast<int>(rows.stride / 4);
    for (int w = group.rank(); w < n; w += group.size()) words[w] = from[w];
  }

  // A slot + 1 for the row, whose time is then now, so that nobody else takes
  // it; 0 where there is none, or the row has one, or another item cares.
  TFE_DEVICE uint32_t TakeSlot(uint32_t row) const {
    uint32_t* const place = rows.places + row;
    if (AtomicLoad(place) != kNotCached ||
        AtomicSwapIf(place, kNotCached, kTaking) != kNotCached) {
      return 0;
    }
    const uint32_t first = row % cache.sets * static_cast<uint32_t>(cache.ways);
    for (;;) {
      uint32_t best = 0;  // slot + 1
      uint32_t best_used = 0;
      uint64_t best_worth = 0;
      for (int way = 0; way < cache.ways; ++way) {
        const uint32_t slot = first + static_cast<uint32_t>(way);
        const uint32_t used = AtomicLoad(cache.used + slot);
        if (time - used <= kKeptTimes) continue;
        const uint64_t worth = Worth(slot, used);
        if (best != 0 && worth >= best_worth) continue;
        best = slot + 1;
        best_used = used;
        best_worth = worth;
      }
      if (best == 0) {
        AtomicStore(place, kNotCached);
        return 0;
      }
      if (AtomicSwapIf(cache.used + best - 1, best_used, time) == best_used) {
        return best;
      }
    }
  }

  // What leaves first is worth least.
  TFE_DEVICE uint64_t Worth(uint32_t slot, uint32_t used) const {
    const uint32_t owner = AtomicLoad(cache.owners + slot);
    if (owner == 0) return 0;
    const uint64_t frequency = cache.strategy == CacheStrategy::kLfu
                                   ? rows.Meta(owner - 1)->frequency
                                   : 0;
    return (frequency << 32 | used) + 1;
  }
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CUDA_TIER_FUNCTORS_H_
