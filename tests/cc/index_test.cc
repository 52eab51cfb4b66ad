// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// ShardIndex against std::unordered_map.

#include "cc/core/index.h"

#include <cstdint>
#include <limits>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "tests/cc/random.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

void Insert(ShardIndex* index, int64_t key, uint32_t row) {
  index->Reserve(1);
  index->Insert(MixKey(key), key, row);
}

uint32_t Find(const ShardIndex& index, int64_t key) {
  return index.FindRow(MixKey(key), key);
}

// Buckets that a search for the key looks at.
int Probes(const ShardIndex& index, int64_t key) {
  uint32_t b = BucketOfHash(MixKey(key), index.num_buckets());
  for (int probes = 1;; ++probes) {
    const IndexBucket& bucket = index.buckets()[b];
    for (int i = 0; i < kSlotsPerBucket; ++i) {
      if (bucket.keys[i] == key && (bucket.control >> i & 1)) return probes;
    }
    if ((bucket.control & IndexBucket::kPassedMask) == 0) return probes;
    b = b + 1 == index.num_buckets() ? 0 : b + 1;
  }
}

void ExpectSame(const ShardIndex& index,
                const std::unordered_map<int64_t, uint32_t>& oracle) {
  EXPECT_EQ(index.size(), oracle.size());
  std::unordered_set<int64_t> seen;
  index.ForEach([&](int64_t key, const uint32_t* row) {
    EXPECT_TRUE(seen.insert(key).second);
    const auto found = oracle.find(key);
    EXPECT_TRUE(found != oracle.end() && found->second == *row);
  });
  EXPECT_EQ(seen.size(), oracle.size());
}

// Passages of a bucket say exactly how many keys went further, and no key went
// past a bucket that has room.
void ExpectPassagesCounted(const ShardIndex& index) {
  std::vector<uint32_t> passed(index.num_buckets());
  for (uint32_t place = 0; place < index.num_buckets(); ++place) {
    const IndexBucket& bucket = index.buckets()[place];
    for (int i = 0; i < kSlotsPerBucket; ++i) {
      if ((bucket.control >> i & 1) == 0) continue;
      uint32_t b = BucketOfHash(MixKey(bucket.keys[i]), index.num_buckets());
      for (; b != place; b = b + 1 == index.num_buckets() ? 0 : b + 1) {
        ++passed[b];
      }
    }
  }
  for (uint32_t b = 0; b < index.num_buckets(); ++b) {
    const uint32_t control = index.buckets()[b].control;
    EXPECT_EQ(control >> 8, passed[b]);
    EXPECT_TRUE(passed[b] == 0 || (~control & IndexBucket::kOccupiedMask) == 0);
  }
}

void Churn(int64_t universe, int64_t steps, uint64_t seed) {
  const testing::Trace trace("universe of ", universe);
  testing::Rng rng(seed);
  const std::vector<int64_t> keys = testing::MixedKeys(universe);
  ShardIndex index(0.5);
  std::unordered_map<int64_t, uint32_t> oracle;
  for (int64_t step = 0; step < steps; ++step) {
    const int64_t key = keys[rng.Below(universe)];
    const auto found = oracle.find(key);
    EXPECT_EQ(Find(index, key), found == oracle.end() ? kNoRow : found->second);
    // Phases of growth and of decline.
    const bool grow = rng.Below(8) < (step / universe % 2 == 0 ? 6 : 2);
    if (grow && found == oracle.end()) {
      const auto row = static_cast<uint32_t>(step);
      Insert(&index, key, row);
      oracle[key] = row;
    } else if (!grow) {
      EXPECT_EQ(index.Remove(MixKey(key), key),
                found == oracle.end() ? kNoRow : found->second);
      oracle.erase(key);
    }
    if (step % (steps / 20) == 0) {
      ExpectSame(index, oracle);
      ExpectPassagesCounted(index);
      if (step % (steps / 5) == 0) index.Shrink();
    }
  }
  ExpectSame(index, oracle);
}

TEST(ChurnAsUnorderedMap) {
  // Of few buckets, so that keys wrap around the end and pass full buckets.
  for (int64_t universe : {1, 4, 5, 6, 20, 60, 200}) {
    Churn(universe, 20000, static_cast<uint64_t>(universe));
  }
  Churn(20000, 200000, 3);
}

TEST(ExtremeKeys) {
  ShardIndex index;
  const int64_t keys[] = {0, -1, std::numeric_limits<int64_t>::min(),
                          std::numeric_limits<int64_t>::max()};
  for (int64_t key : keys) {
    EXPECT_EQ(Find(index, key), kNoRow);
    EXPECT_EQ(index.Remove(MixKey(key), key), kNoRow);
  }
  uint32_t row = 0;
  for (int64_t key : keys) {
    Insert(&index, key, row++);
    for (uint32_t k = 0; k < 4; ++k) {
      EXPECT_EQ(Find(index, keys[k]), k < row ? k : kNoRow);
    }
  }
  for (uint32_t k = 0; k < 4; ++k) {
    EXPECT_EQ(index.Remove(MixKey(keys[k]), keys[k]), k);
    EXPECT_EQ(Find(index, keys[k]), kNoRow);
  }
  EXPECT_EQ(index.size(), 0u);
}

TEST(ARemovedKeyIsNotFoundThoughItsBitsStay) {
  ShardIndex index;
  Insert(&index, 0, 5);
  EXPECT_EQ(index.Remove(MixKey(0), 0), 5u);
  EXPECT_EQ(Find(index, 0), kNoRow);
  EXPECT_EQ(index.Remove(MixKey(0), 0), kNoRow);
  Insert(&index, 0, 6);
  EXPECT_EQ(Find(index, 0), 6u);
}

// The mean of probes over present keys, and over absent ones.
void ExpectShortProbes(const ShardIndex& index, int64_t present_from,
                       int64_t n) {
  double hits = 0;
  double misses = 0;
  int longest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int probes = Probes(index, present_from + i);
    longest = probes > longest ? probes : longest;
    hits += probes;
    misses += Probes(index, -2 - i);
  }
  EXPECT_TRUE(hits / static_cast<double>(n) < 1.4);
  EXPECT_TRUE(misses / static_cast<double>(n) < 3);
  EXPECT_TRUE(longest < 40);
}

TEST(ProbesStayShort) {
  constexpr int64_t kNumKeys = 100000;
  ShardIndex index;
  for (int64_t key = 0; key < kNumKeys; ++key) {
    Insert(&index, key, static_cast<uint32_t>(key));
  }
  ExpectShortProbes(index, 0, kNumKeys);
  EXPECT_TRUE(index.bytes() < 20 * kNumKeys);
  // A sliding window: each key is replaced ten times. Nothing may pile up.
  const uint32_t num_buckets = index.num_buckets();
  for (int64_t key = kNumKeys; key < 11 * kNumKeys; ++key) {
    const int64_t oldest = key - kNumKeys;
    const uint32_t row = index.Remove(MixKey(oldest), oldest);
    Insert(&index, key, row);
  }
  EXPECT_EQ(index.num_buckets(), num_buckets);
  ExpectShortProbes(index, 10 * kNumKeys, kNumKeys);
  for (int64_t key = 10 * kNumKeys; key < 11 * kNumKeys; ++key) {
    EXPECT_EQ(Find(index, key), static_cast<uint32_t>(key % kNumKeys));
  }
}

TEST(ShrinkGivesMemoryBack) {
  constexpr int64_t kNumKeys = 50000;
  ShardIndex index;
  std::unordered_map<int64_t, uint32_t> oracle;
  for (int64_t key = 0; key < kNumKeys; ++key) {
    Insert(&index, key << 20, static_cast<uint32_t>(key));
    oracle[key << 20] = static_cast<uint32_t>(key);
  }
  const int64_t full = index.bytes();
  index.Shrink();
  EXPECT_EQ(index.bytes(), full);
  for (int64_t key = 0; key < kNumKeys - 1000; ++key) {
    index.Remove(MixKey(key << 20), key << 20);
    oracle.erase(key << 20);
  }
  EXPECT_EQ(index.bytes(), full);
  index.Shrink();
  EXPECT_TRUE(index.bytes() < 30 * 1000);
  ExpectSame(index, oracle);
  ExpectPassagesCounted(index);
  // There is room to go on without growing at once.
  const uint32_t num_buckets = index.num_buckets();
  Insert(&index, -5, 1);
  EXPECT_EQ(index.num_buckets(), num_buckets);
  index.Remove(MixKey(-5), -5);
  for (const auto& [key, row] : oracle) {
    EXPECT_EQ(index.Remove(MixKey(key), key), row);
  }
  index.Shrink();
  EXPECT_EQ(index.bytes(), 0);
  Insert(&index, 3, 4);
  EXPECT_EQ(Find(index, 3), 4u);
  index.Clear();
  EXPECT_EQ(index.bytes(), 0);
  EXPECT_EQ(Find(index, 3), kNoRow);
}

// What makes the longest batch of a growing table short.
TEST(PhasesKeepShardsApart) {
  constexpr int kShards = 128;
  std::vector<std::unique_ptr<ShardIndex>> shards;
  for (int s = 0; s < kShards; ++s) {
    shards.push_back(
        std::make_unique<ShardIndex>(static_cast<double>(s) / kShards));
  }
  // All of one size at any time, up to where each has grown many times.
  constexpr int64_t kKeys = 12000;
  std::vector<int> grown(kKeys, 0);  // how many shards, by size
  for (int64_t key = 0; key < kKeys; ++key) {
    for (const auto& shard : shards) {
      const uint32_t before = shard->num_buckets();
      shard->Reserve(1);
      shard->Insert(MixKey(key), key, static_cast<uint32_t>(key));
      grown[key] += shard->num_buckets() != before;
    }
  }
  // In a step of an eighth each grows once: in a sixteenth of that step, an
  // even sixteenth of them, give or take the rounding of a bucket.
  for (int64_t from = 5000; from < 10000; from += from / 128) {
    int in_step = 0;
    for (int64_t k = from; k < from + from / 128; ++k) in_step += grown[k];
    EXPECT_TRUE(in_step <= kShards / 16 + 2);
    EXPECT_TRUE(in_step >= kShards / 16 - 2);
  }
  for (const auto& shard : shards) EXPECT_TRUE(shard->bytes() < 20 * kKeys);
}

}  // namespace
}  // namespace tf_embedding
