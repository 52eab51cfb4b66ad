// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Eviction: which rows are given back, and when.
//
// Two kinds of reasons, any number of them at once.
//
// Rules look at one row alone: its age in steps or in seconds, the norm of its
// vector, its frequency. A sweep asks them of each row in turn, in the order of
// the low half of the keys' hashes (ShardIndex::ForEachInRange), so that a pass
// meets each row that stays exactly once, however the index grows and moves
// keys. A rule runs in the background of updates (kApply): each share of a
// batch sweeps a slice of its shard's index, twice as many rows as the share
// has keys, so that a pass takes no longer than updating half of the rows
// would. Or it runs over all rows when the table is saved (kSave), as those in
// the background do then too, but for the one by frequency. Asked for by Evict,
// all rules run over all rows. In the background a row of the batch, or whose
// version is its step, is never taken.
//
//   steps       step - version > steps_to_live
//   seconds     updated longer ago: versions are told to steps by a short log
//               of (time, step) pairs, StepClock
//   l2          half the squared L2 norm of the vector < l2_threshold
//   frequency   a pass first multiplies each frequency by decay, rounds down,
//               and takes the row if less than min_frequency is left. In the
//               background a pass begins when a batch comes whose step has
//               reached the next multiple of every_steps.
//
// A bound limits the rows of the table, or their bytes: each shard has its
// share of it, and after a share of a batch takes rows, those that are first in
// an order, until it is within its bound. Rows of the share itself are spared,
// so one that is larger than the bound exceeds it until the next.
//
//   lru         by the shard's own clock, kept beside frequency and version. It
//               advances from batch to batch, but waits until a 1,024th of the
//               bound was touched: in small shards it tells batches apart, in
//               large ones it tells that much. It does not need steps that
//               move.
//   lfu         by frequency, exact below 1,024 and in 64 steps an octave
//   above;
//               among equals, queued first goes first: first born, or first
//               found to be more frequent.
//   version     by the step of the last update; among equals the same.
//
// Each row stands in its shard's EvictionQueue, from its birth on, under the
// priority that it had when it was put there. An update does not touch the
// queue. To find the first row of all, the front of the queue is looked at: a
// key without a row is dropped; one of the share is put aside until its end;
// one whose row has a higher priority by now is queued again under that; else,
// as no row stands under more than it has, it is the first. So an eviction pays
// for births and for the rows that were touched since they were queued, each
// once. A share with many births makes room before it goes on, so that rows
// come and go in the same memory.
//
// A bound spares rows of the step at hand too, those of earlier shares: where
// steps go up, and as long as these rows and the keys of the share are no more
// than the bound, so that it holds. They are put aside until the step moves. A
// step that some row had before it began (steps that go back, updates of two
// steps in turn) spares only the rows of the share.
//
// Removals and sweeps leave keys without rows in the queue, and keys that come
// again stand in it twice. When such are half as many as rows, the queue is
// renewed: each share moves a few keys from its front to a second queue, in
// their order and under their priorities, until the first is empty;
// BoundNotes::renewed tells which rows stand in the second. What is taken does
// not depend on it. A pass of decays gives each list of the queue its new
// priority when it begins, and from then on all rows count as decayed. So
// only three things go over all rows of a shard at once: the first share after
// another content took the table's place (a restore, another rule's slots),
// which sorts them; Shard::Compact, when a fifth of them went and none came;
// and once in 2^31 ticks the clock of "lru". What can add up is rows that were
// touched while nothing was taken: the first evictions after that look at them,
// each once. No checkpoint holds the queue: after a restore "lru" begins with
// the order of versions.
//
// Rows taken can be kept for whoever asks: the last collect / shards of each
// shard; older ones are dropped, and counted.
//
// What is taken is a function of what the shard was told, in that order: not of
// threads. It depends on the number of shards and parts, because bounds are
// theirs.
//
// Thread safety: the shard's lock guards a ShardEviction, for writing.
// Eviction's own methods may be called from any thread. Failure:
// std::bad_alloc; then the queue is sorted anew at the next share.

#ifndef TF_EMBEDDING_CC_CORE_EVICTION_H_
#define TF_EMBEDDING_CC_CORE_EVICTION_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "cc/core/eviction_queue.h"
#include "cc/core/row_chunk.h"
#include "cc/core/shard.h"
#include "cc/core/status.h"

namespace tf_embedding {

enum class EvictWhen { kApply, kSave, kRequest };
enum class EvictOrder { kLru, kLfu, kVersion };

// "apply", "save" or "request"; "lru", "lfu" or "version".
Status ParseEvictWhen(const std::string& name, EvictWhen* when);
Status ParseEvictOrder(const std::string& name, EvictOrder* order);

// Zero leaves a rule or a bound out.
struct EvictionOptions {
  int64_t steps_to_live = 0;
  EvictWhen steps_when = EvictWhen::kApply;
  double seconds = 0;
  EvictWhen seconds_when = EvictWhen::kApply;
  float l2_threshold = 0;
  EvictWhen l2_when = EvictWhen::kApply;
  int64_t min_frequency = 0;
  double decay = 1;
  int64_t every_steps = 1;
  EvictWhen frequency_when = EvictWhen::kApply;

  int64_t max_keys = 0;
  int64_t max_bytes = 0;
  EvictOrder order = EvictOrder::kLru;

  int64_t collect = 0;  // rows

  // Microseconds that never go back; null for the system's steady clock.
  std::function<int64_t()> clock;

  bool bounded() const { return max_keys > 0 || max_bytes > 0; }
  bool any() const {
    return bounded() || steps_to_live > 0 || seconds > 0 || l2_threshold > 0 ||
           min_frequency > 0;
  }
  // Which rules run then.
  struct Rules {
    bool steps, seconds, l2, frequency;
    bool any() const { return steps || seconds || l2 || frequency; }
  };
  Rules RulesOf(EvictWhen when) const;
  Status Check() const;
  // As few as let each shard's bound be large enough for keys to be spread
  // evenly; at most those given.
  int ChooseLog2Shards(int dim, int log2_shards) const;
};

// The present, as one batch sees it.
struct EvictionMoment {
  int64_t step = 0;
  // Rows of lower versions are older than the seconds allow; 0 for none.
  int64_t first_live_step = 0;
};

// When steps began: tells seconds from versions.
class StepClock {
 public:
  explicit StepClock(int64_t max_age) : max_age_(max_age) {}
  // Both in the order of time; a step that does not move on is passed over.
  void Tell(int64_t now, int64_t step);
  // All rows of lower versions were updated before now - max_age.
  int64_t FirstLiveStep(int64_t now);
  void Clear() { log_.clear(); }

 private:
  // Time told exactly to this part of the age, so that the log stays short.
  static constexpr int64_t kResolution = 64;
  const int64_t max_age_;
  std::deque<std::pair<int64_t, int64_t>> log_;  // time, step; both ascending
};

// Which keys the share under way has.
class TouchedKeys {
 public:
  virtual ~TouchedKeys() = default;
  virtual bool Contains(uint64_t hash, int64_t key) const = 0;
};

class ShardEviction {
 public:
  // shard of num_shards.
  ShardEviction(const EvictionOptions* options, int64_t shard,
                int64_t num_shards);

  // The shard's content is another one than before, or the first.
  void Attach(Shard* shard);

  // Rows were set without a share: their order begins anew.
  void ContentChanged() {
    new_content_ = stale_ = true;
    step_ = kNoStep;
  }

  // Before a share touches so many keys. From then on its rows are to be
  // stamped with recency().
  void BeginShare(const EvictionMoment& moment, Shard* shard, int64_t num_keys);
  uint32_t recency() const { return clock_; }
  // While it goes on: makes room, where it gave birth to many.
  void DuringShare(Shard* shard, const TouchedKeys& touched) {
    if (shard->index().size() > max_rows_) MakeRoom(shard, touched);
  }
  // It has given so many rows a version that they had not, that or an older.
  void Stamped(int64_t num_rows, int64_t version) {
    rows_of_step_ += num_rows;
    newest_ = std::max(newest_, version);
  }
  // After it: sweeps a slice, and takes what is beyond the bound.
  void EndShare(const EvictionMoment& moment, Shard* shard, int64_t num_keys,
                const TouchedKeys& touched);

  // Asks those rules of all rows that run then; kRequest: all rules.
  void Sweep(const EvictionMoment& moment, EvictWhen when, Shard* shard);

  // Moves what was collected to the end of rows, and says how many were
  // dropped since it was asked before.
  void Take(RowChunk* rows, int64_t* dropped);

  int64_t bytes() const;

 private:
  struct Candidate {
    int64_t key;
    uint64_t hash;
    uint32_t row;
  };

  static constexpr int64_t kNoStep = -1;

  // Rules.
  void SweepSlice(const EvictionMoment& moment, Shard* shard,
                  int64_t num_buckets, const TouchedKeys& touched);
  // touched: in the background, the keys that are spared; else null.
  void SweepRange(const EvictionMoment& moment,
                  const EvictionOptions::Rules& rules,
                  const TouchedKeys* touched, uint64_t begin, uint64_t end,
                  Shard* shard);
  bool Takes(const EvictionMoment& moment, const EvictionOptions::Rules& rules,
             const RowStore& rows, uint32_t row) const;
  uint32_t Decayed(uint32_t frequency) const {
    return static_cast<uint32_t>(frequency * options_.decay);
  }
  void Evict(Shard* shard, const Candidate& candidate);
  void Collect(const RowStore& rows, const Candidate& candidate);

  // The bound (eviction_bound.cc).
  bool bounded() const { return max_keys_ > 0 || max_bytes_ > 0; }
  uint64_t MaxRows(const RowLayout& layout) const;
  void BeginStep(const EvictionMoment& moment, const Shard& shard,
                 int64_t num_keys);
  void MakeRoom(Shard* shard, const TouchedKeys& touched);
  void EndBound(Shard* shard, int64_t num_keys, const TouchedKeys& touched);
  void EvictToBound(Shard* shard, const TouchedKeys& touched);
  // Deals with max keys at the front of a queue at most, in order, and returns
  // with how many: evicts until the bound is met, or, without touched, moves
  // them to the queue that is not being renewed.
  int TakeFront(EvictionQueue* from, int max, const TouchedKeys* touched,
                Shard* shard);
  uint32_t Priority(const RowStore& rows, uint32_t row, uint64_t hash) const;
  // All frequencies are about to be multiplied.
  void DecayQueues();
  void Push(uint32_t priority, int64_t key, uint32_t row);
  // Queues keys that have rows, and forgets them all.
  void PushAll(const Shard& shard, std::vector<int64_t>* keys);
  void QueueBirths(const Shard& shard);
  void Renew(Shard* shard, int64_t num_keys);
  void BuildQueue(const Shard& shard);
  void InitRecency(const Shard& shard);
  void HalveRecency(const Shard& shard);
  EvictionQueue& queue() { return queues_[current_]; }
  // The one that is being renewed.
  EvictionQueue& old_queue() { return queues_[1 - current_]; }

  const EvictionOptions& options_;
  const int64_t max_keys_;   // of the shard
  const int64_t max_bytes_;  // of the shard
  const int64_t collect_;    // of the shard

  uint64_t cursor_ = 0;      // of the sweep in the background
  bool decays_ = false;      // whether a pass of frequencies is under way
  int64_t next_decay_ = -1;  // the step that begins one; -1: not known yet

  bool new_content_ = true;  // rows have no recency yet
  bool stale_ = true;        // the queue is to be built anew
  EvictionQueue queues_[2];
  int current_ = 0;
  BoundNotes notes_;  // the shard writes them
  uint64_t max_rows_ = std::numeric_limits<uint64_t>::max();
  uint32_t clock_ = 0;
  int64_t touched_ = 0;  // since the clock moved
  std::vector<Candidate> candidates_;
  std::vector<int64_t> spared_;  // keys of the share, until its end

  int64_t step_ = kNoStep;    // of the last share
  int64_t newest_ = kNoStep;  // no row has a higher version
  int64_t rows_of_step_ = 0;  // rows that have it, at most, if it was new
  bool step_is_new_ = false;
  bool spares_step_ = false;
  std::vector<int64_t> aside_;  // keys of the step that were spared

  RowChunk collected_;  // a ring, once it is full
  size_t oldest_ = 0;
  int64_t dropped_ = 0;
};

// Of a table.
class Eviction {
 public:
  Eviction(EvictionOptions options, int64_t num_shards);

  const EvictionOptions& options() const { return options_; }
  ShardEviction* shard(int64_t s) { return &shards_[s]; }
  const ShardEviction& shard(int64_t s) const { return shards_[s]; }
  // Whether rows have a recency.
  bool keeps_recency() const {
    return options_.bounded() && options_.order == EvictOrder::kLru;
  }

  // A batch of this step begins.
  EvictionMoment Begin(int64_t step);
  // step: kLastStep for that of the last batch.
  EvictionMoment Now(int64_t step);
  static constexpr int64_t kLastStep = -1;
  // Steps may go back: another content.
  void ForgetSteps();

 private:
  int64_t Time() const;

  const EvictionOptions options_;
  std::deque<ShardEviction> shards_;
  std::atomic<int64_t> last_step_{0};
  std::mutex mutex_;
  StepClock step_clock_;  // guarded by mutex_
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_EVICTION_H_
