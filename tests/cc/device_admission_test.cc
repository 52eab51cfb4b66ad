// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Filters of DeviceTable against those of EmbeddingTable: every decision, every
// count, bit for bit.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/cc/device_util.h"

namespace tf_embedding {
namespace {

using testing::Bind;
using testing::Columns;
using testing::Draw;
using testing::executor;
using testing::ExportAll;
using testing::MixedKeys;
using testing::OnDevice;
using testing::Pair;
using testing::Rng;
using testing::Trace;
#if !defined(TF_EMBEDDING_TEST_ON_CUDA)
using testing::Launches;
using testing::Order;
#endif

AdmissionSpec Counter(int64_t filter_freq) {
  AdmissionSpec spec;
  spec.kind = AdmissionKind::kCounter;
  spec.filter_freq = filter_freq;
  return spec;
}

// One that is too small for what comes, so that counts are often too high.
AdmissionSpec Bloom(int64_t filter_freq, int counter_bits) {
  AdmissionSpec spec;
  spec.kind = AdmissionKind::kBloom;
  spec.filter_freq = filter_freq;
  spec.probability = 0.1;
  spec.max_elements = 200;
  spec.counter_bits = counter_bits;
  return spec;
}

AdmissionSpec Probabilistic(double probability) {
  AdmissionSpec spec;
  spec.kind = AdmissionKind::kProbabilistic;
  spec.probability = probability;
  spec.seed = 77;
  return spec;
}

std::vector<AdmissionSpec> AllSpecs() {
  std::vector<AdmissionSpec> specs = {Counter(1), Counter(3), Counter(9),
                                      Probabilistic(0.3), Probabilistic(1)};
  for (const int bits : {8, 16, 32, 64}) specs.push_back(Bloom(4, bits));
  specs[2].no_permission = -1.5f;
  specs[5].no_permission = 0.0f;
  return specs;
}

// Rows, counts, reads, and what the statistics say.
void Compare(const Pair& pair, const std::vector<int64_t>& keys) {
  pair.Compare(keys);
  TableStats stats;
  EXPECT_OK(pair.device->Stats(nullptr, &stats));
  const TableStats expected = pair.host->stats();
  EXPECT_EQ(stats.candidates, expected.candidates);
  EXPECT_EQ(stats.counters.inserted, expected.counters.inserted);
  EXPECT_EQ(stats.counters.admitted, expected.counters.admitted);
  EXPECT_EQ(stats.counters.refused, expected.counters.refused);
  EXPECT_EQ(stats.counters.removed, expected.counters.removed);
}

std::vector<int64_t> Counts(int64_t n, Rng* rng) {
  std::vector<int64_t> counts;
  for (int64_t i = 0; i < n; ++i) counts.push_back(1 + rng->Below(3));
  return counts;
}

void DoSomething(const std::vector<int64_t>& universe, int64_t step, Rng* rng,
                 Pair* pair) {
  const std::vector<int64_t> keys = Draw(universe, 1 + rng->Below(300), rng);
  const auto n = static_cast<int64_t>(keys.size());
  const std::vector<int64_t> few(keys.begin(), keys.begin() + (n + 9) / 10);
  const auto num_few = static_cast<int64_t>(few.size());
  switch (rng->Below(10)) {
    case 0:
      pair->Upsert(few, rng->Units(num_few * pair->dim), step);
      break;
    case 1:
      pair->Remove(keys);
      break;
    case 2: {
      if (rng->Below(3) != 0) break;
      const bool replace = rng->Below(2) == 0;
      const Columns columns = testing::ToColumns(ExportAll(*pair->host));
      pair->Remove(few);
      EXPECT_OK(pair->host->Import(columns.shape, columns.view(), replace,
                                   &executor));
      EXPECT_OK(pair->device->Import(columns.shape, columns.view(), replace,
                                     nullptr));
      break;
    }
    default:
      pair->Apply(Bind("adagrad", 0.5f, step, {0.1f, 0, 0}), keys,
                  rng->Units(n * pair->dim),
                  rng->Below(2) == 0 ? Counts(n, rng) : std::vector<int64_t>(),
                  step);
  }
}

TEST(EveryFilterDecidesAsTheHosts) {
  uint64_t seed = 0;
  for (const AdmissionSpec& spec : AllSpecs()) {
    ++seed;
    const Trace trace("filter ", AdmissionKindName(spec.kind), ", number ",
                      seed);
#if !defined(TF_EMBEDDING_TEST_ON_CUDA)
    const Launches launches(Order(seed % 4, seed % 3 == 0 ? 4 : 1));
#endif
    Rng rng(seed);
    Pair pair(seed % 2 == 0 ? 3 : 8, InitializerKind::kNormal, spec);
    const std::vector<int64_t> universe = MixedKeys(1500);
    for (int64_t step = 0; step < 40; ++step) {
      DoSomething(universe, step, &rng, &pair);
      if (step % 4 == 3) Compare(pair, universe);
    }
    EXPECT_TRUE(pair.host->size() > 0);
  }
}

TEST(CandidatesGrowAndLeave) {
  Pair pair(2, InitializerKind::kUniform, Counter(2));
  const std::vector<int64_t> universe = MixedKeys(40000);
  for (int64_t step = 0; step < 8; ++step) {
    const std::vector<int64_t> keys(
        universe.begin() + step / 2 * 10000,
        universe.begin() + step / 2 * 10000 + 10000);
    pair.Apply(Bind("sgd", 0.5f, step, {}), keys, Rng(step).Units(20000), {},
               step);
    TableStats stats;
    EXPECT_OK(pair.device->Stats(nullptr, &stats));
    EXPECT_EQ(stats.candidates, step % 2 == 0 ? 10000 : 0);
    // 12.8 bytes a slot, and a load between 3/8 and 3/4.
    EXPECT_TRUE(stats.candidate_bytes < 30000 * 35);
  }
  Compare(pair, universe);
}

// A candidate's count stops where a row number would begin to mean absence.
TEST(CountsStopAtTheirMaximum) {
  for (const AdmissionSpec& spec :
       {Counter(0xFFFFFFFFll), Bloom(0xFFFFFFFFll, 32)}) {
    Pair pair(1, InitializerKind::kUniform, spec);
    const int64_t most = int64_t{1} << 31;
    pair.Apply(Bind("sgd", 0.5f, 0, {}), {5, 5, 6}, {1, 1, 1},
               {most, most - 2, 7}, 0);
    Compare(pair, {5, 6});
    pair.Apply(Bind("sgd", 0.5f, 1, {}), {6, 5, 5}, {1, 2, 4},
               {most, most, most}, 1);
    Compare(pair, {5, 6});
    EXPECT_EQ(pair.host->size(), 1);
  }
}

TEST(CountsGoToTheHostAndBack) {
  for (const AdmissionSpec& spec : AllSpecs()) {
    const Trace trace("filter ", AdmissionKindName(spec.kind));
    Pair pair(4, InitializerKind::kTruncatedNormal, spec);
    const std::vector<int64_t> universe = MixedKeys(3000);
    Rng rng(2);
    const auto train = [&](Pair* trained, int64_t step) {
      const std::vector<int64_t> keys = Draw(universe, 2500, &rng);
      trained->Apply(Bind("sgd", 0.1f, step, {}), keys, rng.Units(10000), {},
                     step);
    };
    for (int64_t step = 0; step < 3; ++step) train(&pair, step);
    std::unique_ptr<EmbeddingTable> host;
    EXPECT_OK(pair.device->ToHost(nullptr, &executor, &host));
    EXPECT_EQ(host->stats().candidates, pair.host->stats().candidates);
    Pair other(4, InitializerKind::kTruncatedNormal, spec);
    train(&other, 0);
    EXPECT_OK(other.device->FromHost(*host, nullptr, &executor));
    other.host = std::move(host);
    other.Compare(universe);
    for (int64_t step = 3; step < 6; ++step) train(&other, step);
    other.Compare(universe);
  }
}

#if !defined(TF_EMBEDDING_TEST_ON_CUDA)

TEST(AFilterAllocatesNothingAndWaitsForNothing) {
  for (const AdmissionSpec& spec :
       {Counter(3), Bloom(3, 16), Probabilistic(0.1)}) {
    const auto table = testing::MakeDeviceTable(
        8, testing::Spec(InitializerKind::kUniform), spec);
    const std::vector<int64_t> universe = MixedKeys(5000);
    Rng rng(3);
    HostLaunchCounts before;
    for (int64_t step = 0; step < 40; ++step) {
      if (step == 30) before = CountHostLaunches();
      Pair::ApplyOnDevice(table.get(), Bind("sgd", 0.1f, step, {}),
                          Draw(universe, 1000, &rng), rng.Units(8000), {},
                          step);
    }
    const HostLaunchCounts after = CountHostLaunches();
    // What the batch itself is made of, three arrays, comes from there too.
    EXPECT_EQ(after.allocations - before.allocations, 10 * 3);
    EXPECT_EQ(after.synchronizations - before.synchronizations, 10 * 3);
  }
}

TEST(MemoryThatRunsOutChangesNoCount) {
  Pair pair(1, InitializerKind::kUniform, Counter(2));
  const std::vector<int64_t> universe = MixedKeys(50000);
  const BoundRule sgd = Bind("sgd", 0.1f, 0, {});
  pair.Apply(sgd, {universe[0], universe[1]}, {1, 1}, {}, 0);
  {
    const std::vector<float> gradients(50000, 1.0f);
    HostLaunches tight;
    tight.memory_limit = CountHostLaunches().bytes_held + 2000000;
    const Launches launches(tight);
    int64_t reset;
    EXPECT_ERROR(pair.device->Apply(sgd, universe.data(), gradients.data(),
                                    nullptr, 50000, 1, nullptr, &reset),
                 StatusCode::kResourceExhausted, "table words of");
  }
  Compare(pair, universe);
}

#endif

TEST(BadFiltersAreErrors) {
  DeviceTableOptions options;
  options.dim = 2;
  options.admission = Counter(0);
  std::unique_ptr<DeviceTable> none;
  EXPECT_ERROR(DeviceTable::Create(options, testing::launchers,
                                   MakeDeviceAllocator(testing::launchers),
                                   nullptr, &none),
               StatusCode::kInvalidArgument, "filter_freq is 0");
}

}  // namespace
}  // namespace tf_embedding
