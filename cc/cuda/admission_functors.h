// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of admission (cc/core/admission.h says what filters are): they run in
// an update between finding the leaders of keys without rows (table_functors.h)
// and giving birth to rows.
//
// CountOccurrences adds up what each such key has in the batch. One kernel a
// kind of filter then decides: a refused leader is no leader any more. The
// candidates of a counting filter are an index of their own, with the count in
// the place of the row number; finding, removing and inserting in it are three
// launches, as table_view.h asks for.
//
// What is decided is the CPU's, key by key: sums of integers do not depend on
// an order, draws are hashes, and a segment of a Bloom filter is one item,
// which takes its keys in position order.
//
// Cost: a batch whose keys all have rows reads one flag a launch. Else an item
// a position, two or three dependent accesses each; a Bloom filter sorts the
// batch by segment and has 1,024 items, each of its keys two accesses deep.

#ifndef TF_EMBEDDING_CC_CUDA_ADMISSION_FUNCTORS_H_
#define TF_EMBEDDING_CC_CUDA_ADMISSION_FUNCTORS_H_

#include "cc/core/admission.h"
#include "cc/core/admission_math.h"
#include "cc/cuda/apply_functors.h"
#include "cc/cuda/table_functors.h"

namespace tf_embedding {

constexpr uint32_t kNumSegments = 1u << kLog2Segments;
// Items that add up a batch, each a part of it.
constexpr int64_t kTallyItems = 4096;

// What became of the leader at a position.
enum class Decision : uint32_t {
  kNone,      // no leader
  kAdmitted,  // had no count
  kPromoted,  // was a candidate
  kRefused,   // its count is kept, where the filter keeps one
  kCandidate  // refused, and to become a candidate
};

// Item i: adds position i to the occurrences of its leader, which start at 0.
struct CountOccurrences {
  const uint32_t* rows;
  const uint32_t* scratch;
  const uint64_t* slot_of;
  Gradients gradients;  // their counts
  uint64_t* occurrences;
  const uint32_t* wanted;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t i) const {
    if (Idle(wanted) || rows[i] != kNoRow) return;
    AtomicAdd(occurrences + scratch[slot_of[i]],
              static_cast<uint64_t>(gradients.Count(static_cast<uint32_t>(i))));
  }
};

// What the decisions of a batch are written to, by position.
struct Decisions {
  uint32_t* leaders;
  // In: of the batch. Out: of a key that is admitted those before it, of
  // another still of the batch.
  int64_t* occurrences;
  Decision* decisions;

  // Whether there is a leader at i to decide on.
  TFE_DEVICE bool Begin(const uint32_t* wanted, int64_t i) const {
    if (!Idle(wanted) && leaders[i] != 0) return true;
    decisions[i] = Decision::kNone;
    return false;
  }
  TFE_DEVICE void Admit(int64_t i, int64_t before, Decision how) const {
    occurrences[i] = before;
    decisions[i] = how;
  }
  TFE_DEVICE void Refuse(int64_t i, Decision how) const {
    leaders[i] = 0;
    decisions[i] = how;
  }
};

// Item i: decides on the leader at i by its exact count.
struct AskCounter {
  IndexView candidates;
  const int64_t* keys;
  int64_t filter_freq;
  Decisions out;
  const uint32_t* wanted;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t i) const {
    if (!out.Begin(wanted, i)) return;
    uint32_t* const count = FindSlot(candidates, keys[i]);
    const int64_t before = count == nullptr ? 0 : *count;
    const int64_t total = before + out.occurrences[i];
    if (total >= filter_freq) {
      out.Admit(i, before,
                count == nullptr ? Decision::kAdmitted : Decision::kPromoted);
      return;
    }
    if (count != nullptr) *count = Kept(total);
    out.Refuse(i, count == nullptr ? Decision::kCandidate : Decision::kRefused);
  }

  static TFE_DEVICE uint32_t Kept(int64_t total) {
    return total < kMaxCandidateCount ? static_cast<uint32_t>(total)
                                      : kMaxCandidateCount;
  }
};

// Item i: the leader at i, if it was promoted, is no candidate any more.
struct DropPromoted {
  IndexView candidates;
  const int64_t* keys;
  const Decision* decisions;
  const uint32_t* wanted;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t i) const {
    if (Idle(wanted) || decisions[i] != Decision::kPromoted) return;
    RemoveKey(candidates, keys[i]);
  }
};

// Item i: the leader at i, if it is new to the filter, becomes a candidate.
struct AddCandidates {
  IndexView candidates;
  const int64_t* keys;
  const int64_t* occurrences;
  const Decision* decisions;
  const uint32_t* wanted;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t i) const {
    if (Idle(wanted) || decisions[i] != Decision::kCandidate) return;
    InsertKey(candidates, keys[i], AskCounter::Kept(occurrences[i]));
  }
};

// Item i: decides on the leader at i by a draw for each occurrence.
struct AskDraws {
  const int64_t* keys;
  uint64_t draw_seed;
  double probability;
  Decisions out;
  const uint32_t* wanted;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t i) const {
    if (!out.Begin(wanted, i)) return;
    if (DrawAdmits(draw_seed, MixKey(keys[i]), probability,
                   out.occurrences[i])) {
      out.Admit(i, 0, Decision::kAdmitted);
    } else {
      out.Refuse(i, Decision::kRefused);
    }
  }
};

// Item i: the segment of the leader at i, one more than all for the rest.
struct FindSegments {
  const int64_t* keys;
  const uint32_t* leaders;
  uint32_t* segments;
  Decision* decisions;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t i) const {
    segments[i] = leaders[i] == 0 ? kNumSegments
                                  : ShardOfHash(MixKey(keys[i]), kLog2Segments);
    decisions[i] = Decision::kNone;
  }
};

// Item s: decides on the leaders of segment s, in position order.
struct AskBloom {
  BloomShape shape;
  void* counters;
  const int64_t* keys;
  const uint32_t* sorted_segments;
  const uint32_t* positions;
  int64_t n;
  int64_t filter_freq;
  Decisions out;
  const uint32_t* wanted;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t s) const {
    if (Idle(wanted)) return;
    const auto segment = static_cast<uint32_t>(s);
    int64_t low = 0, high = n;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (sorted_segments[middle] < segment) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    for (int64_t j = low; j < n && sorted_segments[j] == segment; ++j) {
      const int64_t i = positions[j];
      const int64_t occurrences = out.occurrences[i];
      const uint64_t hash = MixKey(keys[i]);
      const int64_t total = CountToInt64(
          WithCounters(counters, shape.counter_bytes, [&](auto* typed) {
            return BloomRaise(typed, shape, hash, occurrences);
          }));
      if (total >= filter_freq) {
        out.Admit(i, total - occurrences, Decision::kAdmitted);
      } else {
        out.Refuse(i, Decision::kRefused);
      }
    }
  }
};

// Item t of num_items: counts what was decided at every num_items-th position.
struct TallyDecisions {
  const int64_t* occurrences;
  const Decision* decisions;
  int64_t n;
  int64_t num_items;
  TableCounters* counters;
  TableTallies* tallies;
  const uint32_t* wanted;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t t) const {
    if (Idle(wanted)) return;
    uint64_t admitted = 0, refused = 0;
    uint64_t candidates = 0;  // modulo 2^64
    for (int64_t i = t; i < n; i += num_items) {
      const Decision decision = decisions[i];
      if (decision == Decision::kNone) continue;
      if (decision == Decision::kAdmitted || decision == Decision::kPromoted) {
        ++admitted;
        if (decision == Decision::kPromoted) --candidates;
      } else {
        refused += static_cast<uint64_t>(occurrences[i]);
        if (decision == Decision::kCandidate) ++candidates;
      }
    }
    if (admitted != 0) AtomicAdd(&tallies->admitted, admitted);
    if (refused != 0) AtomicAdd(&tallies->refused, refused);
    if (candidates != 0) AtomicAdd(&counters->candidates, candidates);
  }
};

// Item i: keys[i], if leaders is null or says so, is no candidate any more.
struct ForgetCandidates {
  IndexView candidates;
  const int64_t* keys;
  const uint32_t* leaders;
  TableCounters* counters;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t i) const {
    if (leaders != nullptr && leaders[i] == 0) return;
    if (RemoveKey(candidates, keys[i])) {
      AtomicAdd(&counters->candidates, ~uint64_t{0});
    }
  }
};

// Item i: what the filter has counted of keys[i], if that has no row.
struct CountAbsent {
  IndexView candidates;
  BloomShape shape;
  void* counters;  // of a Bloom filter, else null
  const int64_t* keys;
  const bool* found;
  int64_t* frequency;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t i) const {
    if (found[i]) return;
    const int64_t key = keys[i];
    if (counters == nullptr) {
      const uint32_t count = FindRow(candidates, key);
      frequency[i] = count == kNoRow ? 0 : count;
      return;
    }
    frequency[i] = CountToInt64(
        WithCounters(counters, shape.counter_bytes, [&](const auto* typed) {
          return BloomCount(typed, shape, MixKey(key));
        }));
  }
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CUDA_ADMISSION_FUNCTORS_H_
