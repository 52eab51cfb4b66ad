// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/row_store.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "cc/core/index.h"  // kNoRow, the one row number that is not a row

namespace tf_embedding {
namespace {

constexpr int64_t kSlabBytes = 64 << 10;
constexpr int64_t kFirstRows = 4;

}  // namespace

RowLayout::RowLayout(int dim, int vector_slots, int scalar_slots,
                     bool with_recency)
    : dim(dim), vector_slots(vector_slots), scalar_slots(scalar_slots) {
  if (with_recency) meta_stride += static_cast<int64_t>(sizeof(uint32_t));
  const int64_t bytes = static_cast<int64_t>(width()) * sizeof(float);
  stride = RecordStride(bytes);
  while (rows_per_slab() * 2 * stride <= kSlabBytes) ++slab_shift;
}

RowStore::~RowStore() {
  for (int64_t s = static_cast<int64_t>(slabs_.size()) - 1; s >= 0; --s) {
    ReleaseSlab(s);
  }
}

void RowStore::ReleaseSlab(int64_t slab) {
  if (slab == 0 && first_is_small()) {
    FreePages(slabs_[0], first_capacity_ * row_bytes());
  } else {
    arena_->Release(slabs_[slab]);
  }
}

int64_t RowStore::bytes() const {
  if (slabs_.empty()) return 0;
  const int64_t first =
      first_is_small() ? first_capacity_ * row_bytes() : arena_->block_bytes();
  return first +
         static_cast<int64_t>(slabs_.size() - 1) * arena_->block_bytes();
}

void RowStore::ResizeFirstSlab(int64_t capacity) {
  slabs_.reserve(1);
  char* const fresh =
      capacity == layout_.rows_per_slab()
          ? arena_->Allocate()
          : static_cast<char*>(AllocatePages(capacity * row_bytes()));
  if (slabs_.empty()) {
    slabs_.push_back(fresh);
  } else {
    std::memcpy(fresh, slabs_[0], end_ * layout_.stride);
    std::memcpy(fresh + capacity * layout_.stride,
                slabs_[0] + first_capacity_ * layout_.stride,
                end_ * layout_.meta_stride);
    ReleaseSlab(0);
    slabs_[0] = fresh;
  }
  first_capacity_ = capacity;
}

void RowStore::Reserve(int64_t n) {
  n -= static_cast<int64_t>(free_.size());
  if (n <= 0) return;
  const int64_t needed = int64_t{end_} + n;
  if (needed > kNoRow) throw std::bad_alloc();
  if (needed > first_capacity_ && first_capacity_ < layout_.rows_per_slab()) {
    int64_t capacity = first_capacity_ == 0 ? kFirstRows : first_capacity_;
    while (capacity < needed && capacity < layout_.rows_per_slab()) {
      capacity *= 2;
    }
    ResizeFirstSlab(std::min(layout_.rows_per_slab(), capacity));
  }
  while ((static_cast<int64_t>(slabs_.size()) << layout_.slab_shift) < needed &&
         first_capacity_ == layout_.rows_per_slab()) {
    if (slabs_.size() == slabs_.capacity()) slabs_.reserve(2 * slabs_.size());
    slabs_.push_back(arena_->Allocate());
  }
}

void RowStore::Truncate(uint32_t new_end) {
  end_ = new_end;
  free_.clear();
  free_.shrink_to_fit();
  const int64_t needed =
      (static_cast<int64_t>(new_end) + layout_.rows_per_slab() - 1) >>
      layout_.slab_shift;
  while (static_cast<int64_t>(slabs_.size()) > needed) {
    ReleaseSlab(static_cast<int64_t>(slabs_.size()) - 1);
    slabs_.pop_back();
  }
  if (slabs_.empty()) {
    slabs_.shrink_to_fit();
    first_capacity_ = 0;
  } else if (slabs_.size() == 1 && first_capacity_ > kFirstRows &&
             int64_t{end_} * 4 <= first_capacity_) {
    int64_t capacity = kFirstRows;
    while (capacity < int64_t{end_} * 2) capacity *= 2;
    ResizeFirstSlab(std::min(capacity, layout_.rows_per_slab()));
  }
}

}  // namespace tf_embedding
