// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// ShardIndex: from a key to the number of its row, in one shard.
//
// Layout. An array of buckets of one cache line each:
//
//   struct IndexBucket {          64 bytes, aligned to 64
//     int64_t  keys[5];
//     uint32_t rows[5];           row number in the shard's row store
//     uint32_t control;           bits 0..4  slot i is occupied
//   };                            bits 8..31 passed: how many keys whose home
//                                            is here or before went further
//
// A key lives in its home bucket (BucketOfHash) or, where that was full, in the
// first one after it that had room, wrapping around. Every bucket that a key
// passed on the way counts it in "passed". A search compares five keys, stops
// on a match, goes on only while passed > 0. There is no reserved key, because
// occupancy has its own bits, and there are no tombstones: removing a key takes
// its passage back from the buckets between its home and its place, and moves a
// key that passed the hole into it, and so on. A bucket that any key passed is
// therefore always full, and a table that lost and gained a million keys is as
// fast as a new one. The count has 24 bits; one that ever filled up would stay
// full, which costs time and never a wrong answer.
//
// Cost. 12.8 bytes a slot. Growth is by an eighth, at load kMaxLoad, so the
// index takes 14.9 to 16.8 bytes a key, and because shards reach their next
// size at different moments (see phase), a table of many shards stays near the
// middle. A search reads adjacent lines, on average:
//
//   load     key is there    key is not
//   0.76     1.2             2.0
//   0.81     1.3             2.8
//   0.86     1.5             4.6
//
// Growing reads the old array and writes the new one front to back (see
// BucketOfHash); only the shard's own writers wait for it. The old array goes
// to SparePages (memory.h), for the next shard that grows.
//
// Growth past 2^31 buckets (10^10 keys a shard) is refused by Reserve.
//
// Thread safety: none. The shard's lock guards it: FindRow under a reader's
// lock, all else under the writer's. Memory that runs out throws
// std::bad_alloc with the index unchanged; the table turns it into a Status.

#ifndef TF_EMBEDDING_CC_CORE_INDEX_H_
#define TF_EMBEDDING_CC_CORE_INDEX_H_

#include <cstdint>
#include <memory>

#include "cc/core/hash.h"
#include "cc/core/memory.h"
#include "cc/core/platform.h"

namespace tf_embedding {

constexpr int kSlotsPerBucket = 5;
constexpr uint32_t kNoRow = 0xFFFFFFFFu;

struct alignas(kCacheLine) IndexBucket {
  int64_t keys[kSlotsPerBucket];
  uint32_t rows[kSlotsPerBucket];
  uint32_t control;

  static constexpr uint32_t kOccupiedMask = (1u << kSlotsPerBucket) - 1;
  static constexpr uint32_t kOnePassed = 1u << 8;
  static constexpr uint32_t kPassedMask = 0xFFFFFF00u;
};
static_assert(sizeof(IndexBucket) == kCacheLine, "one line a bucket");

// What an index without buckets shows to a search: no key, nothing beyond.
inline constexpr IndexBucket kEmptyBucket = {};

class ShardIndex {
 public:
  // phase in [0, 1): where between two sizes this shard's sizes lie. spare:
  // where the indexes of a table get their memory from; outlives this one, or
  // is null.
  explicit ShardIndex(double phase = 0, SparePages* spare = nullptr)
      : spare_(spare), phase_(phase) {}
  ~ShardIndex();
  ShardIndex(const ShardIndex&) = delete;
  ShardIndex& operator=(const ShardIndex&) = delete;

  uint64_t size() const { return size_; }
  const IndexBucket* buckets() const { return buckets_; }
  uint32_t num_buckets() const { return num_buckets_; }
  int64_t bytes() const {
    return static_cast<int64_t>(num_buckets_) * sizeof(IndexBucket);
  }

  // Buckets read to find keys, one each where all are at home.
  struct Probes {
    int64_t keys = 0;
    int64_t total = 0;
    int64_t max = 0;
  };
  // Of the keys in the first buckets, so many at most.
  Probes SampleProbes(uint32_t max_buckets) const;

  // kNoRow where the key is absent.
  uint32_t FindRow(uint64_t hash, int64_t key) const;

  // Where the row number of a key is, good until the next change; null where
  // the key is absent.
  uint32_t* Find(uint64_t hash, int64_t key) const;

  // Makes room for n more keys. Call before Insert.
  void Reserve(int64_t n) {
    if (TFE_UNLIKELY(size_ + static_cast<uint64_t>(n) > limit_)) Grow(n);
  }

  // The key must be absent, and room reserved.
  void Insert(uint64_t hash, int64_t key, uint32_t row);

  // Takes the key out and returns its row; kNoRow where it is absent.
  uint32_t Remove(uint64_t hash, int64_t key);

  // Gives memory back where much more is held than the size needs.
  void Shrink();

  void Clear();

  // Calls visit(key, &row) for every key, in bucket order; visit may change
  // the row number.
  template <class Visit>
  void ForEach(const Visit& visit) const {
    for (uint32_t b = 0; b < num_buckets_; ++b) {
      IndexBucket& bucket = buckets_[b];
      for (uint32_t left = bucket.control & IndexBucket::kOccupiedMask;
           left != 0; left &= left - 1) {
        const int slot = __builtin_ctz(left);
        visit(bucket.keys[slot], &bucket.rows[slot]);
      }
    }
  }

  // Keys by the low half of their hash, which never changes: a walk that goes
  // from hash to hash meets each key that stays once, whatever comes, goes and
  // grows between its steps. begin and end in 0..kHashEnd.
  static constexpr uint64_t kHashEnd = uint64_t{1} << 32;
  // Where the range that begins there ends, after so many buckets.
  uint64_t HashAfter(uint64_t begin, uint32_t num_buckets) const {
    const uint64_t bucket =
        uint64_t{BucketOfHash(begin, num_buckets_)} + num_buckets;
    if (bucket >= num_buckets_) return kHashEnd;
    return (bucket * kHashEnd + num_buckets_ - 1) / num_buckets_;
  }
  // Calls visit(key, hash, &row) for the keys of a range, in bucket order.
  template <class Visit>
  void ForEachInRange(uint64_t begin, uint64_t end, const Visit& visit) const {
    if (num_buckets_ == 0 || begin >= end) return;
    uint32_t b = BucketOfHash(begin, num_buckets_);
    const uint32_t at_home = BucketOfHash(end - 1, num_buckets_) + 1 - b;
    for (uint32_t n = 1; n <= num_buckets_; ++n, b = NextBucket(b)) {
      IndexBucket& bucket = buckets_[b];
      for (uint32_t left = bucket.control & IndexBucket::kOccupiedMask;
           left != 0; left &= left - 1) {
        const int slot = __builtin_ctz(left);
        const uint64_t hash = MixKey(bucket.keys[slot]);
        const uint64_t low = hash & (kHashEnd - 1);
        if (begin <= low && low < end) {
          visit(bucket.keys[slot], hash, &bucket.rows[slot]);
        }
      }
      // Keys of the range may lie beyond it while any passed its end.
      if (n >= at_home && (bucket.control & IndexBucket::kPassedMask) == 0) {
        return;
      }
    }
  }

 private:
  static constexpr double kMaxLoad = 0.86;
  static constexpr uint64_t kGrowth = 8;      // by an eighth at a time
  static constexpr uint64_t kFirstRung = 64;  // buckets

  static uint64_t LimitOf(uint64_t num_buckets) {
    return static_cast<uint64_t>(
        static_cast<double>(num_buckets * kSlotsPerBucket) * kMaxLoad);
  }

  void Grow(int64_t n);
  void Rebuild(uint32_t num_buckets);
  // The bucket has just lost a key: moves later ones up.
  void FillHole(uint32_t hole);
  // The slot of a key in the bucket that passed the other one; or -1.
  int FindPassed(uint32_t bucket, uint32_t passed) const;
  uint32_t NextBucket(uint32_t bucket) const {
    return bucket + 1 == num_buckets_ ? 0 : bucket + 1;
  }

  PageRegion Allocate(int64_t bytes) const;
  void Free(PageRegion region) const noexcept;

  SparePages* const spare_;
  PageRegion region_;  // of the buckets
  IndexBucket* buckets_ = nullptr;
  uint32_t num_buckets_ = 0;
  uint64_t size_ = 0;
  uint64_t limit_ = 0;  // size at which to grow
  double phase_;
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_INDEX_H_
