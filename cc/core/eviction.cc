// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/eviction.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "cc/core/isa.h"

namespace tf_embedding {
namespace {

// Buckets of a sweep whose rows are on their way from memory at once.
constexpr uint32_t kSweepBuckets = 32;
// Rows that a slice of a sweep looks at for each key of a share.
constexpr int64_t kSweptPerKey = 2;

// What shard s of n has of a total that is dealt out as evenly as can be.
int64_t ShareOf(int64_t total, int64_t shard, int64_t num_shards) {
  if (total == 0) return 0;
  return std::max<int64_t>(
      1, total / num_shards + (shard < total % num_shards ? 1 : 0));
}

int64_t SteadyTime() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Status ParseEvictWhen(const std::string& name, EvictWhen* when) {
  if (name == "apply") {
    *when = EvictWhen::kApply;
  } else if (name == "save") {
    *when = EvictWhen::kSave;
  } else if (name == "request") {
    *when = EvictWhen::kRequest;
  } else {
    return InvalidArgument("when is \"", name,
                           "\"; use apply, save or request");
  }
  return Status();
}

Status ParseEvictOrder(const std::string& name, EvictOrder* order) {
  if (name == "lru") {
    *order = EvictOrder::kLru;
  } else if (name == "lfu") {
    *order = EvictOrder::kLfu;
  } else if (name == "version") {
    *order = EvictOrder::kVersion;
  } else {
    return InvalidArgument("order is \"", name, "\"; use lru, lfu or version");
  }
  return Status();
}

Status EvictionOptions::Check() const {
  const auto not_negative = [](const char* name, auto value) {
    // Also of what is not a number.
    if (value >= 0) return Status();
    return InvalidArgument(name, " is ", value,
                           "; it must be above 0, or 0 for none");
  };
  TFE_RETURN_IF_ERROR(not_negative("steps_to_live", steps_to_live));
  TFE_RETURN_IF_ERROR(not_negative("seconds", seconds));
  TFE_RETURN_IF_ERROR(not_negative("l2_threshold", l2_threshold));
  TFE_RETURN_IF_ERROR(not_negative("min_frequency", min_frequency));
  TFE_RETURN_IF_ERROR(not_negative("max_keys", max_keys));
  TFE_RETURN_IF_ERROR(not_negative("max_bytes", max_bytes));
  TFE_RETURN_IF_ERROR(not_negative("collect_evicted", collect));
  if (seconds > 1e12) {
    return InvalidArgument("seconds is ", seconds, "; it must be at most 1e12");
  }
  if (!(decay >= 0 && decay <= 1)) {
    return InvalidArgument("decay is ", decay, "; it must be in [0, 1]");
  }
  if (every_steps < 1) {
    return InvalidArgument("every_steps is ", every_steps,
                           "; it must be 1 or more");
  }
  if (collect > 0 && !any()) {
    return InvalidArgument("collect_evicted is ", collect,
                           ", but no rule and no bound evicts rows");
  }
  return Status();
}

void StepClock::Tell(int64_t now, int64_t step) {
  if (!log_.empty() && (step <= log_.back().second ||
                        now - log_.back().first < max_age_ / kResolution)) {
    return;
  }
  log_.emplace_back(now, step);
}

int64_t StepClock::FirstLiveStep(int64_t now) {
  while (log_.size() > 1 && log_[1].first <= now - max_age_) log_.pop_front();
  if (log_.empty() || log_[0].first > now - max_age_) return 0;
  return log_[0].second;
}

ShardEviction::ShardEviction(const EvictionOptions* options, int64_t shard,
                             int64_t num_shards)
    : options_(*options),
      max_keys_(ShareOf(options->max_keys, shard, num_shards)),
      max_bytes_(ShareOf(options->max_bytes, shard, num_shards)),
      collect_(ShareOf(options->collect, shard, num_shards)) {}

void ShardEviction::Attach(Shard* shard) {
  shard->Attach(this, bounded() ? &notes_ : nullptr);
  ContentChanged();
  newest_ = kNoStep;
  queue().Clear();
  old_queue().Clear();
  notes_ = BoundNotes();
  aside_.clear();
  spared_.clear();
  cursor_ = 0;
  decays_ = false;
  next_decay_ = -1;
  if (collected_.slot_width != shard->rows().layout().slot_width()) {
    dropped_ += collected_.size();
    collected_ = RowChunk();
    oldest_ = 0;
  }
}

int64_t ShardEviction::bytes() const {
  return queues_[0].bytes() + queues_[1].bytes() + collected_.bytes() +
         static_cast<int64_t>(
             notes_.births.capacity() * sizeof(BoundNotes::Birth) +
             notes_.renewed.capacity() / 8 +
             (spared_.capacity() + aside_.capacity()) * sizeof(int64_t) +
             candidates_.capacity() * sizeof(Candidate));
}

void ShardEviction::EndShare(const EvictionMoment& moment, Shard* shard,
                             int64_t num_keys, const TouchedKeys& touched) {
  SweepSlice(moment, shard, num_keys * kSweptPerKey / kSlotsPerBucket + 1,
             touched);
  if (bounded()) EndBound(shard, num_keys, touched);
  shard->Compact(shard->rows().layout());
}

void ShardEviction::Evict(Shard* shard, const Candidate& candidate) {
  if (!shard->Remove(candidate.hash, candidate.key)) return;
  ++shard->counters().evicted;
  if (collect_ > 0) Collect(shard->rows(), candidate);
}

void ShardEviction::Collect(const RowStore& rows, const Candidate& candidate) {
  if (collected_.size() < collect_) {
    collected_.Add(candidate.key, rows, candidate.row);
    return;
  }
  const int64_t dim = collected_.dim;
  const int64_t width = collected_.slot_width;
  const float* const record = rows.record(candidate.row);
  const auto to = static_cast<int64_t>(oldest_);
  collected_.keys[to] = candidate.key;
  std::copy_n(record, dim, collected_.values.begin() + to * dim);
  std::copy_n(record + dim, width, collected_.slots.begin() + to * width);
  collected_.frequency[to] = rows.meta(candidate.row)->frequency;
  collected_.version[to] = rows.meta(candidate.row)->version;
  oldest_ = (oldest_ + 1) % static_cast<size_t>(collect_);
  ++dropped_;
}

void ShardEviction::Take(RowChunk* rows, int64_t* dropped) {
  if (collected_.size() > 0) {
    const auto oldest = static_cast<int64_t>(oldest_);
    rows->Append(collected_, oldest, collected_.size());
    rows->Append(collected_, 0, oldest);
  }
  *dropped += dropped_;
  collected_ = RowChunk();
  oldest_ = 0;
  dropped_ = 0;
}

EvictionOptions::Rules EvictionOptions::RulesOf(EvictWhen when) const {
  const auto runs = [when](EvictWhen of_rule) {
    return when == EvictWhen::kRequest || when == of_rule;
  };
  const auto also_at_save = [when, runs](EvictWhen of_rule) {
    return runs(of_rule) ||
           (when == EvictWhen::kSave && of_rule == EvictWhen::kApply);
  };
  return Rules{steps_to_live > 0 && also_at_save(steps_when),
               seconds > 0 && also_at_save(seconds_when),
               l2_threshold > 0 && also_at_save(l2_when),
               min_frequency > 0 && runs(frequency_when)};
}

void ShardEviction::SweepSlice(const EvictionMoment& moment, Shard* shard,
                               int64_t num_buckets,
                               const TouchedKeys& touched) {
  EvictionOptions::Rules rules = options_.RulesOf(EvictWhen::kApply);
  if (!rules.any() || shard->index().size() == 0) return;
  if (rules.frequency && cursor_ == 0) {
    const int64_t every = options_.every_steps;
    const bool begins = next_decay_ >= 0 && moment.step >= next_decay_;
    if (begins || next_decay_ < 0) {
      next_decay_ = moment.step - moment.step % every + every;
    }
    if (begins) DecayQueues();
    decays_ = begins;
  }
  rules.frequency &= decays_;
  if (!rules.any()) return;
  const uint64_t end = shard->index().HashAfter(
      cursor_, static_cast<uint32_t>(std::min<int64_t>(
                   num_buckets, shard->index().num_buckets())));
  SweepRange(moment, rules, &touched, cursor_, end, shard);
  cursor_ = end == ShardIndex::kHashEnd ? 0 : end;
  if (cursor_ == 0) decays_ = false;
}

void ShardEviction::Sweep(const EvictionMoment& moment, EvictWhen when,
                          Shard* shard) {
  const EvictionOptions::Rules rules = options_.RulesOf(when);
  if (!rules.any() || shard->index().size() == 0) return;
  if (rules.frequency) DecayQueues();
  SweepRange(moment, rules, nullptr, 0, ShardIndex::kHashEnd, shard);
  shard->Compact(shard->rows().layout());
}

void ShardEviction::SweepRange(const EvictionMoment& moment,
                               const EvictionOptions::Rules& rules,
                               const TouchedKeys* touched, uint64_t begin,
                               uint64_t end, Shard* shard) {
  const RowStore& rows = shard->rows();
  while (begin < end) {
    const uint64_t piece =
        std::min(end, shard->index().HashAfter(begin, kSweepBuckets));
    candidates_.clear();
    shard->index().ForEachInRange(
        begin, piece, [&](int64_t key, uint64_t hash, const uint32_t* row) {
          candidates_.push_back({key, hash, *row});
          TFE_PREFETCH_READ(rows.meta(*row));
          if (rules.l2) TFE_PREFETCH_READ(rows.record(*row));
        });
    // Not while the index is walked: a removal moves keys.
    for (const Candidate& candidate : candidates_) {
      if (!Takes(moment, rules, rows, candidate.row)) continue;
      if (touched != nullptr &&
          (rows.meta(candidate.row)->version == moment.step ||
           touched->Contains(candidate.hash, candidate.key))) {
        continue;
      }
      Evict(shard, candidate);
    }
    begin = piece;
  }
}

bool ShardEviction::Takes(const EvictionMoment& moment,
                          const EvictionOptions::Rules& rules,
                          const RowStore& rows, uint32_t row) const {
  RowMeta* const meta = rows.meta(row);
  bool takes = false;
  if (rules.frequency) {
    meta->frequency = Decayed(meta->frequency);
    takes = meta->frequency < options_.min_frequency;
  }
  if (rules.steps) {
    takes |= moment.step - int64_t{meta->version} > options_.steps_to_live;
  }
  if (rules.seconds) takes |= meta->version < moment.first_live_step;
  if (rules.l2) {
    const float* const vector = rows.record(row);
    const float norm = ActiveKernels().dot(vector, vector, rows.layout().dim);
    takes |= 0.5f * norm < options_.l2_threshold;
  }
  return takes;
}

Eviction::Eviction(EvictionOptions options, int64_t num_shards)
    : options_(std::move(options)),
      step_clock_(static_cast<int64_t>(options_.seconds * 1e6)) {
  for (int64_t s = 0; s < num_shards; ++s) {
    shards_.emplace_back(&options_, s, num_shards);
  }
}

int64_t Eviction::Time() const {
  return options_.clock ? options_.clock() : SteadyTime();
}

EvictionMoment Eviction::Begin(int64_t step) {
  last_step_.store(step, std::memory_order_relaxed);
  if (options_.seconds > 0) {
    std::lock_guard<std::mutex> lock(mutex_);
    step_clock_.Tell(Time(), step);
  }
  return Now(step);
}

EvictionMoment Eviction::Now(int64_t step) {
  EvictionMoment moment;
  moment.step =
      step == kLastStep ? last_step_.load(std::memory_order_relaxed) : step;
  if (options_.seconds > 0) {
    std::lock_guard<std::mutex> lock(mutex_);
    moment.first_live_step = step_clock_.FirstLiveStep(Time());
  }
  return moment;
}

void Eviction::ForgetSteps() {
  last_step_.store(0, std::memory_order_relaxed);
  std::lock_guard<std::mutex> lock(mutex_);
  step_clock_.Clear();
}

}  // namespace tf_embedding
