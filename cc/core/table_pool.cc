// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// EmbeddingTable::LookupPooled.

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "cc/core/table_internal.h"

namespace tf_embedding {
namespace {

// Keys looked up before they are pooled: their vectors stay in the second-level
// cache, and the shards' locks are taken once for all of them.
constexpr int64_t kPoolBytes = 128 << 10;

// What a thread takes at once: little, so that all threads end together also
// where there are few tables.
constexpr int64_t kPieceKeys = 1024;

// Bags from..to-1 of a request.
struct Piece {
  int64_t request;
  int64_t from;
  int64_t to;
};

int64_t NumKeys(const PooledRequest& request) {
  if (request.splits == nullptr || request.num_bags == 0) {
    return request.num_bags;
  }
  return request.splits[request.num_bags];
}

// Cuts the bags of all requests into pieces of about kPieceKeys keys.
std::vector<Piece> Cut(const PooledRequest* requests, int64_t num_requests) {
  std::vector<Piece> pieces;
  for (int64_t r = 0; r < num_requests; ++r) {
    const PooledRequest& request = requests[r];
    const int64_t* const splits = request.splits;
    for (int64_t from = 0; from < request.num_bags;) {
      // Empty bags cost something too.
      int64_t to = std::min(from + kPieceKeys, request.num_bags);
      if (splits != nullptr) {
        const int64_t* const last = std::upper_bound(
            splits + from + 1, splits + to + 1, splits[from] + kPieceKeys);
        to = std::max<int64_t>(last - splits - 1, from + 1);
      }
      pieces.push_back(Piece{r, from, to});
      from = to;
    }
  }
  return pieces;
}

// Whether each bag is one key, and its combination that key's vector.
bool IsPlain(const PooledRequest& request, int64_t from, int64_t to) {
  return request.weights == nullptr && request.pool.max_norm == 0 &&
         EachBagIsOneKey(request.splits, from, to);
}

// Holds the layout locks of the tables for reading, each once, in the order of
// their addresses: two callers that name the same tables in another order must
// not wait for each other.
class LayoutReaderLocks {
 public:
  explicit LayoutReaderLocks(std::vector<SharedSpinLock*> locks)
      : locks_(std::move(locks)) {
    std::sort(locks_.begin(), locks_.end(), std::less<>());
    locks_.erase(std::unique(locks_.begin(), locks_.end()), locks_.end());
    for (SharedSpinLock* lock : locks_) lock->lock_shared();
  }
  ~LayoutReaderLocks() {
    for (SharedSpinLock* lock : locks_) lock->unlock_shared();
  }
  LayoutReaderLocks(const LayoutReaderLocks&) = delete;
  LayoutReaderLocks& operator=(const LayoutReaderLocks&) = delete;

 private:
  std::vector<SharedSpinLock*> locks_;
};

}  // namespace

bool EmbeddingTable::PoolBags(const PooledRequest& request, int64_t from,
                              int64_t to, FoundRows::Batch* found) const {
  const int64_t out_stride =
      request.out_stride == 0 ? dim_ : request.out_stride;
  if (request.splits == nullptr) {
    LookupRange(request.keys + from, to - from, request.out + from * out_stride,
                out_stride, found, from);
    return true;
  }
  const int64_t* const keys = request.keys;
  const int64_t* const splits = request.splits;
  const int64_t room =
      std::max<int64_t>(64, kPoolBytes / (dim_ * int64_t{sizeof(float)}));
  const bool plain = IsPlain(request, from, to);
  std::unique_ptr<float[]> scratch;
  int64_t scratch_keys = 0;
  for (int64_t first = from; first < to;) {
    // As many bags as fit the room; one bag alone may be larger.
    int64_t last = first + 1;
    while (last < to && splits[last + 1] - splits[first] <= room) ++last;
    const int64_t begin = splits[first];
    const int64_t n = splits[last] - begin;
    float* vectors = nullptr;
    int64_t stride = dim_;
    if (request.rows != nullptr) {
      vectors = request.rows + begin * dim_;
    } else if (plain) {
      vectors = request.out + first * out_stride;
      stride = out_stride;
    } else {
      if (n > scratch_keys) {
        scratch_keys = std::max(n, room);
        scratch.reset(new (std::nothrow) float[scratch_keys * dim_]);
        if (scratch == nullptr) return false;
      }
      vectors = scratch.get();
    }
    for (int64_t i = 0; i < n; i += kLookupChunk) {
      LookupRange(keys + begin + i, std::min(kLookupChunk, n - i),
                  vectors + i * stride, stride, found, begin + i);
    }
    if (!plain || request.rows != nullptr) {
      for (int64_t b = first; b < last; ++b) {
        PoolBag(
            request.pool, vectors + (splits[b] - begin) * dim_,
            request.weights == nullptr ? nullptr : request.weights + splits[b],
            splits[b + 1] - splits[b], dim_, request.out + b * out_stride);
      }
    }
    first = last;
  }
  return true;
}

Status EmbeddingTable::LookupPooled(const PooledRequest* requests,
                                    int64_t num_requests, Executor* executor) {
  const EmbeddingTable* too_large = nullptr;
  try {
    std::vector<SharedSpinLock*> locks;
    int64_t all_keys = 0;
    int64_t values = 0;
    for (int64_t r = 0; r < num_requests; ++r) {
      locks.push_back(&requests[r].table->layout_lock_);
      const int64_t n = NumKeys(requests[r]);
      all_keys += n;
      values += n * requests[r].table->dim_;
    }
    const std::vector<Piece> pieces = Cut(requests, num_requests);
    if (pieces.empty()) return Status();
    const auto num_pieces = static_cast<int64_t>(pieces.size());
    std::vector<std::unique_ptr<FoundRows::Batch>> found(num_requests);
    const LayoutReaderLocks layout_locks(std::move(locks));
    for (int64_t r = 0; r < num_requests; ++r) {
      found[r] = requests[r].table->memory_->found.Start(NumKeys(requests[r]));
    }
    std::atomic<const EmbeddingTable*> failed{nullptr};
    executor->ParallelFor(
        num_pieces, (all_keys * 20 + values / 4) / num_pieces + 100,
        [&](int64_t from, int64_t to) {
          for (int64_t p = from; p < to; ++p) {
            const Piece& piece = pieces[p];
            const PooledRequest& request = requests[piece.request];
            const EmbeddingTable* const table = request.table;
            if (!table->PoolBags(request, piece.from, piece.to,
                                 found[piece.request].get())) {
              failed.store(table, std::memory_order_relaxed);
              return;
            }
          }
        });
    too_large = failed.load();
    if (too_large == nullptr) {
      for (int64_t r = 0; r < num_requests; ++r) {
        if (found[r] == nullptr) continue;
        requests[r].table->memory_->found.Keep(std::move(found[r]));
      }
    }
  } catch (const std::bad_alloc&) {
    too_large = requests[0].table;
  }
  if (too_large == nullptr) return Status();
  return OutOfMemory(too_large->dim_, too_large->size());
}

}  // namespace tf_embedding
