// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// ShardEviction: the bound.

#include <algorithm>
#include <limits>

#include "cc/core/eviction.h"
#include "cc/core/isa.h"

namespace tf_embedding {
namespace {

constexpr uint32_t kMaxClock = std::numeric_limits<uint32_t>::max();
// Keys that are taken from the front of a queue at once.
constexpr int kFront = 64;
// For each row that has to go, and at least.
constexpr uint64_t kLookedAt = 2;
constexpr uint64_t kMinFront = 8;
// Rows beyond the bound for which a share makes room before it ends.
constexpr uint64_t kMaxExcess = 64;
// Keys that are moved from a queue that is renewed, for each key of a share.
constexpr int64_t kMovedPerKey = 4;
// By which part of its bound a shard tells recent from more recent.
constexpr uint64_t kClockResolution = 1024;
// Bytes of the index and of the queue for a key, at most.
constexpr int64_t kIndexBytesPerKey = 17;
constexpr int64_t kQueueBytesPerKey = 12;
// A shard smaller than that is too often unlike the others.
constexpr int64_t kMinShardKeys = 4096;
constexpr int64_t kMinShardBytes = int64_t{2} << 20;
// Keys without rows in a queue that are not worth the renewal.
constexpr uint64_t kMinGone = 64;

// Frequencies that a table ordered by them tells apart: all below 1,024, and
// the upper seven bits of others.
uint32_t RoundFrequency(uint32_t frequency) {
  if (frequency < 1024) return frequency;
  const int shift = 25 - __builtin_clz(frequency);
  return frequency >> shift << shift;
}

}  // namespace

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

uint64_t ShardEviction::MaxRows(const RowLayout& layout) const {
  int64_t max_rows = std::numeric_limits<int64_t>::max();
  if (max_keys_ > 0) max_rows = max_keys_;
  if (max_bytes_ > 0) {
    // Rows are held by slabs; the last one may be empty but for one.
    const int64_t slab = SlabArena::BlockBytes(layout.slab_bytes());
    const int64_t usable = std::max(max_bytes_ / 2, max_bytes_ - slab);
    max_rows =
        std::min(max_rows, usable / (slab / layout.rows_per_slab() + 1 +
                                     kIndexBytesPerKey + kQueueBytesPerKey));
  }
  return static_cast<uint64_t>(std::max<int64_t>(1, max_rows));
}

uint32_t ShardEviction::Priority(const RowStore& rows, uint32_t row,
                                 uint64_t hash) const {
  switch (options_.order) {
    case EvictOrder::kLru:
      return *rows.recency(row);
    case EvictOrder::kLfu: {
      const uint32_t frequency = rows.meta(row)->frequency;
      // The pass will come by.
      const bool decays =
          decays_ && (hash & (ShardIndex::kHashEnd - 1)) >= cursor_;
      return RoundFrequency(decays ? Decayed(frequency) : frequency);
    }
    case EvictOrder::kVersion:
      return rows.meta(row)->version;
  }
  return 0;
}

void ShardEviction::BeginShare(const EvictionMoment& moment, Shard* shard,
                               int64_t num_keys) {
  if (!bounded()) return;
  // Of a share that failed.
  if (!notes_.births.empty() || !spared_.empty()) stale_ = true;
  if (new_content_) InitRecency(*shard);
  if (stale_) BuildQueue(*shard);
  max_rows_ = MaxRows(shard->rows().layout());
  BeginStep(moment, *shard, num_keys);
  const uint64_t resolution = max_rows_ / kClockResolution;
  if (touched_ >= static_cast<int64_t>(std::max<uint64_t>(1, resolution))) {
    if (clock_ == kMaxClock) HalveRecency(*shard);
    ++clock_;
    touched_ = 0;
  }
  touched_ += num_keys;
}

void ShardEviction::BeginStep(const EvictionMoment& moment, const Shard& shard,
                              int64_t num_keys) {
  if (moment.step != step_) {
    step_is_new_ = moment.step > newest_;
    step_ = moment.step;
    newest_ = std::max(newest_, step_);
    rows_of_step_ = 0;
    PushAll(shard, &aside_);
  }
  spares_step_ = step_is_new_ &&
                 rows_of_step_ + num_keys <= static_cast<int64_t>(max_rows_);
  if (!spares_step_) PushAll(shard, &aside_);
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

// Rows that were not touched in the older half of all time become equals. One
// pass over the shard in 2^31 ticks of its clock.
void ShardEviction::HalveRecency(const Shard& shard) {
  constexpr uint32_t kHalf = kMaxClock / 2;
  const auto halve = [](uint32_t recency) {
    return recency > kHalf ? recency - kHalf : 0;
  };
  if (shard.rows().layout().has_recency()) {
    shard.index().ForEach([&](int64_t /*key*/, const uint32_t* row) {
      uint32_t* const recency = shard.rows().recency(*row);
      *recency = halve(*recency);
    });
    for (EvictionQueue& queue : queues_) queue.Relabel(halve);
  }
  clock_ -= kHalf;
}

void ShardEviction::DecayQueues() {
  if (!bounded() || options_.order != EvictOrder::kLfu) return;
  for (EvictionQueue& queue : queues_) {
    queue.Relabel([this](uint32_t priority) {
      return RoundFrequency(Decayed(priority));
    });
  }
}

void ShardEviction::BuildQueue(const Shard& shard) {
  struct Queued {
    uint32_t priority;
    uint32_t version;
    int64_t key;
  };
  stale_ = true;
  queue().Clear();
  old_queue().Clear();
  notes_ = BoundNotes();
  aside_.clear();
  spared_.clear();
  std::vector<Queued> all;
  all.reserve(shard.index().size());
  const RowStore& rows = shard.rows();
  shard.index().ForEach([&](int64_t key, const uint32_t* row) {
    const uint32_t version = rows.meta(*row)->version;
    newest_ = std::max(newest_, int64_t{version});
    all.push_back({Priority(rows, *row, MixKey(key)), version, key});
  });
  std::sort(all.begin(), all.end(), [](const Queued& a, const Queued& b) {
    if (a.priority != b.priority) return a.priority < b.priority;
    if (a.version != b.version) return a.version < b.version;
    return a.key < b.key;
  });
  for (const Queued& queued : all) queue().Push(queued.priority, queued.key);
  stale_ = false;
}

// While the queue is renewed, all that is to stand after the old one's front
// goes there, so that it comes in its turn.
void ShardEviction::Push(uint32_t priority, int64_t key, uint32_t row) {
  if (!old_queue().empty() && priority >= old_queue().front()) {
    old_queue().Push(priority, key);
    return;
  }
  queue().Push(priority, key);
  if (notes_.renewing) notes_.renewed[row] = true;
}

void ShardEviction::PushAll(const Shard& shard, std::vector<int64_t>* keys) {
  for (const int64_t key : *keys) {
    const uint64_t hash = MixKey(key);
    const uint32_t row = shard.index().FindRow(hash, key);
    if (row != kNoRow) Push(Priority(shard.rows(), row, hash), key, row);
  }
  keys->clear();
}

void ShardEviction::QueueBirths(const Shard& shard) {
  for (const BoundNotes::Birth& birth : notes_.births) {
    const uint64_t hash = decays_ ? MixKey(birth.key) : 0;
    Push(Priority(shard.rows(), birth.row, hash), birth.key, birth.row);
  }
  notes_.births.clear();
}

void ShardEviction::MakeRoom(Shard* shard, const TouchedKeys& touched) {
  if (shard->index().size() <= max_rows_ + kMaxExcess) return;
  try {
    EvictToBound(shard, touched);
  } catch (const std::bad_alloc&) {
    stale_ = true;
    throw;
  }
}

void ShardEviction::EndBound(Shard* shard, int64_t num_keys,
                             const TouchedKeys& touched) {
  try {
    EvictToBound(shard, touched);
    PushAll(*shard, &spared_);
    QueueBirths(*shard);
    Renew(shard, num_keys);
  } catch (const std::bad_alloc&) {
    stale_ = true;
    throw;
  }
}

void ShardEviction::EvictToBound(Shard* shard, const TouchedKeys& touched) {
  while (shard->index().size() > max_rows_) {
    EvictionQueue* from = &queue();
    // Among equals the old one's are later.
    if (!old_queue().empty() &&
        (from->empty() || from->front() > old_queue().front())) {
      from = &old_queue();
    }
    if (from->empty()) return;
    // Some more than have to go: others were touched.
    const uint64_t excess = shard->index().size() - max_rows_;
    const uint64_t wanted = kLookedAt * excess + kMinFront;
    TakeFront(from, static_cast<int>(std::min<uint64_t>(wanted, kFront)),
              &touched, shard);
  }
}

int ShardEviction::TakeFront(EvictionQueue* from, int max,
                             const TouchedKeys* touched, Shard* shard) {
  const IsaKernels& kernels = ActiveKernels();
  const RowStore& rows = shard->rows();
  const bool is_old = from == &old_queue();
  const uint32_t front = from->front();
  int64_t keys[kFront];
  uint64_t hashes[kFront];
  uint32_t found[kFront];
  uint32_t priorities[kFront];
  const int n = from->Peek(keys, std::min(max, kFront));
  kernels.hash_keys(keys, n, hashes);
  kernels.prefetch_buckets(shard->view(), hashes, n);
  kernels.find_rows(shard->view(), keys, hashes, n, found);
  for (int i = 0; i < n; ++i) {
    if (found[i] != kNoRow) TFE_PREFETCH_READ(rows.meta(found[i]));
  }
  for (int i = 0; i < n; ++i) {
    if (found[i] == kNoRow) continue;
    priorities[i] = Priority(rows, found[i], hashes[i]);
    queue().PrefetchPush(priorities[i]);
  }
  int taken = 0;
  for (; taken < n; ++taken) {
    if (touched != nullptr && shard->index().size() <= max_rows_) break;
    const uint32_t row = found[taken];
    if (row == kNoRow) continue;
    const int64_t key = keys[taken];
    const uint64_t hash = hashes[taken];
    if (notes_.renewing) {
      if (is_old && notes_.renewed[row]) continue;
      notes_.renewed[row] = false;
    }
    if (touched != nullptr && touched->Contains(hash, key)) {
      spared_.push_back(key);
      continue;
    }
    const uint32_t priority = priorities[taken];
    if (touched == nullptr) {
      queue().Push(front, key);
      notes_.renewed[row] = true;
    } else if (priority > front) {
      Push(priority, key, row);
    } else if (spares_step_ && rows.meta(row)->version == step_) {
      aside_.push_back(key);
    } else {
      // The key may have stood there twice: then its row is gone by now.
      Evict(shard, {key, hash, row});
    }
  }
  from->Drop(taken);
  shard->counters().examined += taken;
  return taken;
}

void ShardEviction::Renew(Shard* shard, int64_t num_keys) {
  if (!notes_.renewing) {
    const uint64_t size = shard->index().size();
    if (queue().size() + aside_.size() <= size + size / 2 + kMinGone) return;
    notes_.renewed.assign(shard->rows().end(), false);
    notes_.renewing = true;
    current_ = 1 - current_;
  }
  for (int64_t left = kMovedPerKey * num_keys + kFront;
       left > 0 && !old_queue().empty();) {
    left -= TakeFront(&old_queue(),
                      static_cast<int>(std::min<int64_t>(left, kFront)),
                      nullptr, shard);
  }
  if (!old_queue().empty()) return;
  old_queue().Clear();
  notes_.renewing = false;
  notes_.renewed = {};
}

}  // namespace tf_embedding
