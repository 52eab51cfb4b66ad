// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// EmbeddingTable::ExportChunk: rows piece by piece, beside updates.
//
// A cursor is a shard's number and the low half of a hash, from which the
// shard's next keys come (ShardIndex::ForEachInRange).

#include <algorithm>

#include "cc/core/table_internal.h"

namespace tf_embedding {

Status EmbeddingTable::ExportChunk(int64_t cursor, int64_t max_rows,
                                   RowChunk* chunk, int64_t* next) const {
  const auto num_shards = static_cast<int64_t>(shards_.size());
  if (cursor < 0 || cursor >= num_shards << 32) {
    return InvalidArgument("cursor is ", cursor,
                           "; begin with 0, and go on with what the last chunk "
                           "gave until that is ",
                           kEndOfRows);
  }
  if (max_rows < 1) {
    return InvalidArgument("max_rows is ", max_rows, "; it must be 1 or more");
  }
  return CatchOutOfMemory(*this, [&] {
    ReaderLock lock(&layout_lock_);
    *chunk = RowChunk();
    chunk->dim = dim_;
    chunk->slot_width = layout_.slot_width();
    int64_t s = cursor >> 32;
    uint64_t hash = static_cast<uint64_t>(cursor) & 0xFFFFFFFFu;
    while (s < num_shards && chunk->size() < max_rows) {
      const Shard& shard = *shards_[s];
      ReaderLock shard_lock(shard.lock());
      while (hash < ShardIndex::kHashEnd && chunk->size() < max_rows) {
        uint64_t end = ShardIndex::kHashEnd;
        if (shard.index().size() > 0) {
          const int64_t buckets = (max_rows - chunk->size()) / kSlotsPerBucket;
          end = shard.index().HashAfter(
              hash, static_cast<uint32_t>(std::clamp<int64_t>(
                        buckets, 1, shard.index().num_buckets())));
        }
        shard.index().ForEachInRange(
            hash, end,
            [&](int64_t key, uint64_t /*hash*/, const uint32_t* row) {
              chunk->Add(key, shard.rows(), *row);
            });
        hash = end;
      }
      if (hash == ShardIndex::kHashEnd) {
        ++s;
        hash = 0;
      }
    }
    *next = s == num_shards ? kEndOfRows : s << 32 | static_cast<int64_t>(hash);
    return Status();
  });
}

}  // namespace tf_embedding
