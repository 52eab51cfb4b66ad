// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Bounds on keys and bytes, against a model in plain containers.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cc/core/checkpoint_writer.h"
#include "cc/core/eviction.h"
#include "cc/core/table.h"
#include "tests/cc/eviction_util.h"
#include "tests/cc/random.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

using testing::ExportAll;
using testing::kDim;
using testing::Keys;
using testing::MakeTable;
using testing::MaxKeys;
using testing::Range;
using testing::Train;

// Exactly what the essay says, in a shard whose clock tells batches apart.
struct BoundModel {
  struct Row {
    int64_t touched, version, frequency, queued_as, queued_at;
  };
  EvictOrder order = EvictOrder::kLru;
  int64_t max_rows = 0;
  std::map<int64_t, Row> rows;
  int64_t batch = 0;
  int64_t pushes = 0;
  // Of the step at hand: the rows that have it, and those put aside.
  int64_t last_step = -1;
  bool step_is_new = false;
  std::set<int64_t> of_step;
  std::vector<int64_t> aside;

  void Queue(std::vector<int64_t>* keys) {
    for (const int64_t key : *keys) {
      rows[key].queued_as = Priority(rows[key]);
      rows[key].queued_at = pushes++;
    }
    keys->clear();
  }
  void Forget(int64_t key) {
    aside.erase(std::remove(aside.begin(), aside.end(), key), aside.end());
  }
  int64_t Priority(const Row& row) const {
    return order == EvictOrder::kLru   ? row.touched
           : order == EvictOrder::kLfu ? row.frequency
                                       : row.version;
  }
  void Apply(const std::vector<int64_t>& keys, int64_t step) {
    ++batch;
    std::vector<int64_t> births;
    const std::set<int64_t> touched(keys.begin(), keys.end());
    if (step != last_step) {
      step_is_new = step > last_step;
      last_step = step;
      of_step.clear();
      Queue(&aside);
    }
    const bool spares_step =
        step_is_new &&
        static_cast<int64_t>(of_step.size() + touched.size()) <= max_rows;
    if (!spares_step) Queue(&aside);
    of_step.insert(touched.begin(), touched.end());
    for (const int64_t key : keys) {
      const bool is_new = rows.emplace(key, Row{0, 0, 0, -1, 0}).second;
      if (is_new) births.push_back(key);
      Row& row = rows[key];
      row.touched = batch;
      row.version = step;
      ++row.frequency;
    }
    std::vector<int64_t> spared;
    while (static_cast<int64_t>(rows.size()) > max_rows) {
      // The queue's front: lowest queued_as, then queued first.
      auto front = rows.end();
      for (auto it = rows.begin(); it != rows.end(); ++it) {
        if (it->second.queued_as < 0) continue;
        if (front == rows.end() ||
            std::pair(it->second.queued_as, it->second.queued_at) <
                std::pair(front->second.queued_as, front->second.queued_at)) {
          front = it;
        }
      }
      if (front == rows.end()) break;
      Row& row = front->second;
      if (touched.count(front->first)) {
        spared.push_back(front->first);
        row.queued_as = -1;
      } else if (Priority(row) > row.queued_as) {
        row.queued_as = Priority(row);
        row.queued_at = pushes++;
      } else if (spares_step && row.version == step) {
        aside.push_back(front->first);
        row.queued_as = -1;
      } else {
        rows.erase(front);
      }
    }
    Queue(&spared);
    Queue(&births);
  }
};

void BoundsAgreeWithTheModel(EvictOrder order, int64_t max_rows,
                             int64_t universe, int64_t batch,
                             int64_t num_batches = 300) {
  const auto table = MakeTable(MaxKeys(max_rows, order), 5);
  BoundModel model;
  model.order = order;
  model.max_rows = max_rows;
  testing::Rng rng(17);
  for (int64_t step = 0; step < num_batches; ++step) {
    std::vector<int64_t> keys;
    for (int64_t i = 0; i < batch; ++i) {
      // Some are much more frequent.
      keys.push_back(rng.Below(1 + rng.Below(universe)) - universe / 2);
    }
    // Steps that stand still for a while, but for the order that needs them.
    const int64_t told = order == EvictOrder::kVersion ? step : step / 50;
    Train(table.get(), keys, told);
    model.Apply(keys, told);
    const auto found = ExportAll(*table).rows;
    EXPECT_EQ(found.size(), model.rows.size());
    for (const auto& [key, row] : model.rows) {
      EXPECT_TRUE(found.count(key) == 1);
      if (found.count(key) == 0) return;
      EXPECT_EQ(found.at(key).frequency, row.frequency);
    }
  }
}

TEST(LruAgreesWithTheModel) {
  BoundsAgreeWithTheModel(EvictOrder::kLru, 100, 300, 40);
  BoundsAgreeWithTheModel(EvictOrder::kLru, 30, 100, 1);
  BoundsAgreeWithTheModel(EvictOrder::kLru, 20, 200, 60);
}

TEST(LfuAgreesWithTheModel) {
  BoundsAgreeWithTheModel(EvictOrder::kLfu, 100, 300, 40);
  BoundsAgreeWithTheModel(EvictOrder::kLfu, 20, 200, 60);
}

TEST(OldestVersionAgreesWithTheModel) {
  BoundsAgreeWithTheModel(EvictOrder::kVersion, 100, 300, 40);
}

// A share that makes room before its end takes what it would take at its end.
TEST(LargeSharesAgreeWithTheModel) {
  BoundsAgreeWithTheModel(EvictOrder::kLru, 400, 3000, 500, 40);
  BoundsAgreeWithTheModel(EvictOrder::kLfu, 300, 3000, 500, 40);
}

// Several updates in a step are as safe as one.
TEST(ABoundSparesTheStepAtHand) {
  for (const EvictOrder order :
       {EvictOrder::kLru, EvictOrder::kLfu, EvictOrder::kVersion}) {
    const auto table = MakeTable(MaxKeys(100, order));
    for (int64_t step = 0; step < 30; ++step) {
      const std::vector<int64_t> keys = Range(step * 80, step * 80 + 80);
      for (int64_t part = 0; part < 8; ++part) {
        Train(table.get(),
              Range(step * 80 + part * 10, step * 80 + part * 10 + 10), step);
        // Older ones more often, so that every order would take the new.
        if (step > 0) Train(table.get(), Range(step * 80 - 5, step * 80), step);
        EXPECT_TRUE(table->size() <= 100);
      }
      const std::set<int64_t> alive = Keys(*table);
      for (const int64_t key : keys) EXPECT_EQ(alive.count(key), 1u);
    }
  }
}

// Steps that stand still, go back or take turns do not undo the bound.
TEST(NoStepsUndoTheBound) {
  for (const EvictOrder order :
       {EvictOrder::kLru, EvictOrder::kLfu, EvictOrder::kVersion}) {
    const std::vector<std::function<int64_t(int64_t)>> steps = {
        [](int64_t) { return 7; }, [](int64_t i) { return 1000 - i; },
        [](int64_t i) { return i % 2; }, [](int64_t i) { return i / 50; },
        [](int64_t i) { return i < 100 ? i : 100; }};
    for (const auto& step : steps) {
      const auto table = MakeTable(MaxKeys(100, order));
      SerialExecutor executor;
      const std::vector<float> values(10 * kDim, 1.0f);
      int64_t key = 0;
      for (int64_t i = 0; i < 300; ++i) {
        Train(table.get(), Range(key, key + 10), step(i));
        EXPECT_TRUE(table->size() <= 100);
        // Also of rows that are set.
        EXPECT_OK(table->Upsert(Range(key + 10, key + 20).data(), values.data(),
                                10, step(i), &executor));
        EXPECT_TRUE(table->size() <= 100);
        key += 20;
      }
      EXPECT_EQ(table->size(), 100);
    }
  }
}

// However many keys without rows there are in the queue, and however often
// frequencies decay, a share looks at a few keys for each of its own.
TEST(QueuesAreRenewedInSlices) {
  for (const EvictOrder order :
       {EvictOrder::kLru, EvictOrder::kLfu, EvictOrder::kVersion}) {
    constexpr int64_t kMax = 4000;
    EvictionOptions options = MaxKeys(kMax, order);
    options.min_frequency = 1;
    options.decay = 0.5;
    options.every_steps = 10;
    const auto table = MakeTable(options);
    SerialExecutor executor;
    testing::Rng rng(12);
    int64_t examined = 0;
    int64_t touched = 0;
    int64_t most = 0;
    for (int64_t step = 0; step < 800; ++step) {
      std::vector<int64_t> keys;
      for (int i = 0; i < 50; ++i) keys.push_back(rng.Below(2 * kMax));
      Train(table.get(), keys, step);
      if (step % 10 == 9) {
        // Much of the table at once, some of which comes again.
        int64_t removed;
        const int64_t from = rng.Below(kMax);
        EXPECT_OK(table->Remove(Range(from, from + kMax / 2).data(), kMax / 2,
                                &removed, &executor));
      }
      const ShardCounters now = table->stats().counters;
      most = std::max(most, now.examined - examined);
      examined = now.examined;
      touched += 50;
      EXPECT_TRUE(table->stats().size <= kMax);
      // Keys without rows do not pile up.
      EXPECT_TRUE(table->stats().eviction_bytes < kMax * 30);
    }
    EXPECT_TRUE(examined > 1000);  // there was something to renew
    EXPECT_TRUE(most <= 50 * 4 + 64);
    EXPECT_TRUE(examined <= 5 * touched);
  }
}

// With a queue that is renewed again and again, beside evictions, and without:
// the same rows.
TEST(RenewalsChangeNothing) {
  for (const EvictOrder order :
       {EvictOrder::kLru, EvictOrder::kLfu, EvictOrder::kVersion}) {
    const auto table = MakeTable(MaxKeys(500, order));
    BoundModel model;
    model.order = order;
    model.max_rows = 500;
    SerialExecutor executor;
    testing::Rng rng(13);
    std::set<int64_t> removed;  // never to come again: the model forgets them
    int64_t fresh = 0;
    int64_t examined = 0;
    int64_t renewals = 0;
    for (int64_t step = 0; step < 300; ++step) {
      std::vector<int64_t> keys = Range(fresh, fresh + 20);
      fresh += 20;
      for (int i = 0; i < 10; ++i) {
        const int64_t key =
            fresh - 1 - rng.Below(std::min<int64_t>(fresh, 700));
        if (removed.count(key) == 0) keys.push_back(key);
      }
      Train(table.get(), keys, step);
      model.Apply(keys, step);
      const int64_t now = table->stats().counters.examined;
      renewals += now - examined >= 4 * 20 + 64;
      examined = now;
      std::set<int64_t> want;
      for (const auto& [key, row] : model.rows) want.insert(key);
      EXPECT_TRUE(Keys(*table) == want);
      // From where evictions do not come by soon.
      std::vector<int64_t> gone;
      for (const auto& [key, row] : model.rows) {
        if (order == EvictOrder::kLfu ? key % 4 != 3 && key < fresh - 100
                                      : key % 2 == 0 && key >= fresh - 20) {
          gone.push_back(key);
        }
      }
      for (const int64_t key : gone) {
        model.rows.erase(key);
        model.Forget(key);
        removed.insert(key);
      }
      int64_t num_removed;
      EXPECT_OK(table->Remove(gone.data(), static_cast<int64_t>(gone.size()),
                              &num_removed, &executor));
      EXPECT_EQ(num_removed, static_cast<int64_t>(gone.size()));
    }
    EXPECT_TRUE(renewals > 10);
    EXPECT_TRUE(table->stats().counters.evicted > 1000);
  }
}

TEST(ABatchLargerThanTheBoundStaysUntilTheNext) {
  const auto table = MakeTable(MaxKeys(10, EvictOrder::kLru));
  Train(table.get(), Range(0, 50), 0);
  EXPECT_EQ(table->size(), 50);
  Train(table.get(), {100}, 1);
  EXPECT_EQ(table->size(), 10);
  EXPECT_EQ(Keys(*table).count(100), 1u);
}

// Four times as many keys as there is room for, at any number of shards.
TEST(LruKeepsTheNewest) {
  for (const int64_t max_keys : {3000, 100000}) {
    const auto table = MakeTable(MaxKeys(max_keys, EvictOrder::kLru));
    const int64_t batch = max_keys / 20;
    for (int64_t step = 0; step < 80; ++step) {
      Train(table.get(), Range(step * batch, step * batch + batch), 0);
      EXPECT_TRUE(table->size() <= max_keys);
    }
    int64_t kept = 0;
    for (const int64_t key : Keys(*table)) kept += key >= 3 * max_keys;
    EXPECT_TRUE(kept >= max_keys * 96 / 100);
  }
}

// The head of a Zipf distribution, which a table without bound counts.
TEST(LfuKeepsTheHead) {
  constexpr int64_t kMax = 2000;
  const auto table = MakeTable(MaxKeys(kMax, EvictOrder::kLfu));
  testing::Rng rng(5);
  std::map<int64_t, int64_t> counts;
  for (int64_t step = 0; step < 400; ++step) {
    std::vector<int64_t> keys;
    for (int i = 0; i < 1000; ++i) {
      // Inverse of Zipf's distribution function with exponent 1 over 1e6.
      keys.push_back(
          static_cast<int64_t>(std::exp(rng.Unit() * 13.8155f) * 1.0));
      ++counts[keys.back()];
    }
    Train(table.get(), keys, step);
  }
  std::vector<std::pair<int64_t, int64_t>> order;
  for (const auto& [key, count] : counts) order.emplace_back(-count, key);
  std::sort(order.begin(), order.end());
  const auto rows = ExportAll(*table).rows;
  int64_t kept = 0;
  for (int i = 0; i < kMax / 4; ++i) kept += rows.count(order[i].second);
  EXPECT_TRUE(kept >= kMax / 4 * 99 / 100);
  // What was never taken has its exact count.
  EXPECT_EQ(rows.at(order[0].second).frequency, -order[0].first);
}

TEST(BytesStayBelowTheBound) {
  for (const int dim : {4, 64}) {
    EvictionOptions options;
    options.max_bytes = 8 << 20;
    const auto table = MakeTable(options, 7, dim);
    SerialExecutor executor;
    int64_t key = 0;
    for (int64_t step = 0; step < 200; ++step) {
      Train(table.get(), Range(key, key + 2000), step, &executor, "adagrad");
      key += 2000;
    }
    const TableStats stats = table->stats();
    const int64_t held =
        stats.index_bytes + stats.row_bytes + stats.eviction_bytes;
    // But for what a batch adds before it takes.
    const int64_t batch_bytes = 2000 * (8 * dim + 12 + 17 + 12);
    EXPECT_TRUE(held <= options.max_bytes + batch_bytes);
    EXPECT_TRUE(held >= options.max_bytes * 3 / 4);
  }
}

TEST(RowsOfAHundredBatchesAgoAreEquals) {
  // The clock at its end: versions become recency at an import.
  const auto table = MakeTable(MaxKeys(6, EvictOrder::kLru));
  testing::Contents contents;
  contents.shape.slot_width = 0;
  for (int64_t key = 0; key < 6; ++key) {
    testing::Row row;
    row.values = {1.0f, 1.0f};
    row.version = key < 3 ? 5 - key : 4294967294 - 5 + key;
    contents.rows[key] = row;
  }
  SerialExecutor executor;
  EXPECT_OK(testing::ImportAll(contents, true, table.get(), &executor));
  for (int64_t i = 0; i < 3; ++i) Train(table.get(), {100 + i}, 9);
  EXPECT_TRUE(Keys(*table) == (std::set<int64_t>{3, 4, 5, 100, 101, 102}));
  for (int64_t i = 3; i < 6; ++i) Train(table.get(), {100 + i}, 9);
  EXPECT_TRUE(Keys(*table) ==
              (std::set<int64_t>{100, 101, 102, 103, 104, 105}));
}

TEST(ARestoreGoesOnInTheOrderOfVersions) {
  for (const EvictOrder order :
       {EvictOrder::kLru, EvictOrder::kLfu, EvictOrder::kVersion}) {
    const auto table = MakeTable(MaxKeys(50, order));
    std::vector<int64_t> keys;
    for (int64_t step = 0; step < 50; ++step) {
      // Later ones more often, too.
      keys.assign(static_cast<size_t>(step) + 1, 1000 - step);
      Train(table.get(), keys, step);
    }
    CheckpointWriter writer(table.get(), 0, 1);
    std::vector<std::string> elements(writer.num_elements());
    for (size_t e = 0; e < elements.size(); ++e) {
      EXPECT_OK(writer.Encode(static_cast<int64_t>(e), &elements[e]));
    }
    const auto restored = MakeTable(MaxKeys(50, order));
    SerialExecutor executor;
    RestoreReport report;
    EXPECT_OK(
        restored->Restore({elements}, RestoreOptions(), &executor, &report));
    for (int64_t i = 0; i < 20; ++i) Train(restored.get(), {i, i}, 60);
    std::set<int64_t> want;
    const int64_t kept = order == EvictOrder::kLfu ? 50 : 30;
    EXPECT_EQ(restored->size(), 50);
    for (int64_t step = 49; step >= 50 - kept + (kept == 50 ? 20 : 0); --step) {
      EXPECT_EQ(Keys(*restored).count(1000 - step), 1u);
    }
    // A tighter bound holds from the next batch on.
    const auto tighter = MakeTable(MaxKeys(10, order));
    EXPECT_OK(
        tighter->Restore({elements}, RestoreOptions(), &executor, &report));
    EXPECT_EQ(tighter->size(), 50);
    Train(tighter.get(), {1}, 60);
    EXPECT_EQ(tighter->size(), 10);
  }
}

TEST(AnotherRuleAndRemovalsLeaveTheBound) {
  for (const EvictOrder order :
       {EvictOrder::kLru, EvictOrder::kLfu, EvictOrder::kVersion}) {
    const auto table = MakeTable(MaxKeys(500, order));
    SerialExecutor executor;
    testing::Rng rng(4);
    for (int64_t step = 0; step < 200; ++step) {
      std::vector<int64_t> keys;
      for (int i = 0; i < 100; ++i) keys.push_back(rng.Below(2000));
      Train(table.get(), keys, step, &executor,
            step % 50 < 25 ? "sgd" : "adagrad", 0.5f);
      EXPECT_TRUE(table->size() <= 500);
      int64_t removed;
      EXPECT_OK(table->Remove(keys.data(), 50, &removed, &executor));
      if (step % 60 == 59) table->Clear();
    }
    // Keys without rows do not pile up.
    EXPECT_TRUE(table->stats().eviction_bytes < 500 * 200);
  }
}

TEST(UpsertsKeepWithinTheBound) {
  const auto table = MakeTable(MaxKeys(100, EvictOrder::kLfu));
  SerialExecutor executor;
  for (int64_t step = 0; step < 50; ++step) {
    const std::vector<int64_t> keys = Range(step * 20, step * 20 + 20);
    const std::vector<float> values(keys.size() * kDim, 1.0f);
    EXPECT_OK(table->Upsert(keys.data(), values.data(), 20, step, &executor));
    EXPECT_TRUE(table->size() <= 100);
    for (const int64_t key : keys) EXPECT_EQ(Keys(*table).count(key), 1u);
  }
}

// What was taken.

TEST(RoomFromTheStart) {
  TableOptions options;
  options.dim = 8;
  options.reserve = 100000;
  std::unique_ptr<EmbeddingTable> table;
  EXPECT_OK(EmbeddingTable::Create(options, &table));
  EXPECT_TRUE(table->stats().index_bytes > 100000 * 13);
  SerialExecutor executor;
  Train(table.get(), Range(0, 1000), 0, &executor, "adagrad");
  const int64_t index_bytes = table->stats().index_bytes;
  Train(table.get(), Range(0, 85000), 0, &executor, "adagrad");
  EXPECT_EQ(table->stats().index_bytes, index_bytes);
  options.reserve = -1;
  EXPECT_TRUE(EmbeddingTable::Create(options, &table)
                  .message()
                  .find("init_capacity is -1") == 0);
}

// A small soak: what comes goes, and memory with it.
TEST(MemoryStaysFlat) {
  for (const EvictOrder order : {EvictOrder::kLru, EvictOrder::kLfu}) {
    const auto table = MakeTable(MaxKeys(20000, order));
    SerialExecutor executor;
    testing::Rng rng(6);
    int64_t next = 0;
    int64_t settled = 0;
    for (int64_t step = 0; step < 300; ++step) {
      std::vector<int64_t> keys;
      for (int i = 0; i < 2000; ++i) {
        // A tenth is new, the others of late.
        keys.push_back(i % 10 == 0 || next < 100
                           ? next++
                           : next - 1 -
                                 rng.Below(std::min<int64_t>(next, 18000)));
      }
      Train(table.get(), keys, step, &executor, "adagrad", 0.1f);
      const TableStats stats = table->stats();
      const int64_t bytes =
          stats.index_bytes + stats.row_bytes + stats.eviction_bytes;
      if (step == 150) settled = bytes;
      if (step > 150) EXPECT_TRUE(bytes <= settled * 105 / 100);
    }
    EXPECT_TRUE(table->size() <= 20000);
    EXPECT_TRUE(table->stats().counters.evicted > 30000);
  }
}

}  // namespace
}  // namespace tf_embedding
