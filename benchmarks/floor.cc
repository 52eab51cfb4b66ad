// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// The floor of any lookup and update: rows out of huge pages by number, each
// prefetched while those before it are copied. No keys, no locks, no sums of
// duplicates. A shared library for tables_floor.py.
//
// A record is a row and its slots side by side, as in the table: one for
// Adagrad, two for Adam. After each 512 records one line is left out: records
// of 128 bytes would otherwise have all their rows in even lines, that is in
// half the sets of the caches. What does not fit into the cache before memory
// is prefetched into the second level, which has room for more requests.
//
// The floor by key: the same behind a bare hash table, which is an array of
// keys and row numbers, 16 bytes each, half full, searched place after place.
// Key 0 is not allowed. An update takes the rows that the lookup found, and
// counts their uses. What a table cannot go below that knows more of its keys.
//
// The floor of insertion: fresh memory of the size of rows, index, frequency
// and version, written once.

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "cc/core/hash.h"
#include "cc/core/platform.h"
#include "tests/cc/executors.h"

namespace {

using tf_embedding::testing::PoolExecutor;

constexpr int64_t kAhead = 16;   // rows in flight
constexpr int64_t kBlock = 32;   // keys in flight
constexpr int64_t kRunLog2 = 9;  // of the records between two gaps
constexpr int64_t kLine = tf_embedding::kCacheLine / 4;  // floats
constexpr int64_t kSharedCacheBytes = 32 << 20;

template <class T>
class HugePages {
 public:
  explicit HugePages(int64_t n) : bytes_(n * static_cast<int64_t>(sizeof(T))) {
    void* const pages = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) throw std::bad_alloc();
    madvise(pages, bytes_, MADV_HUGEPAGE);
    data_ = static_cast<T*>(pages);
  }
  ~HugePages() { munmap(data_, bytes_); }
  HugePages(const HugePages&) = delete;
  HugePages& operator=(const HugePages&) = delete;

  T* data() const { return data_; }
  T& operator[](int64_t i) const { return data_[i]; }

 private:
  const int64_t bytes_;
  T* data_;
};

struct Entry {
  int64_t key;  // 0: free
  int64_t row;
};

class Floor {
 public:
  Floor(int64_t rows, int64_t dim, int64_t slots, int64_t batch,
        int64_t threads)
      : dim_(dim),
        stride_(dim + slots),
        out_(batch * dim),
        found_(batch),
        pool_(static_cast<int>(threads) - 1),
        records_(Offset(rows) + kLine),
        far_(Offset(rows) * static_cast<int64_t>(sizeof(float)) >
             kSharedCacheBytes) {
    std::fill_n(records_.data(), Offset(rows), 0.1f);
  }

  void Index(const int64_t* keys, int64_t n) {
    int64_t size = 1;
    while (size < 2 * n) size *= 2;
    mask_ = size - 1;
    entries_ = std::make_unique<HugePages<Entry>>(size);
    uses_ = std::make_unique<HugePages<int64_t>>(n);
    for (int64_t row = 0; row < n; ++row) {
      int64_t place = Home(keys[row]);
      while ((*entries_)[place].key != 0) place = (place + 1) & mask_;
      (*entries_)[place] = Entry{keys[row], row};
    }
  }

  // Copies the rows that keys have, and notes which.
  void Find(const int64_t* keys, int64_t n) {
    const HugePages<Entry>& entries = *entries_;
    pool_.ParallelFor(n, 1, [&](int64_t begin, int64_t end) {
      int64_t homes[kBlock];
      const auto prefetch_homes = [&](int64_t from) {
        for (int64_t i = from; i < std::min(end, from + kBlock); ++i) {
          homes[i - from] = Home(keys[i]);
          Ask(&entries[homes[i - from]]);
        }
      };
      prefetch_homes(begin);
      for (int64_t from = begin; from < end; from += kBlock) {
        const int64_t to = std::min(end, from + kBlock);
        for (int64_t i = from; i < to; ++i) {
          int64_t place = homes[i - from];
          while (entries[place].key != keys[i]) place = (place + 1) & mask_;
          found_[i] = entries[place].row;
          Prefetch(found_[i], dim_);
          AskForPlace(i);
        }
        prefetch_homes(to);
        for (int64_t i = from; i < to; ++i) {
          std::memcpy(out_.data() + i * dim_, &records_[Offset(found_[i])],
                      dim_ * sizeof(float));
        }
      }
    });
  }

  void UpdateByKey(const int64_t* keys, int64_t n) {
    Find(keys, n);
    Run(
        found_.data(), n, stride_, [this](int64_t row) { Ask(&(*uses_)[row]); },
        [this](int64_t row, float* record, const float* out) {
          Train(record, out);
          ++(*uses_)[row];
        });
  }

  void Copy(const int64_t* rows, int64_t n) {
    Run(
        rows, n, dim_, [](int64_t /*row*/) {},
        [this](int64_t /*row*/, const float* record, float* out) {
          std::memcpy(out, record, dim_ * sizeof(float));
        });
  }

  void Update(const int64_t* rows, int64_t n) {
    Copy(rows, n);
    Run(
        rows, n, stride_, [](int64_t /*row*/) {},
        [this](int64_t /*row*/, float* record, const float* out) {
          Train(record, out);
        });
  }

 private:
  int64_t Home(int64_t key) const {
    return static_cast<int64_t>(tf_embedding::MixKey(key)) & mask_;
  }

  // Of a record, in floats.
  int64_t Offset(int64_t row) const {
    return row * stride_ + (row >> kRunLog2) * kLine;
  }

  void Ask(const void* line) const {
    if (far_) {
      TFE_PREFETCH_L2(line);
    } else {
      TFE_PREFETCH_READ(line);
    }
  }

  // Of the output, as lookups of tf_embedding do.
  void AskForPlace(int64_t i) const {
    const float* const place = out_.data() + i * dim_;
    const int64_t asked = dim_ <= 64 ? dim_ : 1;
    for (int64_t c = 0; c < asked; c += kLine) TFE_PREFETCH_WRITE(place + c);
  }

  void Train(float* record, const float* row) const {
    if (stride_ == 2 * dim_) {
      Adagrad(record, row);
    } else {
      Adam(record, row);
    }
  }

  void Adam(float* __restrict record, const float* __restrict row) const {
    float* const first = record + dim_;
    float* const second = record + 2 * dim_;
    for (int64_t c = 0; c < dim_; ++c) {
      const float gradient = 2 * row[c];
      first[c] += 0.1f * (gradient - first[c]);
      second[c] += 0.001f * (gradient * gradient - second[c]);
      record[c] -= 0.01f * first[c] / (std::sqrt(second[c]) + 1e-7f);
    }
  }

  void Adagrad(float* record, const float* row) const {
    float* const slots = record + dim_;
    for (int64_t c = 0; c < dim_; ++c) {
      const float gradient = 2 * row[c];
      slots[c] += gradient * gradient;
      record[c] -= 0.01f * gradient / std::sqrt(slots[c]);
    }
  }

  // The first used floats of a record.
  void Prefetch(int64_t row, int64_t used) const {
    for (int64_t c = 0; c < used; c += kLine) {
      Ask(&records_[Offset(row) + c]);
    }
  }

  // Calls body(row, record, out) for each row, some while after it has asked
  // for the first used floats of its record and, by ask(row), for more.
  template <class Ask, class Body>
  void Run(const int64_t* rows, int64_t n, int64_t used, const Ask& ask,
           const Body& body) {
    pool_.ParallelFor(n, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        if (i + kAhead < end) {
          Prefetch(rows[i + kAhead], used);
          AskForPlace(i + kAhead);
          ask(rows[i + kAhead]);
        }
        body(rows[i], &records_[Offset(rows[i])], out_.data() + i * dim_);
      }
    });
  }

  const int64_t dim_;
  const int64_t stride_;
  std::vector<float> out_;
  std::vector<int64_t> found_;
  PoolExecutor pool_;
  HugePages<float> records_;
  const bool far_;
  std::unique_ptr<HugePages<Entry>> entries_;
  std::unique_ptr<HugePages<int64_t>> uses_;
  int64_t mask_ = 0;
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
EXPORT void FloorIndex(void* floor, const int64_t* keys, int64_t n) {
  static_cast<Floor*>(floor)->Index(keys, n);
}
EXPORT void FloorFind(void* floor, const int64_t* keys, int64_t n) {
  static_cast<Floor*>(floor)->Find(keys, n);
}
EXPORT void FloorUpdateByKey(void* floor, const int64_t* keys, int64_t n) {
  static_cast<Floor*>(floor)->UpdateByKey(keys, n);
}
EXPORT void FloorUpdate(void* floor, const int64_t* rows, int64_t n) {
  static_cast<Floor*>(floor)->Update(rows, n);
}
EXPORT void FloorDestroy(void* floor) { delete static_cast<Floor*>(floor); }

// Takes fresh memory from the system, as much for each batch as its rows need,
// and fills it, by all threads. seconds [batches]: how long each took.
EXPORT void FloorGrow(int64_t batches, int64_t bytes_of_batch, int64_t threads,
                      double* seconds) {
  constexpr int64_t kBlockBytes = 64 << 10;
  PoolExecutor pool(static_cast<int>(threads) - 1);
  const HugePages<char> pages(batches * bytes_of_batch);
  const int64_t blocks = (bytes_of_batch + kBlockBytes - 1) / kBlockBytes;
  for (int64_t b = 0; b < batches; ++b) {
    const auto start = std::chrono::steady_clock::now();
    char* const begin = pages.data() + b * bytes_of_batch;
    pool.ParallelFor(blocks, 1, [&](int64_t from, int64_t to) {
      std::memset(
          begin + from * kBlockBytes, 1,
          std::min(to * kBlockBytes, bytes_of_batch) - from * kBlockBytes);
    });
    seconds[b] =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
            .count();
  }
}
