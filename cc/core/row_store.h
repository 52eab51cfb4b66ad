// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// RowStore: the rows of one shard.
//
// A row is one record of floats and one RowMeta:
//
//   record:  [ vector: dim | slot 0: dim | ... | slot s-1: dim | scalars ]
//   meta:    { frequency: u32, version: u32 } and, where rows are evicted in
//            the order of their use (eviction.h), { recency: u32 }
//
// Vector and slots lie together because the update reads and writes them
// together. Frequency and version lie beside the records, not in them, so that
// with a dim of 16 a vector is exactly one cache line and a lookup touches no
// other.
//
//   slab:    [ record x R | meta x R ]      R a power of two, about 64 KiB
//
// A slab's neighbour in memory is an odd number of lines away (memory.h).
//
// Row n is at slab n / R, place n mod R; slabs never move, except that the
// first one starts small and doubles until it is full size, so that a table of
// a hundred keys takes kilobytes. Pointers to rows are therefore good until the
// next Allocate, and a writer that inserts takes all of a block's row numbers
// before it asks for a pointer.
//
// Rows given back go on a free list and are handed out again, last one first.
// When too many are free the shard moves rows down into the holes (Compact
// in shard.h) and calls Truncate, which gives the empty slabs at the end back.
//
// Thread safety: none; the shard's lock guards it.
// Failure: std::bad_alloc with the store unchanged.

#ifndef TF_EMBEDDING_CC_CORE_ROW_STORE_H_
#define TF_EMBEDDING_CC_CORE_ROW_STORE_H_

#include <cstdint>
#include <vector>

#include "cc/core/memory.h"

namespace tf_embedding {

struct RowMeta {
  uint32_t frequency;  // occurrences trained; stays at its maximum
  uint32_t version;    // the step of the last update
};

constexpr int64_t kMetaBytes = sizeof(RowMeta);

// From one record of so many bytes to the next.
constexpr int64_t RecordStride(int64_t bytes) {
  // Wide records start on 16 bytes, so that vector loads rarely straddle a
  // line; for narrow ones the padding would cost more than it gives.
  return bytes < 64 ? bytes : (bytes + 15) / 16 * 16;
}

// What a row looks like; the same in all shards of a table.
struct RowLayout {
  RowLayout() = default;
  RowLayout(int dim, int vector_slots, int scalar_slots,
            bool with_recency = false);

  // Values in a record after the vector.
  int slot_width() const { return dim * vector_slots + scalar_slots; }
  int width() const { return dim + slot_width(); }
  int64_t rows_per_slab() const { return int64_t{1} << slab_shift; }
  // Of a record and its meta.
  int64_t row_bytes() const { return stride + meta_stride; }
  bool has_recency() const { return meta_stride > kMetaBytes; }
  int64_t slab_bytes() const { return rows_per_slab() * row_bytes(); }

  int dim = 1;
  int vector_slots = 0;
  int scalar_slots = 0;
  int64_t stride = 4;                // bytes from one record to the next
  int64_t meta_stride = kMetaBytes;  // bytes from one meta to the next
  int slab_shift = 0;
};

class RowStore {
 public:
  // The arena's blocks hold a slab of layout.
  RowStore(const RowLayout& layout, SlabArena* arena)
      : layout_(layout), arena_(arena) {}
  ~RowStore();
  RowStore(const RowStore&) = delete;
  RowStore& operator=(const RowStore&) = delete;

  const RowLayout& layout() const { return layout_; }
  // Rows 0..end()-1 have a place; the free ones among them are in free_rows.
  uint32_t end() const { return end_; }
  const std::vector<uint32_t>& free_rows() const { return free_; }
  uint32_t live() const { return end_ - static_cast<uint32_t>(free_.size()); }
  // Bytes held for rows, used or not.
  int64_t bytes() const;

  // Makes room for n more rows. Call before Allocate; may move the first slab.
  void Reserve(int64_t n);
  // A row, room being reserved. Its record is undefined, its meta too: the
  // caller writes both.
  uint32_t Allocate() noexcept {
    if (free_.empty()) return end_++;
    const uint32_t row = free_.back();
    free_.pop_back();
    return row;
  }
  // Makes room to give one more row back. Call before Release.
  void ReserveRelease() {
    if (free_.size() == free_.capacity()) free_.reserve(2 * free_.size() + 4);
  }
  void Release(uint32_t row) noexcept { free_.push_back(row); }
  // Every row from new_end on is unused. Forgets the free list.
  void Truncate(uint32_t new_end);

  char* const* slabs() const { return slabs_.data(); }
  // Null while there is none.
  const char* first_slab() const {
    return slabs_.empty() ? nullptr : slabs_.front();
  }
  float* record(uint32_t row) const {
    return reinterpret_cast<float*>(slabs_[row >> layout_.slab_shift] +
                                    (row & mask()) * layout_.stride);
  }
  RowMeta* meta(uint32_t row) const {
    const uint32_t slab = row >> layout_.slab_shift;
    const int64_t capacity =
        slab == 0 ? first_capacity_ : layout_.rows_per_slab();
    return reinterpret_cast<RowMeta*>(slabs_[slab] + capacity * layout_.stride +
                                      (row & mask()) * layout_.meta_stride);
  }
  // Only where the layout has it.
  uint32_t* recency(uint32_t row) const {
    return reinterpret_cast<uint32_t*>(meta(row) + 1);
  }

 private:
  uint32_t mask() const {
    return static_cast<uint32_t>(layout_.rows_per_slab() - 1);
  }
  int64_t row_bytes() const { return layout_.row_bytes(); }
  bool first_is_small() const {
    return first_capacity_ < layout_.rows_per_slab();
  }
  void ResizeFirstSlab(int64_t capacity);
  void ReleaseSlab(int64_t slab);

  const RowLayout layout_;
  SlabArena* const arena_;
  std::vector<char*> slabs_;
  int64_t first_capacity_ = 0;
  uint32_t end_ = 0;
  std::vector<uint32_t> free_;
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_ROW_STORE_H_
