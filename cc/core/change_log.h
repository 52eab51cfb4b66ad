// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// ChangeLog: which rows of a shard changed, and which keys went, since when.
//
// Time is counted in epochs: the table's epoch moves on by one when a delta
// begins (table.h, StartDelta). A row's mark is the epoch of its last change,
// a tombstone is a removed key with the epoch of its removal. What changed
// since an epoch e is: the rows whose mark is e or later, and the keys whose
// tombstone is. Steps play no part, so nothing is lost where they stand still.
//
// Layout. Marks are four bytes for each row number, beside the rows. Tombstones
// are a ShardIndex from key to epoch, about 16 bytes each.
//
// Invariant: a key has a row or a tombstone, never both, since birth takes the
// tombstone away. There are never more tombstones than twice the rows and
// kMinTombstones: where there would be, they are thrown away and the epoch is
// written to `lost`, which tells everyone who began before that only a full
// save will do. By then that is also the smaller one.
//
// Moment. A writer reads the epoch under its shard's lock. A save first moves
// the epoch on, then takes the lock of one shard after another: a change is
// either in a row when the save copies it, or bears the new epoch, or both.
//
// Thread safety: that of the shard. Failure: std::bad_alloc from the methods
// that reserve; the others never fail.

#ifndef TF_EMBEDDING_CC_CORE_CHANGE_LOG_H_
#define TF_EMBEDDING_CC_CORE_CHANGE_LOG_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "cc/core/index.h"

namespace tf_embedding {

// The clock of a table's logs, and the last epoch whose changes they lack.
struct ChangeClock {
  std::atomic<uint32_t> epoch{1};
  std::atomic<uint32_t> lost{0};

  void Lose() {
    const uint32_t now = epoch.load(std::memory_order_relaxed);
    uint32_t before = lost.load(std::memory_order_relaxed);
    while (before < now && !lost.compare_exchange_weak(
                               before, now, std::memory_order_relaxed)) {
    }
  }
};

class ChangeLog {
 public:
  static constexpr uint64_t kMinTombstones = 4096;

  // Of a shard whose rows end at end: all of them are marked with mark.
  ChangeLog(ChangeClock* clock, int64_t end, uint32_t mark)
      : clock_(clock), marks_(static_cast<size_t>(end), mark) {}

  int64_t bytes() const {
    return static_cast<int64_t>(marks_.capacity() * sizeof(uint32_t)) +
           removed_.bytes();
  }
  uint32_t mark(uint32_t row) const { return marks_[row]; }
  // Rows that are free by now may be among them.
  int64_t CountChanged(uint32_t since) const {
    return std::count_if(marks_.begin(), marks_.end(),
                         [since](uint32_t mark) { return mark >= since; });
  }
  int64_t num_removed() const { return static_cast<int64_t>(removed_.size()); }

  // Before Mark or Born of rows below end.
  void ReserveRows(int64_t end) {
    const auto size = static_cast<size_t>(end);
    if (size > marks_.capacity()) marks_.reserve(size + size / 4);
    if (size > marks_.size()) marks_.resize(size, 0);
  }
  // Before Removed.
  void ReserveRemoval() { removed_.Reserve(1); }

  void Mark(uint32_t row) noexcept { marks_[row] = now(); }
  void Born(uint64_t hash, int64_t key, uint32_t row) noexcept {
    Mark(row);
    if (removed_.size() > 0) removed_.Remove(hash, key);
  }
  // rows: how many the shard has left.
  void Removed(uint64_t hash, int64_t key, uint64_t rows) noexcept {
    if (removed_.size() >= std::max(kMinTombstones, 2 * rows)) {
      clock_->Lose();
      removed_.Clear();
      return;
    }
    Gone(hash, key);
  }
  // However many there are.
  void Gone(uint64_t hash, int64_t key) noexcept {
    removed_.Insert(hash, key, now());
  }
  void Moved(uint32_t from, uint32_t to) noexcept { marks_[to] = marks_[from]; }
  void Truncate(int64_t end) {
    if (static_cast<size_t>(end) < marks_.size()) marks_.resize(end);
    if (marks_.size() < marks_.capacity() / 2) marks_.shrink_to_fit();
  }
  void Clear() {
    clock_->Lose();
    marks_ = {};
    removed_.Clear();
  }

  // Calls visit(key) for every tombstone of epoch since or later.
  template <class Visit>
  void ForEachRemoved(uint32_t since, const Visit& visit) const {
    removed_.ForEach([&](int64_t key, const uint32_t* epoch) {
      if (*epoch >= since) visit(key);
    });
  }
  // Forgets tombstones of before that epoch.
  void Prune(uint32_t before);

 private:
  uint32_t now() const { return clock_->epoch.load(std::memory_order_relaxed); }

  ChangeClock* const clock_;
  std::vector<uint32_t> marks_;  // by row number
  ShardIndex removed_;           // key -> epoch
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_CHANGE_LOG_H_
