// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Dealing keys out to parts, and rows back.

#include "cc/core/parts.h"

#include <cstdint>
#include <limits>
#include <set>
#include <vector>

#include "cc/core/hash.h"
#include "tests/cc/random.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

struct Split {
  std::vector<std::vector<int64_t>> keys, positions;
};

Split SplitKeys(const std::vector<int64_t>& keys, int num_parts) {
  const auto n = static_cast<int64_t>(keys.size());
  const std::vector<int64_t> counts = CountByPart(keys.data(), n, num_parts);
  Split split;
  std::vector<int64_t*> key_rooms, position_rooms;
  split.keys.resize(num_parts);
  split.positions.resize(num_parts);
  for (int part = 0; part < num_parts; ++part) {
    split.keys[part].resize(counts[part]);
    split.positions[part].resize(counts[part]);
    key_rooms.push_back(split.keys[part].data());
    position_rooms.push_back(split.positions[part].data());
  }
  SplitByPart(keys.data(), n, num_parts, key_rooms, position_rooms);
  return split;
}

std::vector<int64_t> SomeKeys(int64_t n) {
  testing::Rng rng(7);
  std::vector<int64_t> keys = {0, -1, std::numeric_limits<int64_t>::min(),
                               std::numeric_limits<int64_t>::max()};
  while (static_cast<int64_t>(keys.size()) < n) {
    keys.push_back(static_cast<int64_t>(rng.Below(500)) - 250);
  }
  return keys;
}

TEST(KeysGoToTheirPartInPositionOrder) {
  const std::vector<int64_t> keys = SomeKeys(2000);
  for (int num_parts : {1, 2, 3, 7, kMaxParts}) {
    const testing::Trace trace(num_parts, " parts");
    std::vector<int64_t> at(num_parts);
    const Split split = SplitKeys(keys, num_parts);
    for (size_t i = 0; i < keys.size(); ++i) {
      const int part = PartOfHash(MixKey(keys[i]), num_parts);
      EXPECT_TRUE(part >= 0 && part < num_parts);
      EXPECT_EQ(split.keys[part][at[part]], keys[i]);
      EXPECT_EQ(split.positions[part][at[part]], static_cast<int64_t>(i));
      ++at[part];
    }
  }
}

// Part p of 2n owns keys of part p / 2 of n alone: parts are ranges of slices.
TEST(MorePartsCutRangesAndMixNone) {
  for (int64_t key : SomeKeys(2000)) {
    const uint64_t hash = MixKey(key);
    for (int num_parts : {1, 3, 8, 512}) {
      EXPECT_EQ(PartOfHash(hash, 2 * num_parts) / 2,
                PartOfHash(hash, num_parts));
    }
  }
}

TEST(KeysOfAPartUseAllShards) {
  std::set<uint32_t> shards;
  for (int64_t key = 0; key < 40000; ++key) {
    const uint64_t hash = MixKey(key);
    if (PartOfHash(hash, 8) == 5) shards.insert(ShardOfHash(hash, 7));
  }
  EXPECT_EQ(shards.size(), size_t{128});
}

TEST(RowsComeBackInOrder) {
  const std::vector<int64_t> keys = SomeKeys(300);
  const auto n = static_cast<int64_t>(keys.size());
  const int dim = 3;
  for (int num_parts : {1, 4, 9}) {
    const testing::Trace trace(num_parts, " parts");
    const Split split = SplitKeys(keys, num_parts);
    std::vector<std::vector<float>> rows(num_parts);
    std::vector<PartRows> parts(num_parts);
    for (int part = 0; part < num_parts; ++part) {
      for (int64_t position : split.positions[part]) {
        for (int c = 0; c < dim; ++c) {
          rows[part].push_back(static_cast<float>(position * dim + c));
        }
      }
      parts[part] = {split.positions[part].data(), rows[part].data(),
                     static_cast<int64_t>(split.positions[part].size())};
    }
    std::vector<float> out(n * dim);
    EXPECT_OK(JoinParts(parts, n, dim, out.data()));
    for (int64_t i = 0; i < n * dim; ++i) {
      EXPECT_EQ(out[i], static_cast<float>(i));
    }
  }
}

TEST(PositionsMustBeEachOnce) {
  const float rows[] = {1, 2};
  float out[2];
  for (const std::vector<int64_t>& wrong :
       {std::vector<int64_t>{0, 0}, {0, 2}, {-1, 1}}) {
    EXPECT_ERROR(JoinParts({{wrong.data(), rows, 2}}, 2, 1, out),
                 StatusCode::kInvalidArgument, "positions has ");
  }
  const int64_t zero = 0;
  EXPECT_ERROR(JoinParts({{&zero, rows, 1}}, 2, 1, out),
               StatusCode::kInvalidArgument,
               "positions has 1 values for 2 keys");
}

TEST(NumbersOfPartsHaveALimit) {
  EXPECT_OK(CheckNumParts(1));
  EXPECT_OK(CheckNumParts(kMaxParts));
  EXPECT_ERROR(CheckNumParts(0), StatusCode::kInvalidArgument,
               "num_parts is 0; it must be in [1, 1024]");
  EXPECT_ERROR(CheckNumParts(kMaxParts + 1), StatusCode::kInvalidArgument,
               "num_parts is 1025");
}

}  // namespace
}  // namespace tf_embedding
