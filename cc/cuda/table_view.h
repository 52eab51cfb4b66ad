// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// A table in device memory, as kernels see it: plain data, passed by value.
//
// Index. The CPU's buckets (cc/core/index.h): one line of 64 bytes, five keys,
// their row numbers, bits that say which are taken, and how many keys went
// further. A search reads one or two lines and then the row: two dependent
// accesses, where an index of digests needs three. Every int64 is a key. Unlike
// the CPU's, a removal leaves a hole that a later key fills.
//
//   Insertion by many threads at once, of distinct keys that are absent: a
//   thread takes a slot by setting its bit, and whoever found it clear owns it.
//   No search runs in the same launch, so nothing needs an order.
//   Removal likewise: whoever clears the bit has removed the key.
//
// Rows. Row r lives in slab k: slabs double from the first one up to kLargeSlab
// bytes and are of one size after that, so that growing copies nothing and
// wastes at most half of small tables. A slab is
//
//   [ record x R | meta x R ]     record: [ vector | slots ], as on the CPU
//
// and in a table that evicts [ record x R | meta x R | owner x R ].
//
// Of rows in bfloat16 (cc/core/bfloat16.h) the vector is, two values to the
// place of one; slots and all arithmetic are float32. Initial and set values
// are rounded to nearest, updates stochastically.
//
// The view has the addresses of all slabs (1.5 KB of kernel arguments, read
// from the constant cache).
//
// In a table of two tiers (tier_functors.h) slabs are the host's, hold records
// alone, and a row's record may be in the cache instead. Record() knows where:
// a kernel reads and writes the one record there is, wherever that is.

#ifndef TF_EMBEDDING_CC_CUDA_TABLE_VIEW_H_
#define TF_EMBEDDING_CC_CUDA_TABLE_VIEW_H_

#include <cstdint>

#include "cc/core/bfloat16.h"
#include "cc/core/hash.h"
#include "cc/core/index.h"
#include "cc/core/initial_value.h"
#include "cc/core/initializer.h"
#include "cc/core/philox.h"
#include "cc/core/row_store.h"
#include "cc/cuda/device.h"

namespace tf_embedding {

constexpr int kMaxSlabs = 192;
constexpr int64_t kFirstSlab = int64_t{64} << 10;  // bytes, about
constexpr int64_t kLargeSlab = int64_t{1} << 30;
constexpr int64_t kLargeHostSlab = int64_t{4} << 30;  // of two tiers
constexpr uint32_t kNotCached = 0;                    // of RowsView::places

// x > 0.
TFE_HOST_DEVICE inline int FloorLog2(uint32_t x) {
#if defined(__CUDA_ARCH__)
  return 31 - __clz(static_cast<int>(x));
#else
  return 31 - __builtin_clz(x);
#endif
}

struct IndexView {
  IndexBucket* buckets = nullptr;
  uint32_t num_buckets = 0;
};

// What vectors lie in memory as.
enum class RowDtype { kFloat32, kBfloat16 };

// How many floats a vector takes the place of.
template <class Value>
TFE_HOST_DEVICE constexpr int VectorFloats(int dim) {
  return sizeof(Value) == sizeof(float) ? dim : (dim + 1) / 2;
}

// Whose a row is, and when it was used last.
struct RowOwner {
  int64_t key;
  uint64_t touched;  // the number of the batch, or kFreeRow
};
constexpr uint64_t kFreeRow = 0;

struct RowsView {
  // Of row r: which slab, and which place in it.
  TFE_HOST_DEVICE int Slab(uint32_t row, int64_t* place) const {
    const int64_t shifted = int64_t{row} + (int64_t{1} << log2_first);
    const int64_t large = shifted >> (log2_first + doublings);
    if (large != 0) {
      *place = shifted & ((int64_t{1} << (log2_first + doublings)) - 1);
      return doublings + static_cast<int>(large) - 1;
    }
    const int slab = FloorLog2(static_cast<uint32_t>(shifted >> log2_first));
    *place = shifted - (int64_t{1} << (log2_first + slab));
    return slab;
  }
  TFE_HOST_DEVICE int64_t RowsOfSlab(int slab) const {
    return int64_t{1} << (log2_first + (slab < doublings ? slab : doublings));
  }
  TFE_HOST_DEVICE float* Record(uint32_t row) const {
    if (places != nullptr) {
      const uint32_t place = places[row];
      if (place != kNotCached) {
        return reinterpret_cast<float*>(cache + (int64_t{place} - 1) * stride);
      }
    }
    return reinterpret_cast<float*>(InSlab(row));
  }
  TFE_HOST_DEVICE char* InSlab(uint32_t row) const {
    int64_t place;
    const int slab = Slab(row, &place);
    return slabs[slab] + place * stride;
  }
  TFE_HOST_DEVICE RowMeta* Meta(uint32_t row) const {
    if (metas != nullptr) return metas + row;
    int64_t place;
    const int slab = Slab(row, &place);
    return reinterpret_cast<RowMeta*>(slabs[slab] + RowsOfSlab(slab) * stride) +
           place;
  }
  // Only where there are owners.
  TFE_HOST_DEVICE RowOwner* Owner(uint32_t row) const {
    if (owners != nullptr) return owners + row;
    int64_t place;
    const int slab = Slab(row, &place);
    return reinterpret_cast<RowOwner*>(
               slabs[slab] +
               RowsOfSlab(slab) *
                   (stride + static_cast<int64_t>(sizeof(RowMeta)))) +
           place;
  }
  TFE_HOST_DEVICE int slot_width() const {
    return dim * vector_slots + scalar_slots;
  }
  TFE_HOST_DEVICE bool in_bfloat16() const {
    return dtype == RowDtype::kBfloat16;
  }
  TFE_HOST_DEVICE int vector_floats() const {
    return in_bfloat16() ? VectorFloats<Bfloat16>(dim)
                         : VectorFloats<float>(dim);
  }
  TFE_HOST_DEVICE float* Slots(float* record) const {
    return record + vector_floats();
  }
  // Column c of a record's vector.
  TFE_HOST_DEVICE float Value(const float* record, int c) const {
    return in_bfloat16() ? ToFloat(reinterpret_cast<const Bfloat16*>(record)[c])
                         : record[c];
  }
  TFE_HOST_DEVICE void SetValue(float* record, int c, float value) const {
    if (in_bfloat16()) {
      reinterpret_cast<Bfloat16*>(record)[c] = RoundToNearest(value);
    } else {
      record[c] = value;
    }
  }
  // What a value that is set reads as.
  TFE_HOST_DEVICE float Rounded(float value) const {
    return in_bfloat16() ? ToFloat(RoundToNearest(value)) : value;
  }
  // Of a row with all that stands beside it.
  TFE_HOST_DEVICE int64_t row_bytes() const {
    return stride + static_cast<int64_t>(sizeof(RowMeta)) +
           (owned ? static_cast<int64_t>(sizeof(RowOwner)) : 0);
  }

  char* slabs[kMaxSlabs] = {};
  // Of two tiers, else null: records in the device's memory, for each row the
  // number of its slot there + 1, or kNotCached, and the metas and, where there
  // are any, the owners of all rows.
  char* cache = nullptr;
  uint32_t* places = nullptr;
  RowMeta* metas = nullptr;
  RowOwner* owners = nullptr;
  int log2_first = 0;  // rows of the first slab
  int doublings = 0;
  int64_t stride = 4;  // bytes from one record to the next
  bool owned = false;  // whether rows have owners
  int dim = 1;
  RowDtype dtype = RowDtype::kFloat32;
  int vector_slots = 0;
  int scalar_slots = 0;
  uint64_t seed = 0;  // of the rounding of updates
  float initial_vector_slots[kMaxVectorSlots] = {};
  float initial_scalar_slots[kMaxScalarSlots] = {};
};

// initializer.h, in device memory.
struct InitialView {
  InitializerKind kind = InitializerKind::kConstant;
  float a = 0;
  float b = 0;
  float range = 0;
  float most = 0;
  uint64_t seed = 0;
  const float* matrix = nullptr;
  int64_t matrix_rows = 0;
};

// What a stream of updates leaves behind, in device memory.
struct TableCounters {
  int64_t size = 0;
  uint32_t end = 0;         // rows 0..end-1 have been handed out
  uint32_t free = 0;        // of them, how many are on the free list
  uint64_t candidates = 0;  // keys without rows that a filter counts
};

// Events since the table was made, in device memory, whatever replaced its
// content since (cc/core/stats.h).
struct TableTallies {
  uint64_t inserted = 0;
  uint64_t admitted = 0;
  uint64_t refused = 0;
  uint64_t evicted = 0;
  uint64_t removed = 0;
  // Keys looked up that had no row, in parts, so that not all meet in one.
  static constexpr int kParts = 32;
  uint64_t misses[kParts] = {};

  TFE_DEVICE void CountMiss(int64_t i) {
    AtomicAdd(misses + (i & (kParts - 1)), uint64_t{1});
  }
};

struct DeviceView {
  IndexView index;
  RowsView rows;
  InitialView initial;
  TableCounters* counters = nullptr;
  TableTallies* tallies = nullptr;  // null while content is put together
  uint32_t* free_rows = nullptr;
  uint64_t batch = 1;  // the number of the one under way, from 1 up
};

TFE_DEVICE uint32_t NextBucket(const IndexView& index, uint32_t bucket) {
  return bucket + 1 == index.num_buckets ? 0 : bucket + 1;
}

// kNoRow where the key is absent. Not in a launch that inserts or removes.
TFE_DEVICE uint32_t FindRow(const IndexView& index, int64_t key) {
  if (index.num_buckets == 0) return kNoRow;
  uint32_t at = BucketOfHash(MixKey(key), index.num_buckets);
  for (uint32_t probes = 0; probes < index.num_buckets; ++probes) {
    const IndexBucket& bucket = index.buckets[at];
    const uint32_t control = bucket.control;
    uint32_t row = kNoRow;
    for (int s = 0; s < kSlotsPerBucket; ++s) {
      if (bucket.keys[s] == key && (control >> s & 1) != 0)
        row = bucket.rows[s];
    }
    if (row != kNoRow) return row;
    if ((control & IndexBucket::kPassedMask) == 0) return kNoRow;
    at = NextBucket(index, at);
  }
  return kNoRow;
}

// Where the row number of a key is; null where the key is absent. Likewise.
TFE_DEVICE uint32_t* FindSlot(const IndexView& index, int64_t key) {
  if (index.num_buckets == 0) return nullptr;
  uint32_t at = BucketOfHash(MixKey(key), index.num_buckets);
  for (uint32_t probes = 0; probes < index.num_buckets; ++probes) {
    IndexBucket* const bucket = index.buckets + at;
    const uint32_t control = bucket->control;
    for (int s = 0; s < kSlotsPerBucket; ++s) {
      if (bucket->keys[s] == key && (control >> s & 1) != 0) {
        return &bucket->rows[s];
      }
    }
    if ((control & IndexBucket::kPassedMask) == 0) return nullptr;
    at = NextBucket(index, at);
  }
  return nullptr;
}

// The key must be absent, and there must be room.
TFE_DEVICE void InsertKey(const IndexView& index, int64_t key, uint32_t row) {
  uint32_t at = BucketOfHash(MixKey(key), index.num_buckets);
  for (;;) {
    IndexBucket* const bucket = index.buckets + at;
    uint32_t control = AtomicLoad(&bucket->control);
    for (int s = 0; s < kSlotsPerBucket; ++s) {
      const uint32_t bit = 1u << s;
      if ((control & bit) != 0) continue;
      control = AtomicOr(&bucket->control, bit);
      if ((control & bit) != 0) continue;
      bucket->keys[s] = key;
      bucket->rows[s] = row;
      return;
    }
    // A count that is full stays full.
    while (control < IndexBucket::kPassedMask) {
      const uint32_t before = AtomicSwapIf(&bucket->control, control,
                                           control + IndexBucket::kOnePassed);
      if (before == control) break;
      control = before;
    }
    at = NextBucket(index, at);
  }
}

// Whether this thread is the one that removed the key.
TFE_DEVICE bool RemoveKey(const IndexView& index, int64_t key) {
  if (index.num_buckets == 0) return false;
  const uint32_t home = BucketOfHash(MixKey(key), index.num_buckets);
  uint32_t at = home;
  for (uint32_t probes = 0; probes < index.num_buckets; ++probes) {
    IndexBucket* const bucket = index.buckets + at;
    const uint32_t control = AtomicLoad(&bucket->control);
    for (int s = 0; s < kSlotsPerBucket; ++s) {
      const uint32_t bit = 1u << s;
      if (bucket->keys[s] != key || (control & bit) == 0) continue;
      if ((AtomicAnd(&bucket->control, ~bit) & bit) == 0) return false;
      for (uint32_t b = home; b != at; b = NextBucket(index, b)) {
        uint32_t* const passed = &index.buckets[b].control;
        uint32_t seen = AtomicLoad(passed);
        while (seen < IndexBucket::kPassedMask) {
          const uint32_t before =
              AtomicSwapIf(passed, seen, seen - IndexBucket::kOnePassed);
          if (before == seen) break;
          seen = before;
        }
      }
      return true;
    }
    if ((control & IndexBucket::kPassedMask) == 0) return false;
    at = NextBucket(index, at);
  }
  return false;
}

TFE_DEVICE float InitialValue(const InitialView& initial, int64_t key, int dim,
                              int column) {
  if (initial.kind == InitializerKind::kConstant) return initial.a;
  if (initial.kind == InitializerKind::kMatrix) {
    int64_t row = key % initial.matrix_rows;
    if (row < 0) row += initial.matrix_rows;
    return initial.matrix[row * dim + column];
  }
  const PhiloxWords words =
      Philox4x32(static_cast<uint64_t>(key), static_cast<uint64_t>(column / 4),
                 initial.seed);
  // Not words.w[column % 4]: an index would put them into memory.
  const int which = column % 4;
  const uint32_t word = which == 0   ? words.w[0]
                        : which == 1 ? words.w[1]
                        : which == 2 ? words.w[2]
                                     : words.w[3];
  switch (initial.kind) {
    case InitializerKind::kUniform:
      return UniformValue(word, initial.a, initial.range, initial.most);
    case InitializerKind::kNormal:
      return NormalValue(word, initial.a, initial.b);
    default:
      return TruncatedNormalValue(word, initial.a, initial.b);
  }
}

// What slot value number place (after the vector) of a new row is.
TFE_DEVICE float InitialSlot(const RowsView& rows, int place) {
  for (int k = 0; k < kMaxVectorSlots; ++k) {
    if (k < rows.vector_slots && place < (k + 1) * rows.dim) {
      return rows.initial_vector_slots[k];
    }
  }
  return rows.initial_scalar_slots[0];
}

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CUDA_TABLE_VIEW_H_
