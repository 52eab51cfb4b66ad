// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Tables of two tiers: all that device_table_test.cc asks of a table in device
// memory, with caches from one row to all rows; then what is their own.

#define TF_EMBEDDING_TEST_TIERS
#include "tests/cc/device_table_test.cc"

namespace tf_embedding {
namespace {

std::unique_ptr<DeviceTable> MakeTiered(int dim, int64_t cache_bytes,
                                        CacheStrategy strategy,
                                        const EvictionOptions& eviction = {},
                                        const AdmissionSpec& admission = {}) {
  DeviceTableOptions options;
  options.name = "words";
  options.dim = dim;
  options.initializer = Spec(InitializerKind::kUniform);
  options.cache_bytes = cache_bytes;
  options.cache_strategy = strategy;
  options.eviction = eviction;
  options.admission = admission;
  std::unique_ptr<DeviceTable> table;
  EXPECT_OK(DeviceTable::Create(
      options, launchers, MakeDeviceAllocator(launchers), nullptr, &table));
  return table;
}

// Bytes of a cache of so many rows without slots.
int64_t CacheOf(int64_t rows, int dim) { return rows * (4 * dim + 12); }

TableStats StatsOf(DeviceTable* table) {
  TableStats stats;
  EXPECT_OK(table->Stats(nullptr, &stats));
  return stats;
}

void Train(DeviceTable* table, const std::vector<int64_t>& keys) {
  const auto n = static_cast<int64_t>(keys.size());
  Pair::ApplyOnDevice(table, Bind("sgd", 0.5f, 0, {}), keys,
                      Rng(n).Units(n * table->dim()), {}, 0);
}

void Prefetch(DeviceTable* table, const std::vector<int64_t>& keys) {
  EXPECT_OK(table->Prefetch(OnDevice<int64_t>(keys).data(),
                            static_cast<int64_t>(keys.size()), nullptr));
}

// As if batches of other keys had come, which took no slot.
void LetTimePass(DeviceTable* table) {
  for (uint32_t i = 0; i <= kKeptTimes; ++i) Prefetch(table, {-1});
}

std::vector<int64_t> Range(int64_t from, int64_t to) {
  std::vector<int64_t> keys;
  for (; from < to; ++from) keys.push_back(from);
  return keys;
}

// Trains keys, and says how many of them were in the cache.
int64_t HitsOf(DeviceTable* table, const std::vector<int64_t>& keys) {
  const TableStats before = StatsOf(table);
  Train(table, keys);
  const TableStats after = StatsOf(table);
  const int64_t hits = after.cache_hits - before.cache_hits;
  EXPECT_EQ(after.cache_misses - before.cache_misses,
            static_cast<int64_t>(keys.size()) - hits);
  return hits;
}

TEST(NoSizeOfTheCacheChangesABit) {
  const std::vector<int64_t> universe = MixedKeys(400);
  const int dim = 5;
  const int64_t sizes[] = {0, 1, 3, 16, 100, 1000};
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    const Trace trace("seed ", seed);
    AdmissionSpec admission;
    if (seed % 3 == 0) {
      admission.kind = AdmissionKind::kCounter;
      admission.filter_freq = 3;
    }
    Columns first;
    for (const int64_t rows : sizes) {
      const Trace rows_trace("rows ", rows);
#if !defined(TF_EMBEDDING_TEST_ON_CUDA)
      const Launches launches(Order(seed + rows, seed % 2 == 0 ? 4 : 1));
#endif
      // Room for the slots of one vector.
      const auto table =
          MakeTiered(dim, CacheOf(2 * rows, dim),
                     rows % 2 == 0 ? CacheStrategy::kLru : CacheStrategy::kLfu,
                     /*eviction=*/{}, admission);
      Rng rng(seed);
      for (int64_t step = 0; step < 40; ++step) {
        const auto keys = Draw(universe, 1 + rng.Below(200), &rng);
        const auto n = static_cast<int64_t>(keys.size());
        const int64_t what = rng.Below(8);
        const std::vector<float> values = rng.Units(n * dim);
        if (what == 0) {
          int64_t removed;
          EXPECT_OK(table->Remove(OnDevice<int64_t>(keys).data(), n, nullptr,
                                  &removed));
        } else if (what == 1) {
          Pair::UpsertOnDevice(table.get(), keys, values, step);
        } else if (what < 5) {
          Prefetch(table.get(), keys);
        } else {
          Pair::ApplyOnDevice(table.get(),
                              Bind("adagrad", 0.5f, step, {0.1f, 0, 0}), keys,
                              values, {}, step);
        }
      }
      Columns columns;
      EXPECT_OK(table->Export(columns.Allocate(dim), nullptr));
      if (rows == 0) {
        first = std::move(columns);
        EXPECT_TRUE(first.shape.size > 100);
        continue;
      }
      testing::ExpectSameColumns(columns, first);
      const TableStats stats = StatsOf(table.get());
      EXPECT_TRUE(stats.cache_misses > 0);
      EXPECT_TRUE(stats.cache_hits > 0);
    }
  }
}

TEST(EvictionGoesByNoCache) {
  const std::vector<int64_t> universe = MixedKeys(600);
  EvictionOptions bound, by_norm;
  bound.max_keys = 150;
  bound.collect = 40;
  bound.order = EvictOrder::kLfu;
  by_norm.l2_threshold = 0.4f;
  for (const EvictionOptions& eviction : {bound, by_norm}) {
    Columns first;
    RowChunk first_taken;
    for (const int64_t rows : {0, 1, 20, 600}) {
      const Trace trace("rows ", rows);
      const auto table =
          MakeTiered(4, CacheOf(rows, 4), CacheStrategy::kLfu, eviction);
      Rng rng(9);
      for (int64_t step = 0; step < 30; ++step) {
        const auto keys = Draw(universe, 80, &rng);
        Prefetch(table.get(), Draw(universe, 80, &rng));
        Pair::ApplyOnDevice(table.get(), Bind("sgd", 0.1f, step, {}), keys,
                            rng.Units(80 * 4), {}, step);
      }
      Columns columns;
      RowChunk taken;
      int64_t dropped;
      EXPECT_OK(table->Export(columns.Allocate(4), nullptr));
      EXPECT_OK(table->TakeEvicted(nullptr, &taken, &dropped));
      EXPECT_TRUE(StatsOf(table.get()).counters.evicted > 0);
      if (rows == 0) {
        first = std::move(columns);
        first_taken = std::move(taken);
        continue;
      }
      testing::ExpectSameColumns(columns, first);
      EXPECT_TRUE(taken.keys == first_taken.keys);
      EXPECT_TRUE(SameBits(taken.values, first_taken.values));
    }
  }
}

TEST(UpdatesBringTheirRowsIntoTheCache) {
  const auto table = MakeTiered(4, CacheOf(64, 4), CacheStrategy::kLfu);
  EXPECT_EQ(HitsOf(table.get(), Range(0, 64)), 0);
  EXPECT_EQ(HitsOf(table.get(), Range(0, 64)), 64);
  EXPECT_EQ(HitsOf(table.get(), {5, 5, 5, 70}), 3);
}

TEST(RowsInUseStay) {
  for (const auto strategy : {CacheStrategy::kLru, CacheStrategy::kLfu}) {
    const auto table = MakeTiered(4, CacheOf(16, 4), strategy);
    Train(table.get(), Range(0, 16));
    // They would all have to go.
    EXPECT_EQ(HitsOf(table.get(), Range(16, 32)), 0);
    EXPECT_EQ(HitsOf(table.get(), Range(0, 16)), 16);
    LetTimePass(table.get());
    EXPECT_EQ(HitsOf(table.get(), Range(16, 32)), 0);
    EXPECT_EQ(HitsOf(table.get(), Range(16, 32)), 16);
  }
}

TEST(WhatLeavesFirst) {
  for (const auto strategy : {CacheStrategy::kLru, CacheStrategy::kLfu}) {
    const auto table = MakeTiered(4, CacheOf(16, 4), strategy);
    // Keys 0 to 7 often, keys 8 to 15 recently.
    for (int i = 0; i < 5; ++i) Train(table.get(), Range(0, 8));
    Train(table.get(), Range(8, 16));
    LetTimePass(table.get());
    Train(table.get(), Range(16, 24));
    const int64_t often = HitsOf(table.get(), Range(0, 8));
    EXPECT_EQ(often, strategy == CacheStrategy::kLfu ? 8 : 0);
  }
}

TEST(RemovedRowsLeaveFirst) {
  const auto table = MakeTiered(4, CacheOf(16, 4), CacheStrategy::kLfu);
  for (int i = 0; i < 5; ++i) Train(table.get(), Range(0, 8));
  Train(table.get(), Range(8, 16));
  int64_t removed;
  EXPECT_OK(table->Remove(OnDevice<int64_t>(Range(0, 4)).data(), 4, nullptr,
                          &removed));
  LetTimePass(table.get());
  // Four take the numbers of those that were removed, which have slots.
  EXPECT_EQ(HitsOf(table.get(), Range(20, 24)), 4);
  EXPECT_EQ(HitsOf(table.get(), Range(8, 16)), 8);
}

TEST(PrefetchBringsRowsAndChangesNothing) {
  const auto table = MakeTiered(4, CacheOf(16, 4), CacheStrategy::kLfu);
  Train(table.get(), Range(0, 16));
  Train(table.get(), Range(16, 32));
  LetTimePass(table.get());
  Columns before, after;
  EXPECT_OK(table->Export(before.Allocate(4), nullptr));
  std::vector<int64_t> keys = Range(16, 32);
  keys.insert(keys.end(), {1000, 17, 17, -5});
  Prefetch(table.get(), keys);
  EXPECT_OK(table->Export(after.Allocate(4), nullptr));
  EXPECT_TRUE(after.keys == before.keys);
  EXPECT_TRUE(SameBits(after.values, before.values));
  EXPECT_TRUE(after.frequency == before.frequency);
  EXPECT_EQ(HitsOf(table.get(), Range(16, 32)), 16);
  EXPECT_OK(table->Prefetch(nullptr, 0, nullptr));
  EXPECT_ERROR(table->Prefetch(nullptr, -1, nullptr),
               StatusCode::kInvalidArgument, "keys has -1");
}

TEST(PrefetchWithoutACacheDoesNothing) {
  const auto table = MakeTiered(4, 0, CacheStrategy::kLfu);
  Train(table.get(), {1, 2});
  Prefetch(table.get(), {1, 2, 3});
  const TableStats stats = StatsOf(table.get());
  EXPECT_EQ(stats.size, 2);
  EXPECT_EQ(stats.host_bytes, 0);
  EXPECT_EQ(stats.cache_bytes, 0);
  EXPECT_EQ(stats.cache_hits + stats.cache_misses, 0);
}

TEST(ClearAndImportBeginWithAnEmptyCache) {
  const auto table = MakeTiered(4, CacheOf(64, 4), CacheStrategy::kLfu);
  Train(table.get(), Range(0, 32));
  Columns columns;
  EXPECT_OK(table->Export(columns.Allocate(4), nullptr));
  EXPECT_OK(
      table->Import(columns.shape, columns.view(), /*replace=*/true, nullptr));
  EXPECT_EQ(HitsOf(table.get(), Range(0, 32)), 0);
  EXPECT_EQ(HitsOf(table.get(), Range(0, 32)), 32);
  EXPECT_OK(table->Clear(nullptr));
  EXPECT_EQ(HitsOf(table.get(), Range(0, 32)), 0);
}

TEST(StatsTellTheTiersApart) {
  const int64_t cache = CacheOf(16, 8);
  const auto table = MakeTiered(8, cache, CacheStrategy::kLfu);
  Train(table.get(), Range(0, 5000));
  const TableStats stats = StatsOf(table.get());
  EXPECT_TRUE(stats.host_bytes >= 5000 * 32);
  EXPECT_TRUE(stats.cache_bytes >= cache && stats.cache_bytes < cache + 2048);
  // Of each row frequency, version and place.
  EXPECT_TRUE(stats.row_bytes >=
              stats.host_bytes + stats.cache_bytes + 5000 * 12);
  EXPECT_EQ(stats.row_used_bytes, 5000 * (32 + 12));
}

TEST(ACacheThatHoldsNoRowIsAnError) {
  DeviceTableOptions options;
  options.name = "words";
  options.dim = 8;
  options.cache_bytes = CacheOf(1, 8) - 1;
  std::unique_ptr<DeviceTable> none;
  EXPECT_ERROR(
      DeviceTable::Create(options, launchers, MakeDeviceAllocator(launchers),
                          nullptr, &none),
      StatusCode::kInvalidArgument, "storage_size is 43 bytes, and a row");
  const auto table = MakeTiered(8, CacheOf(1, 8), CacheStrategy::kLfu);
  Train(table.get(), {1, 2});
  int64_t reset;
  EXPECT_ERROR(table->AdoptRule(Bind("adam", 0.1f, 0, {0.9f, 0.999f, 1e-7f}), 0,
                                nullptr, &reset),
               StatusCode::kInvalidArgument,
               "with the slots of adam takes 108 of them");
  EXPECT_EQ(table->rule(), "sgd");
  Train(table.get(), {1, 2});
}

#if !defined(TF_EMBEDDING_TEST_ON_CUDA)

TEST(HostMemoryThatRunsOutIsAnErrorAndChangesNothing) {
  const HostLaunchCounts held = CountHostLaunches();
  {
    const auto table = MakeTiered(16, CacheOf(16, 16), CacheStrategy::kLfu);
    Train(table.get(), Range(0, 500));
    Columns before, after;
    EXPECT_OK(table->Export(before.Allocate(16), nullptr));
    {
      HostLaunches tight;
      tight.pinned_limit = CountHostLaunches().pinned_bytes_held + 100000;
      const Launches launches(tight);
      const std::vector<int64_t> keys = Range(0, 20000);
      const std::vector<float> values(20000 * 16);
      const Status status =
          table->Upsert(keys.data(), values.data(), 20000, 1, nullptr);
      EXPECT_ERROR(status, StatusCode::kResourceExhausted,
                   "out of pinned host memory in embedding table words of");
      EXPECT_ERROR(status, StatusCode::kResourceExhausted, "remove keys");
    }
    EXPECT_OK(table->Export(after.Allocate(16), nullptr));
    EXPECT_TRUE(after.keys == before.keys);
    EXPECT_TRUE(SameBits(after.values, before.values));
    Train(table.get(), Range(0, 20000));
    EXPECT_EQ(StatsOf(table.get()).size, 20000);
  }
  EXPECT_EQ(CountHostLaunches().bytes_held, held.bytes_held);
  EXPECT_EQ(CountHostLaunches().pinned_bytes_held, held.pinned_bytes_held);
}

TEST(PrefetchInTheSteadyStateAllocatesNothingAndWaitsForNothing) {
  const std::vector<int64_t> universe = MixedKeys(5000);
  const auto table = MakeTiered(8, CacheOf(2000, 8), CacheStrategy::kLfu);
  Rng rng(3);
  HostLaunchCounts before;
  for (int64_t step = 0; step < 30; ++step) {
    if (step == 20) before = CountHostLaunches();
    const std::vector<int64_t> keys = Draw(universe, 1000, &rng);
    std::vector<float> out(1000 * 8);
    EXPECT_OK(table->Prefetch(keys.data(), 1000, nullptr));
    EXPECT_OK(table->Lookup(keys.data(), 1000, out.data(), nullptr));
    EXPECT_OK(table->Upsert(keys.data(), out.data(), 1000, step, nullptr));
  }
  const HostLaunchCounts after = CountHostLaunches();
  EXPECT_TRUE(after.launches > before.launches);
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_EQ(after.synchronizations, before.synchronizations);
}

#endif

}  // namespace
}  // namespace tf_embedding
