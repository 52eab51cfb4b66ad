// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Lookups of bags, and of many tables at once, against lookups of their keys.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "cc/core/pooling.h"
#include "cc/core/table.h"
#include "tests/cc/executors.h"
#include "tests/cc/random.h"
#include "tests/cc/table_util.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

using testing::MakeTable;
using testing::MixedKeys;
using testing::Rng;
using testing::SameBits;

TEST(ManyTablesInOneRound) {
  // Tables of several dims, one of them twice, bags of one and other bags.
  std::vector<std::unique_ptr<EmbeddingTable>> tables;
  std::vector<PooledRequest> requests;
  Rng rng(12);
  const std::vector<int64_t> universe = MixedKeys(600);
  std::vector<std::vector<int64_t>> keys(9), splits(9);
  std::vector<std::vector<float>> out(9), expected(9);
  SerialExecutor serial;
  for (int f = 0; f < 9; ++f) {
    if (f != 5) {
      tables.push_back(MakeTable(1 + 7 * f, 2));
      const int dim = tables.back()->dim();
      const std::vector<float> values = rng.Units(300 * dim);
      EXPECT_OK(tables.back()->Upsert(universe.data(), values.data(), 300, 0,
                                      &serial));
    }
    const EmbeddingTable& table = *tables.back();
    const bool plain = f % 2 == 0;
    const int64_t bags = f == 3 ? 0 : 5000;
    splits[f] = {0};
    for (int64_t b = 0; b < bags; ++b) {
      const int64_t n = plain ? 1 : rng.Below(4);
      for (int64_t i = 0; i < n; ++i)
        keys[f].push_back(universe[rng.Below(600)]);
      splits[f].push_back(static_cast<int64_t>(keys[f].size()));
    }
    PoolSpec pool;
    pool.combiner = f % 3 == 0 ? Combiner::kSum : Combiner::kMean;
    out[f].assign(bags * table.dim(), -1);
    expected[f].assign(bags * table.dim(), -1);
    std::vector<float> vectors(keys[f].size() * table.dim());
    EXPECT_OK(table.Lookup(keys[f].data(), static_cast<int64_t>(keys[f].size()),
                           vectors.data(), &serial));
    for (int64_t b = 0; b < bags; ++b) {
      PoolBag(pool, vectors.data() + splits[f][b] * table.dim(), nullptr,
              splits[f][b + 1] - splits[f][b], table.dim(),
              expected[f].data() + b * table.dim());
    }
    requests.push_back(PooledRequest{&table, keys[f].data(), splits[f].data(),
                                     bags, nullptr, pool, out[f].data(),
                                     nullptr});
  }
  for (int threads : {1, 3}) {
    testing::ThreadExecutor executor(threads);
    EXPECT_OK(EmbeddingTable::LookupPooled(requests.data(), 9, &executor));
    for (int f = 0; f < 9; ++f) EXPECT_TRUE(SameBits(out[f], expected[f]));
  }
  EXPECT_OK(EmbeddingTable::LookupPooled(nullptr, 0, &serial));
}

TEST(ManyTablesSideBySide) {
  // Vectors of each key, of bags of one key and of other bags, in the columns
  // of one matrix.
  constexpr int64_t kBags = 3000;
  const std::vector<int> dims = {3, 16, 1, 20};
  constexpr int64_t kWidth = 40;
  Rng rng(14);
  const std::vector<int64_t> universe = MixedKeys(600);
  SerialExecutor serial;
  std::vector<std::unique_ptr<EmbeddingTable>> tables;
  std::vector<std::vector<int64_t>> keys(4), splits(4);
  std::vector<float> wide(kBags * kWidth), expected(kBags * kWidth);
  std::vector<PooledRequest> requests(4);
  int64_t column = 0;
  for (int f = 0; f < 4; ++f) {
    const int dim = dims[f];
    tables.push_back(MakeTable(dim, 2));
    const std::vector<float> values = rng.Units(300 * dim);
    EXPECT_OK(
        tables[f]->Upsert(universe.data(), values.data(), 300, 0, &serial));
    splits[f] = {0};
    for (int64_t b = 0; b < kBags; ++b) {
      for (int64_t i = f < 2 ? 1 : rng.Below(4); i > 0; --i) {
        keys[f].push_back(universe[rng.Below(600)]);
      }
      splits[f].push_back(static_cast<int64_t>(keys[f].size()));
    }
    requests[f].table = tables[f].get();
    requests[f].keys = keys[f].data();
    requests[f].splits = f == 0 ? nullptr : splits[f].data();
    requests[f].num_bags = kBags;
    std::vector<float> alone(kBags * dim);
    requests[f].out = alone.data();
    EXPECT_OK(EmbeddingTable::LookupPooled(&requests[f], 1, &serial));
    for (int64_t b = 0; b < kBags; ++b) {
      std::copy_n(alone.data() + b * dim, dim,
                  expected.data() + b * kWidth + column);
    }
    requests[f].out = wide.data() + column;
    requests[f].out_stride = kWidth;
    column += dim;
  }
  EXPECT_EQ(column, kWidth);
  for (int threads : {1, 3}) {
    wide.assign(wide.size(), -1);
    testing::ThreadExecutor executor(threads);
    EXPECT_OK(EmbeddingTable::LookupPooled(requests.data(), 4, &executor));
    EXPECT_TRUE(SameBits(wide, expected));
  }
}

TEST(LookupPooledIsLookupThenPool) {
  for (int dim : {1, 8, 17}) {
    testing::ThreadExecutor executor(3);
    const auto table = MakeTable(dim, 3);
    Rng rng(6);
    const std::vector<int64_t> universe = MixedKeys(500);
    const std::vector<float> values = rng.Units(250 * dim);
    EXPECT_OK(table->Upsert(universe.data(), values.data(), 250, 0, &executor));
    // Small bags, empty ones, and one larger than a chunk of keys.
    std::vector<int64_t> splits = {0};
    for (int b = 0; b < 300; ++b) {
      splits.push_back(splits.back() + (b == 150 ? 20000 : rng.Below(9)));
    }
    const int64_t n = splits.back();
    std::vector<int64_t> keys(n);
    for (int64_t& key : keys) key = universe[rng.Below(500)];
    const std::vector<float> weights = rng.Units(n);
    std::vector<float> vectors(n * dim);
    EXPECT_OK(table->Lookup(keys.data(), n, vectors.data(), &executor));
    for (const char* combiner : {"sum", "mean", "sqrtn"}) {
      for (const float max_norm : {0.0f, 0.4f}) {
        PoolSpec spec;
        EXPECT_OK(ParsePoolSpec(combiner, max_norm, &spec));
        std::vector<float> expected(300 * dim);
        std::vector<float> out(300 * dim);
        std::vector<float> again(300 * dim);
        std::vector<float> rows(n * dim);
        for (int b = 0; b < 300; ++b) {
          PoolBag(spec, vectors.data() + splits[b] * dim,
                  weights.data() + splits[b], splits[b + 1] - splits[b], dim,
                  expected.data() + b * dim);
        }
        EXPECT_OK(testing::LookupPooled(*table, keys.data(), splits.data(), 300,
                                        weights.data(), spec, out.data(),
                                        nullptr, &executor));
        EXPECT_OK(testing::LookupPooled(*table, keys.data(), splits.data(), 300,
                                        weights.data(), spec, again.data(),
                                        rows.data(), &executor));
        EXPECT_TRUE(SameBits(out, expected));
        EXPECT_TRUE(SameBits(again, expected));
        EXPECT_TRUE(SameBits(rows, vectors));
      }
    }
  }
}

}  // namespace
}  // namespace tf_embedding
