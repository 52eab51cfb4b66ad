// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Updates that take over the rows which a lookup found, against the same
// updates of a table that nobody reads.

#include "cc/core/found_rows.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "cc/core/batch.h"
#include "cc/core/index.h"
#include "cc/core/table.h"
#include "tests/cc/eviction_util.h"
#include "tests/cc/executors.h"
#include "tests/cc/random.h"
#include "tests/cc/table_util.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

using testing::ExportAll;
using testing::MixedKeys;
using testing::Rng;

using Batch = FoundRows::Batch;

// A lookup of these keys, which finds row 2 * i at place i; null where it may
// not keep anything.
std::unique_ptr<Batch> Found(FoundRows* found,
                             const std::vector<int64_t>& keys) {
  std::unique_ptr<Batch> batch =
      found->Start(static_cast<int64_t>(keys.size()));
  if (batch == nullptr) return nullptr;
  for (size_t i = 0; i < keys.size(); ++i) {
    batch->keys[i] = keys[i];
    batch->rows[i] = static_cast<uint32_t>(2 * i);
  }
  return batch;
}

std::unique_ptr<Batch> Take(FoundRows* found,
                            const std::vector<int64_t>& keys) {
  return found->Take(keys.data(), static_cast<int64_t>(keys.size()));
}

TEST(LookupsKeepNothingUnlessUpdatesFollow) {
  FoundRows found;
  const std::vector<int64_t> keys = {5, 6, 7};
  EXPECT_TRUE(Found(&found, keys) == nullptr);
  EXPECT_EQ(found.now(), 0u);
  EXPECT_TRUE(Take(&found, keys) == nullptr);
  // Two may now, and no third.
  for (int i = 1; i <= 2; ++i) {
    std::unique_ptr<Batch> batch = Found(&found, keys);
    EXPECT_TRUE(batch != nullptr);
    EXPECT_EQ(batch->moment, static_cast<uint64_t>(i));
    EXPECT_EQ(found.now(), static_cast<uint64_t>(i));
    found.Keep(std::move(batch));
  }
  EXPECT_TRUE(Found(&found, keys) == nullptr);
  EXPECT_EQ(found.bytes(), 2 * 3 * 12);
  // The newest; older ones are forgotten.
  const std::unique_ptr<Batch> batch = Take(&found, keys);
  EXPECT_TRUE(batch != nullptr);
  EXPECT_EQ(batch->moment, 2u);
  EXPECT_EQ(batch->rows[2], 4u);
  EXPECT_EQ(found.bytes(), 0);
  EXPECT_TRUE(Take(&found, keys) == nullptr);
}

TEST(UpdatesTakeTheirOwnKeysOnly) {
  FoundRows found;
  EXPECT_TRUE(Take(&found, {1}) == nullptr);
  found.Keep(Found(&found, {1, 2, 3}));
  EXPECT_TRUE(Take(&found, {1, 2}) == nullptr);
  EXPECT_TRUE(Take(&found, {1, 2, 4}) == nullptr);
  EXPECT_TRUE(Take(&found, {3, 2, 1}) == nullptr);
  EXPECT_TRUE(Take(&found, {1, 2, 3}) != nullptr);
}

TEST(FewBatchesAreKept) {
  FoundRows found;
  std::vector<std::vector<int64_t>> keys;
  for (int64_t b = 0; b < 8; ++b) keys.push_back({b, b + 1, b + 2, b + 3});
  for (int64_t b = 0; b < 8; ++b) {
    // Four updates in vain, each of which allows two lookups.
    if (b % 2 == 0) EXPECT_TRUE(Take(&found, {-1}) == nullptr);
    found.Keep(Found(&found, keys[b]));
  }
  EXPECT_EQ(found.bytes(), 4 * 4 * 12);
  for (int64_t b = 4; b < 8; ++b) {
    const testing::Trace trace("batch ", b);
    EXPECT_TRUE(Take(&found, keys[b]) != nullptr);
  }
  EXPECT_EQ(found.bytes(), 0);
  EXPECT_TRUE(Take(&found, keys[3]) == nullptr);
}

TEST(AnUpdateForgetsWhatOlderLookupsKept) {
  FoundRows found;
  EXPECT_TRUE(Take(&found, {0}) == nullptr);
  found.Keep(Found(&found, {1}));
  found.Keep(Found(&found, {2}));
  EXPECT_TRUE(Take(&found, {2}) != nullptr);
  EXPECT_EQ(found.bytes(), 0);
  EXPECT_TRUE(Take(&found, {1}) == nullptr);
}

TEST(LookupsForgetWhenTrainingIsOver) {
  FoundRows found;
  for (int time = 0; time < 3; ++time) {
    EXPECT_TRUE(Take(&found, {0}) == nullptr);
    found.Keep(Found(&found, {1}));
    found.Keep(Found(&found, {2}));
    for (int64_t lookup = 0; lookup < 7; ++lookup) {
      EXPECT_TRUE(Found(&found, {3}) == nullptr);
      EXPECT_EQ(found.bytes(), 2 * 12);
    }
    for (int64_t lookup = 0; lookup < 20; ++lookup) {
      EXPECT_TRUE(Found(&found, {3}) == nullptr);
      EXPECT_EQ(found.bytes(), 0);
    }
  }
}

TEST(UpdatesInVainAskSeldom) {
  FoundRows found;
  int kept = 0;
  for (int step = 0; step < 640; ++step) {
    EXPECT_TRUE(Take(&found, {step}) == nullptr);
    std::unique_ptr<Batch> batch = Found(&found, {-1 - step});
    if (batch == nullptr) continue;
    ++kept;
    found.Keep(std::move(batch));
  }
  EXPECT_TRUE(kept > 10);
  EXPECT_TRUE(kept < 40);
  EXPECT_TRUE(Take(&found, {-1}) == nullptr);
  EXPECT_EQ(found.bytes(), 0);
}

TEST(StepsInFlightAtOnceEachFindTheirOwn) {
  FoundRows found;
  EXPECT_TRUE(Take(&found, {0}) == nullptr);
  found.Keep(Found(&found, {1}));
  found.Keep(Found(&found, {2}));
  for (int64_t step = 1; step < 100; ++step) {
    EXPECT_TRUE(Take(&found, {step}) != nullptr);
    EXPECT_EQ(found.bytes(), 12);
    found.Keep(Found(&found, {step + 2}));
  }
}

TEST(LittleIsLeftBetweenSteps) {
  FoundRows found;
  EXPECT_TRUE(Take(&found, {0}) == nullptr);
  for (int64_t step = 0; step < 100; ++step) {
    const std::vector<int64_t> keys(1 + step % 7, step);
    // Scored, and then trained on.
    found.Keep(Found(&found, keys));
    found.Keep(Found(&found, keys));
    std::unique_ptr<Batch> batch = Take(&found, keys);
    EXPECT_TRUE(batch != nullptr);
    EXPECT_EQ(batch->n, 1 + step % 7);
    EXPECT_EQ(found.bytes(), 0);
    // Memory for seven keys is more than an eighth of less than 672 bytes.
    found.GiveBack(std::move(batch), step < 50 ? 95 : 672);
    EXPECT_TRUE(step < 50 ? found.bytes() == 0
                          : 0 < found.bytes() && found.bytes() <= 7 * 12);
  }
}

TEST(RowsAreDealtOutWithTheKeys) {
  Rng rng(8);
  for (int64_t n : {1, 4096, 30000}) {
    std::vector<int64_t> keys(n);
    for (int64_t& key : keys) key = rng.Below(3000);
    FoundRows found;
    EXPECT_TRUE(Take(&found, keys) == nullptr);
    const std::unique_ptr<Batch> batch = Found(&found, keys);
    for (int threads : {1, 2, 5}) {
      testing::ThreadExecutor executor(threads);
      const BatchPartition known =
          PartitionByShard(keys.data(), n, 3, &executor, batch.get());
      for (int s = 0; s < 8; ++s) {
        const BatchShare share = known.share(s);
        for (int64_t p = 0; p < share.count; ++p) {
          if (share.rows[p] == 2 * share.positions[p]) continue;
          EXPECT_EQ(share.rows[p], 2 * share.positions[p]);
        }
      }
      // One key is another: nothing is known.
      ++keys[n - 1 - n / 3];
      const BatchPartition unknown =
          PartitionByShard(keys.data(), n, 3, &executor, batch.get());
      EXPECT_TRUE(unknown.share(0).rows == nullptr);
      --keys[n - 1 - n / 3];
    }
  }
}

BoundRule Adagrad() {
  return testing::Bind("adagrad", 0.1f, 1, testing::Hyper("adagrad"));
}

// Two tables with one history, but that one of them is read.
struct Twins {
  explicit Twins(TableOptions options) {
    options.initializer.kind = InitializerKind::kUniform;
    options.initializer.a = -0.5f;
    options.initializer.b = 0.5f;
    options.initializer.seed = 3;
    EXPECT_OK(EmbeddingTable::Create(options, &read));
    EXPECT_OK(EmbeddingTable::Create(options, &unread));
  }
  template <class Body>
  void Both(const Body& body) {
    body(read.get());
    body(unread.get());
  }

  std::unique_ptr<EmbeddingTable> read;
  std::unique_ptr<EmbeddingTable> unread;
};

// What may come between a lookup and the update of its keys.
void Disturb(const std::vector<int64_t>& universe,
             const std::vector<int64_t>& keys, int64_t step, Rng* rng,
             Executor* executor, Twins* twins) {
  std::vector<int64_t> others;
  const auto some = [&](const std::vector<int64_t>& from, int64_t n) {
    others.clear();
    for (int64_t i = 0; i < n; ++i) {
      others.push_back(from[rng->Below(static_cast<int64_t>(from.size()))]);
    }
  };
  const int dim = twins->read->dim();
  const auto n = [&] { return static_cast<int64_t>(others.size()); };
  switch (rng->Below(10)) {
    case 0:  // a few of the batch
      some(keys, 3);
      break;
    case 1:  // so many that the rest moves
      some(universe, static_cast<int64_t>(universe.size()));
      break;
    case 2: {
      some(keys, 20);
      const std::vector<float> values = rng->Units(n() * dim);
      twins->Both([&](EmbeddingTable* table) {
        EXPECT_OK(
            table->Upsert(others.data(), values.data(), n(), step, executor));
      });
      return;
    }
    case 3: {
      some(universe, 200);
      const std::vector<float> gradients = rng->Units(n() * dim);
      twins->Both([&](EmbeddingTable* table) {
        int64_t reset;
        EXPECT_OK(table->Apply(Adagrad(), others.data(), gradients.data(),
                               nullptr, n(), step, executor, &reset));
      });
      return;
    }
    case 4:
      twins->Both([&](EmbeddingTable* table) {
        int64_t evicted;
        EXPECT_OK(table->Evict(step, &evicted, executor));
      });
      return;
    case 5:
      if (rng->Below(4) == 0) twins->Both([](auto* table) { table->Clear(); });
      return;
    case 6: {  // other rows, or the same ones in other places
      testing::Columns columns;
      EXPECT_OK(twins->unread->Export(columns.Allocate(dim), executor));
      twins->Both([&](EmbeddingTable* table) {
        EXPECT_OK(table->Import(columns.shape, columns.view(),
                                /*replace=*/true, executor));
      });
      return;
    }
    case 7: {  // keeps as much as this one did
      some(universe, static_cast<int64_t>(keys.size()));
      std::vector<float> out(n() * dim);
      EXPECT_OK(twins->read->Lookup(others.data(), n(), out.data(), executor));
      return;
    }
    default:
      return;
  }
  twins->Both([&](EmbeddingTable* table) {
    int64_t removed;
    EXPECT_OK(table->Remove(others.data(), n(), &removed, executor));
  });
}

void RunTwins(const TableOptions& options, int threads, uint64_t seed) {
  const testing::Trace trace("dim ", options.dim, ", log2_shards ",
                             options.log2_shards, ", threads ", threads);
  Twins twins(options);
  Rng rng(seed);
  testing::ThreadExecutor executor(threads);
  const std::vector<int64_t> universe = MixedKeys(1500);
  for (int64_t step = 0; step < 120; ++step) {
    // Some batches are of keys that are there, some are mostly new.
    const int64_t known = step % 3 == 0 ? 1500 : 500;
    std::vector<int64_t> keys(1 + rng.Below(step % 10 == 0 ? 9000 : 400));
    for (int64_t& key : keys) key = universe[rng.Below(known)];
    const auto n = static_cast<int64_t>(keys.size());
    std::vector<float> out(n * options.dim);
    if (step % 2 == 0) {
      EXPECT_OK(twins.read->Lookup(keys.data(), n, out.data(), &executor));
    } else {
      PooledRequest request;
      request.table = twins.read.get();
      request.keys = keys.data();
      request.num_bags = n;
      request.out = out.data();
      EXPECT_OK(EmbeddingTable::LookupPooled(&request, 1, &executor));
    }
    Disturb(universe, keys, step, &rng, &executor, &twins);
    // A batch that only looks like the one that was read.
    if (rng.Below(5) == 0) {
      keys[rng.Below(n)] = universe[rng.Below(1500)];
    }
    const std::vector<float> gradients = rng.Units(n * options.dim);
    twins.Both([&](EmbeddingTable* table) {
      int64_t reset;
      EXPECT_OK(table->Apply(Adagrad(), keys.data(), gradients.data(), nullptr,
                             n, step, &executor, &reset));
    });
    if (step % 5 == 4 &&
        !(ExportAll(*twins.read) == ExportAll(*twins.unread))) {
      EXPECT_TRUE(ExportAll(*twins.read) == ExportAll(*twins.unread));
      return;
    }
  }
}

TEST(UpdatesAreTheSameWithFoundRows) {
  uint64_t seed = 1;
  for (int dim : {1, 5, 16}) {
    for (int log2_shards : {0, 3, 7}) {
      for (int threads : {1, 3}) {
        TableOptions options;
        options.dim = dim;
        options.log2_shards = log2_shards;
        RunTwins(options, threads, ++seed);
      }
    }
  }
}

TEST(AndWhereRowsAreEvictedOrKeysRefused) {
  for (uint64_t seed : {21, 22}) {
    TableOptions options;
    options.dim = 3;
    options.log2_shards = 2;
    options.eviction.steps_to_live = 5;
    RunTwins(options, 2, seed);

    options.eviction = EvictionOptions();
    options.eviction.max_keys = 700;
    RunTwins(options, 2, seed);

    options.eviction = EvictionOptions();
    options.admission.kind = AdmissionKind::kCounter;
    options.admission.filter_freq = 3;
    RunTwins(options, 2, seed);
  }
}

}  // namespace
}  // namespace tf_embedding
