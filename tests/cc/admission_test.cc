// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Filters: which keys earn a row, against plain maps, and their memory.

#include "cc/core/admission.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "cc/core/table.h"
#include "tests/cc/admission_util.h"
#include "tests/cc/executors.h"
#include "tests/cc/random.h"
#include "tests/cc/table_util.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

using testing::Bloom;
using testing::Contents;
using testing::Counter;
using testing::ExportAll;
using testing::Filtered;
using testing::Frequencies;
using testing::kDim;
using testing::kInitial;
using testing::Load;
using testing::Make;
using testing::Probabilistic;
using testing::Save;
using testing::Stream;
using testing::Train;

// The exact filter as a map.
struct Oracle {
  int64_t filter_freq;
  std::map<int64_t, int64_t> candidates;
  std::map<int64_t, testing::Row> rows;
  int64_t admitted = 0;
  int64_t refused = 0;

  void Train(const std::vector<int64_t>& keys,
             const std::vector<int64_t>& counts, int64_t step) {
    std::map<int64_t, int64_t> occurrences, gradients;
    for (size_t i = 0; i < keys.size(); ++i) {
      occurrences[keys[i]] += counts[i];
      ++gradients[keys[i]];
    }
    for (const auto& [key, count] : occurrences) {
      auto row = rows.find(key);
      if (row == rows.end()) {
        const int64_t total = candidates[key] += count;
        if (total < filter_freq) {
          refused += count;
          continue;
        }
        candidates.erase(key);
        ++admitted;
        row = rows.emplace(key, testing::Row()).first;
        row->second.values.assign(kDim, kInitial);
        row->second.frequency = total - count;
      }
      for (float& value : row->second.values) {
        value -= 0.125f * static_cast<float>(gradients[key]);
      }
      row->second.frequency += count;
      row->second.version = step;
    }
  }
};

TEST(CounterAgainstAMap) {
  const std::vector<int64_t> universe = testing::MixedKeys(3000);
  for (int64_t filter_freq : {2, 3, 20}) {
    for (int log2_shards : {0, 3, 7}) {
      testing::Trace trace("filter_freq ", filter_freq, ", log2_shards ",
                           log2_shards);
      testing::Rng rng(filter_freq);
      testing::ThreadExecutor executor(1 + log2_shards);
      const auto table = Filtered(Counter(filter_freq), log2_shards);
      Oracle oracle{filter_freq, {}, {}};
      for (int64_t step = 0; step < 30; ++step) {
        const std::vector<int64_t> keys = Stream(universe, 300, &rng);
        std::vector<int64_t> counts(keys.size());
        for (int64_t& count : counts) count = 1 + rng.Below(2);
        Train(table.get(), keys, counts.data(), step, &executor);
        oracle.Train(keys, counts, step);
        if (step % 10 == 7) {
          const std::vector<int64_t> removed(universe.begin() + step,
                                             universe.begin() + 3 * step);
          int64_t num_removed;
          EXPECT_OK(table->Remove(removed.data(),
                                  static_cast<int64_t>(removed.size()),
                                  &num_removed, &executor));
          int64_t want = 0;
          for (int64_t key : removed) {
            want += static_cast<int64_t>(oracle.rows.erase(key));
            oracle.candidates.erase(key);
          }
          EXPECT_EQ(num_removed, want);
        }
      }
      EXPECT_TRUE(ExportAll(*table).rows == oracle.rows);
      const std::vector<int64_t> frequencies = Frequencies(*table, universe);
      for (size_t i = 0; i < universe.size(); ++i) {
        const auto row = oracle.rows.find(universe[i]);
        const auto candidate = oracle.candidates.find(universe[i]);
        int64_t want = 0;
        if (row != oracle.rows.end()) want = row->second.frequency;
        if (candidate != oracle.candidates.end()) want = candidate->second;
        EXPECT_EQ(frequencies[i], want);
      }
      const TableStats stats = table->stats();
      EXPECT_EQ(stats.candidates,
                static_cast<int64_t>(oracle.candidates.size()));
      EXPECT_EQ(stats.counters.admitted, oracle.admitted);
      EXPECT_EQ(stats.counters.refused, oracle.refused);
      EXPECT_TRUE(stats.counters.admitted > 20 && stats.counters.refused > 100);
    }
  }
}

TEST(SameBitsWhateverThreadsAndShards) {
  const std::vector<int64_t> universe = testing::MixedKeys(4000);
  for (const AdmissionSpec& spec :
       {Counter(4), Bloom(4, 500, 0.1, 8), Probabilistic(0.2, 9)}) {
    testing::Trace trace("filter ", AdmissionKindName(spec.kind));
    Contents want;
    std::vector<int64_t> want_frequencies;
    for (int log2_shards : {7, 0, 10}) {
      for (int threads : {1, 4}) {
        testing::Rng rng(1);
        testing::ThreadExecutor executor(threads);
        const auto table = Filtered(spec, log2_shards);
        for (int64_t step = 0; step < 20; ++step) {
          Train(table.get(), Stream(universe, 500, &rng), nullptr, step,
                &executor);
        }
        const Contents got = ExportAll(*table);
        const std::vector<int64_t> frequencies = Frequencies(*table, universe);
        if (want.rows.empty()) {
          want = got;
          want_frequencies = frequencies;
          EXPECT_TRUE(want.rows.size() > 100 && want.rows.size() < 3000);
        }
        EXPECT_TRUE(got == want);
        EXPECT_TRUE(frequencies == want_frequencies);
      }
    }
  }
}

TEST(CountsStayAtTheirMaximum) {
  constexpr int64_t kHalf = int64_t{1} << 31;
  SerialExecutor executor;
  const auto train = [&](EmbeddingTable* table, int64_t count) {
    Train(table, {7}, &count, 0, &executor);
  };
  // The largest filter_freq: the count stops one below it, and the next
  // occurrence admits.
  const auto table = Filtered(Counter(2 * kHalf - 1));
  train(table.get(), kHalf);
  train(table.get(), kHalf - 2);
  EXPECT_EQ(Frequencies(*table, {7})[0], 2 * kHalf - 2);
  EXPECT_EQ(table->size(), 0);
  train(table.get(), 1);
  EXPECT_EQ(Frequencies(*table, {7})[0], 2 * kHalf - 1);
  EXPECT_EQ(table->size(), 1);
  EXPECT_EQ(table->stats().candidates, 0);
  train(table.get(), kHalf);
  EXPECT_EQ(Frequencies(*table, {7})[0], 2 * kHalf - 1);

  for (int bits : {8, 16, 32, 64}) {
    const int64_t most = bits > 32 ? 2 * kHalf - 1 : (int64_t{1} << bits) - 1;
    const auto bloom = Filtered(Bloom(most, 10, 0.01, bits));
    train(bloom.get(), most / 2);
    train(bloom.get(), most - 1 - most / 2);
    EXPECT_EQ(bloom->size(), 0);
    EXPECT_EQ(Frequencies(*bloom, {7})[0], most - 1);
    train(bloom.get(), 1);
    EXPECT_EQ(bloom->size(), 1);
    // Counts go on in the row, and what the filter has left does not wrap.
    train(bloom.get(), 100);
    int64_t removed;
    const int64_t key = 7;
    EXPECT_OK(bloom->Remove(&key, 1, &removed, &executor));
    EXPECT_EQ(Frequencies(*bloom, {7})[0], most);
    train(bloom.get(), kHalf);
    EXPECT_EQ(bloom->size(), 1);
    EXPECT_OK(bloom->Remove(&key, 1, &removed, &executor));
    EXPECT_EQ(Frequencies(*bloom, {7})[0], bits > 32 ? most + kHalf : most);
  }
}

TEST(CandidatesTakeSixteenBytes) {
  const auto table = Filtered(Counter(2), 7, 1);
  constexpr int64_t kKeys = 1 << 19;
  std::vector<int64_t> keys(kKeys);
  const int64_t fixed = table->stats().candidate_bytes;
  for (int64_t i = 0; i < kKeys; ++i) keys[i] = i * 3 - 1000;
  Train(table.get(), keys);
  TableStats stats = table->stats();
  EXPECT_EQ(stats.candidates, kKeys);
  EXPECT_EQ(stats.size, 0);
  EXPECT_EQ(stats.row_bytes + stats.index_bytes, 0);
  EXPECT_TRUE(stats.candidate_bytes - fixed <= 16 * kKeys);
  // The memory of those that leave goes back.
  Train(table.get(), keys);
  stats = table->stats();
  EXPECT_EQ(stats.candidates, 0);
  EXPECT_EQ(stats.size, kKeys);
  EXPECT_EQ(stats.candidate_bytes, fixed);
}

TEST(BloomFilterIsAsLargeAsItsFormulaAndAsGoodAsItsBound) {
  struct Case {
    int64_t keys;
    double probability;
    int bits;
  };
  for (const Case& c :
       {Case{1000, 0.01, 64}, Case{20000, 0.001, 8}, Case{200000, 0.01, 16},
        Case{200000, 0.1, 32}, Case{50, 0.01, 8}}) {
    testing::Trace trace("keys ", c.keys, ", probability ", c.probability);
    const auto table = Filtered(Bloom(2, c.keys, c.probability, c.bits), 7, 1);
    const double each =
        std::fabs(std::log(c.probability)) / (std::log(2.0) * std::log(2.0));
    const double of_segment = static_cast<double>(c.keys) / 1024;
    const auto counters = static_cast<int64_t>(
        1024 * std::ceil(each * (of_segment + std::sqrt(of_segment) + 2)));
    const int64_t bytes = counters * c.bits / 8;
    const auto none = Filtered(Counter(2), 7, 1);
    EXPECT_EQ(table->stats().candidate_bytes,
              bytes + none->stats().candidate_bytes);
    testing::Rng rng(5);
    std::vector<int64_t> keys(c.keys);
    for (int64_t& key : keys) key = static_cast<int64_t>(rng.Next());
    Train(table.get(), keys);
    // Nothing it counted reads less than it was.
    for (int64_t count : Frequencies(*table, keys)) EXPECT_TRUE(count >= 1);
    std::vector<int64_t> others(100000);
    for (int64_t& key : others) key = static_cast<int64_t>(rng.Next());
    const std::vector<int64_t> counted = Frequencies(*table, others);
    const auto falsely = static_cast<double>(
        counted.size() - std::count(counted.begin(), counted.end(), 0));
    const double expected = c.probability * static_cast<double>(others.size());
    EXPECT_TRUE(falsely <= expected + 4 * std::sqrt(expected));
    // Not by a filter that is larger than it must be.
    if (c.keys >= 200000) EXPECT_TRUE(falsely > expected / 4);
  }
}

int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t pages = 0;
  int64_t resident = 0;
  statm >> pages >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

TEST(BloomMemoryIsTakenAsItIsTouched) {
  const int64_t before = ResidentBytes();
  EXPECT_TRUE(before > 0);
  const auto table = Filtered(Bloom(2, 100000000, 0.01, 64), 3, 1);
  EXPECT_TRUE(table->stats().candidate_bytes > int64_t{7} << 30);
  Train(table.get(), testing::MixedKeys(1000));
  EXPECT_TRUE(ResidentBytes() - before < int64_t{200} << 20);
  // Reading and counting take none.
  const std::vector<int64_t> keys = testing::MixedKeys(1000);
  for (int64_t count : Frequencies(*table, keys)) EXPECT_EQ(count, 1);
  table->Clear();
  for (int64_t count : Frequencies(*table, keys)) EXPECT_EQ(count, 0);
}

TEST(BloomNeverAdmitsLate) {
  const std::vector<int64_t> universe = testing::MixedKeys(3000);
  testing::Rng rng(3);
  // Too small for its keys, so that many come early.
  const auto table = Filtered(Bloom(5, 300, 0.2, 16));
  Oracle oracle{5, {}, {}};
  for (int64_t step = 0; step < 40; ++step) {
    const std::vector<int64_t> keys = Stream(universe, 400, &rng);
    Train(table.get(), keys, step);
    oracle.Train(keys, std::vector<int64_t>(keys.size(), 1), step);
  }
  const Contents got = ExportAll(*table);
  for (const auto& [key, row] : oracle.rows) {
    const auto found = got.rows.find(key);
    EXPECT_TRUE(found != got.rows.end());
    if (found == got.rows.end()) continue;
    EXPECT_TRUE(found->second.frequency >= row.frequency);
  }
  EXPECT_TRUE(got.rows.size() > oracle.rows.size());
}

TEST(ProbabilisticDraws) {
  constexpr int64_t kKeys = 20000;
  std::vector<int64_t> keys(kKeys);
  for (int64_t i = 0; i < kKeys; ++i) keys[i] = i;
  SerialExecutor executor;
  for (double p : {0.5, 0.05, 1e-9}) {
    for (int64_t count :
         {int64_t{1}, int64_t{2}, int64_t{13}, int64_t{1} << 31}) {
      testing::Trace trace("probability ", p, ", count ", count);
      const auto table = Filtered(Probabilistic(p, 4), 5, 1);
      const std::vector<int64_t> counts(kKeys, count);
      Train(table.get(), keys, counts.data(), 7, &executor);
      const double any =
          -std::expm1(static_cast<double>(count) * std::log1p(-p));
      const double expected = any * kKeys;
      EXPECT_NEAR(static_cast<double>(table->size()), expected,
                  5 * std::sqrt(expected * (1 - any)) + 1e-3);
      const TableStats stats = table->stats();
      EXPECT_EQ(stats.counters.admitted, stats.size);
      EXPECT_EQ(stats.counters.refused, (kKeys - stats.size) * count);
      EXPECT_EQ(stats.candidates, 0);
    }
  }
  // The draw itself: a hash of seed, key and step.
  const auto table = Filtered(Probabilistic(0.3, 12), 5, 1);
  Train(table.get(), keys, 9);
  const std::vector<int64_t> frequencies = Frequencies(*table, keys);
  for (int64_t key : keys) {
    const uint64_t seeded =
        MixKey(static_cast<int64_t>(MixKey(12) + uint64_t{9}));
    const uint64_t drawn = MixKey(static_cast<int64_t>(MixKey(key) ^ seeded));
    const bool admits = std::ldexp(static_cast<double>(drawn >> 11), -53) < 0.3;
    EXPECT_EQ(frequencies[key], admits ? 1 : 0);
  }
  const auto always = Filtered(Probabilistic(1, 0), 5, 1);
  Train(always.get(), keys);
  EXPECT_EQ(always->size(), kKeys);
}

TEST(ReadingCountsNothing) {
  AdmissionSpec spec = Counter(2);
  SerialExecutor executor;
  const std::vector<int64_t> keys = {5, -5, 5, 5};
  for (bool set : {false, true}) {
    if (set) spec.no_permission = -0.5f;
    const auto table = Filtered(spec);
    Train(table.get(), {-5, -5, 9});
    std::vector<float> out(keys.size() * kDim);
    for (int round = 0; round < 3; ++round) {
      EXPECT_OK(table->Lookup(keys.data(), 4, out.data(), &executor));
      EXPECT_EQ(out[0], set ? -0.5f : kInitial);
      EXPECT_EQ(out[kDim], kInitial - 0.25f);
      const std::vector<int64_t> splits = {0, 4};
      PoolSpec pool;
      pool.combiner = Combiner::kSum;
      EXPECT_OK(testing::LookupPooled(*table, keys.data(), splits.data(), 1,
                                      nullptr, pool, out.data(), nullptr,
                                      &executor));
      EXPECT_EQ(out[0], (set ? -1.5f : 3 * kInitial) + kInitial - 0.25f);
      EXPECT_EQ(Frequencies(*table, {5, -5, 9})[0], 0);
    }
    const TableStats stats = table->stats();
    EXPECT_EQ(stats.size, 1);
    EXPECT_EQ(stats.candidates, 1);
    EXPECT_EQ(stats.counters.admitted, 1);
    EXPECT_EQ(stats.counters.refused, 1);
    // A row is born as its initializer says, whatever it read before.
    Train(table.get(), {9});
    EXPECT_OK(table->Lookup(&keys[0], 1, out.data(), &executor));
    EXPECT_TRUE(ExportAll(*table).rows[9].values ==
                std::vector<float>(kDim, kInitial - 0.125f));
  }
}

TEST(RowsComeByOtherWaysToo) {
  SerialExecutor executor;
  for (const AdmissionSpec& spec : {Counter(3), Bloom(3, 100, 0.01, 32)}) {
    const auto table = Filtered(spec);
    Train(table.get(), {1, 1, 2, 3});
    const std::vector<int64_t> keys = {1, 4};
    const std::vector<float> values(2 * kDim, 2.0f);
    EXPECT_OK(table->Upsert(keys.data(), values.data(), 2, 5, &executor));
    EXPECT_EQ(table->size(), 2);
    EXPECT_EQ(table->stats().counters.admitted, 0);
    // They have rows, so that no filter is asked.
    Train(table.get(), {1, 4}, 6);
    Contents contents = ExportAll(*table);
    EXPECT_EQ(contents.rows[4].frequency, 1);
    EXPECT_EQ(contents.rows[1].values[0], 2.0f - 0.125f);
    // An import adds rows, or is all there is.
    contents.rows.erase(1);
    contents.rows[2] = contents.rows[4];
    contents.shape.size = 2;
    EXPECT_OK(testing::ImportAll(contents, /*replace=*/false, table.get(),
                                 &executor));
    EXPECT_EQ(table->size(), 3);
    if (spec.kind == AdmissionKind::kCounter) {
      EXPECT_EQ(table->stats().candidates, 1);
    }
    EXPECT_EQ(Frequencies(*table, {3})[0], 1);
    EXPECT_OK(
        testing::ImportAll(contents, /*replace=*/true, table.get(), &executor));
    EXPECT_EQ(table->size(), 2);
    EXPECT_EQ(Frequencies(*table, {3})[0], 0);
    Train(table.get(), {3});
    EXPECT_EQ(Frequencies(*table, {3})[0], 1);
    table->Clear();
    EXPECT_EQ(Frequencies(*table, {3})[0], 0);
  }
}

TEST(AnEvictedKeyHasToEarnItsRowAgain) {
  TableOptions options;
  options.dim = kDim;
  options.log2_shards = 2;
  options.initializer.a = kInitial;
  options.admission = Counter(2);
  options.eviction.l2_threshold = 0.1f;
  options.eviction.l2_when = EvictWhen::kRequest;
  std::unique_ptr<EmbeddingTable> table;
  EXPECT_OK(EmbeddingTable::Create(options, &table));
  // The vector of 1 becomes 0, that of 4 is -1/2, and 3 is a candidate.
  Train(table.get(), {1, 1, 3, 4, 4, 4, 4, 4, 4});
  SerialExecutor executor;
  int64_t evicted;
  EXPECT_OK(table->Evict(5, &evicted, &executor));
  EXPECT_EQ(evicted, 1);
  EXPECT_TRUE(Frequencies(*table, {1, 3, 4}) ==
              (std::vector<int64_t>{0, 1, 6}));
  Train(table.get(), {1}, 6);
  EXPECT_EQ(table->size(), 1);
  EXPECT_EQ(table->stats().candidates, 2);
  Train(table.get(), {1, 3}, 7);
  EXPECT_TRUE(Frequencies(*table, {1, 3, 4}) ==
              (std::vector<int64_t>{2, 2, 6}));
  EXPECT_EQ(table->size(), 3);
  EXPECT_EQ(table->stats().counters.evicted, 1);
  EXPECT_EQ(table->stats().counters.admitted, 4);
}

// A bound takes rows, never candidates; which is no matter of shards' threads.
TEST(ABoundAndAFilter) {
  const std::vector<int64_t> universe = testing::MixedKeys(5000);
  Contents want;
  for (int threads : {1, 4}) {
    TableOptions options;
    options.dim = kDim;
    options.log2_shards = 3;
    options.initializer.a = kInitial;
    options.admission = Counter(2);
    options.eviction.max_keys = 400;
    std::unique_ptr<EmbeddingTable> table;
    EXPECT_OK(EmbeddingTable::Create(options, &table));
    testing::ThreadExecutor executor(threads);
    testing::Rng rng(4);
    for (int64_t step = 0; step < 40; ++step) {
      std::vector<int64_t> keys(300);
      for (int64_t& key : keys) key = universe[rng.Below(5000)];
      Train(table.get(), keys, nullptr, step, &executor);
      // The rows of the batch itself are spared.
      EXPECT_TRUE(table->size() <= 700);
    }
    const TableStats stats = table->stats();
    EXPECT_TRUE(stats.counters.evicted > 500 && stats.candidates > 500);
    EXPECT_EQ(stats.size, stats.counters.admitted - stats.counters.evicted);
    const Contents got = ExportAll(*table);
    if (want.rows.empty()) want = got;
    EXPECT_TRUE(got == want);
  }
}

TEST(AnotherRuleKeepsTheCounts) {
  const auto table = Filtered(Counter(3));
  Train(table.get(), {1, 2, 2, 2});
  SerialExecutor executor;
  const int64_t key = 1;
  const std::vector<float> gradient(kDim, 1.0f);
  int64_t rows_reset;
  for (int step = 0; step < 2; ++step) {
    EXPECT_EQ(Frequencies(*table, {1})[0], 1 + step);
    EXPECT_OK(table->Apply(testing::Bind("adagrad", 0.1f, 1, {0.1f, 0, 0}),
                           &key, gradient.data(), nullptr, 1, 1, &executor,
                           &rows_reset));
  }
  EXPECT_EQ(table->size(), 2);
}

TEST(ErrorsNameTheArgument) {
  std::unique_ptr<EmbeddingTable> table;
  const auto expect = [&](const AdmissionSpec& spec, const char* part) {
    EXPECT_ERROR(Make(spec, 3, &table), StatusCode::kInvalidArgument, part);
  };
  expect(Counter(0), "filter_freq is 0; it must be in [1, 4294967295]");
  expect(Counter(int64_t{1} << 32), "filter_freq is 4294967296");
  expect(Bloom(256, 10, 0.1, 8), "a counter of 8 bits holds at most 255");
  expect(Bloom(2, 0, 0.1, 8), "max_element_size is 0");
  expect(Bloom(2, int64_t{1} << 60, 0.1, 8), "more than 1e+14 bytes");
  expect(Bloom(2, 10, 0, 8), "false_positive_probability is 0");
  expect(Bloom(2, 10, 1, 8), "false_positive_probability is 1");
  expect(Bloom(2, 10, std::nan(""), 8), "false_positive_probability is nan");
  expect(Bloom(2, 10, 0.1, 12), "counter_bits is 12");
  expect(Probabilistic(0, 1), "probability is 0; it must be in (0, 1]");
  expect(Probabilistic(1.5, 1), "probability is 1.5");
  AdmissionSpec spec = Counter(2);
  spec.no_permission = INFINITY;
  expect(spec, "default_value_no_permission is inf");
  AdmissionKind kind;
  EXPECT_OK(ParseAdmissionKind("bloom", &kind));
  EXPECT_TRUE(kind == AdmissionKind::kBloom);
  EXPECT_ERROR(ParseAdmissionKind("cuckoo", &kind),
               StatusCode::kInvalidArgument, "filter is \"cuckoo\"");
}

// No occurrence is lost or counted twice, with everything at once.
TEST(BesideEverything) {
  for (const AdmissionSpec& spec :
       {Counter(1000), Bloom(1000, 4000, 0.001, 32)}) {
    const auto table = Filtered(spec, 3);
    const std::vector<int64_t> keys = testing::MixedKeys(600);
    constexpr int kRounds = 30;
    std::atomic<int> training{2};
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&] {
        testing::ThreadExecutor executor(2);
        for (int64_t step = 0; step < kRounds; ++step) {
          Train(table.get(), keys, nullptr, step, &executor);
        }
        --training;
      });
    }
    threads.emplace_back([&] {
      SerialExecutor executor;
      std::vector<float> out(keys.size() * kDim);
      while (training > 0) {
        EXPECT_OK(table->Lookup(keys.data(), 600, out.data(), &executor));
        EXPECT_TRUE(table->stats().counters.refused >= 0);
        for (int64_t count : Frequencies(*table, keys)) {
          EXPECT_TRUE(count <= 2 * kRounds);
        }
      }
    });
    threads.emplace_back([&] {
      while (training > 0) {
        const auto other = Filtered(spec, 1);
        Load({Save(*table)}, RestoreOptions(), other.get());
        EXPECT_EQ(other->size(), 0);
      }
    });
    for (std::thread& thread : threads) thread.join();
    for (int64_t count : Frequencies(*table, keys)) {
      EXPECT_EQ(count, 2 * kRounds);
    }
    EXPECT_EQ(table->stats().counters.refused, 2 * kRounds * 600);
  }
}

}  // namespace
}  // namespace tf_embedding
