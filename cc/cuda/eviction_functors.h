// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of eviction (cc/core/eviction.h says what rules and bounds are).
//
// A table that evicts keeps a RowOwner beside each row, so it can go through
// its rows by number, which is how they lie in memory, and needs no walk of the
// index. Row numbers are a function of the batches alone, so what a slice of a
// sweep meets is too.
//
//   Mark      taken[i] = 1 where row first + i is to go: by rules, or because
//             it is not above the threshold of a selection
//   prefix sum over taken
//   Evict     removes the keys of those rows, and puts the rows on the free
//             list, in the order of their numbers; where evicted rows are
//             collected it copies them into the ring first
//   CountEvicted   one item
//
// Selection: the k rows that are first in the order (priority, version, key),
// where k is what the table is beyond its bound. The threshold is found digit
// by digit, from the highest down, as by a radix sort that follows one bucket
// only: CountDigits counts the next digit of the rows that agree with the
// threshold so far, PickDigit (one item) takes the bucket in which the k-th
// lies. As keys differ, k rows exactly are not above it. Rows that the batch
// under way touched are passed over. Where nothing is beyond the bound every
// launch ends at once; a host that does not know may ask for nothing.
//
// Cost: a pass reads 24 bytes a row, in the order in which they lie; a
// selection makes a pass for each digit of eight bits in use until the bucket
// is taken whole, and one more to mark.

#ifndef TF_EMBEDDING_CC_CUDA_EVICTION_FUNCTORS_H_
#define TF_EMBEDDING_CC_CUDA_EVICTION_FUNCTORS_H_

#include "cc/core/eviction.h"
#include "cc/cuda/apply_functors.h"
#include "cc/cuda/table_functors.h"

namespace tf_embedding {

constexpr int kDigitBits = 8;
constexpr uint32_t kDigitBins = 1u << kDigitBits;
// Items that count digits, each of a part of the rows.
constexpr int64_t kDigitItems = int64_t{1} << 16;

// Where a row stands in the order of a bound: words, the first one first.
struct EvictRank {
  static constexpr int kWords = 3;
  uint64_t words[kWords];
};

TFE_DEVICE EvictRank RankOf(EvictOrder order, const RowMeta& meta,
                            const RowOwner& owner) {
  EvictRank rank = {};
  // By version alone the first word is the second.
  if (order == EvictOrder::kLru) rank.words[0] = owner.touched;
  if (order == EvictOrder::kLfu) rank.words[0] = meta.frequency;
  rank.words[1] = meta.version;
  // So that negative keys come first.
  rank.words[2] = static_cast<uint64_t>(owner.key) ^ (uint64_t{1} << 63);
  return rank;
}

// Of a bound, in device memory.
struct EvictSelection {
  uint64_t wanted = 0;     // rows to take
  uint64_t remaining = 0;  // of them, those in the bucket that is followed
  uint32_t done = 1;       // the threshold is known
  EvictRank threshold = {};
  uint32_t bins[kDigitBins] = {};
};

// One item: how many rows are to go. A table beyond max_rows goes back to
// low_rows.
struct BeginSelection {
  const TableCounters* counters;
  int64_t max_rows;
  int64_t low_rows;
  EvictSelection* selection;

  template <class Group>
  TFE_DEVICE void operator()(const Group& group, int64_t) const {
    if (group.rank() != 0) return;
    const int64_t size = counters->size;
    const int64_t beyond = size > max_rows ? size - low_rows : 0;
    selection->wanted = static_cast<uint64_t>(beyond);
    selection->remaining = selection->wanted;
    selection->done = beyond == 0 ? 1 : 0;
    selection->threshold = EvictRank{};
    for (uint32_t b = 0; b < kDigitBins; ++b) selection->bins[b] = 0;
  }
};

// The rows that a sweep looks at: those below end that have a key and that the
// batch under way did not touch.
TFE_DEVICE bool MayGo(const DeviceView& table, const RowOwner& owner) {
  return owner.touched != kFreeRow && owner.touched != table.batch;
}

// Item t of num_items: counts a digit of every num_items-th row that agrees
// with the threshold above it.
struct CountDigits {
  DeviceView table;
  EvictOrder order;
  int word;
  int shift;  // of the digit
  int64_t num_items;
  EvictSelection* selection;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t t) const {
    if (selection->done != 0) return;
    const EvictRank threshold = selection->threshold;
    // Rows side by side often have the same digit: a run is added at once.
    uint32_t digit = 0, run = 0;
    const int64_t end = table.counters->end;
    for (int64_t r = t; r < end; r += num_items) {
      const auto row = static_cast<uint32_t>(r);
      const RowOwner owner = *table.rows.Owner(row);
      if (!MayGo(table, owner)) continue;
      const EvictRank rank = RankOf(order, *table.rows.Meta(row), owner);
      if (!Agrees(rank, threshold)) continue;
      const auto mine =
          static_cast<uint32_t>(rank.words[word] >> shift) & (kDigitBins - 1);
      if (mine != digit) {
        if (run != 0) AtomicAdd(selection->bins + digit, run);
        digit = mine;
        run = 0;
      }
      ++run;
    }
    if (run != 0) AtomicAdd(selection->bins + digit, run);
  }

 private:
  TFE_DEVICE bool Agrees(const EvictRank& rank,
                         const EvictRank& threshold) const {
    for (int w = 0; w < EvictRank::kWords; ++w) {
      if (w < word && rank.words[w] != threshold.words[w]) return false;
      if (w == word && shift + kDigitBits < 64 &&
          rank.words[w] >> (shift + kDigitBits) !=
              threshold.words[w] >> (shift + kDigitBits)) {
        return false;
      }
    }
    return true;
  }
};

// One item: the threshold's next digit.
struct PickDigit {
  int word;
  int shift;
  EvictSelection* selection;

  template <class Group>
  TFE_DEVICE void operator()(const Group& group, int64_t) const {
    if (group.rank() != 0 || selection->done != 0) return;
    uint64_t before = 0;
    bool found = false;
    for (uint32_t digit = 0; digit < kDigitBins; ++digit) {
      const uint32_t count = selection->bins[digit];
      selection->bins[digit] = 0;
      if (found) continue;
      if (before + count < selection->remaining) {
        before += count;
        continue;
      }
      found = true;
      selection->threshold.words[word] |= uint64_t{digit} << shift;
      selection->remaining -= before;
      // A bucket that goes whole: whatever comes after this digit.
      if (count == selection->remaining) TakeAllBelow(shift);
    }
    // There are no more than that many rows that may go: all do.
    if (!found) {
      selection->threshold.words[0] = ~uint64_t{0};
      TakeAllBelow(64);
    }
  }

 private:
  TFE_DEVICE void TakeAllBelow(int bits) const {
    for (int w = 0; w < EvictRank::kWords; ++w) {
      if (w > word || bits == 64) selection->threshold.words[w] = ~uint64_t{0};
      if (w == word && bits < 64) {
        selection->threshold.words[w] |= (uint64_t{1} << bits) - 1;
      }
    }
    selection->done = 1;
  }
};

// Item i: whether row first + i is not above the threshold.
struct MarkSelected {
  DeviceView table;
  EvictOrder order;
  const EvictSelection* selection;
  int64_t first;
  uint32_t* taken;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t i) const {
    taken[i] = Taken(first + i) ? 1 : 0;
  }

 private:
  TFE_DEVICE bool Taken(int64_t r) const {
    if (selection->wanted == 0 || r >= table.counters->end) return false;
    const auto row = static_cast<uint32_t>(r);
    const RowOwner owner = *table.rows.Owner(row);
    if (!MayGo(table, owner)) return false;
    const EvictRank rank = RankOf(order, *table.rows.Meta(row), owner);
    for (int w = 0; w < EvictRank::kWords; ++w) {
      const uint64_t bound = selection->threshold.words[w];
      if (rank.words[w] != bound) return rank.words[w] < bound;
    }
    return true;
  }
};

// What rules of eviction ask of a row.
struct RuleBounds {
  EvictionOptions::Rules rules;
  EvictionMoment moment;
  int64_t steps_to_live;
  float l2_threshold;
  int64_t min_frequency;
  double decay;
  // In the background of a batch its rows, and those of its step, are spared.
  bool spares;
};

// Item i: whether a rule takes row first + i. kNorm: whether that by norm runs,
// whose groups have a lane for each of the columns that are summed side by
// side.
template <bool kNorm>
struct MarkByRules {
  DeviceView table;
  RuleBounds by;
  int64_t first;
  uint32_t* taken;

  template <class Group>
  TFE_DEVICE void operator()(const Group& group, int64_t i) const {
    const int64_t r = first + i;
    const auto row = static_cast<uint32_t>(r);
    const bool live =
        r < table.counters->end && table.rows.Owner(row)->touched != kFreeRow;
    float norm = 0;
    if constexpr (kNorm) {
      if (live) {
        const float* const record = table.rows.Record(row);
        norm = SumColumns(group, table.rows.dim, [&](int c) {
          const float x = table.rows.Value(record, c);
          return x * x;
        });
      }
    }
    if (group.rank() == 0) taken[i] = live && Takes(row, norm) ? 1 : 0;
  }

 private:
  TFE_DEVICE bool Takes(uint32_t row, float norm) const {
    RowMeta* const meta = table.rows.Meta(row);
    bool takes = false;
    if (by.rules.frequency) {
      meta->frequency = static_cast<uint32_t>(meta->frequency * by.decay);
      takes = meta->frequency < by.min_frequency;
    }
    if (by.rules.steps) {
      takes |= by.moment.step - int64_t{meta->version} > by.steps_to_live;
    }
    if (by.rules.seconds) takes |= meta->version < by.moment.first_live_step;
    if (kNorm) takes |= 0.5f * norm < by.l2_threshold;
    return takes && !(by.spares && (meta->version == by.moment.step ||
                                    !MayGo(table, *table.rows.Owner(row))));
  }
};

// The rows that were taken last, as a ring; without room none are kept.
struct EvictedRing {
  int64_t room = 0;
  DeviceColumns columns = {};
};

// Item i: row first + i goes, if it is taken. Of the rows taken before it the
// table has tallied some, and ranks[i] are of this launch.
struct EvictRows {
  DeviceView table;
  int64_t first;
  int64_t n;
  const uint32_t* taken;
  const uint32_t* ranks;
  EvictedRing ring;

  template <class Group>
  TFE_DEVICE void operator()(const Group& group, int64_t i) const {
    if (taken[i] == 0) return;
    const auto row = static_cast<uint32_t>(first + i);
    RowOwner* const owner = table.rows.Owner(row);
    const int64_t key = owner->key;
    const uint32_t rank = ranks[i];
    // Of more than there is room for the last stay.
    const int64_t count = int64_t{ranks[n - 1]} + taken[n - 1];
    if (count - rank <= ring.room) {
      const int64_t place = static_cast<int64_t>(
          (table.tallies->evicted + rank) % static_cast<uint64_t>(ring.room));
      CopyRow(group, table.rows, row, key, place, ring.columns);
    }
    group.Sync();
    if (group.rank() != 0) return;
    RemoveKey(table.index, key);
    owner->touched = kFreeRow;
    table.free_rows[table.counters->free + rank] = row;
    // It leaves the cache before others do.
    if (table.rows.metas != nullptr) table.rows.Meta(row)->frequency = 0;
  }
};

// One item, after EvictRows.
struct CountEvicted {
  int64_t n;
  const uint32_t* taken;
  const uint32_t* ranks;
  TableCounters* counters;
  TableTallies* tallies;

  template <class Group>
  TFE_DEVICE void operator()(const Group& group, int64_t) const {
    if (group.rank() != 0) return;
    const uint32_t count = ranks[n - 1] + taken[n - 1];
    counters->free += count;
    counters->size -= count;
    tallies->evicted += count;
  }
};

// Item j: the row at place j of a sorted batch is touched by the batch.
struct TouchRows {
  DeviceView table;
  SortedBatch batch;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t j) const {
    if (batch.IsFirst(j))
      table.rows.Owner(batch.rows[j])->touched = table.batch;
  }
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CUDA_EVICTION_FUNCTORS_H_
