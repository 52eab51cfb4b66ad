// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// What a filter decides by, on hosts and devices: the counters that a key has
// in a counting Bloom filter, and the draws of a probabilistic one.
//
// admission.h says what the filters are. The arithmetic of draws is + - * of
// doubles, which IEEE 754 fixes, so every processor decides alike (without
// contraction).
//
// Thread safety: pure functions, but for Raise, which changes the counters of
// one segment. Nothing allocates or fails.

#ifndef TF_EMBEDDING_CC_CORE_ADMISSION_MATH_H_
#define TF_EMBEDDING_CC_CORE_ADMISSION_MATH_H_

#include <cstdint>

#include "cc/core/hash.h"
#include "cc/core/platform.h"

namespace tf_embedding {

constexpr int kLog2Segments = 10;

// How large a counting Bloom filter is.
struct BloomShape {
  int num_hashes = 0;
  int64_t segment_counters = 0;
  int counter_bytes = 0;

  int64_t num_counters() const { return segment_counters << kLog2Segments; }
  int64_t bytes() const { return num_counters() * counter_bytes; }
  // At which byte the counters of a block begin; blocks are ranges of the high
  // bits of the hash.
  int64_t Offset(int64_t block, int log2_blocks) const;
  bool operator==(const BloomShape& other) const {
    return num_hashes == other.num_hashes &&
           segment_counters == other.segment_counters &&
           counter_bytes == other.counter_bytes;
  }
};

// The counters of a key, in its segment, one after the other.
class BloomPlaces {
 public:
  TFE_HOST_DEVICE BloomPlaces(const BloomShape& shape, uint64_t hash)
      : segment_(int64_t{ShardOfHash(hash, kLog2Segments)} *
                 shape.segment_counters),
        counters_(static_cast<uint64_t>(shape.segment_counters)),
        at_(MixKey(static_cast<int64_t>(hash))),
        step_(MixKey(static_cast<int64_t>(at_)) | 1) {}
  TFE_HOST_DEVICE int64_t Next() {
#if defined(__CUDA_ARCH__)
    const uint64_t place = __umul64hi(at_, counters_);
#else
    const auto place = static_cast<uint64_t>(
        (static_cast<unsigned __int128>(at_) * counters_) >> 64);
#endif
    at_ += step_;
    return segment_ + static_cast<int64_t>(place);
  }

 private:
  const int64_t segment_;
  const uint64_t counters_;
  uint64_t at_;
  const uint64_t step_;
};

// The count of the key of this hash: its smallest counter.
template <class Counter>
TFE_HOST_DEVICE inline uint64_t BloomCount(const Counter* counters,
                                           const BloomShape& shape,
                                           uint64_t hash) {
  BloomPlaces places(shape, hash);
  auto smallest = static_cast<Counter>(~Counter{0});
  for (int h = 0; h < shape.num_hashes; ++h) {
    const Counter counter = counters[places.Next()];
    if (counter < smallest) smallest = counter;
  }
  return smallest;
}

// Counts more occurrences and returns the new count; the counters hold as much
// of it as they can.
template <class Counter>
TFE_HOST_DEVICE inline uint64_t BloomRaise(Counter* counters,
                                           const BloomShape& shape,
                                           uint64_t hash, int64_t count) {
  const uint64_t before = BloomCount(counters, shape, hash);
  const uint64_t room = ~uint64_t{0} - before;
  const auto more = static_cast<uint64_t>(count);
  const uint64_t total = before + (more < room ? more : room);
  const auto most = static_cast<Counter>(~Counter{0});
  const Counter kept = total < most ? static_cast<Counter>(total) : most;
  BloomPlaces places(shape, hash);
  for (int h = 0; h < shape.num_hashes; ++h) {
    Counter* const counter = counters + places.Next();
    if (*counter < kept) *counter = kept;
  }
  return total;
}

// Calls body with the counters by their type.
template <class Body>
TFE_HOST_DEVICE inline uint64_t WithCounters(void* counters, int counter_bytes,
                                             const Body& body) {
  switch (counter_bytes) {
    case 1:
      return body(static_cast<uint8_t*>(counters));
    case 2:
      return body(static_cast<uint16_t*>(counters));
    case 4:
      return body(static_cast<uint32_t*>(counters));
    default:
      return body(static_cast<uint64_t*>(counters));
  }
}

// The probability that one of count draws of probability p admits.
TFE_HOST_DEVICE inline double AnyOf(double p, int64_t count) {
  double any = 0;
  for (; count > 0; count >>= 1) {
    if (count & 1) any += p - any * p;
    p += p - p * p;
  }
  return any;
}

// What the draws of a step are made from.
TFE_HOST_DEVICE inline uint64_t DrawSeed(uint64_t seed, int64_t step) {
  return MixKey(static_cast<int64_t>(MixKey(static_cast<int64_t>(seed)) +
                                     static_cast<uint64_t>(step)));
}

// Whether one of count draws admits the key of this hash.
TFE_HOST_DEVICE inline bool DrawAdmits(uint64_t draw_seed, uint64_t hash,
                                       double p, int64_t count) {
  const uint64_t drawn = MixKey(static_cast<int64_t>(hash ^ draw_seed));
  return static_cast<double>(drawn >> 11) * 0x1p-53 < AnyOf(p, count);
}

// A count as what callers see.
TFE_HOST_DEVICE inline int64_t CountToInt64(uint64_t count) {
  constexpr auto kMost = static_cast<uint64_t>(INT64_MAX);
  return static_cast<int64_t>(count < kMost ? count : kMost);
}

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_ADMISSION_MATH_H_
