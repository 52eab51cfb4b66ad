// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// The hash: a bijection that spreads the keys that users really send.

#include "cc/core/hash.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <unordered_set>
#include <vector>

#include "tests/cc/random.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

// x ^ (x >> shift), undone.
uint64_t UndoShift(uint64_t value, int shift) {
  uint64_t x = value;
  for (int done = shift; done < 64; done += shift) x = value ^ (x >> shift);
  return x;
}

// The inverse of an odd number modulo 2^64, by Newton's iteration.
uint64_t Inverse(uint64_t odd) {
  uint64_t inverse = odd;
  for (int i = 0; i < 6; ++i) inverse *= 2 - odd * inverse;
  return inverse;
}

int64_t UnmixKey(uint64_t hash) {
  uint64_t z = UndoShift(hash, 31);
  z = UndoShift(z * Inverse(0x94D049BB133111EBu), 27);
  z = UndoShift(z * Inverse(0xBF58476D1CE4E5B9u), 30);
  return static_cast<int64_t>(z - 0x9E3779B97F4A7C15u);
}

TEST(MixKeyIsSplitMix64) {
  // The first outputs of SplitMix64 from seed 1234567, as published with the
  // algorithm: the state goes up by the odd offset before each.
  const uint64_t expected[] = {6457827717110365317u, 3203168211198807973u,
                               9817491932198370423u, 4593380528125082431u,
                               16408922859458223821u};
  uint64_t state = 1234567;
  for (uint64_t value : expected) {
    EXPECT_EQ(MixKey(static_cast<int64_t>(state)), value);
    state += 0x9E3779B97F4A7C15u;
  }
}

TEST(MixKeyCanBeUndone) {
  testing::Rng rng(1);
  for (int64_t key : testing::MixedKeys(1000)) {
    EXPECT_EQ(UnmixKey(MixKey(key)), key);
  }
  for (int i = 0; i < 10000; ++i) {
    const auto key = static_cast<int64_t>(rng.Next());
    EXPECT_EQ(UnmixKey(MixKey(key)), key);
  }
}

TEST(ShardIsTheHighBits) {
  const uint64_t hash = 0xABCD000000000001u;
  EXPECT_EQ(ShardOfHash(hash, 0), 0u);
  EXPECT_EQ(ShardOfHash(hash, 1), 1u);
  EXPECT_EQ(ShardOfHash(hash, 4), 0xAu);
  EXPECT_EQ(ShardOfHash(hash, 16), 0xABCDu);
  EXPECT_EQ(ShardOfHash(~uint64_t{0}, 0), 0u);
  EXPECT_EQ(ShardOfHash(~uint64_t{0}, 16), 0xFFFFu);
}

TEST(BucketIsInRangeAndKeepsOrder) {
  for (uint32_t num_buckets : {1u, 2u, 3u, 5u, 64u, 1000003u, 0x7FFFFFFFu}) {
    uint32_t last = 0;
    for (uint64_t low = 0; low <= 0xFFFFFFFFu; low += 0xFFFFFF) {
      const uint32_t bucket =
          BucketOfHash(0xFEDC000000000000u | low, num_buckets);
      EXPECT_TRUE(bucket < num_buckets);
      EXPECT_TRUE(bucket >= last);
      last = bucket;
    }
    EXPECT_EQ(BucketOfHash(0xFFFFFFFFu, num_buckets), num_buckets - 1);
  }
}

// Pearson's chi-square over the cells, in standard deviations from its mean.
double Deviation(const std::vector<int64_t>& counts, int64_t n) {
  const double cells = static_cast<double>(counts.size());
  const double expected = static_cast<double>(n) / cells;
  double chi_square = 0;
  for (int64_t count : counts) {
    const double difference = static_cast<double>(count) - expected;
    chi_square += difference * difference / expected;
  }
  return (chi_square - (cells - 1)) / std::sqrt(2 * (cells - 1));
}

TEST(KeysOfEveryPatternSpread) {
  constexpr int64_t kNumKeys = 1 << 16;
  constexpr int kLog2Shards = 7;
  constexpr uint32_t kNumBuckets = 1000;
  struct Pattern {
    const char* name;
    std::function<int64_t(int64_t)> key;
  };
  std::vector<Pattern> patterns = {
      {"sequential", [](int64_t i) { return i; }},
      {"negative", [](int64_t i) { return -i; }},
      {"stride of 1000003", [](int64_t i) { return i * 1000003; }},
      {"two halves", [](int64_t i) { return (i & 255) << 48 | i >> 8; }},
  };
  for (int shift : {1, 7, 16, 20, 32, 40, 47}) {
    patterns.push_back({"multiples of a power of two", [shift](int64_t i) {
                          return i * (int64_t{1} << shift);
                        }});
  }
  for (const Pattern& pattern : patterns) {
    const testing::Trace trace(pattern.name, " ", pattern.key(1));
    std::vector<int64_t> shards(1 << kLog2Shards);
    std::vector<int64_t> buckets(kNumBuckets);
    std::vector<int64_t> within(kNumBuckets);
    int64_t num_within = 0;
    for (int64_t i = 0; i < kNumKeys; ++i) {
      const uint64_t hash = MixKey(pattern.key(i));
      const uint32_t shard = ShardOfHash(hash, kLog2Shards);
      ++shards[shard];
      ++buckets[BucketOfHash(hash, kNumBuckets)];
      if (shard >= 64) {
        ++within[BucketOfHash(hash, kNumBuckets)];
        ++num_within;
      }
    }
    EXPECT_NEAR(Deviation(shards, kNumKeys), 0, 5);
    EXPECT_NEAR(Deviation(buckets, kNumKeys), 0, 5);
    EXPECT_NEAR(Deviation(within, num_within), 0, 5);
  }
}

TEST(EveryInputBitMovesEveryOutputBit) {
  testing::Rng rng(2);
  constexpr int kTrials = 2000;
  for (int in = 0; in < 64; ++in) {
    const testing::Trace trace("input bit ", in);
    std::vector<int> flips(64);
    for (int t = 0; t < kTrials; ++t) {
      const uint64_t key = rng.Next();
      const uint64_t difference =
          MixKey(static_cast<int64_t>(key)) ^
          MixKey(static_cast<int64_t>(key ^ uint64_t{1} << in));
      for (int out = 0; out < 64; ++out) flips[out] += difference >> out & 1;
    }
    for (int out = 0; out < 64; ++out) {
      EXPECT_NEAR(static_cast<double>(flips[out]) / kTrials, 0.5, 0.07);
    }
  }
}

}  // namespace
}  // namespace tf_embedding
