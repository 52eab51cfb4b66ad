// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// DeviceTable: the memory of its content, and how that grows.

#include <algorithm>

#include "cc/cuda/device_table_internal.h"

namespace tf_embedding {
namespace {

constexpr double kMaxLoad = 0.75;
constexpr uint32_t kFirstBuckets = 64;
// Batches of all new keys that room is made for, ahead of the counters.
constexpr int64_t kBatchesAhead = 2;

int64_t KeysOfBuckets(uint32_t num_buckets) {
  return static_cast<int64_t>(static_cast<double>(num_buckets) *
                              kSlotsPerBucket * kMaxLoad);
}

}  // namespace

bool DeviceTable::HasRoom(const Content& content, int64_t keys) const {
  const int64_t new_rows =
      std::max<int64_t>(0, content.since_known + keys - content.known.free);
  return content.MaxSize() + keys <=
             KeysOfBuckets(content.view.index.num_buckets) &&
         content.known.end + new_rows <= content.row_capacity &&
         (!counts_candidates() ||
          content.MaxCandidates() + keys <=
              KeysOfBuckets(content.candidates.num_buckets));
}

// initial_slots: of the vector slots, then of the scalar ones.
void DeviceTable::SetLayout(const RuleInfo* rule, const float* initial_slots,
                            RowsView* rows) const {
  *rows = RowsView();
  rows->dim = options_.dim;
  rows->dtype = options_.row_dtype;
  rows->seed = initial_.seed;
  if (rule != nullptr) {
    rows->vector_slots = static_cast<int>(rule->vector_slots.size());
    rows->scalar_slots = static_cast<int>(rule->scalar_slots.size());
    std::copy_n(initial_slots, rows->vector_slots, rows->initial_vector_slots);
    std::copy_n(initial_slots + rows->vector_slots, rows->scalar_slots,
                rows->initial_scalar_slots);
  }
  rows->stride = RecordStride((rows->vector_floats() + rows->slot_width()) *
                              int64_t{sizeof(float)});
  rows->owned = eviction_ != nullptr;
  // Owners are of eight bytes each.
  if (rows->owned) rows->stride = (rows->stride + 7) / 8 * 8;
  const int64_t row_bytes = SlabBytesOfRow(*rows);
  const int64_t large = tiered() ? kLargeHostSlab : kLargeSlab;
  while ((row_bytes << (rows->log2_first + 1)) <= kFirstSlab) {
    ++rows->log2_first;
  }
  while ((row_bytes << (rows->log2_first + rows->doublings + 1)) <= large) {
    ++rows->doublings;
  }
}

Status DeviceTable::MakeContent(const RuleInfo* rule,
                                const float* initial_slots, void* stream,
                                Content* content) {
  SetLayout(rule, initial_slots, &content->view.rows);
  TFE_RETURN_IF_ERROR(CheckCache(rule, content->view.rows));
  content->rule = rule;
  content->view.initial = initial_;
  content->view.batch = content_.view.batch;
  TFE_RETURN_IF_ERROR(AllocateArray(*content, 1, &content->view.counters));
  TFE_CHECK_DEVICE(launchers_->set_zero(content->view.counters,
                                        sizeof(TableCounters), stream));
  return MakeFilter(content, stream);
}

void DeviceTable::ReleaseRows(Content* content) {
  for (int s = 0; s < content->num_slabs; ++s) {
    ReleaseSlab(content->view.rows.slabs[s]);
  }
  ReleaseTierRows(&content->view.rows);
  content->num_slabs = 0;
  content->row_capacity = 0;
  content->tier_capacity = 0;
}

void DeviceTable::ReleaseContent(Content* content) {
  ReleaseRows(content);
  ReleaseFilter(content);
  allocator_->Release(content->view.index.buckets);
  allocator_->Release(content->view.free_rows);
  allocator_->Release(content->view.counters);
  *content = Content();
}

void DeviceTable::Replace(const Content& fresh) {
  ReleaseContent(&content_);
  content_ = fresh;
  content_.view.tallies = tallies_;
  cursor_ = 0;
  decays_ = false;
  next_decay_ = -1;
}

Status DeviceTable::ReadCounters(Content* content, void* stream) {
  TFE_CHECK_DEVICE(launchers_->copy(pinned_, content->view.counters,
                                    sizeof(TableCounters), stream));
  TFE_CHECK_DEVICE(launchers_->synchronize(stream));
  content->known = *pinned_;
  content->since_known = 0;
  content->since_copy = 0;
  content->copying = false;
  return Status();
}

void DeviceTable::PollCounters(Content* content) {
  bool done = false;
  if (!content->copying || launchers_->done(event_, &done) != 0 || !done) {
    return;
  }
  content->known = *pinned_;
  content->since_known = content->since_copy;
  content->copying = false;
}

Status DeviceTable::CopyCounters(Content* content, void* stream) {
  if (content->copying) return Status();
  TFE_CHECK_DEVICE(launchers_->copy(pinned_, content->view.counters,
                                    sizeof(TableCounters), stream));
  TFE_CHECK_DEVICE(launchers_->record_event(event_, stream));
  content->since_copy = 0;
  content->copying = true;
  return Status();
}

Status DeviceTable::EnsureRoom(Content* content, int64_t n, void* stream) {
  PollCounters(content);
  if (HasRoom(*content, n)) return Status();
  TFE_RETURN_IF_ERROR(ReadCounters(content, stream));
  // Room for more batches if there is memory, else for this one.
  Status status;
  for (const int64_t keys : {n * (1 + kBatchesAhead), n}) {
    if (HasRoom(*content, keys)) return Status();
    const int64_t new_rows = std::max<int64_t>(0, keys - content->known.free);
    status = GrowIndex(*content, content->known.size + keys,
                       &content->view.index, stream);
    if (status.ok() && counts_candidates()) {
      status = GrowIndex(*content, content->MaxCandidates() + keys,
                         &content->candidates, stream);
    }
    if (status.ok()) {
      status = GrowRows(content, content->known.end + new_rows, stream);
    }
    if (status.ok() || status.code() != StatusCode::kResourceExhausted) break;
  }
  return status;
}

Status DeviceTable::GrowIndex(const Content& content, int64_t keys,
                              IndexView* index, void* stream) {
  if (keys <= KeysOfBuckets(index->num_buckets)) return Status();
  int64_t buckets = std::max<int64_t>(kFirstBuckets, index->num_buckets);
  while (KeysOfBuckets(static_cast<uint32_t>(buckets)) < keys) {
    buckets *= 2;
    if (buckets > (int64_t{1} << 31)) {
      return OutOfMemory(content, buckets * int64_t{sizeof(IndexBucket)});
    }
  }
  IndexView grown;
  grown.num_buckets = static_cast<uint32_t>(buckets);
  TFE_RETURN_IF_ERROR(AllocateArray(content, buckets, &grown.buckets));
  int error = launchers_->set_zero(
      grown.buckets, buckets * int64_t{sizeof(IndexBucket)}, stream);
  if (error == 0 && index->num_buckets > 0) {
    error = launchers_->move_keys(MoveKeys{*index, grown}, index->num_buckets,
                                  stream);
  }
  if (error != 0) {
    allocator_->Release(grown.buckets);
    return Check(error);
  }
  allocator_->Release(index->buckets);
  *index = grown;
  return Status();
}

Status DeviceTable::GrowRows(Content* content, int64_t rows, void* stream) {
  RowsView* const view = &content->view.rows;
  while (content->row_capacity < rows) {
    const int64_t more = view->RowsOfSlab(content->num_slabs);
    const int64_t bytes = more * SlabBytesOfRow(*view);
    if (content->num_slabs == kMaxSlabs || rows > kMaxRows) {
      return OutOfMemory(*content, bytes);
    }
    if (tiered()) {
      TFE_RETURN_IF_ERROR(
          GrowTier(content, content->row_capacity + more, stream));
    }
    TFE_RETURN_IF_ERROR(
        AllocateSlab(*content, bytes, &view->slabs[content->num_slabs]));
    ++content->num_slabs;
    content->row_capacity += more;
  }
  return Status();
}

// Room for all rows up to the number given.
Status DeviceTable::EnsureFreeList(Content* content, int64_t rows,
                                   void* stream) {
  if (content->free_capacity >= rows) return Status();
  const int64_t capacity = std::max(rows, content->row_capacity);
  uint32_t* grown;
  TFE_RETURN_IF_ERROR(AllocateArray(*content, capacity, &grown));
  const int error = launchers_->copy(
      grown, content->view.free_rows,
      content->free_capacity * int64_t{sizeof(uint32_t)}, stream);
  if (error != 0) {
    allocator_->Release(grown);
    return Check(error);
  }
  allocator_->Release(content->view.free_rows);
  content->view.free_rows = grown;
  content->free_capacity = capacity;
  return Status();
}

Status DeviceTable::ChangeRule(const RuleInfo* rule, const float* initial_slots,
                               Content* content, void* stream,
                               int64_t* rows_reset) {
  TFE_RETURN_IF_ERROR(ReadCounters(content, stream));
  Content changed;
  SetLayout(rule, initial_slots, &changed.view.rows);
  TFE_RETURN_IF_ERROR(CheckCache(rule, changed.view.rows));
  const int64_t end = content->known.end;
  Status status = GrowRows(&changed, std::max(end, options_.reserve), stream);
  if (status.ok()) {
    status = Check(launchers_->convert_rows(
        ConvertRows{content->view.rows, changed.view.rows}, end, stream));
  }
  if (status.ok()) status = ResizeRing(changed.view.rows.slot_width(), stream);
  if (!status.ok()) {
    ReleaseRows(&changed);
    return status;
  }
  *rows_reset = content->view.rows.slot_width() > 0 ? content->known.size : 0;
  ReleaseRows(content);
  content->view.rows = changed.view.rows;
  content->num_slabs = changed.num_slabs;
  content->row_capacity = changed.row_capacity;
  content->tier_capacity = changed.tier_capacity;
  content->rule = rule;
  return AttachCache(content, stream);
}

}  // namespace tf_embedding
