// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// EmbeddingTable: eviction that is not part of a batch.

#include "cc/core/table_internal.h"

namespace tf_embedding {

void EmbeddingTable::AttachEviction() {
  if (eviction_ == nullptr) return;
  for (size_t s = 0; s < shards_.size(); ++s) {
    eviction_->shard(static_cast<int64_t>(s))->Attach(shards_[s].get());
  }
}

Status EmbeddingTable::Sweep(EvictWhen when, const EvictionMoment& moment,
                             int64_t* evicted, Executor* executor) {
  std::atomic<int64_t> total{0};
  std::atomic<bool> out_of_memory{false};
  const Status status = CatchOutOfMemory(*this, [&] {
    ReaderLock lock(&layout_lock_);
    const RowWriterLock writer_lock(&update_lock_, &read_gate_);
    const auto num_shards = static_cast<int64_t>(shards_.size());
    executor->ParallelFor(num_shards, 100000, [&](int64_t from, int64_t to) {
      for (int64_t s = from; s < to; ++s) {
        Shard* const shard = shards_[s].get();
        WriterLock shard_lock(shard->lock());
        const int64_t before = shard->counters().evicted;
        try {
          shard->eviction()->Sweep(moment, when, shard);
        } catch (const std::bad_alloc&) {
          out_of_memory.store(true, std::memory_order_relaxed);
        }
        total.fetch_add(shard->counters().evicted - before,
                        std::memory_order_relaxed);
        views_[s] = shard->view();
      }
    });
    if (out_of_memory.load()) throw std::bad_alloc();
    return Status();
  });
  *evicted = total.load();
  return status;
}

Status EmbeddingTable::Evict(int64_t step, int64_t* evicted,
                             Executor* executor) {
  *evicted = 0;
  if (step != Eviction::kLastStep) TFE_RETURN_IF_ERROR(CheckStep(step));
  if (eviction_ == nullptr) return Status();
  return Sweep(EvictWhen::kRequest, eviction_->Now(step), evicted, executor);
}

Status EmbeddingTable::EvictForSave(Executor* executor) {
  if (eviction_ == nullptr ||
      !eviction_->options().RulesOf(EvictWhen::kSave).any()) {
    return Status();
  }
  int64_t evicted;
  return Sweep(EvictWhen::kSave, eviction_->Now(Eviction::kLastStep), &evicted,
               executor);
}

Status EmbeddingTable::TakeEvicted(RowChunk* rows, int64_t* dropped) {
  *dropped = 0;
  return CatchOutOfMemory(*this, [&] {
    ReaderLock lock(&layout_lock_);
    rows->dim = dim_;
    rows->slot_width = layout_.slot_width();
    for (const auto& shard : shards_) {
      if (shard->eviction() == nullptr) break;
      WriterLock shard_lock(shard->lock());
      shard->eviction()->Take(rows, dropped);
    }
    return Status();
  });
}

}  // namespace tf_embedding
