// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// FoundRows: the rows that lookups found, for the update of the same keys.
//
// A training step looks its keys up, and a moment later updates them, in the
// same order. To find the rows once more would cost the update a line of the
// index a key, from memory where the table is large. So a lookup of a table in
// training keeps its keys and their row numbers here, and an update whose keys
// are the same, all of them and in order, takes them over. What an update does
// is the same with them and without: they say where a row is, never whether it
// is due.
//
// A row number is good until its shard frees or moves a row. Each lookup begins
// a moment of its own, and a shard notes the last moment in which it did either
// (Shard::moved_at): what was found at a later one still holds. A key that had
// no row may have got one since, and is searched as ever.
//
// Lookups that no update follows, as in serving, keep nothing: an update that
// comes to take something allows the next kAllowed lookups to. After kTries of
// them in vain only one in kPatience does. Those of a table with a bound do not
// come at all: they free rows while they run.
//
// Cost. 12 bytes a key from a lookup to its update. An update forgets what
// older lookups kept: steps come in order, and what no update followed by then
// was not read for one; an update in vain, once it allows nothing, forgets all,
// and so does the lookup that is the kUnfollowed-th in a row to keep nothing:
// no update is coming. The memory serves the next lookup, while it is
// no more than one kPartOfRows-th of the rows. So between two steps there is
// one batch or none, kMaxBatches at most, and none when training is over.
//
// Thread safety: all methods, from any thread; a batch is its holder's alone.
// Failure: none; without memory nothing is kept.

#ifndef TF_EMBEDDING_CC_CORE_FOUND_ROWS_H_
#define TF_EMBEDDING_CC_CORE_FOUND_ROWS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace tf_embedding {

class FoundRows {
 public:
  // What one lookup found: rows[i] is the row number of keys[i], or kNoRow.
  struct Batch {
    int64_t n = 0;
    uint64_t moment = 0;
    int64_t capacity = 0;
    std::unique_ptr<int64_t[]> keys;
    std::unique_ptr<uint32_t[]> rows;
  };

  FoundRows() { kept_.reserve(kMaxBatches); }
  FoundRows(const FoundRows&) = delete;
  FoundRows& operator=(const FoundRows&) = delete;

  // The moment of the last lookup that keeps something. Loaded with the shard's
  // lock held by a writer it is at least that of any lookup that has read the
  // shard, and Start's came before that lookup read.
  uint64_t now() const { return now_.load(std::memory_order_relaxed); }

  // Whether lookups keep what they find: the table is in training.
  bool expects_update() const {
    return allowed_.load(std::memory_order_relaxed) > 0;
  }

  // Before a lookup of n keys reads: where to write what it finds; null where
  // that is not worth its while.
  std::unique_ptr<Batch> Start(int64_t n) noexcept;
  // After it has.
  void Keep(std::unique_ptr<Batch> batch) noexcept;

  // For an update: what was kept of a lookup of as many keys, a sample of which
  // is the same; null if there is none.
  std::unique_ptr<Batch> Take(const int64_t* keys, int64_t n) noexcept;
  // When that is done: its memory. The rows of the table take so many bytes.
  void GiveBack(std::unique_ptr<Batch> batch, int64_t bytes_of_rows) noexcept;

  // Held.
  int64_t bytes() const;

 private:
  static constexpr size_t kMaxBatches = 4;
  static constexpr int64_t kMaxKeys = int64_t{1} << 20;  // of a batch
  static constexpr int kAllowed = 2;
  static constexpr int kUnfollowed = 8;
  static constexpr int64_t kTries = 4;
  static constexpr int64_t kPatience = 64;
  static constexpr int64_t kPartOfRows = 8;

  std::atomic<uint64_t> now_{0};
  // How many lookups may still keep what they find; below 0 how many may not
  // any more, kUnfollowed and those that came together with it at most.
  std::atomic<int> allowed_{0};
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Batch>> kept_;  // oldest first
  std::unique_ptr<Batch> spare_;              // without content
  int64_t in_vain_ = 0;  // updates since one took something
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_FOUND_ROWS_H_
