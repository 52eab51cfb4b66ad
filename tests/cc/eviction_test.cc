// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Eviction by rules, the queue and the clock, against models in plain
// containers.

#include "cc/core/eviction.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "cc/core/checkpoint_writer.h"
#include "cc/core/table.h"
#include "tests/cc/eviction_util.h"
#include "tests/cc/executors.h"
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

}  // namespace
}  // namespace tf_embedding
