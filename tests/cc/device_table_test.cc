// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// DeviceTable against EmbeddingTable: bit for bit. In bfloat16 the expected
// rows are those of an EmbeddingTable whose vectors this file rounds after each
// update. The kernels are run by the host, in several orders and by several
// threads; with TF_EMBEDDING_TEST_ON_CUDA (tests/gpu/run.sh) by a GPU.

#include "cc/cuda/device_table.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/cc/device_util.h"

namespace tf_embedding {
namespace {

using testing::Bind;
using testing::Columns;
using testing::Contents;
using testing::Draw;
using testing::executor;
using testing::ExportAll;
using testing::kOnHost;
using testing::launchers;
using testing::MakeDeviceTable;
using testing::MixedKeys;
using testing::OnDevice;
using testing::Pair;
using testing::Rng;
using testing::SameBits;
using testing::Spec;
using testing::Trace;
#if !defined(TF_EMBEDDING_TEST_ON_CUDA)
using testing::Launches;
using testing::Order;
#endif

// Every rule, with hyper-parameters that run all of its text.
std::map<std::string, std::vector<std::vector<float>>> Hypers() {
  return {
      {"sgd", {{}}},
      {"momentum", {{0.9f, 0}, {0.9f, 1}}},
      {"keras_momentum", {{0.9f, 0}, {0.9f, 1}}},
      {"adagrad", {{0.1f, 0, 0}, {0, 1e-7f, 1}, {0, 1e-7f, 0}}},
      {"rowwise_adagrad", {{0.1f, 1e-8f}}},
      {"rmsprop", {{0.9f, 1e-7f, 0}}},
      {"rmsprop_momentum", {{0.9f, 0.5f, 1e-7f, 1}}},
      {"rmsprop_centered", {{0.9f, 1e-3f, 1}}},
      {"rmsprop_centered_momentum", {{0.9f, 0.5f, 1e-3f, 1}}},
      {"adam", {{0.9f, 0.999f, 1e-7f}}},
      {"adamw", {{0.9f, 0.999f, 1e-7f, 0.01f}}},
      {"ftrl",
       {{-0.5f, 0.1f, 0.01f, 0.02f, 0.03f, 0.04f},
        {-0.7f, 0.1f, 0.01f, 0.02f, 0, 0}}},
      {"group_ftrl",
       {{-0.5f, 0.1f, 0.01f, 0.02f, 0}, {-0.7f, 0.1f, 0.01f, 0.02f, 0}}},
      {"adagrad_decay", {{0.1f, 2, 0.9f}}},
  };
}

// Of a dim: bfloat16 for some, so that each test sees both.
RowDtype DtypeOf(uint64_t number) {
  return number % 2 == 0 ? RowDtype::kFloat32 : RowDtype::kBfloat16;
}

void TrainByEveryRule(RowDtype dtype, const std::vector<int>& dims) {
  const auto hypers = Hypers();
  const std::vector<int64_t> universe = MixedKeys(50);
  for (const RuleInfo& info : AllRules()) {
    const auto found = hypers.find(info.name);
    EXPECT_TRUE(found != hypers.end());
    if (found == hypers.end()) continue;
    for (const std::vector<float>& hyper : found->second) {
      for (const int dim : dims) {
        const Trace trace("rule ", info.name, ", dim ", dim);
        Rng rng(dim);
        Pair pair(dim, InitializerKind::kUniform, dtype);
        for (int64_t step = 0; step < 5; ++step) {
          const std::vector<int64_t> keys = Draw(universe, 60, &rng);
          const BoundRule rule = Bind(info.name, 0.1f, step, hyper);
          pair.Apply(rule, keys, rng.Units(60 * dim), {}, step);
        }
        const std::string name = info.name;
        const bool powers =
            name == "adagrad_decay" ||
            (name.find("ftrl") != std::string::npos && hyper[0] != -0.5f);
        // Of bfloat16 a unit in the last place is too much to be compared.
        if (!kOnHost && powers && dtype == RowDtype::kBfloat16) continue;
        pair.Compare(universe, kOnHost || !powers);
      }
    }
  }
}

TEST(EveryRuleGivesTheHostsBits) {
  TrainByEveryRule(RowDtype::kFloat32, {1, 3, 16, 33, 130});
}

TEST(EveryRuleInBfloat16) {
  TrainByEveryRule(RowDtype::kBfloat16, {1, 3, 16, 300});
}

TEST(EveryInitializerGivesTheHostsBits) {
  const std::vector<int64_t> keys = MixedKeys(3000);
  const auto n = static_cast<int64_t>(keys.size());
  for (const auto kind :
       {InitializerKind::kConstant, InitializerKind::kUniform,
        InitializerKind::kNormal, InitializerKind::kTruncatedNormal,
        InitializerKind::kMatrix}) {
    for (const int dim : {1, 4, 7, 40}) {
      InitializerSpec spec = Spec(kind);
      if (kind == InitializerKind::kMatrix) {
        spec.matrix = Rng(1).Units(11 * int64_t{dim});
      }
      std::shared_ptr<const Initializer> initializer;
      EXPECT_OK(Initializer::Create(spec, dim, &initializer));
      const std::unique_ptr<DeviceTable> table = MakeDeviceTable(dim, spec);
      std::vector<float> expected(n * dim);
      for (int64_t i = 0; i < n; ++i) {
        initializer->Fill(keys[i], expected.data() + i * dim);
      }
      EXPECT_TRUE(SameBits(Pair::LookupOnDevice(*table, keys), expected));
    }
  }
}

// A step of a random history. Returns keys worth looking at.
void DoSomething(const std::vector<int64_t>& universe, int64_t step, Rng* rng,
                 Pair* pair) {
  const std::vector<int64_t> keys = Draw(universe, rng->Below(400), rng);
  const auto n = static_cast<int64_t>(keys.size());
  switch (rng->Below(10)) {
    case 0:
      pair->Upsert(keys, rng->Units(n * pair->dim), step);
      break;
    case 1:
    case 2:
      pair->Remove(keys);
      break;
    case 3:
      if (rng->Below(4) != 0) break;
      pair->host->Clear();
      EXPECT_OK(pair->device->Clear(nullptr));
      break;
    case 4: {
      // What was exported comes back, on top of what is there or in its place.
      const bool replace = rng->Below(2) == 0;
      const Columns columns = testing::ToColumns(ExportAll(*pair->host));
      pair->Remove(keys);
      EXPECT_OK(pair->host->Import(columns.shape, columns.view(), replace,
                                   &executor));
      EXPECT_OK(pair->device->Import(columns.shape, columns.view(), replace,
                                     nullptr));
      break;
    }
    default: {
      std::vector<int64_t> counts;
      if (rng->Below(2) == 0) {
        for (int64_t i = 0; i < n; ++i) counts.push_back(1 + rng->Below(9));
      }
      const BoundRule rule = rng->Below(12) == 0
                                 ? Bind("sgd", 0.5f, step, {})
                                 : Bind("adagrad", 0.5f, step, {0.1f, 0, 0});
      pair->Apply(rule, keys, rng->Units(n * pair->dim), counts, step);
    }
  }
}

TEST(RandomHistories) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    const Trace trace("seed ", seed);
#if !defined(TF_EMBEDDING_TEST_ON_CUDA)
    const Launches launches(Order(seed % 4, seed % 3 == 0 ? 4 : 1));
#endif
    Rng rng(seed);
    Pair pair(seed % 4 < 2 ? 3 : 8, InitializerKind::kNormal, DtypeOf(seed));
    const std::vector<int64_t> universe = MixedKeys(50 + 150 * (seed % 3));
    for (int64_t step = 0; step < 40; ++step) {
      DoSomething(universe, step, &rng, &pair);
      if (step % 4 == 3) pair.Compare(universe);
    }
  }
}

TEST(NeitherOrderNorThreadsChangeAnything) {
  const std::vector<int64_t> universe = MixedKeys(3000);
  Columns first;
  for (int run = 0; run < 6; ++run) {
#if !defined(TF_EMBEDDING_TEST_ON_CUDA)
    const Launches launches(Order(run, run < 2 ? 1 : 4));
#endif
    Rng rng(7);
    const auto table = MakeDeviceTable(4, Spec(InitializerKind::kUniform));
    for (int64_t step = 0; step < 6; ++step) {
      const std::vector<int64_t> keys = Draw(universe, 2000, &rng);
      const std::vector<float> gradients = rng.Units(2000 * 4);
      Pair::ApplyOnDevice(table.get(),
                          Bind("adam", 0.1f, step, {0.9f, 0.999f, 1e-7f}), keys,
                          gradients, {}, step);
      int64_t removed;
      EXPECT_OK(table->Remove(OnDevice<int64_t>(keys).data(), 100, nullptr,
                              &removed));
    }
    Columns columns;
    EXPECT_OK(table->Export(columns.Allocate(4), nullptr));
    if (run == 0) {
      first = std::move(columns);
      EXPECT_TRUE(first.shape.size > 1000);
      continue;
    }
    // The order of the rows too.
    testing::ExpectSameColumns(columns, first);
  }
}

// Positions a, b, ... of equal keys: in pieces of kPiece, in order.
float SumInPieces(const std::vector<float>& values) {
  float total = 0;
  for (size_t from = 0; from < values.size(); from += kPiece) {
    const size_t to = std::min(values.size(), from + kPiece);
    float sum = values[from];
    for (size_t i = from + 1; i < to; ++i) sum += values[i];
    total = from == 0 ? sum : total + sum;
  }
  return total;
}

TEST(KeysThatComeOften) {
  const int lengths[] = {1,   2,   255,  256,  257,  511,  512,
                         513, 768, 1000, 4096, 4097, 20000};
  Rng rng(5);
  std::vector<int64_t> keys;
  for (int k = 0; k < 13; ++k) keys.insert(keys.end(), lengths[k], k * 7 - 20);
  const auto n = static_cast<int64_t>(keys.size());
  for (int64_t i = n - 1; i > 0; --i)
    std::swap(keys[i], keys[rng.Below(i + 1)]);
  for (const int dim : {1, 17}) {
    const std::vector<float> gradients = rng.Units(n * dim);
    for (const int order : {0, 3}) {
#if defined(TF_EMBEDDING_TEST_ON_CUDA)
      const Trace trace("run ", order);
#else
      const Launches launches(Order(order, order == 0 ? 1 : 4));
#endif
      const auto table = MakeDeviceTable(dim, Spec(InitializerKind::kConstant));
      Pair::ApplyOnDevice(table.get(), Bind("sgd", 1, 0, {}), keys, gradients,
                          {}, 0);
      Columns columns;
      EXPECT_OK(table->Export(columns.Allocate(dim), nullptr));
      EXPECT_EQ(columns.shape.size, 13);
      for (int64_t r = 0; r < columns.shape.size; ++r) {
        const int64_t key = columns.keys[r];
        EXPECT_EQ(columns.frequency[r], lengths[(key + 20) / 7]);
        for (int c = 0; c < dim; ++c) {
          std::vector<float> mine;
          for (int64_t i = 0; i < n; ++i) {
            if (keys[i] == key) mine.push_back(gradients[i * dim + c]);
          }
          EXPECT_EQ(columns.values[r * dim + c], 0.25f - SumInPieces(mine));
        }
      }
    }
  }
}

TEST(FrequencyStopsAtItsMaximum) {
  Pair pair(2);
  const std::vector<int64_t> counts = {int64_t{1} << 31, int64_t{1} << 31,
                                       int64_t{1} << 31};
  for (int64_t step = 0; step < 2; ++step) {
    pair.Apply(Bind("sgd", 0.5f, step, {}), {5, 5, 6}, Rng(1).Units(6), counts,
               step);
  }
  pair.Compare({5, 6});
}

TEST(GrowsFromNothing) {
  Pair pair(5);
  const std::vector<int64_t> universe = MixedKeys(60000);
  for (int64_t from = 0; from < 60000; from += 20000) {
    const std::vector<int64_t> keys(universe.begin() + from,
                                    universe.begin() + from + 20000);
    pair.Upsert(keys, Rng(from).Units(20000 * 5), from);
  }
  pair.Compare(universe);
  TableStats stats;
  EXPECT_OK(pair.device->Stats(nullptr, &stats));
  EXPECT_EQ(stats.size, 60000);
  EXPECT_TRUE(stats.row_bytes >= stats.row_used_bytes);
  EXPECT_TRUE(stats.index_bytes >= 60000 * 13);
}

#if !defined(TF_EMBEDDING_TEST_ON_CUDA)

TEST(TheSteadyStateAllocatesNothingAndWaitsForNothing) {
  const std::vector<int64_t> universe = MixedKeys(5000);
  const auto table = MakeDeviceTable(8, Spec(InitializerKind::kUniform));
  Rng rng(3);
  HostLaunchCounts before;
  for (int64_t step = 0; step < 30; ++step) {
    if (step == 20) before = CountHostLaunches();
    const std::vector<int64_t> keys = Draw(universe, 1000, &rng);
    std::vector<float> out(1000 * 8);
    EXPECT_OK(table->Lookup(keys.data(), 1000, out.data(), nullptr));
    int64_t reset;
    EXPECT_OK(table->Apply(Bind("adagrad", 0.1f, step, {0.1f, 0, 0}),
                           keys.data(), out.data(), nullptr, 1000, step,
                           nullptr, &reset));
  }
  const HostLaunchCounts after = CountHostLaunches();
  EXPECT_TRUE(after.launches > before.launches);
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_EQ(after.synchronizations, before.synchronizations);
}

TEST(MemoryThatRunsOutIsAnErrorAndChangesNothing) {
  const int64_t held = CountHostLaunches().bytes_held;
  {
    Pair pair(16);
    const std::vector<int64_t> universe = MixedKeys(20000);
    const std::vector<int64_t> some(universe.begin(), universe.begin() + 500);
    const BoundRule adagrad = Bind("adagrad", 0.1f, 0, {0.1f, 0, 0});
    pair.Apply(adagrad, some, Rng(1).Units(500 * 16), {}, 0);
    int64_t extra = 0;
    int failures = 0;
    for (;; extra += 300000) {
      const std::vector<float> gradients = Rng(2).Units(20000 * 16);
      Status status;
      {
        HostLaunches tight;
        tight.memory_limit = CountHostLaunches().bytes_held + extra;
        const Launches launches(tight);
        int64_t reset;
        status = pair.device->Apply(adagrad, universe.data(), gradients.data(),
                                    nullptr, 20000, 1, nullptr, &reset);
      }
      if (status.ok()) break;
      ++failures;
      EXPECT_ERROR(status, StatusCode::kResourceExhausted, "table words of");
      EXPECT_ERROR(status, StatusCode::kResourceExhausted, "on the CPU");
      EXPECT_TRUE(pair.DeviceContents() == ExportAll(*pair.host));
    }
    EXPECT_TRUE(failures >= 3);
    int64_t reset;
    EXPECT_OK(pair.host->Apply(adagrad, universe.data(),
                               Rng(2).Units(20000 * 16).data(), nullptr, 20000,
                               1, &executor, &reset));
    pair.Compare(universe);
  }
  EXPECT_EQ(CountHostLaunches().bytes_held, held);
}

TEST(ARefusedRuleOrImportChangesNothing) {
  Pair pair(4);
  const std::vector<int64_t> keys = MixedKeys(2000);
  pair.Apply(Bind("sgd", 0.1f, 0, {}), keys, Rng(1).Units(2000 * 4), {}, 0);
  const Columns columns = testing::ToColumns(ExportAll(*pair.host));
  {
    HostLaunches tight;
    tight.memory_limit = CountHostLaunches().bytes_held + 1000;
    const Launches launches(tight);
    int64_t reset;
    EXPECT_ERROR(
        pair.device->AdoptRule(Bind("adam", 0.1f, 0, {0.9f, 0.999f, 1e-7f}),
                               /*step=*/0, nullptr, &reset),
        StatusCode::kResourceExhausted, "words");
    EXPECT_ERROR(pair.device->Import(columns.shape, columns.view(),
                                     /*replace=*/true, nullptr),
                 StatusCode::kResourceExhausted, "words");
  }
  pair.Compare(keys);
}

#endif

TEST(BadInputIsAnErrorAndChangesNothing) {
  Pair pair(2);
  const int64_t key = 1;
  const float values[] = {1, 2};
  int64_t reset;
  EXPECT_ERROR(pair.device->Upsert(&key, values, 1, -1, nullptr),
               StatusCode::kInvalidArgument, "step is -1");
  EXPECT_ERROR(pair.device->Apply(Bind("sgd", 1, 0, {}), &key, values, nullptr,
                                  -1, 0, nullptr, &reset),
               StatusCode::kInvalidArgument, "keys has -1");
  TableShape shape;
  shape.size = 1;
  const int64_t frequency = -1, version = 0;
  EXPECT_ERROR(
      pair.device->Import(
          shape, ConstRowColumns{&key, values, nullptr, &frequency, &version},
          /*replace=*/true, nullptr),
      StatusCode::kInvalidArgument, "frequency of key 1 is -1");
  DeviceTableOptions options;
  options.dim = kMaxDim + 1;
  std::unique_ptr<DeviceTable> none;
  EXPECT_ERROR(
      DeviceTable::Create(options, launchers, MakeDeviceAllocator(launchers),
                          nullptr, &none),
      StatusCode::kInvalidArgument, "dim is 4097");
  pair.Compare({1});
}

void PoolEveryWay(RowDtype dtype, const std::vector<int>& dims) {
  const std::vector<int64_t> universe = MixedKeys(300);
  for (const int dim : dims) {
    Pair pair(dim, InitializerKind::kUniform, dtype);
    Rng rng(dim);
    const std::vector<int64_t> half(universe.begin(), universe.begin() + 150);
    pair.Upsert(half, rng.Units(150 * dim), 0);
    // The others' initial values, which the device rounds as it reads them.
    if (pair.in_bfloat16) pair.BearOnHost(universe);
    std::vector<int64_t> splits = {0};
    for (int b = 0; b < 60; ++b) splits.push_back(splits.back() + rng.Below(6));
    const int64_t n = splits.back();
    const std::vector<int64_t> keys = Draw(universe, n, &rng);
    const std::vector<float> weights = rng.Units(n);
    const OnDevice<int64_t> device_keys(keys), device_splits(splits);
    const OnDevice<float> device_weights(weights);
    for (const Combiner combiner :
         {Combiner::kSum, Combiner::kMean, Combiner::kSqrtN}) {
      for (const float max_norm : {0.0f, 0.3f}) {
        for (const float* w : {static_cast<const float*>(nullptr),
                               static_cast<const float*>(weights.data())}) {
          const PoolSpec pool{combiner, max_norm};
          std::vector<float> expected(60 * dim), expected_rows(n * dim);
          const OnDevice<float> out(60 * dim), rows(n * dim);
          EXPECT_OK(testing::LookupPooled(
              *pair.host, keys.data(), splits.data(), 60, w, pool,
              expected.data(), expected_rows.data(), &executor));
          const float* const device_w =
              w == nullptr ? nullptr : device_weights.data();
          DevicePooledRequest request{
              device_keys.data(), n,    device_splits.data(), 60,
              device_w,           pool, out.data(),           nullptr};
          EXPECT_OK(pair.device->LookupPooled(request, nullptr));
          EXPECT_TRUE(SameBits(out.values(), expected));
          EXPECT_EQ(launchers->set_zero(out.data(), 60 * dim * 4, nullptr), 0);
          request.rows = rows.data();
          EXPECT_OK(pair.device->LookupPooled(request, nullptr));
          EXPECT_TRUE(SameBits(out.values(), expected));
          EXPECT_TRUE(SameBits(rows.values(), expected_rows));

          const std::vector<float> gradients = rng.Units(60 * dim);
          std::vector<float> expected_g(n * dim), expected_w(n);
          const OnDevice<float> device_gradients(gradients), g(n * dim), gw(n);
          const bool of_weights = w != nullptr;
          PoolGradient(pool, gradients.data(), splits.data(), 60, w,
                       expected_rows.data(), dim, expected_g.data(),
                       of_weights ? expected_w.data() : nullptr, &executor);
          EXPECT_EQ(launchers->pool_gradients(
                        PoolGradients{pool, dim, device_gradients.data(),
                                      device_splits.data(), 60, n, device_w,
                                      rows.data(), g.data(),
                                      of_weights ? gw.data() : nullptr},
                        60, nullptr),
                    0);
          EXPECT_TRUE(SameBits(g.values(), expected_g));
          if (of_weights) EXPECT_TRUE(SameBits(gw.values(), expected_w));
        }
      }
    }
  }
}

TEST(PoolingGivesTheHostsBits) {
  PoolEveryWay(RowDtype::kFloat32, {1, 6, 16, 40, 200});
}

TEST(PoolingInBfloat16) { PoolEveryWay(RowDtype::kBfloat16, {1, 6, 40}); }

TEST(Bfloat16HalvesVectors) {
  const std::vector<int64_t> keys = MixedKeys(20000);
  int64_t used[2][2];
  for (const int slots : {0, 1}) {
    for (const int half : {0, 1}) {
      const auto table =
          MakeDeviceTable(64, Spec(InitializerKind::kUniform), AdmissionSpec(),
                          EvictionOptions(), DtypeOf(half));
      if (slots == 1) {
        Pair::ApplyOnDevice(table.get(), Bind("adagrad", 0.1f, 0, {0.1f, 0, 0}),
                            {1}, std::vector<float>(64), {}, 0);
      }
      Pair::UpsertOnDevice(table.get(), keys, Rng(1).Units(20000 * 64), 0);
      TableStats stats;
      EXPECT_OK(table->Stats(nullptr, &stats));
      used[slots][half] = stats.row_used_bytes / stats.size;
    }
  }
  // A vector of 64; an accumulator of float32.
  EXPECT_EQ(used[0][0], 256 + testing::kBesideRecord);
  EXPECT_EQ(used[0][1], 128 + testing::kBesideRecord);
  EXPECT_EQ(used[1][0], 512 + testing::kBesideRecord);
  EXPECT_EQ(used[1][1], 384 + testing::kBesideRecord);
}

// Updates of a sixteenth of a unit in the last place: rounded to nearest they
// would all be lost.
TEST(SmallUpdatesAreNotLostInBfloat16) {
  constexpr int kKeys = 2000, kDim = 16, kSteps = 256;
  const auto table =
      MakeDeviceTable(kDim, Spec(InitializerKind::kConstant), AdmissionSpec(),
                      EvictionOptions(), RowDtype::kBfloat16);
  std::vector<int64_t> keys(kKeys);
  for (int i = 0; i < kKeys; ++i) keys[i] = i;
  const OnDevice<int64_t> device_keys(keys);
  const OnDevice<float> gradients(std::vector<float>(kKeys * kDim, 1));
  // Rows begin at 0.25, below which a unit in the last place is 2^-10. All
  // updates have the same step: the frequency tells them apart.
  const BoundRule rule = Bind("sgd", 0x1p-14f, 0, {});
  for (int step = 0; step < kSteps; ++step) {
    int64_t reset;
    EXPECT_OK(table->Apply(rule, device_keys.data(), gradients.data(), nullptr,
                           kKeys, 0, nullptr, &reset));
  }
  const std::vector<float> values = Pair::LookupOnDevice(*table, keys);
  double sum = 0, squares = 0;
  for (const float value : values) {
    const double gone = 0.25 - static_cast<double>(value);
    sum += gone;
    squares += gone * gone;
  }
  constexpr double kValues = kKeys * kDim;
  const double mean = sum / kValues;
  // Each of 256 updates takes a unit with probability 1/16, on its own: 2^-6
  // is gone in the mean, with the variance of a binomial distribution.
  const double variance = kSteps / 16.0 * (15 / 16.0) * 0x1p-20;
  EXPECT_NEAR(mean, 0x1p-6, 5 * std::sqrt(variance / kValues));
  EXPECT_NEAR((squares / kValues - mean * mean) / variance, 1, 0.05);
}

TEST(BadSplitsReadNothingOutOfBounds) {
  const auto table = MakeDeviceTable(3, Spec(InitializerKind::kUniform));
  const OnDevice<int64_t> keys(std::vector<int64_t>{1, 2, 3});
  const OnDevice<int64_t> splits(std::vector<int64_t>{-5, 2, 1, 900, 3});
  for (const float max_norm : {0.0f, 1.0f}) {
    const OnDevice<float> out(4 * 3);
    EXPECT_OK(table->LookupPooled(
        DevicePooledRequest{keys.data(), 3, splits.data(), 4, nullptr,
                            PoolSpec{Combiner::kSum, max_norm}, out.data(),
                            nullptr},
        nullptr));
    // Bag 1 goes backwards: it is empty.
    for (int c = 3; c < 6; ++c) EXPECT_EQ(out.values()[c], 0.0f);
  }
}

TEST(KeysOutsideOfAllBagsHaveNoGradient) {
  const OnDevice<int64_t> splits(std::vector<int64_t>{1, 2, 2});
  const OnDevice<float> gradients(std::vector<float>{3, 5});
  const OnDevice<float> out(std::vector<float>{7, 7, 7, 7});
  EXPECT_EQ(launchers->pool_gradients(
                PoolGradients{PoolSpec{Combiner::kSum, 0}, 1, gradients.data(),
                              splits.data(), 2, 4, nullptr, nullptr, out.data(),
                              nullptr},
                2, nullptr),
            0);
  EXPECT_TRUE(out.values() == (std::vector<float>{0, 3, 0, 0}));
}

TEST(SplitsOfRowIds) {
  const OnDevice<int64_t> ids(std::vector<int64_t>{0, 0, 2, 2, 2, 5});
  const OnDevice<int64_t> splits(8);
  EXPECT_EQ(launchers->find_splits(FindSplits{ids.data(), 6, splits.data()}, 8,
                                   nullptr),
            0);
  EXPECT_TRUE(splits.values() ==
              (std::vector<int64_t>{0, 2, 2, 5, 5, 5, 6, 6}));
}

void GoThereAndBack(RowDtype dtype) {
  Pair pair(7, InitializerKind::kTruncatedNormal, dtype);
  const std::vector<int64_t> keys = MixedKeys(5000);
  for (int64_t step = 0; step < 3; ++step) {
    pair.Apply(Bind("ftrl", 0.1f, step, {-0.5f, 0.1f, 0, 0, 0, 0}), keys,
               Rng(step).Units(5000 * 7), {}, step);
  }
  std::unique_ptr<EmbeddingTable> host;
  EXPECT_OK(pair.device->ToHost(nullptr, &executor, &host));
  EXPECT_TRUE(ExportAll(*host) == ExportAll(*pair.host));
  EXPECT_EQ(host->initializer()->spec().seed, uint64_t{3});
  Pair other(7, InitializerKind::kConstant, dtype);
  EXPECT_OK(other.device->FromHost(*host, nullptr, &executor));
  other.host = std::move(host);
  other.Compare(MixedKeys(6000));
  // The seed too: training goes on with the same bits.
  other.Apply(Bind("ftrl", 0.1f, 3, {-0.5f, 0.1f, 0, 0, 0, 0}), keys,
              Rng(3).Units(5000 * 7), {}, 3);
  other.Compare(MixedKeys(6000));
}

TEST(ThereAndBack) { GoThereAndBack(RowDtype::kFloat32); }

TEST(ThereAndBackInBfloat16) { GoThereAndBack(RowDtype::kBfloat16); }

TEST(Float32RowsBecomeBfloat16ByTheNearest) {
  Pair pair(5), half(5, InitializerKind::kUniform, RowDtype::kBfloat16);
  const std::vector<int64_t> keys = MixedKeys(500);
  const std::vector<float> values = Rng(4).Units(500 * 5);
  pair.Upsert(keys, values, 9);
  EXPECT_OK(half.device->FromHost(*pair.host, nullptr, &executor));
  half.Upsert(keys, values, 9);
  half.Compare(MixedKeys(600));
}

TEST(EveryRowHasAPlaceOfItsOwn) {
  RowsView rows;
  rows.log2_first = 2;
  rows.doublings = 3;
  int64_t expected_slab = 0, expected_place = 0;
  for (uint32_t row = 0; row < 1000; ++row) {
    int64_t place;
    EXPECT_EQ(rows.Slab(row, &place), expected_slab);
    EXPECT_EQ(place, expected_place);
    if (++expected_place == rows.RowsOfSlab(static_cast<int>(expected_slab))) {
      ++expected_slab;
      expected_place = 0;
    }
  }
  // No overflow at the end of what row numbers can say.
  int64_t place;
  rows.log2_first = 10;
  rows.doublings = 15;
  EXPECT_EQ(rows.Slab(0xFFFFFFFEu, &place), 15 + 127);
  EXPECT_EQ(place, 1022);
}

}  // namespace
}  // namespace tf_embedding
