// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// The floor of any lookup and update: rows out of huge pages by number, each
// prefetched while those before it are copied. No keys, no locks, no sums of
// duplicates. A shared library for tables_floor.py.
//
// A record is a row and its Adagrad slots side by side, as in the table.

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#include "tests/cc/executors.h"

namespace {

using tf_embedding::testing::PoolExecutor;

constexpr int64_t kAhead = 16;  // rows in flight

class Floor {
 public:
  Floor(int64_t rows, int64_t dim, int64_t slots, int64_t batch,
        int64_t threads)
      : dim_(dim),
        stride_(dim + slots),
        bytes_(rows * stride_ * static_cast<int64_t>(sizeof(float))),
        out_(batch * dim),
        pool_(static_cast<int>(threads) - 1) {
    void* const pages = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) throw std::bad_alloc();
    madvise(pages, bytes_, MADV_HUGEPAGE);
    records_ = static_cast<float*>(pages);
    std::fill_n(records_, rows * stride_, 0.1f);
  }
  ~Floor() { munmap(records_, bytes_); }

  void Copy(const int64_t* rows, int64_t n) {
    Run(rows, n, dim_, [this](float* record, float* out) {
      std::memcpy(out, record, dim_ * sizeof(float));
    });
  }

  void Update(const int64_t* rows, int64_t n) {
    Copy(rows, n);
    Run(rows, n, stride_, [this](float* record, const float* row) {
      float* const slots = record + dim_;
      for (int64_t c = 0; c < dim_; ++c) {
        const float gradient = 2 * row[c];
        slots[c] += gradient * gradient;
        record[c] -= 0.01f * gradient / std::sqrt(slots[c]);
      }
    });
  }

 private:
  // Prefetches the first used floats of each record.
  template <class Body>
  void Run(const int64_t* rows, int64_t n, int64_t used, const Body& body) {
    pool_.ParallelFor(n, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        if (i + kAhead < end) {
          const float* const next = records_ + rows[i + kAhead] * stride_;
          for (int64_t c = 0; c < used; c += 16) {
            __builtin_prefetch(next + c);
          }
        }
        body(records_ + rows[i] * stride_, out_.data() + i * dim_);
      }
    });
  }

  const int64_t dim_;
  const int64_t stride_;
  const int64_t bytes_;
  float* records_;
  std::vector<float> out_;
  PoolExecutor pool_;
};

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT void* FloorCreate(int64_t rows, int64_t dim, int64_t slots,
                         int64_t batch, int64_t threads) {
  return new Floor(rows, dim, slots, batch, threads);
}
EXPORT void FloorCopy(void* floor, const int64_t* rows, int64_t n) {
  static_cast<Floor*>(floor)->Copy(rows, n);
}
EXPORT void FloorUpdate(void* floor, const int64_t* rows, int64_t n) {
  static_cast<Floor*>(floor)->Update(rows, n);
}
EXPORT void FloorDestroy(void* floor) { delete static_cast<Floor*>(floor); }
