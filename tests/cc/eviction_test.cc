// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Eviction, against models in plain containers.

#include "cc/core/eviction.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cc/core/checkpoint_writer.h"
#include "cc/core/table.h"
#include "tests/cc/executors.h"
#include "tests/cc/random.h"
#include "tests/cc/table_util.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

using ::tf_embedding::testing::ExportAll;

constexpr int kDim = 2;

std::unique_ptr<EmbeddingTable> MakeTable(const EvictionOptions& eviction,
                                          int log2_shards = 7, int dim = kDim) {
  TableOptions options;
  options.dim = dim;
  options.log2_shards = log2_shards;
  options.initializer.kind = InitializerKind::kConstant;
  options.eviction = eviction;
  std::unique_ptr<EmbeddingTable> table;
  EXPECT_OK(EmbeddingTable::Create(options, &table));
  return table;
}

EvictionOptions MaxKeys(int64_t max_keys, EvictOrder order) {
  EvictionOptions options;
  options.max_keys = max_keys;
  options.order = order;
  return options;
}

// Some legal values.
std::vector<float> Hyper(const std::string& rule) {
  const std::map<std::string, float> special = {{"nesterov", 0.0f},
                                                {"epsilon_in_sqrt", 0.0f},
                                                {"decay_steps", 10.0f},
                                                {"learning_rate_power", -0.5f}};
  std::vector<float> hyper;
  for (const std::string& name : FindRule(rule)->hyper) {
    const auto found = special.find(name);
    hyper.push_back(found == special.end() ? 0.1f : found->second);
  }
  return hyper;
}

void Train(EmbeddingTable* table, const std::vector<int64_t>& keys,
           int64_t step, Executor* executor, const std::string& rule = "sgd",
           float gradient = 0) {
  const std::vector<float> gradients(keys.size() * table->dim(), gradient);
  int64_t rows_reset;
  EXPECT_OK(table->Apply(testing::Bind(rule, 1.0f, step, Hyper(rule)),
                         keys.data(), gradients.data(), nullptr,
                         static_cast<int64_t>(keys.size()), step, executor,
                         &rows_reset));
}

void Train(EmbeddingTable* table, const std::vector<int64_t>& keys,
           int64_t step) {
  SerialExecutor executor;
  Train(table, keys, step, &executor);
}

std::set<int64_t> Keys(const EmbeddingTable& table) {
  std::set<int64_t> keys;
  for (const auto& [key, row] : ExportAll(table).rows) keys.insert(key);
  return keys;
}

std::vector<int64_t> Range(int64_t begin, int64_t end) {
  std::vector<int64_t> keys;
  for (int64_t key = begin; key < end; ++key) keys.push_back(key);
  return keys;
}

// The queue alone, against lists in a map.

TEST(AQueueIsListsByPriority) {
  testing::Rng rng(1);
  EvictionQueue queue;
  std::map<uint32_t, std::deque<int64_t>> model;
  uint64_t size = 0;
  for (int round = 0; round < 20000; ++round) {
    if (rng.Below(3) > 0 || size == 0) {
      const auto priority = static_cast<uint32_t>(rng.Below(600));
      for (int64_t i = rng.Below(5); i >= 0; --i) {
        queue.Push(priority, round * 10 + i);
        model[priority].push_back(round * 10 + i);
        ++size;
      }
    } else {
      EXPECT_EQ(queue.front(), model.begin()->first);
      std::deque<int64_t>& front = model.begin()->second;
      int64_t keys[40];
      const int max = static_cast<int>(1 + rng.Below(40));
      const int n = queue.Peek(keys, max);
      EXPECT_EQ(n, std::min<int>(max, static_cast<int>(front.size())));
      EXPECT_TRUE(std::equal(keys, keys + n, front.begin()));
      const auto dropped = static_cast<int>(rng.Below(n + 1));
      queue.Drop(dropped);
      front.erase(front.begin(), front.begin() + dropped);
      if (front.empty()) model.erase(model.begin());
      size -= dropped;
    }
    EXPECT_EQ(queue.size(), size);
    if (round % 500 == 0) {
      const auto lower = [](uint32_t priority) { return priority * 2 / 3; };
      queue.Relabel(lower);
      std::map<uint32_t, std::deque<int64_t>> relabeled;
      for (const auto& [priority, keys] : model) {
        std::deque<int64_t>& to = relabeled[lower(priority)];
        to.insert(to.end(), keys.begin(), keys.end());
      }
      model = relabeled;
    }
  }
  queue.Clear();
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.bytes(), 0);
  queue.Push(3, 4);
  EXPECT_EQ(queue.front(), 3u);
}

TEST(AStepClockTellsAges) {
  StepClock clock(6400);
  EXPECT_EQ(clock.FirstLiveStep(1000000), 0);
  // A step each 10: told apart each 100.
  for (int64_t step = 1; step <= 5000; ++step) {
    const int64_t now = step * 10;
    clock.Tell(now, step);
    const int64_t first = clock.FirstLiveStep(now);
    // Step s ended at (s + 1) * 10.
    EXPECT_TRUE(first * 10 <= now - 6400 || first == 0);
    if (now > 7000) EXPECT_TRUE(first * 10 > now - 6400 - 110);
  }
  // Steps that stand still or go back tell nothing.
  clock.Tell(60000, 5000);
  clock.Tell(70000, 1);
  EXPECT_TRUE(clock.FirstLiveStep(80000) <= 5000);
  clock.Clear();
  EXPECT_EQ(clock.FirstLiveStep(90000), 0);
}

TEST(BadOptionsAreNamed) {
  const auto error = [](const std::function<void(EvictionOptions*)>& set) {
    EvictionOptions options;
    set(&options);
    return options.Check().message();
  };
  EXPECT_TRUE(error([](EvictionOptions* o) {
                o->max_keys = -1;
              }).find("max_keys is -1") == 0);
  EXPECT_TRUE(error([](EvictionOptions* o) {
                o->seconds = std::numeric_limits<double>::quiet_NaN();
              }).find("seconds is") == 0);
  EXPECT_TRUE(error([](EvictionOptions* o) {
                o->decay = 1.5;
              }).find("decay is 1.5") == 0);
  EXPECT_TRUE(error([](EvictionOptions* o) {
                o->every_steps = 0;
              }).find("every_steps is 0") == 0);
  EXPECT_TRUE(error([](EvictionOptions* o) {
                o->collect = 5;
              }).find("collect_evicted is 5") == 0);
}

// Rules.

TEST(StepsToLiveOnRequest) {
  EvictionOptions options;
  options.steps_to_live = 2;
  options.steps_when = EvictWhen::kRequest;
  const auto table = MakeTable(options);
  SerialExecutor executor;
  Train(table.get(), {1, 2, 3}, 0);
  for (int64_t step = 1; step <= 3; ++step) Train(table.get(), {2, 3}, step);
  EXPECT_EQ(table->size(), 3);
  int64_t evicted;
  EXPECT_OK(table->Evict(Eviction::kLastStep, &evicted, &executor));
  EXPECT_EQ(evicted, 1);
  EXPECT_TRUE(Keys(*table) == (std::set<int64_t>{2, 3}));
  EXPECT_OK(table->Evict(5, &evicted, &executor));
  EXPECT_EQ(evicted, 0);
  EXPECT_OK(table->Evict(6, &evicted, &executor));
  EXPECT_EQ(evicted, 2);
  EXPECT_EQ(table->stats().counters.evicted, 3);
  EXPECT_ERROR(table->Evict(-2, &evicted, &executor),
               StatusCode::kInvalidArgument, "step is -2");
}

TEST(EveryRuleKeepsHotKeys) {
  for (const RuleInfo& rule : AllRules()) {
    EvictionOptions options;
    options.steps_to_live = 5;
    const auto table = MakeTable(options);
    SerialExecutor executor;
    for (int64_t step = 0; step < 100; ++step) {
      Train(table.get(), {-7, step + 1000}, step, &executor, rule.name, 0.25f);
    }
    int64_t evicted;
    EXPECT_OK(table->Evict(Eviction::kLastStep, &evicted, &executor));
    const auto rows = ExportAll(*table).rows;
    EXPECT_EQ(static_cast<int>(rows.size()), 7);
    EXPECT_EQ(rows.at(-7).version, 99);
    EXPECT_EQ(rows.at(-7).frequency, 100);
  }
}

// In the background rows go no later than a pass after their time, and never
// before it.
TEST(StepsToLiveInTheBackground) {
  EvictionOptions options;
  options.steps_to_live = 10;
  const auto table = MakeTable(options, 2);
  testing::Rng rng(3);
  std::map<int64_t, int64_t> version;
  int64_t born = 0;
  for (int64_t step = 0; step < 300; ++step) {
    std::vector<int64_t> keys;
    for (int i = 0; i < 50; ++i) {
      const int64_t key = rng.Below(20) == 0 ? rng.Below(50) : born++ + 1000;
      keys.push_back(key * 977);
      version[key * 977] = step;
    }
    Train(table.get(), keys, step);
    std::set<int64_t> alive = Keys(*table);
    for (const auto& [key, last] : version) {
      if (step - last <= 10) EXPECT_TRUE(alive.count(key) == 1);
    }
    // 50 keys a step sweep 100 rows and more.
    const auto bound = 50 * 10 + 50 * 12;
    EXPECT_TRUE(static_cast<int>(alive.size()) <= bound);
  }
  EXPECT_TRUE(table->stats().counters.evicted > 10000);
}

TEST(SecondsByAClockOfOurs) {
  int64_t now = 5'000'000;
  EvictionOptions options;
  options.seconds = 100;
  options.clock = [&now] { return now; };
  const auto table = MakeTable(options, 0);
  SerialExecutor executor;
  std::map<int64_t, int64_t> updated;
  for (int64_t step = 0; step < 400; ++step) {
    now += 1'000'000;
    std::vector<int64_t> keys = {step + 10, step / 2 + 10, 3};
    for (const int64_t key : keys) updated[key] = now;
    Train(table.get(), keys, step);
    const std::set<int64_t> alive = Keys(*table);
    for (const auto& [key, when] : updated) {
      if (now - when <= 100'000'000) EXPECT_TRUE(alive.count(key) == 1);
    }
  }
  int64_t evicted;
  EXPECT_OK(table->Evict(Eviction::kLastStep, &evicted, &executor));
  const std::set<int64_t> alive = Keys(*table);
  for (const auto& [key, when] : updated) {
    const int64_t age = now - when;
    if (age > 104'000'000) EXPECT_TRUE(alive.count(key) == 0);
    if (age <= 100'000'000) EXPECT_TRUE(alive.count(key) == 1);
  }
  EXPECT_TRUE(alive.count(3) == 1);
  // Nobody trains, time goes on.
  now += 1000'000'000;
  EXPECT_OK(table->Evict(Eviction::kLastStep, &evicted, &executor));
  EXPECT_TRUE(Keys(*table).count(409) == 1);  // of the step that is the last
}

TEST(HalfTheSquaredNorm) {
  EvictionOptions options;
  options.l2_threshold = 0.9f;
  options.l2_when = EvictWhen::kRequest;
  const auto table = MakeTable(options);
  SerialExecutor executor;
  const std::vector<int64_t> keys = {0, 1, 2, 3};
  const std::vector<float> values = {1.0f,  1.0f, 1.34f, 0.0f,
                                     1.35f, 0.0f, 0.0f,  0.0f};
  EXPECT_OK(table->Upsert(keys.data(), values.data(), 4, 0, &executor));
  int64_t evicted;
  EXPECT_OK(table->Evict(Eviction::kLastStep, &evicted, &executor));
  EXPECT_TRUE(Keys(*table) == (std::set<int64_t>{0, 2}));
}

TEST(FrequenciesDecayOnceAPass) {
  EvictionOptions options;
  options.min_frequency = 2;
  options.decay = 0.5;
  options.every_steps = 10;
  const auto table = MakeTable(options, 1);
  // Key k of 0..199 trained 1 + k % 16 times before step 10.
  std::vector<int64_t> keys;
  for (int64_t key = 0; key < 200; ++key) {
    keys.insert(keys.end(), 1 + key % 16, key);
  }
  Train(table.get(), keys, 0);
  std::map<int64_t, int64_t> frequency;
  for (int64_t key = 0; key < 200; ++key) frequency[key] = 1 + key % 16;
  for (int64_t step = 1; step <= 60; ++step) {
    // Enough for a pass in one step.
    Train(table.get(), Range(10000, 10200), step);
    if (step % 10 == 0) {
      for (auto it = frequency.begin(); it != frequency.end();) {
        it->second /= 2;
        it = it->second < 2 ? frequency.erase(it) : std::next(it);
      }
    }
    std::map<int64_t, int64_t> found;
    for (const auto& [key, row] : ExportAll(*table).rows) {
      if (key < 200) found[key] = row.frequency;
    }
    // A pass may need the next batch too.
    if (step % 10 == 5) EXPECT_TRUE(found == frequency);
  }
  EXPECT_TRUE(frequency.empty());
}

TEST(RowsOfTheStepAreSpared) {
  EvictionOptions options;
  options.l2_threshold = 1e9f;  // takes all
  const auto table = MakeTable(options, 0);
  for (int64_t step = 0; step < 20; ++step) {
    const std::vector<int64_t> keys = Range(step * 100, step * 100 + 100);
    Train(table.get(), keys, step);
    Train(table.get(), {step * 100}, step);
    const std::set<int64_t> alive = Keys(*table);
    for (const int64_t key : keys) EXPECT_TRUE(alive.count(key) == 1);
    EXPECT_TRUE(alive.size() <= 300);
  }
}

TEST(SweepsGoOnWhileTheIndexGrowsAndShrinks) {
  EvictionOptions options;
  options.steps_to_live = 3;
  const auto table = MakeTable(options, 0);
  SerialExecutor executor;
  testing::Rng rng(8);
  std::map<int64_t, int64_t> version;
  for (int64_t step = 0; step < 120; ++step) {
    const int64_t n = step % 40 < 20 ? 2000 : 10;
    std::vector<int64_t> keys;
    for (int64_t i = 0; i < n; ++i) keys.push_back(rng.Below(1 << 30));
    for (const int64_t key : keys) version[key] = step;
    Train(table.get(), keys, step);
    if (step % 10 == 0) {
      int64_t evicted;
      EXPECT_OK(table->Evict(step, &evicted, &executor));
      const std::set<int64_t> alive = Keys(*table);
      for (auto it = version.begin(); it != version.end();) {
        EXPECT_EQ(alive.count(it->first), step - it->second <= 3 ? 1u : 0u);
        it = step - it->second > 3 ? version.erase(it) : std::next(it);
      }
    }
  }
}

// Bounds.

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

TEST(EvictedRowsAreCollected) {
  EvictionOptions options = MaxKeys(100, EvictOrder::kLru);
  options.collect = 30;
  const auto table = MakeTable(options);
  SerialExecutor executor;
  for (int64_t step = 0; step < 15; ++step) {
    Train(table.get(), Range(step * 10, step * 10 + 10), step, &executor,
          "adagrad", 1.0f);
  }
  EXPECT_EQ(table->stats().counters.evicted, 50);
  RowChunk rows;
  int64_t dropped;
  EXPECT_OK(table->TakeEvicted(&rows, &dropped));
  EXPECT_EQ(rows.size(), 30);
  EXPECT_EQ(dropped, 20);
  for (int64_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows.keys[i], 20 + i);
    EXPECT_EQ(rows.version[i], rows.keys[i] / 10);
    EXPECT_EQ(rows.frequency[i], 1);
    EXPECT_NEAR(rows.slots[i * kDim], 1.1, 1e-6);
    EXPECT_TRUE(rows.values[i * kDim] < 0);
  }
  RowChunk none;
  EXPECT_OK(table->TakeEvicted(&none, &dropped));
  EXPECT_EQ(none.size(), 0);
  EXPECT_EQ(dropped, 0);
  // Of another width they are no rows of the table any more.
  Train(table.get(), Range(1000, 1010), 20, &executor, "adagrad");
  Train(table.get(), Range(1000, 1010), 21, &executor, "sgd");
  EXPECT_OK(table->TakeEvicted(&none, &dropped));
  EXPECT_EQ(none.size(), 0);
  EXPECT_EQ(dropped, 10);
}

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

// All of it at once.

EvictionOptions Everything(EvictOrder order) {
  EvictionOptions options = MaxKeys(20000, order);
  options.steps_to_live = 20;
  options.l2_threshold = 0.01f;
  options.min_frequency = 2;
  options.decay = 0.75;
  options.every_steps = 7;
  options.collect = 1000;
  return options;
}

TEST(ThreadsDoNotMatter) {
  for (const EvictOrder order :
       {EvictOrder::kLru, EvictOrder::kLfu, EvictOrder::kVersion}) {
    std::vector<testing::Contents> contents;
    std::vector<std::vector<int64_t>> taken;
    for (const int threads : {1, 2, 7}) {
      const auto table = MakeTable(Everything(order), 3);
      testing::ThreadExecutor executor(threads);
      testing::Rng rng(99);
      for (int64_t step = 0; step < 60; ++step) {
        std::vector<int64_t> keys;
        for (int i = 0; i < 2000; ++i) {
          keys.push_back(rng.Below(1 + rng.Below(50000)));
        }
        Train(table.get(), keys, step, &executor, "adagrad",
              step % 2 == 0 ? 0.5f : -0.4f);
      }
      contents.push_back(ExportAll(*table));
      RowChunk rows;
      int64_t dropped;
      EXPECT_OK(table->TakeEvicted(&rows, &dropped));
      taken.push_back(rows.keys);
    }
    EXPECT_TRUE(contents[0].rows.size() > 100);
    EXPECT_TRUE(taken[0].size() > 100);
    for (size_t i = 1; i < contents.size(); ++i) {
      EXPECT_TRUE(contents[i] == contents[0]);
      EXPECT_TRUE(taken[i] == taken[0]);
    }
  }
}

TEST(EvictionBesideEverything) {
  for (const EvictOrder order : {EvictOrder::kLru, EvictOrder::kLfu}) {
    EvictionOptions options = Everything(order);
    options.max_keys = 3000;
    options.seconds = 0.001;
    const auto table = MakeTable(options, 3, 20);
    std::atomic<bool> done{false};
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&, t] {
        testing::ThreadExecutor executor(2);
        testing::Rng rng(t);
        for (int64_t step = 0; step < 60; ++step) {
          std::vector<int64_t> keys;
          for (int i = 0; i < 300; ++i) keys.push_back(rng.Below(20000));
          Train(table.get(), keys, step, &executor, "adagrad", 0.1f);
          if (step % 20 == 7) {
            int64_t removed;
            EXPECT_OK(table->Remove(keys.data(), 100, &removed, &executor));
          }
        }
        done = true;
      });
    }
    threads.emplace_back([&] {
      SerialExecutor executor;
      std::vector<float> out(500 * 20);
      while (!done) {
        EXPECT_OK(
            table->Lookup(Range(0, 500).data(), 500, out.data(), &executor));
        for (size_t i = 0; i < out.size(); i += 20) {
          for (int c = 1; c < 20; ++c) {
            if (out[i + c] != out[i]) EXPECT_EQ(out[i + c], out[i]);
          }
        }
      }
    });
    threads.emplace_back([&] {
      SerialExecutor executor;
      while (!done) {
        int64_t evicted;
        EXPECT_OK(table->Evict(Eviction::kLastStep, &evicted, &executor));
        EXPECT_OK(table->EvictForSave(&executor));
        CheckpointWriter writer(table.get(), 0, 1);
        std::string bytes;
        for (int64_t e = 0; e < writer.num_elements(); ++e) {
          EXPECT_OK(writer.Encode(e, &bytes));
        }
        RowChunk rows;
        int64_t dropped;
        EXPECT_OK(table->TakeEvicted(&rows, &dropped));
        EXPECT_TRUE(table->stats().size >= 0);
      }
    });
    for (std::thread& thread : threads) thread.join();
    const TableStats stats = table->stats();
    EXPECT_EQ(stats.size, stats.counters.inserted - stats.counters.evicted -
                              stats.counters.removed);
  }
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
