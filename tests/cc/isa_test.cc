// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// The variants for wider instruction sets against the baseline: equal bits.

#include "cc/core/isa.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "cc/core/hash.h"
#include "cc/core/philox.h"
#include "cc/core/shard.h"
#include "tests/cc/random.h"
#include "tests/cc/table_util.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

using testing::Rng;
using testing::SameBits;

// Those that this processor has; the baseline first.
std::vector<const IsaKernels*> Variants() {
  std::vector<const IsaKernels*> variants = {BaselineKernels()};
  for (const char* name : {"avx2", "avx512"}) {
    if (const IsaKernels* kernels = FindKernels(name)) {
      variants.push_back(kernels);
    }
  }
  return variants;
}

TEST(VariantsHaveNames) {
  for (const IsaKernels* kernels : Variants()) {
    EXPECT_TRUE(FindKernels(kernels->name) == kernels);
    std::printf("variant %s\n", kernels->name);
  }
  EXPECT_TRUE(FindKernels("sse9") == nullptr);
  EXPECT_TRUE(&ActiveKernels() == Variants().back());
}

// Values of every size, a few of them zero or subnormal.
std::vector<float> Values(int64_t n, Rng* rng) {
  std::vector<float> values = rng->Units(n);
  for (float& value : values) {
    switch (rng->Below(12)) {
      case 0:
        value = 0;
        break;
      case 1:
        value *= 1e-40f;
        break;
      case 2:
        value *= 1000;
        break;
    }
  }
  return values;
}

// A few sets of hyper-parameters, in the range of every rule.
std::vector<float> HyperOf(const RuleInfo& info, int set) {
  std::vector<float> values;
  for (const std::string& name : info.hyper) {
    if (name == "learning_rate_power") {
      values.push_back(set == 0 ? -0.5f : -0.6f);
    } else if (name == "decay_steps") {
      values.push_back(3);
    } else if (name == "nesterov" || name == "epsilon_in_sqrt") {
      values.push_back(static_cast<float>(set));
    } else if (name == "epsilon") {
      values.push_back(1e-3f);
    } else {
      values.push_back(set == 0 ? 0.9f : 0.25f);
    }
  }
  return values;
}

TEST(RulesGiveEqualBits) {
  constexpr int kRows = 5;
  std::unordered_set<int> drivers;
  for (const RuleInfo& info : AllRules()) {
    const auto vectors = static_cast<int>(info.vector_slots.size());
    const auto scalars = static_cast<int>(info.scalar_slots.size());
    for (int set = 0; set < 2; ++set) {
      const BoundRule rule =
          testing::Bind(info.name, 0.05f, 20, HyperOf(info, set));
      const int driver = static_cast<int>(rule.driver);
      drivers.insert(driver);
      for (int dim = 1; dim <= 70; ++dim) {
        const testing::Trace trace("rule ", info.name, ", dim ", dim);
        Rng rng(static_cast<uint64_t>(dim));
        const int width = dim * (1 + vectors) + scalars;
        std::vector<float> start = Values(kRows * width, &rng);
        for (int r = 0; r < kRows; ++r) {
          float* const slots = start.data() + r * width + dim;
          // Sums of squares are not negative.
          for (int i = 0; i < width - dim; ++i) slots[i] = std::fabs(slots[i]);
        }
        const std::vector<float> gradients = Values(kRows * dim, &rng);
        std::vector<float> expected;
        for (const IsaKernels* kernels : Variants()) {
          std::vector<float> rows = start;
          float* records[kRows];
          const float* gradient_of[kRows];
          for (int r = 0; r < kRows; ++r) {
            records[r] = rows.data() + r * width;
            gradient_of[r] = gradients.data() + r * dim;
          }
          kernels->apply[driver](rule.functor, records, gradient_of, kRows,
                                 dim);
          if (expected.empty()) expected = rows;
          const testing::Trace variant(kernels->name);
          EXPECT_TRUE(rows != start);
          EXPECT_TRUE(SameBits(rows, expected));
        }
      }
    }
  }
  EXPECT_EQ(drivers.size(), static_cast<size_t>(RuleDriver::kCount));
}

TEST(VectorLoopsGiveEqualBits) {
  Rng rng(1);
  for (int dim = 1; dim <= 70; ++dim) {
    const std::vector<float> x = Values(dim, &rng);
    const std::vector<float> y = Values(dim, &rng);
    double dot = 0;
    double size = 0;
    for (int c = 0; c < dim; ++c) {
      dot += static_cast<double>(x[c]) * y[c];
      size += std::fabs(static_cast<double>(x[c]) * y[c]);
    }
    std::vector<float> expected = y;
    for (int c = 0; c < dim; ++c) expected[c] += 0.3f * x[c];
    const float expected_dot = BaselineKernels()->dot(x.data(), y.data(), dim);
    for (const IsaKernels* kernels : Variants()) {
      std::vector<float> sum = y;
      kernels->add_scaled(0.3f, x.data(), dim, sum.data());
      EXPECT_TRUE(SameBits(sum, expected));
      const float found = kernels->dot(x.data(), y.data(), dim);
      EXPECT_EQ(found, expected_dot);
      EXPECT_NEAR(found, dot, 1e-6 * size);
    }
  }
}

TEST(HashesAreMixKey) {
  const std::vector<int64_t> keys = testing::MixedKeys(1003);
  for (const IsaKernels* kernels : Variants()) {
    std::vector<uint64_t> hashes(keys.size());
    kernels->hash_keys(keys.data(), static_cast<int64_t>(keys.size()),
                       hashes.data());
    for (size_t i = 0; i < keys.size(); ++i) {
      EXPECT_EQ(hashes[i], MixKey(keys[i]));
    }
  }
}

// Shards, and a view of them, without a table.
struct Shards {
  Shards(int dim, int log2_shards)
      : layout(dim, 1, 0),
        memory(layout, int64_t{1} << log2_shards),
        views(1 << log2_shards) {
    for (int s = 0; s < 1 << log2_shards; ++s) {
      shards.push_back(std::make_unique<Shard>(0.5, layout, &memory, &lock));
    }
    view = TableView{views.data(), log2_shards, layout.slab_shift,
                     layout.stride, dim};
  }
  Shard* Of(int64_t key) {
    return shards[ShardOfHash(MixKey(key), view.log2_shards)].get();
  }
  void Insert(int64_t key) {
    Shard* const shard = Of(key);
    shard->Reserve(1);
    const uint32_t row = shard->Insert(MixKey(key), key);
    float* const record = shard->rows().record(row);
    for (int c = 0; c < layout.dim; ++c) record[c] = ValueOf(key, c);
  }
  void Refresh() {
    for (size_t s = 0; s < shards.size(); ++s) views[s] = shards[s]->view();
  }
  static float ValueOf(int64_t key, int c) {
    return static_cast<float>(MixKey(key) >> 44) + static_cast<float>(c) / 128;
  }

  RowLayout layout;
  TableMemory memory;
  SharedSpinLock lock;
  std::vector<std::unique_ptr<Shard>> shards;
  std::vector<ShardView> views;
  TableView view;
};

void ExpectLookups(Shards* shards, const std::vector<int64_t>& keys,
                   const std::unordered_set<int64_t>& present) {
  const int dim = shards->layout.dim;
  const auto n = static_cast<int64_t>(keys.size());
  for (const IsaKernels* kernels : Variants()) {
    const testing::Trace trace(kernels->name, ", ", n, " keys");
    std::vector<float> out(n * dim, -1);
    std::vector<int64_t> missing(n);
    std::vector<uint32_t> rows(n);
    missing.resize(kernels->lookup(shards->view, keys.data(), n, out.data(),
                                   dim, missing.data(), rows.data()));
    std::vector<int64_t> expected_missing;
    for (int64_t i = 0; i < n; ++i) {
      const bool found = present.count(keys[i]) == 1;
      if (!found) expected_missing.push_back(i);
      for (int c = 0; c < dim; ++c) {
        const float wanted = found ? Shards::ValueOf(keys[i], c) : -1;
        if (out[i * dim + c] != wanted) EXPECT_EQ(out[i * dim + c], wanted);
      }
      // One by one, as an update finds them.
      const uint64_t hash = MixKey(keys[i]);
      uint32_t row;
      kernels->find_rows(shards->Of(keys[i])->view(), &keys[i], &hash, 1, &row);
      EXPECT_EQ(row, shards->Of(keys[i])->index().FindRow(hash, keys[i]));
      EXPECT_EQ(row != kNoRow, found);
      EXPECT_EQ(rows[i], row);
    }
    EXPECT_TRUE(missing == expected_missing);
    // From memory, and between the columns of others.
    const int64_t stride = dim + 3;
    std::vector<float> wide(n * stride, -2);
    std::vector<float> expected(n * stride, -2);
    for (int64_t i = 0; i < n; ++i) {
      if (present.count(keys[i]) == 0) continue;
      std::copy_n(out.data() + i * dim, dim, expected.data() + i * stride + 1);
    }
    missing.resize(n);
    TableView far = shards->view;
    far.far = true;
    missing.resize(kernels->lookup(far, keys.data(), n, wide.data() + 1, stride,
                                   missing.data(), /*rows=*/nullptr));
    EXPECT_TRUE(wide == expected);
    EXPECT_TRUE(missing == expected_missing);
  }
}

TEST(LookupsFindTheSame) {
  const std::vector<int64_t> universe = testing::MixedKeys(1200);
  for (int dim = 1; dim <= 70; ++dim) {
    const testing::Trace trace("dim ", dim);
    Rng rng(static_cast<uint64_t>(dim));
    Shards shards(dim, dim % 4);
    shards.Refresh();
    ExpectLookups(&shards, universe, {});
    // Half are there; some were there once, and left their bits behind.
    std::unordered_set<int64_t> present;
    for (int64_t key : universe) {
      if (rng.Below(4) == 0) continue;
      shards.Insert(key);
      present.insert(key);
    }
    for (int64_t key : universe) {
      if (rng.Below(3) != 0 || present.erase(key) == 0) continue;
      shards.Of(key)->Remove(MixKey(key), key);
    }
    shards.Refresh();
    std::vector<int64_t> keys;
    for (int i = 0; i < 700; ++i) keys.push_back(universe[rng.Below(1200)]);
    ExpectLookups(&shards, keys, present);
    // Around the size of a block.
    for (int64_t n : {0, 1, 31, 32, 33, 64, 65}) {
      ExpectLookups(&shards, {keys.begin(), keys.begin() + n}, present);
    }
  }
}

TEST(PhiloxInLanesIsPhilox) {
  const std::vector<int64_t> keys = testing::MixedKeys(40);
  for (const IsaKernels* kernels : Variants()) {
    for (int n : {1, 2, 7, 40}) {
      for (int blocks : {1, 2, 3, 4, 9}) {
        std::vector<uint32_t> words(n * blocks * 4 + 1, 77);
        const uint64_t seed = 0x123456789ABCDEFu * static_cast<uint64_t>(n);
        kernels->philox(keys.data(), n, blocks, seed, words.data());
        for (int i = 0; i < n * blocks; ++i) {
          const PhiloxWords expected =
              Philox4x32(static_cast<uint64_t>(keys[i / blocks]),
                         static_cast<uint64_t>(i % blocks), seed);
          for (int w = 0; w < 4; ++w) {
            EXPECT_EQ(words[i * 4 + w], expected.w[w]);
          }
        }
        EXPECT_EQ(words.back(), 77u);
      }
    }
  }
}

TEST(FindRowsTakesABlock) {
  Shards shards(4, 0);
  const std::vector<int64_t> universe = testing::MixedKeys(64);
  for (size_t i = 0; i < universe.size(); i += 2) shards.Insert(universe[i]);
  std::vector<uint64_t> hashes(64);
  for (int i = 0; i < 64; ++i) hashes[i] = MixKey(universe[i]);
  for (const IsaKernels* kernels : Variants()) {
    for (int n = 0; n <= 64; ++n) {
      std::vector<uint32_t> rows(64, 12345);
      kernels->find_rows(shards.shards[0]->view(), universe.data(),
                         hashes.data(), n, rows.data());
      for (int i = 0; i < 64; ++i) {
        const auto row = static_cast<uint32_t>(i / 2);
        EXPECT_EQ(rows[i], i >= n ? 12345 : (i % 2 == 0 ? row : kNoRow));
      }
    }
  }
}

}  // namespace
}  // namespace tf_embedding
