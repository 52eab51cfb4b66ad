// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/index.h"

#include <algorithm>
#include <new>
#include <utility>

namespace tf_embedding {
namespace {

// Without a branch a key: where it is cannot be foreseen.
int FindSlot(const IndexBucket& bucket, int64_t key) {
  uint32_t match = 0;
  for (int i = 0; i < kSlotsPerBucket; ++i) {
    match |= static_cast<uint32_t>(bucket.keys[i] == key) << i;
  }
  match &= bucket.control;
  return match == 0 ? -1 : __builtin_ctz(match);
}

void CountPassage(IndexBucket* bucket) {
  if ((bucket->control & IndexBucket::kPassedMask) !=
      IndexBucket::kPassedMask) {
    bucket->control += IndexBucket::kOnePassed;
  }
}

void TakeBackPassage(IndexBucket* bucket) {
  if ((bucket->control & IndexBucket::kPassedMask) !=
      IndexBucket::kPassedMask) {
    bucket->control -= IndexBucket::kOnePassed;
  }
}

}  // namespace

ShardIndex::~ShardIndex() { Free(region_); }

PageRegion ShardIndex::Allocate(int64_t bytes) const {
  if (spare_ != nullptr) return spare_->Take(bytes);
  return {static_cast<char*>(AllocatePages(bytes)), bytes, bytes};
}

void ShardIndex::Free(PageRegion region) const noexcept {
  if (spare_ != nullptr) {
    spare_->Give(region);
  } else {
    FreePages(region.begin, region.bytes);
  }
}

uint32_t* ShardIndex::Find(uint64_t hash, int64_t key) const {
  if (num_buckets_ == 0) return nullptr;
  uint32_t b = BucketOfHash(hash, num_buckets_);
  for (uint32_t probes = 0; probes < num_buckets_; ++probes) {
    const int slot = FindSlot(buckets_[b], key);
    if (slot >= 0) return &buckets_[b].rows[slot];
    if ((buckets_[b].control & IndexBucket::kPassedMask) == 0) return nullptr;
    b = NextBucket(b);
  }
  return nullptr;
}

uint32_t ShardIndex::FindRow(uint64_t hash, int64_t key) const {
  const uint32_t* const row = Find(hash, key);
  return row == nullptr ? kNoRow : *row;
}

ShardIndex::Probes ShardIndex::SampleProbes(uint32_t max_buckets) const {
  Probes probes;
  for (uint32_t b = 0; b < std::min(max_buckets, num_buckets_); ++b) {
    for (uint32_t left = buckets_[b].control & IndexBucket::kOccupiedMask;
         left != 0; left &= left - 1) {
      const int64_t key = buckets_[b].keys[__builtin_ctz(left)];
      const uint32_t home = BucketOfHash(MixKey(key), num_buckets_);
      const int64_t passed =
          b >= home ? b - home : int64_t{b} + num_buckets_ - home;
      ++probes.keys;
      probes.total += passed + 1;
      probes.max = std::max(probes.max, passed + 1);
    }
  }
  return probes;
}

void ShardIndex::Grow(int64_t n) {
  const uint64_t size = size_ + static_cast<uint64_t>(n);
  uint64_t wanted = num_buckets_;
  do {
    wanted += wanted / kGrowth + 1;
  } while (wanted < kFirstRung && size > LimitOf(wanted));
  if (wanted >= kFirstRung) {
    // From here on shards go their own ways, each on a ladder of sizes. Of
    // fractions: whole numbers would bring many to the same size again.
    double rung = static_cast<double>(kFirstRung) * (1 + phase_ / kGrowth);
    do {
      wanted = static_cast<uint64_t>(rung);
      if (wanted >= (1ull << 31)) throw std::bad_alloc();
      rung *= 1 + 1.0 / kGrowth;
    } while (wanted <= num_buckets_ || size > LimitOf(wanted));
  }
  Rebuild(static_cast<uint32_t>(wanted));
}

void ShardIndex::Insert(uint64_t hash, int64_t key, uint32_t row) {
  uint32_t b = BucketOfHash(hash, num_buckets_);
  for (;;) {
    IndexBucket& bucket = buckets_[b];
    const uint32_t room = ~bucket.control & IndexBucket::kOccupiedMask;
    if (room != 0) {
      const int slot = __builtin_ctz(room);
      bucket.keys[slot] = key;
      bucket.rows[slot] = row;
      bucket.control |= 1u << slot;
      ++size_;
      return;
    }
    CountPassage(&bucket);
    b = NextBucket(b);
  }
}

uint32_t ShardIndex::Remove(uint64_t hash, int64_t key) {
  if (num_buckets_ == 0) return kNoRow;
  const uint32_t home = BucketOfHash(hash, num_buckets_);
  uint32_t b = home;
  for (uint32_t probes = 0; probes < num_buckets_; ++probes) {
    IndexBucket& bucket = buckets_[b];
    const int slot = FindSlot(bucket, key);
    if (slot >= 0) {
      for (uint32_t p = home; p != b; p = NextBucket(p)) {
        TakeBackPassage(&buckets_[p]);
      }
      const uint32_t row = bucket.rows[slot];
      bucket.control &= ~(1u << slot);
      --size_;
      FillHole(b);
      return row;
    }
    if ((bucket.control & IndexBucket::kPassedMask) == 0) return kNoRow;
    b = NextBucket(b);
  }
  return kNoRow;
}

void ShardIndex::FillHole(uint32_t hole) {
  while ((buckets_[hole].control & IndexBucket::kPassedMask) != 0) {
    uint32_t from = hole;
    int slot = -1;
    do {
      from = NextBucket(from);
      // Both only where the count of passages is one that filled up.
      if (from == hole) return;
      slot = FindPassed(from, hole);
      if (slot < 0 && (~buckets_[from].control & IndexBucket::kOccupiedMask)) {
        return;
      }
    } while (slot < 0);
    IndexBucket& to = buckets_[hole];
    const int room = __builtin_ctz(~to.control & IndexBucket::kOccupiedMask);
    to.keys[room] = buckets_[from].keys[slot];
    to.rows[room] = buckets_[from].rows[slot];
    to.control |= 1u << room;
    buckets_[from].control &= ~(1u << slot);
    for (uint32_t p = hole; p != from; p = NextBucket(p)) {
      TakeBackPassage(&buckets_[p]);
    }
    hole = from;
  }
}

int ShardIndex::FindPassed(uint32_t bucket, uint32_t passed) const {
  const auto distance = [this, bucket](uint32_t from) {
    return bucket >= from ? bucket - from : bucket + num_buckets_ - from;
  };
  for (uint32_t left = buckets_[bucket].control & IndexBucket::kOccupiedMask;
       left != 0; left &= left - 1) {
    const int slot = __builtin_ctz(left);
    const uint32_t home =
        BucketOfHash(MixKey(buckets_[bucket].keys[slot]), num_buckets_);
    if (distance(home) >= distance(passed)) return slot;
  }
  return -1;
}

void ShardIndex::Rebuild(uint32_t num_buckets) {
  const PageRegion old_region = std::exchange(
      region_,
      Allocate(static_cast<int64_t>(num_buckets) * sizeof(IndexBucket)));
  IndexBucket* const old =
      std::exchange(buckets_, reinterpret_cast<IndexBucket*>(region_.begin));
  const uint32_t num_old = std::exchange(num_buckets_, num_buckets);
  size_ = 0;
  limit_ = LimitOf(num_buckets);
  for (uint32_t b = 0; b < num_old; ++b) {
    for (uint32_t left = old[b].control & IndexBucket::kOccupiedMask; left != 0;
         left &= left - 1) {
      const int slot = __builtin_ctz(left);
      Insert(MixKey(old[b].keys[slot]), old[b].keys[slot], old[b].rows[slot]);
    }
  }
  Free(old_region);
}

void ShardIndex::Shrink() {
  if (size_ == 0) {
    Clear();
    return;
  }
  if (num_buckets_ < 16 || size_ * 3 > limit_) return;
  const uint64_t slots_needed = size_ + size_ / 4;
  Rebuild(static_cast<uint32_t>(slots_needed / kSlotsPerBucket + 1));
}

void ShardIndex::Clear() {
  Free(std::exchange(region_, PageRegion()));
  buckets_ = nullptr;
  num_buckets_ = 0;
  size_ = 0;
  limit_ = 0;
}

}  // namespace tf_embedding
