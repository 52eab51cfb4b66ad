// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Shared by the translation units of DeviceTable.

#ifndef TF_EMBEDDING_CC_CUDA_DEVICE_TABLE_INTERNAL_H_
#define TF_EMBEDDING_CC_CUDA_DEVICE_TABLE_INTERNAL_H_

#include <cstdint>
#include <mutex>

#include "cc/cuda/device_table.h"

namespace tf_embedding {

constexpr int64_t kMaxRows = 0xFFFFFFFEll;

// Cuts one piece of memory into arrays: a first time with base null, to learn
// how much, then for good.
class Carver {
 public:
  explicit Carver(char* base) : base_(base) {}
  template <class T>
  void Take(int64_t n, T** array) {
    *array = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + used_);
    used_ += (n * static_cast<int64_t>(sizeof(T)) + 255) / 256 * 256;
  }
  int64_t used() const { return used_; }

 private:
  char* const base_;
  int64_t used_ = 0;
};

// Holds the table for one call, whose stream waits for a prefetch under way.
class DeviceTable::Turn {
 public:
  Turn(DeviceTable* table, void* stream)
      : lock_(table->mutex_), table_(table), stream_(stream) {
    table_->AwaitPrefetch(stream_);
  }
  ~Turn() { table_->RecordUse(stream_); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  const std::lock_guard<std::mutex> lock_;
  DeviceTable* const table_;
  void* const stream_;
};

// Runs a launcher's result through Check.
#define TFE_CHECK_DEVICE(expression) TFE_RETURN_IF_ERROR(Check(expression))

// What a batch of n keys needs besides the table.
struct DeviceTable::BatchSpace {
  void Carve(int64_t n, int dim, bool with_sums, bool with_admission,
             int64_t temporary, Carver* carver) {
    carver->Take(n, &rows);
    carver->Take(n, &positions);
    carver->Take(n, &sorted_rows);
    carver->Take(n, &sorted_positions);
    carver->Take(n, &slot_of);
    carver->Take(n, &leaders);
    carver->Take(n, &ranks);
    carver->Take(scratch_slots, &scratch);
    carver->Take(2, &flags);
    carver->Take(1, &total);
    carver->Take(temporary, &temp);
    temp_bytes = temporary;
    if (with_admission) {
      carver->Take(n, &occurrences);
      carver->Take(n, &decisions);
    }
    if (!with_sums) return;
    const int64_t pieces_room = MaxPieces(n);
    carver->Take(n, &cut);
    carver->Take(pieces_room, &pieces);
    carver->Take(pieces_room * dim, &sums);
    carver->Take(pieces_room, &sum_counts);
  }

  uint32_t* rows;
  uint32_t* positions;
  uint32_t* sorted_rows;
  uint32_t* sorted_positions;
  uint64_t* slot_of;
  uint32_t* leaders;
  uint32_t* ranks;
  int64_t scratch_slots;
  uint32_t* scratch;
  uint32_t* flags;  // whether keys are missing; number of pieces
  int64_t* total;
  char* temp;
  int64_t temp_bytes;
  int64_t* occurrences;  // of leaders; of those that are admitted, before
  Decision* decisions;
  CutRow* cut;
  Piece* pieces;
  float* sums;
  int64_t* sum_counts;
};

// What a piece of a sweep needs.
struct DeviceTable::SweepSpace {
  void Carve(int64_t n, int64_t temporary, Carver* carver) {
    carver->Take(n, &taken);
    carver->Take(n, &ranks);
    carver->Take(temporary, &temp);
  }
  uint32_t* taken;
  uint32_t* ranks;
  char* temp;
};

inline int BitWidth(uint64_t x) { return x == 0 ? 0 : 64 - __builtin_clzll(x); }

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CUDA_DEVICE_TABLE_INTERNAL_H_
