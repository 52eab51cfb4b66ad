// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Eviction of DeviceTable: rules that run over all rows against those of
// EmbeddingTable; bounds and the sweep in the background, which go through rows
// in another order than the host's, against a model.

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "tests/cc/device_util.h"

namespace tf_embedding {
namespace {

using testing::Bind;
using testing::Columns;
using testing::Draw;
using testing::executor;
using testing::ExportAll;
using testing::MakeDeviceTable;
using testing::MixedKeys;
using testing::Pair;
using testing::Rng;
using testing::SameBits;
using testing::Spec;
using testing::Trace;
#if !defined(TF_EMBEDDING_TEST_ON_CUDA)
using testing::Launches;
using testing::Order;
#endif

const char* const kOrderNames[] = {"lru", "lfu", "version"};

EvictionOptions Bound(int64_t max_keys, EvictOrder order) {
  EvictionOptions options;
  options.max_keys = max_keys;
  options.order = order;
  return options;
}

BoundRule Adagrad(int64_t step) {
  return Bind("adagrad", 0.5f, step, {0.1f, 0, 0});
}

std::set<int64_t> KeysOf(DeviceTable* table) {
  Columns columns;
  EXPECT_OK(table->Export(columns.Allocate(table->dim()), nullptr));
  return {columns.keys.begin(), columns.keys.end()};
}

void Train(DeviceTable* table, const std::vector<int64_t>& keys, int64_t step) {
  const auto n = static_cast<int64_t>(keys.size());
  Pair::ApplyOnDevice(table, Adagrad(step), keys,
                      std::vector<float>(n * table->dim(), 0.25f), {}, step);
}

// Rules that look at all rows when they are asked take the host's rows.
TEST(RulesOnRequestTakeWhatTheHostsTake) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    const Trace trace("seed ", seed);
#if !defined(TF_EMBEDDING_TEST_ON_CUDA)
    const Launches launches(Order(seed % 4, seed % 3 == 0 ? 4 : 1));
#endif
    EvictionOptions options;
    options.steps_when = options.seconds_when = options.l2_when =
        options.frequency_when = EvictWhen::kRequest;
    int64_t now = 0;
    options.clock = [&now] { return now; };
    if (seed % 2 == 0) options.steps_to_live = 6;
    // About half of what rows of that many columns have.
    if (seed % 3 == 0) options.l2_threshold = seed % 2 == 0 ? 0.8f : 5.0f;
    if (seed % 4 == 1) options.seconds = 5;
    if (seed % 5 < 2) {
      options.min_frequency = 2;
      options.decay = 0.6;
    }
    if (!options.any()) options.steps_to_live = 3;
    AdmissionSpec admission;
    if (seed > 4) {
      admission.kind = AdmissionKind::kCounter;
      admission.filter_freq = 2;
    }
    Pair pair(seed % 2 == 0 ? 5 : 24, InitializerKind::kNormal, admission,
              options);
    const std::vector<int64_t> universe = MixedKeys(400);
    Rng rng(seed);
    int64_t total = 0;
    for (int64_t step = 0; step < 30; ++step) {
      now += 1000000;
      const std::vector<int64_t> keys = Draw(universe, 60, &rng);
      pair.Apply(Adagrad(step), keys, rng.Units(60 * pair.dim), {}, step);
      if (step % 7 == 3) pair.Upsert(keys, rng.Units(60 * pair.dim), step);
      if (step % 5 == 4) {
        int64_t evicted, device_evicted;
        EXPECT_OK(pair.host->Evict(step + 1, &evicted, &executor));
        EXPECT_OK(pair.device->Evict(step + 1, nullptr, &device_evicted));
        EXPECT_EQ(device_evicted, evicted);
        total += evicted;
        pair.Compare(universe);
      }
      if (step == 20) {
        std::unique_ptr<EmbeddingTable> copy;
        EXPECT_OK(pair.device->ToHost(nullptr, &executor, &copy));
        EXPECT_OK(pair.device->FromHost(*copy, nullptr, &executor));
        const Columns columns = testing::ToColumns(ExportAll(*pair.host));
        const bool counts = admission.kind != AdmissionKind::kAll;
        // The host forgets what its filter counted, so the device is to.
        EXPECT_OK(pair.host->Import(columns.shape, columns.view(),
                                    /*replace=*/true, &executor));
        if (counts) {
          EXPECT_OK(pair.device->Import(columns.shape, columns.view(),
                                        /*replace=*/true, nullptr));
        }
      }
    }
    EXPECT_TRUE(total > 20);
    TableStats stats;
    EXPECT_OK(pair.device->Stats(nullptr, &stats));
    EXPECT_EQ(stats.counters.evicted, total);
  }
}

TEST(ASaveTakesWhatItsRulesSay) {
  EvictionOptions options;
  options.steps_to_live = 2;
  options.steps_when = EvictWhen::kSave;
  options.min_frequency = 100;
  options.frequency_when = EvictWhen::kRequest;
  const auto table =
      MakeDeviceTable(2, Spec(InitializerKind::kUniform), {}, options);
  Train(table.get(), {1, 2, 3}, 0);
  for (int64_t step = 1; step < 4; ++step) Train(table.get(), {2, 3}, step);
  EXPECT_OK(table->EvictForSave(nullptr));
  EXPECT_TRUE(KeysOf(table.get()) == (std::set<int64_t>{2, 3}));
}

// Which rows a bound keeps.
class Model {
 public:
  Model(EvictOrder order, int64_t max_rows) : order_(order), max_(max_rows) {
    // As the table: the slack is for large bounds alone.
    low_ = max_rows - (max_rows < 4096 ? 0 : max_rows / 64);
  }
  void Batch(const std::vector<int64_t>& keys, int64_t step, bool trains) {
    ++batch_;
    for (const int64_t key : keys) {
      Row& row = rows_[key];
      row.frequency += trains ? 1 : 0;
      row.version = step;
      row.touched = batch_;
    }
    if (static_cast<int64_t>(rows_.size()) <= max_) return;
    using Rank = std::tuple<int64_t, int64_t, int64_t>;
    std::vector<Rank> ranks;
    for (const auto& [key, row] : rows_) {
      if (row.touched == batch_) continue;
      const int64_t first = order_ == EvictOrder::kLru   ? row.touched
                            : order_ == EvictOrder::kLfu ? row.frequency
                                                         : row.version;
      ranks.emplace_back(first, row.version, key);
    }
    std::sort(ranks.begin(), ranks.end());
    const int64_t wanted = static_cast<int64_t>(rows_.size()) - low_;
    ranks.resize(std::min<size_t>(ranks.size(), static_cast<size_t>(wanted)));
    for (const Rank& rank : ranks) rows_.erase(std::get<2>(rank));
  }
  void Remove(const std::vector<int64_t>& keys) {
    for (const int64_t key : keys) rows_.erase(key);
  }
  std::set<int64_t> keys() const {
    std::set<int64_t> keys;
    for (const auto& [key, row] : rows_) keys.insert(key);
    return keys;
  }

 private:
  struct Row {
    int64_t frequency = 0, version = 0, touched = 0;
  };
  const EvictOrder order_;
  const int64_t max_;
  int64_t low_;
  int64_t batch_ = 0;
  std::map<int64_t, Row> rows_;
};

TEST(BoundsKeepWhatTheModelKeeps) {
  for (const int64_t max_keys : {1, 150, 5000}) {
    for (const EvictOrder order :
         {EvictOrder::kLru, EvictOrder::kLfu, EvictOrder::kVersion}) {
      const Trace trace("order ", kOrderNames[static_cast<int>(order)],
                        ", bound ", max_keys);
#if !defined(TF_EMBEDDING_TEST_ON_CUDA)
      const Launches launches(Order(max_keys, max_keys == 150 ? 4 : 1));
#endif
      const auto table = MakeDeviceTable(3, Spec(InitializerKind::kUniform), {},
                                         Bound(max_keys, order));
      Model model(order, max_keys);
      Rng rng(max_keys);
      const int64_t batch = std::max<int64_t>(20, max_keys / 4);
      const std::vector<int64_t> universe = MixedKeys(4 * max_keys + 100);
      for (int64_t step = 0; step < 30; ++step) {
        const std::vector<int64_t> keys = Draw(universe, batch, &rng);
        // Steps that rest do not matter to "lru".
        const int64_t told = order == EvictOrder::kLru ? 7 : step / 2;
        const bool trains = step % 6 != 5;
        if (trains) {
          Train(table.get(), keys, told);
        } else {
          Pair::UpsertOnDevice(table.get(), keys, rng.Units(batch * 3), told);
        }
        model.Batch(keys, told, trains);
        if (step % 7 == 6) {
          int64_t removed;
          EXPECT_OK(table->Remove(testing::OnDevice<int64_t>(keys).data(), 10,
                                  nullptr, &removed));
          model.Remove({keys.begin(), keys.begin() + 10});
        }
        EXPECT_TRUE(KeysOf(table.get()) == model.keys());
      }
    }
  }
}

TEST(AnImportBesideRowsIsABatch) {
  const auto table = MakeDeviceTable(2, Spec(InitializerKind::kUniform), {},
                                     Bound(100, EvictOrder::kLru));
  const auto other = MakeDeviceTable(2, Spec(InitializerKind::kUniform));
  const std::vector<int64_t> universe = MixedKeys(400);
  const std::vector<int64_t> old(universe.begin(), universe.begin() + 90);
  const std::vector<int64_t> imported(universe.begin() + 90,
                                      universe.begin() + 240);
  Train(table.get(), old, 0);
  Train(other.get(), imported, 0);
  Columns columns;
  EXPECT_OK(other->Export(columns.Allocate(2), nullptr));
  EXPECT_OK(
      table->Import(columns.shape, columns.view(), /*replace=*/false, nullptr));
  // Its own rows are spared, though they are more than the bound.
  EXPECT_TRUE(KeysOf(table.get()) ==
              (std::set<int64_t>{imported.begin(), imported.end()}));
  Train(table.get(), {universe[300]}, 1);
  EXPECT_EQ(KeysOf(table.get()).size(), size_t{100});
  // In place of what was there it stays whole until a batch comes.
  EXPECT_OK(
      table->Import(columns.shape, columns.view(), /*replace=*/true, nullptr));
  EXPECT_EQ(KeysOf(table.get()).size(), size_t{150});
  Train(table.get(), {universe[300]}, 1);
  EXPECT_EQ(KeysOf(table.get()).size(), size_t{100});
}

TEST(BytesBoundTheRows) {
  EvictionOptions options;
  options.max_bytes = 200000;
  const auto table =
      MakeDeviceTable(16, Spec(InitializerKind::kUniform), {}, options);
  const std::vector<int64_t> universe = MixedKeys(20000);
  for (int64_t step = 0; step < 20; ++step) {
    Train(
        table.get(),
        {universe.begin() + step * 1000, universe.begin() + step * 1000 + 500},
        step);
  }
  TableStats stats;
  EXPECT_OK(table->Stats(nullptr, &stats));
  EXPECT_TRUE(stats.row_used_bytes <= 200000);
  EXPECT_TRUE(stats.row_used_bytes > 150000);
}

// After batches that end each with a slice of a sweep: no young row is gone,
// and no row is older than its age and one pass.
TEST(TheSweepInTheBackgroundMeetsEveryRow) {
  for (const bool by_norm : {false, true}) {
    EvictionOptions options;
    options.steps_to_live = 5;
    if (by_norm) options.l2_threshold = 1e-20f;
    const auto table =
        MakeDeviceTable(4, Spec(InitializerKind::kUniform), {}, options);
    std::map<int64_t, int64_t> versions;
    Rng rng(1);
    for (int64_t step = 0; step < 200; ++step) {
      std::vector<int64_t> keys;
      for (int i = 0; i < 40; ++i) keys.push_back(step * 25 + rng.Below(50));
      Train(table.get(), keys, step);
      for (const int64_t key : keys) versions[key] = step;
      const std::set<int64_t> held = KeysOf(table.get());
      // Up to 40 new keys a batch, some 11 batches at once, 80 rows a slice.
      EXPECT_TRUE(held.size() < 800);
      for (const auto& [key, version] : versions) {
        const int64_t age = step - version;
        if (age <= 5) EXPECT_EQ(held.count(key), size_t{1});
        if (age > 16) EXPECT_EQ(held.count(key), size_t{0});
      }
    }
  }
}

TEST(FrequenciesDecayOnceAPass) {
  EvictionOptions options;
  options.min_frequency = 1;
  options.decay = 0.5;
  options.every_steps = 10;
  const auto table =
      MakeDeviceTable(1, Spec(InitializerKind::kUniform), {}, options);
  const std::vector<int64_t> many(32, 5);
  Train(table.get(), many, 0);  // the first step tells when to begin
  for (int64_t step = 1; step <= 40; ++step) Train(table.get(), {6, 6}, step);
  Columns rows;
  EXPECT_OK(table->Export(rows.Allocate(1), nullptr));
  std::map<int64_t, int64_t> frequency;
  for (size_t i = 0; i < rows.keys.size(); ++i) {
    frequency[rows.keys[i]] = rows.frequency[i];
  }
  // Halved at steps 10, 20, 30 and 40.
  EXPECT_EQ(frequency[5], 2);
  int64_t expected = 0;
  for (int64_t step = 1; step <= 40; ++step) {
    expected += 2;
    if (step % 10 == 0) expected /= 2;
  }
  EXPECT_EQ(frequency[6], expected);
}

TEST(TakenRowsAreCollected) {
  EvictionOptions options = Bound(100, EvictOrder::kVersion);
  options.collect = 250;
  const auto table =
      MakeDeviceTable(3, Spec(InitializerKind::kConstant), {}, options);
  int64_t told = 0, lost = 0;
  for (int64_t step = 0; step < 60; ++step) {
    std::vector<int64_t> keys;
    for (int64_t i = 0; i < 20; ++i) keys.push_back(step * 20 + i);
    Train(table.get(), keys, step);
    if (step % 23 != 22) continue;
    RowChunk rows;
    int64_t dropped;
    EXPECT_OK(table->TakeEvicted(nullptr, &rows, &dropped));
    const int64_t gone = (step + 1) * 20 - 100;
    EXPECT_EQ(dropped, std::max<int64_t>(0, gone - told - 250));
    EXPECT_EQ(rows.size(), std::min<int64_t>(250, gone - told));
    lost += dropped;
    // Oldest first, a batch of keys at a time.
    for (int64_t i = 0; i < rows.size(); ++i) {
      const int64_t place = gone - rows.size() + i;
      EXPECT_EQ(rows.version[i], place / 20);
      EXPECT_EQ(rows.keys[i] / 20, place / 20);
      EXPECT_EQ(rows.frequency[i], 1);
      for (int c = 0; c < 3; ++c) {
        EXPECT_EQ(rows.slots[i * 3 + c], 0.1f + 0.0625f);
        EXPECT_TRUE(rows.values[i * 3 + c] < 0.25f);
      }
    }
    const std::set<int64_t> distinct(rows.keys.begin(), rows.keys.end());
    EXPECT_EQ(static_cast<int64_t>(distinct.size()), rows.size());
    told = gone;
  }
  EXPECT_TRUE(lost > 0);
  // Rows of another width cannot be kept beside them.
  Train(table.get(), {-1, -2, -3}, 60);
  int64_t reset;
  EXPECT_OK(table->AdoptRule(Bind("sgd", 1, 0, {}), 60, nullptr, &reset));
  RowChunk rows;
  int64_t dropped;
  EXPECT_OK(table->TakeEvicted(nullptr, &rows, &dropped));
  EXPECT_EQ(rows.size(), 0);
  EXPECT_EQ(dropped, 60 * 20 + 3 - 100 - told);
}

TEST(NeitherOrderNorThreadsChangeWhatGoes) {
  Columns first;
  RowChunk first_taken;
  for (int run = 0; run < 4; ++run) {
#if !defined(TF_EMBEDDING_TEST_ON_CUDA)
    const Launches launches(Order(run, run < 2 ? 1 : 4));
#endif
    EvictionOptions options = Bound(4500, EvictOrder::kLfu);
    options.steps_to_live = 6;
    options.l2_threshold = 0.02f;
    options.min_frequency = 2;
    options.decay = 0.5;
    options.every_steps = 5;
    options.collect = 300;
    const auto table =
        MakeDeviceTable(4, Spec(InitializerKind::kUniform), {}, options);
    const std::vector<int64_t> universe = MixedKeys(9000);
    Rng rng(4);
    for (int64_t step = 0; step < 12; ++step) {
      Train(table.get(), Draw(universe, 2500, &rng), step);
    }
    Columns columns;
    EXPECT_OK(table->Export(columns.Allocate(4), nullptr));
    RowChunk taken;
    int64_t dropped;
    EXPECT_OK(table->TakeEvicted(nullptr, &taken, &dropped));
    if (run == 0) {
      EXPECT_TRUE(columns.shape.size > 1000);
      EXPECT_EQ(taken.size(), 300);
      first = std::move(columns);
      first_taken = std::move(taken);
      continue;
    }
    testing::ExpectSameColumns(columns, first);
    EXPECT_TRUE(taken.keys == first_taken.keys);
    EXPECT_TRUE(SameBits(taken.slots, first_taken.slots));
  }
}

#if !defined(TF_EMBEDDING_TEST_ON_CUDA)

TEST(ABoundedTableAllocatesNothingAndWaitsForNothing) {
  for (const int64_t max_keys : {500, 6000}) {
    EvictionOptions options = Bound(max_keys, EvictOrder::kLru);
    options.steps_to_live = 1000;
    options.collect = 10;
    const auto table =
        MakeDeviceTable(8, Spec(InitializerKind::kUniform), {}, options);
    const std::vector<int64_t> universe = MixedKeys(60000);
    std::vector<float> gradients(1000 * 8, 1.0f);
    HostLaunchCounts before;
    for (int64_t step = 0; step < 60; ++step) {
      if (step == 20) before = CountHostLaunches();
      int64_t reset;
      EXPECT_OK(table->Apply(Adagrad(step), universe.data() + step * 1000,
                             gradients.data(), nullptr, 1000, step, nullptr,
                             &reset));
    }
    const HostLaunchCounts after = CountHostLaunches();
    EXPECT_EQ(after.allocations, before.allocations);
    EXPECT_EQ(after.synchronizations, before.synchronizations);
    int64_t size;
    EXPECT_OK(table->Size(nullptr, &size));
    EXPECT_TRUE(size <= std::max<int64_t>(max_keys, 1000));
  }
}

#endif

TEST(BadEvictionIsAnError) {
  DeviceTableOptions options;
  options.dim = 2;
  options.eviction.max_keys = -1;
  std::unique_ptr<DeviceTable> none;
  EXPECT_ERROR(DeviceTable::Create(options, testing::launchers,
                                   MakeDeviceAllocator(testing::launchers),
                                   nullptr, &none),
               StatusCode::kInvalidArgument, "max_keys is -1");
  options.eviction.max_keys = 5;
  EXPECT_OK(DeviceTable::Create(options, testing::launchers,
                                MakeDeviceAllocator(testing::launchers),
                                nullptr, &none));
  int64_t evicted;
  EXPECT_ERROR(none->Evict(-7, nullptr, &evicted), StatusCode::kInvalidArgument,
               "step is -7");
}

}  // namespace
}  // namespace tf_embedding
