// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// DeviceTable's cache of rows that the host's memory holds (tier_functors.h).

#include <algorithm>
#include <vector>

#include "cc/core/table_internal.h"
#include "cc/cuda/device_table_internal.h"

namespace tf_embedding {
namespace {

// What the cache keeps of a slot besides the record: used, owner, written.
constexpr int64_t kSlotBytes = 3 * sizeof(uint32_t);
// For the alignment of the cache's arrays.
constexpr int64_t kCacheSpare = 4 * 256;

}  // namespace

int64_t DeviceTable::SlabBytesOfRow(const RowsView& rows) const {
  return tiered() ? rows.stride : rows.row_bytes();
}

int64_t DeviceTable::CacheSlots(const RowsView& rows) const {
  const int64_t slots = std::min<int64_t>(
      options_.cache_bytes / (rows.stride + kSlotBytes), int64_t{1} << 31);
  return slots < kWays ? slots : slots / kWays * kWays;
}

Status DeviceTable::CheckCache(const RuleInfo* rule,
                               const RowsView& rows) const {
  if (!tiered() || CacheSlots(rows) > 0) return Status();
  return InvalidArgument(
      "storage_size is ", options_.cache_bytes, " bytes, and a row of dim ",
      options_.dim, rule == nullptr ? "" : " with the slots of ",
      rule == nullptr ? "" : rule->name, " takes ", rows.stride + kSlotBytes,
      " of them in embedding table ", options_.name,
      "; give it room for some batches of rows");
}

Status DeviceTable::MakeCache(void* stream) {
  if (!tiered()) return Status();
  TFE_CHECK_DEVICE(launchers_->create_stream(&prefetch_stream_));
  TFE_CHECK_DEVICE(launchers_->create_event(&prefetched_));
  TFE_CHECK_DEVICE(launchers_->create_event(&before_prefetch_));
  TFE_CHECK_DEVICE(launchers_->create_event(&used_));
  cache_.strategy = options_.cache_strategy;
  TFE_RETURN_IF_ERROR(
      AllocateArray(content_, 2 * kCacheCounters, &cache_.hits));
  cache_.misses = cache_.hits + kCacheCounters;
  TFE_CHECK_DEVICE(launchers_->set_zero(
      cache_.hits, 2 * kCacheCounters * int64_t{sizeof(uint64_t)}, stream));
  return AllocateArray(content_, options_.cache_bytes + kCacheSpare,
                       &cache_memory_);
}

Status DeviceTable::AttachCache(Content* content, void* stream) {
  if (!tiered()) return Status();
  RowsView* const rows = &content->view.rows;
  const int64_t slots = CacheSlots(*rows);
  CacheView cache = cache_;
  char* records = nullptr;
  Carver carver(cache_memory_);
  carver.Take(slots, &cache.used);
  carver.Take(slots, &cache.owners);
  carver.Take(slots, &cache.written);
  const int64_t bytes = carver.used();
  carver.Take(slots * rows->stride, &records);
  TFE_CHECK_DEVICE(launchers_->set_zero(cache_memory_, bytes, stream));
  cache.ways = static_cast<int>(std::min<int64_t>(slots, kWays));
  cache.sets = static_cast<uint32_t>(slots / cache.ways);
  cache_ = cache;
  rows->cache = records;
  return Status();
}

Status DeviceTable::AllocateSlab(const Content& content, int64_t bytes,
                                 char** slab) {
  if (!tiered()) return AllocateArray(content, bytes, slab);
  *slab = static_cast<char*>(launchers_->allocate_pinned(bytes));
  if (*slab != nullptr) return Status();
  return ResourceExhausted(
      "out of pinned host memory in embedding table ", options_.name,
      " of dim ", options_.dim, " with up to ", content.MaxSize(),
      " rows: ", bytes,
      " more bytes are not to be had; remove keys, use a smaller batch, raise "
      "the limits on the process's memory, or spread the variable over more "
      "machines");
}

void DeviceTable::ReleaseSlab(char* slab) {
  if (tiered()) {
    launchers_->release_pinned(slab);
  } else {
    allocator_->Release(slab);
  }
}

Status DeviceTable::GrowTier(Content* content, int64_t rows, void* stream) {
  if (rows <= content->tier_capacity) return Status();
  RowsView* const view = &content->view.rows;
  const int64_t before = content->tier_capacity;
  // Slabs cease to double one day, and this is copied.
  const int64_t capacity = std::max(rows, before + before / 2);
  RowsView grown;
  const auto allocate = [&]() -> Status {
    TFE_RETURN_IF_ERROR(AllocateArray(*content, capacity, &grown.places));
    TFE_RETURN_IF_ERROR(AllocateArray(*content, capacity, &grown.metas));
    if (!view->owned) return Status();
    return AllocateArray(*content, capacity, &grown.owners);
  };
  const auto copy = [&]() -> Status {
    TFE_CHECK_DEVICE(launchers_->copy(grown.places, view->places,
                                      before * int64_t{sizeof(*grown.places)},
                                      stream));
    TFE_CHECK_DEVICE(launchers_->set_zero(
        grown.places + before,
        (capacity - before) * int64_t{sizeof(*grown.places)}, stream));
    TFE_CHECK_DEVICE(launchers_->copy(grown.metas, view->metas,
                                      before * int64_t{sizeof(*grown.metas)},
                                      stream));
    if (!view->owned) return Status();
    return Check(launchers_->copy(grown.owners, view->owners,
                                  before * int64_t{sizeof(*grown.owners)},
                                  stream));
  };
  Status status = allocate();
  if (status.ok()) status = copy();
  if (!status.ok()) {
    ReleaseTierRows(&grown);
    return status;
  }
  ReleaseTierRows(view);
  view->places = grown.places;
  view->metas = grown.metas;
  view->owners = grown.owners;
  content->tier_capacity = capacity;
  return Status();
}

void DeviceTable::ReleaseTierRows(RowsView* rows) {
  allocator_->Release(rows->places);
  allocator_->Release(rows->metas);
  allocator_->Release(rows->owners);
}

Status DeviceTable::Promote(const Content& content, const uint32_t* rows,
                            int64_t n, bool writes, void* stream) {
  if (content.view.rows.cache == nullptr) return Status();
  const RowsView& view = content.view.rows;
  const uint32_t time = cache_time_++;
  TFE_CHECK_DEVICE(launchers_->touch_cached(
      TouchCached{view, cache_, rows, time, writes}, n, stream));
  return Check(launchers_->promote_rows(
      PromoteRows{view, cache_, rows, time, writes}, n, stream));
}

Status DeviceTable::Prefetch(const int64_t* keys, int64_t n, void* stream) {
  TFE_RETURN_IF_ERROR(CheckBatchSize(n));
  if (n == 0 || !tiered()) return Status();
  const Turn turn(this, stream);
  int64_t* copy;
  uint32_t *rows, *positions, *missing;
  const auto carve = [&](char* base) {
    Carver carver(base);
    carver.Take(n, &copy);
    carver.Take(n, &rows);
    carver.Take(n, &positions);
    carver.Take(1, &missing);
    return carver.used();
  };
  const int64_t bytes = carve(nullptr);
  if (bytes > prefetch_bytes_) {
    char* memory;
    TFE_RETURN_IF_ERROR(AllocateArray(content_, bytes, &memory));
    allocator_->Release(prefetch_memory_);
    prefetch_memory_ = memory;
    prefetch_bytes_ = bytes;
  }
  carve(prefetch_memory_);
  // The caller's memory is good in the caller's stream only.
  TFE_CHECK_DEVICE(
      launchers_->copy(copy, keys, n * int64_t{sizeof(int64_t)}, stream));
  TFE_CHECK_DEVICE(launchers_->record_event(before_prefetch_, stream));
  TFE_CHECK_DEVICE(launchers_->wait_in(before_prefetch_, prefetch_stream_));
  const auto promote = [&]() -> Status {
    TFE_CHECK_DEVICE(
        launchers_->set_zero(missing, sizeof(*missing), prefetch_stream_));
    TFE_CHECK_DEVICE(launchers_->find_rows(
        FindRows{content_.view.index, copy, rows, positions, missing}, n,
        prefetch_stream_));
    return Promote(content_, rows, n, /*writes=*/false, prefetch_stream_);
  };
  const Status status = promote();
  // Whatever of it has begun.
  TFE_CHECK_DEVICE(launchers_->record_event(prefetched_, prefetch_stream_));
  prefetching_ = true;
  return status;
}

void DeviceTable::AwaitPrefetch(void* stream) {
  if (!prefetching_) return;
  // It fails where the device has failed, and then so does what comes next.
  launchers_->wait_in(prefetched_, stream);
  prefetching_ = false;
}

void DeviceTable::RecordUse(void* stream) {
  if (used_ != nullptr) launchers_->record_event(used_, stream);
}

void DeviceTable::ReleaseTier() {
  if (used_ != nullptr) {
    launchers_->wait(used_);
    launchers_->destroy_event(used_);
  }
  if (prefetch_stream_ != nullptr) launchers_->destroy_stream(prefetch_stream_);
  if (prefetched_ != nullptr) launchers_->destroy_event(prefetched_);
  if (before_prefetch_ != nullptr) launchers_->destroy_event(before_prefetch_);
  allocator_->Release(prefetch_memory_);
  allocator_->Release(cache_memory_);
  allocator_->Release(cache_.hits);
}

Status DeviceTable::TierStats(void* stream, TableStats* stats) {
  if (!tiered()) return Status();
  const RowsView& rows = content_.view.rows;
  const int64_t beside =
      rows.row_bytes() - rows.stride + int64_t{sizeof(*rows.places)};
  stats->host_bytes = content_.row_capacity * rows.stride;
  stats->cache_bytes = options_.cache_bytes + kCacheSpare;
  stats->row_bytes += content_.tier_capacity * beside + stats->cache_bytes;
  stats->row_used_bytes += stats->size * beside;
  std::vector<uint64_t> counts(2 * kCacheCounters);
  TFE_CHECK_DEVICE(launchers_->copy(
      counts.data(), cache_.hits,
      static_cast<int64_t>(counts.size() * sizeof(uint64_t)), stream));
  TFE_CHECK_DEVICE(launchers_->synchronize(stream));
  for (int64_t i = 0; i < kCacheCounters; ++i) {
    stats->cache_hits += static_cast<int64_t>(counts[i]);
    stats->cache_misses += static_cast<int64_t>(counts[kCacheCounters + i]);
  }
  return Status();
}

}  // namespace tf_embedding
