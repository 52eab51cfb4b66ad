// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/eviction.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "cc/core/isa.h"

namespace tf_embedding {
namespace {

constexpr uint32_t kMaxClock = std::numeric_limits<uint32_t>::max();
// Buckets of a sweep whose rows are on their way from memory at once.
constexpr uint32_t kSweepBuckets = 32;
// Rows that a slice of a sweep looks at for each key of a share.
constexpr int64_t kSweptPerKey = 2;
// Keys that are taken from the front of a queue at once.
constexpr int kPopped = 16;
// By which part of its bound a shard tells recent from more recent.
constexpr uint64_t kClockResolution = 1024;
// Bytes of the index and of the queue for a key, at most.
constexpr int64_t kIndexBytesPerKey = 17;
constexpr int64_t kQueueBytesPerKey = 12;
constexpr int64_t kPage = 4096;
// A shard smaller than that is too often unlike the others.
constexpr int64_t kMinShardKeys = 4096;
constexpr int64_t kMinShardBytes = int64_t{2} << 20;
// Keys without rows in a queue that are not worth the building of another.
constexpr uint64_t kMinGone = 64;

// Frequencies that a table ordered by them tells apart: all below 1,024, and
// the upper seven bits of others.
uint32_t RoundFrequency(uint32_t frequency) {
  if (frequency < 1024) return frequency;
  const int shift = 25 - __builtin_clz(frequency);
  return frequency >> shift << shift;
}

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

int EvictionOptions::ChooseLog2Shards(int dim, int log2_shards) const {
  const int64_t row_bytes =
      2 * static_cast<int64_t>(sizeof(float)) * dim + kIndexBytesPerKey;
  while (log2_shards > 0 &&
         ((max_keys > 0 && max_keys >> log2_shards < kMinShardKeys) ||
          (max_bytes > 0 &&
           max_bytes >> log2_shards <
               std::max(kMinShardBytes, kMinShardKeys * row_bytes)))) {
    --log2_shards;
  }
  return log2_shards;
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
  shard->Attach(this, bounded() ? &births_ : nullptr);
  new_content_ = true;
  stale_ = true;
  queue_.Clear();
  births_.clear();
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
  return queue_.bytes() + collected_.bytes() +
         static_cast<int64_t>((births_.capacity() + spared_.capacity()) *
                                  sizeof(int64_t) +
                              candidates_.capacity() * sizeof(Candidate));
}

uint64_t ShardEviction::MaxRows(const RowLayout& layout) const {
  int64_t max_rows = std::numeric_limits<int64_t>::max();
  if (max_keys_ > 0) max_rows = max_keys_;
  if (max_bytes_ > 0) {
    // Rows are held by slabs of whole pages; the last one may be empty but for
    // one.
    const int64_t slab = (layout.slab_bytes() + kPage - 1) / kPage * kPage;
    const int64_t usable = std::max(max_bytes_ / 2, max_bytes_ - slab);
    max_rows =
        std::min(max_rows, usable / (slab / layout.rows_per_slab() + 1 +
                                     kIndexBytesPerKey + kQueueBytesPerKey));
  }
  return static_cast<uint64_t>(std::max<int64_t>(1, max_rows));
}

uint32_t ShardEviction::Priority(const RowStore& rows, uint32_t row) const {
  switch (options_.order) {
    case EvictOrder::kLru:
      return *rows.recency(row);
    case EvictOrder::kLfu:
      return RoundFrequency(rows.meta(row)->frequency);
    case EvictOrder::kVersion:
      return rows.meta(row)->version;
  }
  return 0;
}

void ShardEviction::BeginShare(Shard* shard, int64_t num_keys) {
  if (!bounded()) return;
  if (new_content_) InitRecency(*shard);
  if (stale_) BuildQueue(*shard);
  const uint64_t resolution =
      MaxRows(shard->rows().layout()) / kClockResolution;
  if (touched_ >= static_cast<int64_t>(std::max<uint64_t>(1, resolution))) {
    if (clock_ == kMaxClock) HalveRecency(*shard);
    ++clock_;
    touched_ = 0;
  }
  touched_ += num_keys;
}

void ShardEviction::InitRecency(const Shard& shard) {
  uint32_t last = 0;
  if (shard.rows().layout().has_recency()) {
    shard.index().ForEach([&](int64_t /*key*/, const uint32_t* row) {
      const uint32_t version = shard.rows().meta(*row)->version;
      *shard.rows().recency(*row) = version;
      last = std::max(last, version);
    });
  }
  clock_ = last;
  touched_ = static_cast<int64_t>(MaxRows(shard.rows().layout()));
  new_content_ = false;
}

// Rows that were not touched in the older half of all time become equals.
void ShardEviction::HalveRecency(const Shard& shard) {
  constexpr uint32_t kHalf = kMaxClock / 2;
  if (shard.rows().layout().has_recency()) {
    shard.index().ForEach([&](int64_t /*key*/, const uint32_t* row) {
      uint32_t* const recency = shard.rows().recency(*row);
      *recency = *recency > kHalf ? *recency - kHalf : 0;
    });
  }
  clock_ -= kHalf;
  BuildQueue(shard);
}

void ShardEviction::BuildQueue(const Shard& shard) {
  struct Queued {
    uint32_t priority;
    uint32_t version;
    int64_t key;
  };
  stale_ = true;
  queue_.Clear();
  std::vector<Queued> all;
  all.reserve(shard.index().size());
  const RowStore& rows = shard.rows();
  shard.index().ForEach([&](int64_t key, const uint32_t* row) {
    all.push_back({Priority(rows, *row), rows.meta(*row)->version, key});
  });
  std::sort(all.begin(), all.end(), [](const Queued& a, const Queued& b) {
    if (a.priority != b.priority) return a.priority < b.priority;
    if (a.version != b.version) return a.version < b.version;
    return a.key < b.key;
  });
  for (const Queued& queued : all) queue_.Push(queued.priority, queued.key);
  births_.clear();
  stale_ = false;
}

void ShardEviction::QueueBirths(const Shard& shard) {
  for (const int64_t key : births_) {
    const uint32_t row = shard.index().FindRow(MixKey(key), key);
    if (row != kNoRow) queue_.Push(Priority(shard.rows(), row), key);
  }
  births_.clear();
}

void ShardEviction::EndShare(const EvictionMoment& moment, Shard* shard,
                             int64_t num_keys, const TouchedKeys& touched) {
  SweepSlice(moment, shard, num_keys * kSweptPerKey / kSlotsPerBucket + 1,
             touched);
  if (bounded()) {
    try {
      if (stale_) BuildQueue(*shard);
      EvictToBound(shard, touched);
      QueueBirths(*shard);
      if (queue_.size() > 2 * shard->index().size() + kMinGone) {
        BuildQueue(*shard);
      }
    } catch (const std::bad_alloc&) {
      stale_ = true;
      throw;
    }
  }
  shard->Compact(shard->rows().layout());
}

void ShardEviction::EvictToBound(Shard* shard, const TouchedKeys& touched) {
  const uint64_t max_rows = MaxRows(shard->rows().layout());
  const IsaKernels& kernels = ActiveKernels();
  const RowStore& rows = shard->rows();
  spared_.clear();
  while (shard->index().size() > max_rows && !queue_.empty()) {
    const uint32_t front = queue_.front();
    int64_t keys[kPopped];
    uint64_t hashes[kPopped];
    uint32_t found[kPopped];
    const int n = queue_.Peek(keys, kPopped);
    kernels.hash_keys(keys, n, hashes);
    kernels.prefetch_buckets(shard->view(), hashes, n);
    kernels.find_rows(shard->view(), keys, hashes, n, found);
    for (int i = 0; i < n; ++i) {
      if (found[i] != kNoRow) TFE_PREFETCH_READ(rows.meta(found[i]));
    }
    int dropped = 0;
    bool evicted = false;
    for (; dropped < n && shard->index().size() > max_rows; ++dropped) {
      const Candidate candidate = {
          keys[dropped], hashes[dropped],
          // A key may be queued twice.
          evicted ? shard->index().FindRow(hashes[dropped], keys[dropped])
                  : found[dropped]};
      if (candidate.row == kNoRow) continue;
      const uint32_t priority = Priority(rows, candidate.row);
      if (priority > front) {
        queue_.Push(priority, candidate.key);
      } else if (touched.Contains(candidate.hash, candidate.key)) {
        spared_.push_back(candidate.key);
      } else {
        Evict(shard, candidate);
        evicted = true;
      }
    }
    queue_.Drop(dropped);
  }
  for (const int64_t key : spared_) {
    const uint32_t row = shard->index().FindRow(MixKey(key), key);
    queue_.Push(Priority(rows, row), key);
  }
}

void ShardEviction::Evict(Shard* shard, const Candidate& candidate) {
  if (collect_ > 0) Collect(shard->rows(), candidate);
  shard->Remove(candidate.hash, candidate.key);
  ++shard->counters().evicted;
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
    decays_ = next_decay_ >= 0 && moment.step >= next_decay_;
    if (decays_ || next_decay_ < 0) {
      next_decay_ = moment.step - moment.step % every + every;
    }
  }
  rules.frequency &= decays_;
  if (!rules.any()) return;
  const uint64_t end = shard->index().HashAfter(
      cursor_, static_cast<uint32_t>(std::min<int64_t>(
                   num_buckets, shard->index().num_buckets())));
  SweepRange(moment, rules, &touched, cursor_, end, shard);
  cursor_ = end == ShardIndex::kHashEnd ? 0 : end;
  // Rows that lost frequency stand too far back in a queue by frequency.
  if (cursor_ == 0 && rules.frequency) stale_ = true;
}

void ShardEviction::Sweep(const EvictionMoment& moment, EvictWhen when,
                          Shard* shard) {
  const EvictionOptions::Rules rules = options_.RulesOf(when);
  if (!rules.any() || shard->index().size() == 0) return;
  if (rules.frequency) stale_ = true;
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
    meta->frequency = static_cast<uint32_t>(meta->frequency * options_.decay);
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
