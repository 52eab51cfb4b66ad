// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/shard.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace tf_embedding {
namespace {

// Fewer free rows than this are not worth a scan of the index.
constexpr int64_t kMinFree = 16;

}  // namespace

void Shard::Compact(const RowLayout& layout) {
  const uint32_t live = rows_.live();
  const auto num_free = static_cast<int64_t>(rows_.free_rows().size());
  if (live > 0 && num_free < std::max<int64_t>(kMinFree, live / 4)) {
    return;
  }
  moved_at_ = found_->now();
  std::vector<uint32_t> holes;
  for (uint32_t row : rows_.free_rows()) {
    if (row < live) holes.push_back(row);
  }
  index_.ForEach([&](int64_t /*key*/, uint32_t* row) {
    if (*row < live) return;
    const uint32_t hole = holes.back();
    holes.pop_back();
    std::memcpy(rows_.record(hole), rows_.record(*row), layout.stride);
    std::memcpy(rows_.meta(hole), rows_.meta(*row), layout.meta_stride);
    if (changes_ != nullptr) changes_->Moved(*row, hole);
    if (notes_ != nullptr) notes_->Moved(*row, hole);
    *row = hole;
  });
  rows_.Truncate(live);
  if (changes_ != nullptr) changes_->Truncate(live);
  index_.Shrink();
}

void Shard::Clear() {
  moved_at_ = found_->now();
  counters_.removed += static_cast<int64_t>(index_.size());
  index_.Clear();
  rows_.Truncate(0);
  if (changes_ != nullptr) changes_->Clear();
}

}  // namespace tf_embedding
