// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// EmbeddingTable: what it was, and what changed since.

#include "cc/core/table_snapshot.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cc/core/table_internal.h"

namespace tf_embedding {
namespace {

uint64_t Mix(uint64_t hash, uint64_t word) {
  return MixKey(static_cast<int64_t>(hash ^ word));
}

uint64_t HashRow(const float* record, int width, const RowMeta& meta) {
  uint64_t hash = Mix(meta.frequency, uint64_t{meta.version} << 32);
  for (int c = 0; c < width; ++c) {
    uint32_t bits;
    std::memcpy(&bits, record + c, sizeof(bits));
    hash = Mix(hash, bits);
  }
  return hash;
}

bool ByKey(const TableSnapshot::Row& a, const TableSnapshot::Row& b) {
  return a.key < b.key;
}

}  // namespace

Status EmbeddingTable::Snapshot(TableSnapshot* snapshot) const {
  return CatchOutOfMemory(*this, [&] {
    ReaderLock lock(&layout_lock_);
    TableSnapshot made;
    if (rule_ != nullptr) made.rule = rule_->name;
    made.rows.reserve(static_cast<size_t>(SizeLocked()));
    for (const auto& shard : shards_) {
      ReaderLock shard_lock(shard->lock());
      shard->index().ForEach([&](int64_t key, const uint32_t* row) {
        made.rows.push_back(
            {key, HashRow(shard->rows().record(*row), layout_.width(),
                          *shard->rows().meta(*row))});
      });
    }
    std::sort(made.rows.begin(), made.rows.end(), ByKey);
    *snapshot = std::move(made);
    return Status();
  });
}

Status EmbeddingTable::FollowSince(const std::string& consumer,
                                   const TableSnapshot& before,
                                   const TableSnapshot& now) {
  return CatchOutOfMemory(*this, [&] {
    WriterLock lock(&layout_lock_);
    StartLogs(shards_, 0);
    const auto shard_of = [&](uint64_t hash) {
      return shards_[ShardOfHash(hash, log2_shards_)].get();
    };
    auto old = before.rows.begin();
    const auto forget_until = [&](auto end) {
      for (; old != end; ++old) {
        const uint64_t hash = MixKey(old->key);
        shard_of(hash)->MarkGone(hash, old->key);
      }
    };
    for (const TableSnapshot::Row& row : now.rows) {
      forget_until(std::lower_bound(old, before.rows.end(), row, ByKey));
      if (old != before.rows.end() && old->key == row.key) {
        const bool same = old->hash == row.hash;
        ++old;
        if (same) continue;
      }
      const uint64_t hash = MixKey(row.key);
      Shard* const shard = shard_of(hash);
      shard->MarkChanged(shard->index().FindRow(hash, row.key));
    }
    forget_until(before.rows.end());
    Consumer* const state = &consumers_[consumer];
    state->since = state->base = clock_.epoch.load();
    state->started = clock_.epoch.fetch_add(1) + 1;
    return Status();
  });
}

}  // namespace tf_embedding
