// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// The hash of a key.
//
// MixKey is the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast
// splittable pseudorandom number generators", OOPSLA 2014) after an odd
// offset: a bijection of 64 bits whose every output bit depends on every input
// bit. Identity would cluster what users really send: sequential ids, strides,
// multiples of a power of two. Being a bijection, it needs no reserved value:
// all 2^64 keys are legal and no two collide in full.
//
// The bits are dealt out once, here: the highest choose the shard, the lowest
// 32 the bucket inside it, and the 16 above those the part, where a variable is
// cut into parts. They never overlap (a table has at most 2^16 shards), so the
// keys of one shard are spread evenly over its buckets, and those of one part
// over its shards.

#ifndef TF_EMBEDDING_CC_CORE_HASH_H_
#define TF_EMBEDDING_CC_CORE_HASH_H_

#include <cstdint>

#include "cc/core/platform.h"

namespace tf_embedding {

TFE_HOST_DEVICE inline uint64_t MixKey(int64_t key) {
  uint64_t z = static_cast<uint64_t>(key) + 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// log2_shards in 0..16.
TFE_HOST_DEVICE inline uint32_t ShardOfHash(uint64_t hash, int log2_shards) {
  // Two shifts, because a shift by 64 is undefined.
  return static_cast<uint32_t>((hash >> 1) >> (63 - log2_shards));
}

// Maps the low half of the hash onto 0..num_buckets-1 by multiplication, so
// that any number of buckets will do (Lemire, "Fast random integer generation
// in an interval", 2019). It keeps order: sorted by low half is sorted by
// bucket, for every num_buckets. Growing a table therefore reads and writes
// both generations front to back.
TFE_HOST_DEVICE inline uint32_t BucketOfHash(uint64_t hash,
                                             uint32_t num_buckets) {
  return static_cast<uint32_t>(
      (static_cast<uint64_t>(static_cast<uint32_t>(hash)) * num_buckets) >> 32);
}

// The part that owns a key: each of num_parts (1..kMaxParts) owns one range of
// 65,536 fixed slices of the key space. Another number of parts moves slices,
// never cuts one.
constexpr int kMaxParts = 1024;
TFE_HOST_DEVICE inline int PartOfHash(uint64_t hash, int num_parts) {
  const auto slice = static_cast<uint32_t>(hash >> 32) & 0xFFFFu;
  return static_cast<int>((slice * static_cast<uint32_t>(num_parts)) >> 16);
}

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_HASH_H_
