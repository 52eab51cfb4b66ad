// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// EmbeddingTable against a std::map of rows.

#include "cc/core/table.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/cc/executors.h"
#include "tests/cc/random.h"
#include "tests/cc/table_util.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

using testing::Bind;
using testing::Contents;
using testing::ExportAll;
using testing::ImportAll;
using testing::MakeTable;
using testing::MixedKeys;
using testing::Rng;
using testing::Row;
using testing::SameBits;

constexpr int64_t kMaxUint32 = std::numeric_limits<uint32_t>::max();

// What a table is, told in the plainest way.
class Oracle {
 public:
  Oracle(int dim, std::shared_ptr<const Initializer> initializer)
      : dim_(dim), initializer_(std::move(initializer)) {}

  Row Read(int64_t key) const {
    const auto found = contents.rows.find(key);
    if (found != contents.rows.end()) return found->second;
    Row row;
    row.values.resize(dim_);
    initializer_->Fill(key, row.values.data());
    InitSlots(&row);
    row.version = kNoVersion;
    return row;
  }

  // rule is "sgd" or "adagrad" with an initial accumulator of 0.1.
  int64_t Apply(const std::string& rule, const std::vector<int64_t>& keys,
                const std::vector<float>& gradients,
                const std::vector<int64_t>& counts, int64_t step) {
    if (keys.empty()) return 0;
    int64_t rows_reset = 0;
    if (contents.shape.rule != rule) {
      if (contents.shape.slot_width > 0) {
        rows_reset = static_cast<int64_t>(contents.rows.size());
      }
      contents.shape.rule = rule;
      contents.shape.slot_width = rule == "adagrad" ? dim_ : 0;
      contents.shape.initial_slots.clear();
      if (rule == "adagrad") contents.shape.initial_slots = {0.1f};
      for (auto& [key, row] : contents.rows) InitSlots(&row);
    }
    std::map<int64_t, std::vector<float>> sums;
    std::map<int64_t, int64_t> occurrences;
    for (size_t i = 0; i < keys.size(); ++i) {
      const float* const gradient = gradients.data() + i * dim_;
      const auto [sum, fresh] =
          sums.try_emplace(keys[i], gradient, gradient + dim_);
      if (!fresh) {
        for (int c = 0; c < dim_; ++c) sum->second[c] += gradient[c];
      }
      occurrences[keys[i]] += counts.empty() ? 1 : counts[i];
    }
    for (const auto& [key, sum] : sums) {
      Row row = Read(key);
      for (int c = 0; c < dim_; ++c) {
        const float g = sum[c];
        if (rule == "sgd") {
          row.values[c] -= 0.5f * g;
        } else {
          row.slots[c] += g * g;
          row.values[c] -= 0.5f * g / std::sqrt(row.slots[c]);
        }
      }
      row.frequency = std::min(kMaxUint32, row.frequency + occurrences[key]);
      row.version = step;
      contents.rows[key] = row;
    }
    return rows_reset;
  }

  void Upsert(const std::vector<int64_t>& keys,
              const std::vector<float>& values, int64_t step) {
    for (size_t i = 0; i < keys.size(); ++i) {
      Row row = Read(keys[i]);
      row.values.assign(values.begin() + i * dim_,
                        values.begin() + (i + 1) * dim_);
      row.version = step;
      contents.rows[keys[i]] = row;
    }
  }

  int64_t Remove(const std::vector<int64_t>& keys) {
    int64_t removed = 0;
    for (int64_t key : keys) {
      removed += static_cast<int64_t>(contents.rows.erase(key));
    }
    return removed;
  }

  Contents contents;

 private:
  void InitSlots(Row* row) const {
    row->slots.clear();
    for (float value : contents.shape.initial_slots) {
      row->slots.insert(row->slots.end(), dim_, value);
    }
  }

  const int dim_;
  const std::shared_ptr<const Initializer> initializer_;
};

BoundRule RuleOf(const std::string& name, int64_t step) {
  return name == "sgd" ? Bind("sgd", 0.5f, step, {})
                       : Bind("adagrad", 0.5f, step, {0.1f, 0, 0});
}

std::vector<int64_t> Draw(const std::vector<int64_t>& universe, int64_t most,
                          Rng* rng) {
  std::vector<int64_t> keys(rng->Below(most + 1));
  for (int64_t& key : keys) {
    key = universe[rng->Below(static_cast<int64_t>(universe.size()))];
  }
  return keys;
}

void ExpectReads(const EmbeddingTable& table, const Oracle& oracle,
                 const std::vector<int64_t>& keys, Executor* executor) {
  const auto n = static_cast<int64_t>(keys.size());
  const int dim = table.dim();
  std::vector<float> vectors(n * dim);
  EXPECT_OK(table.Lookup(keys.data(), n, vectors.data(), executor));
  testing::Columns columns;
  EXPECT_OK(table.Find(keys.data(), n, columns.Allocate(dim), executor));
  EXPECT_EQ(columns.shape.rule, oracle.contents.shape.rule);
  for (int64_t i = 0; i < n; ++i) {
    const Row row = oracle.Read(keys[i]);
    EXPECT_TRUE(std::memcmp(row.values.data(), vectors.data() + i * dim,
                            dim * sizeof(float)) == 0);
    EXPECT_TRUE(columns.At(i, dim) == row);
    EXPECT_EQ(columns.keys[i], keys[i]);
    EXPECT_EQ(columns.found[i], oracle.contents.rows.count(keys[i]) == 1);
  }
}

// The same random operations on a table and on the oracle.
void RunSequence(int dim, int log2_shards, Executor* executor, uint64_t seed,
                 int steps, int64_t universe_size, int64_t batch) {
  const testing::Trace trace("dim ", dim, ", log2_shards ", log2_shards, ", ",
                             executor->num_threads(), " threads");
  Rng rng(seed);
  const std::vector<int64_t> universe = MixedKeys(universe_size);
  const std::unique_ptr<EmbeddingTable> table = MakeTable(dim, log2_shards);
  Oracle oracle(dim, table->initializer());
  std::string rule = "sgd";
  for (int step = 0; step < steps; ++step) {
    const testing::Trace at("step ", step);
    const std::vector<int64_t> keys = Draw(universe, batch, &rng);
    const auto n = static_cast<int64_t>(keys.size());
    switch (rng.Below(12)) {
      default: {
        if (rng.Below(8) == 0) rule = rule == "sgd" ? "adagrad" : "sgd";
        const std::vector<float> gradients = rng.Units(n * dim);
        std::vector<int64_t> counts;
        if (rng.Below(2) == 0) {
          for (int64_t i = 0; i < n; ++i) counts.push_back(1 + rng.Below(5));
        }
        int64_t rows_reset = -1;
        EXPECT_OK(table->Apply(RuleOf(rule, step), keys.data(),
                               gradients.data(),
                               counts.empty() ? nullptr : counts.data(), n,
                               step, executor, &rows_reset));
        EXPECT_EQ(rows_reset,
                  oracle.Apply(rule, keys, gradients, counts, step));
        break;
      }
      case 0: {
        const std::vector<float> values = rng.Units(n * dim);
        EXPECT_OK(table->Upsert(keys.data(), values.data(), n, step, executor));
        oracle.Upsert(keys, values, step);
        break;
      }
      case 1:
      case 2: {
        int64_t removed = -1;
        EXPECT_OK(table->Remove(keys.data(), n, &removed, executor));
        EXPECT_EQ(removed, oracle.Remove(keys));
        break;
      }
      case 3:
        if (rng.Below(4) == 0) {
          table->Clear();
          oracle.contents.rows.clear();
        }
        break;
      case 4: {
        // Out and in again.
        const Contents all = ExportAll(*table, executor);
        EXPECT_TRUE(all == oracle.contents);
        table->Clear();
        EXPECT_OK(ImportAll(all, rng.Below(2) == 0, table.get(), executor));
        break;
      }
      case 5:
        ExpectReads(*table, oracle, keys, executor);
        break;
    }
    EXPECT_EQ(table->size(), static_cast<int64_t>(oracle.contents.rows.size()));
  }
  EXPECT_TRUE(ExportAll(*table, executor) == oracle.contents);
  ExpectReads(*table, oracle, universe, executor);
}

TEST(SequencesOfEveryDim) {
  for (int dim : {1, 3, 4, 8, 16, 17, 32, 64, 128, 257}) {
    for (int log2_shards : {0, 3, 7}) {
      SerialExecutor serial;
      RunSequence(dim, log2_shards, &serial, 1, 60, 150, 200);
      testing::ThreadExecutor threads(3);
      RunSequence(dim, log2_shards, &threads, 2, 25, 150, 200);
    }
  }
  SerialExecutor serial;
  RunSequence(4096, 2, &serial, 1, 20, 30, 20);
}

TEST(SequencesOfEveryNumberOfShardsAndThreads) {
  for (int log2_shards = 0; log2_shards <= kMaxLog2Shards; ++log2_shards) {
    SerialExecutor serial;
    RunSequence(5, log2_shards, &serial, 3, 40, 300, 300);
    testing::PoolExecutor pool(2 + log2_shards % 7);
    RunSequence(5, log2_shards, &pool, 3, 40, 300, 300);
  }
}

TEST(SequencesOnALargeTable) {
  testing::PoolExecutor pool(4);
  RunSequence(2, 4, &pool, 5, 25, 40000, 30000);
}

// Some updates, and what comes of them.
Contents Train(int log2_shards, Executor* executor, std::vector<float>* read) {
  constexpr int kDim = 9;
  Rng rng(17);
  const std::vector<int64_t> universe = MixedKeys(3000);
  const std::unique_ptr<EmbeddingTable> table = MakeTable(kDim, log2_shards);
  for (int step = 0; step < 4; ++step) {
    std::vector<int64_t> keys(20000);
    for (int64_t& key : keys) key = universe[rng.Below(3000)];
    const std::vector<float> gradients = rng.Units(20000 * kDim);
    int64_t rows_reset;
    EXPECT_OK(table->Apply(Bind("adam", 0.01f, step, {0.9f, 0.999f, 1e-7f}),
                           keys.data(), gradients.data(), nullptr, 20000, step,
                           executor, &rows_reset));
  }
  read->resize(3000 * kDim);
  EXPECT_OK(table->Lookup(universe.data(), 3000, read->data(), executor));
  return ExportAll(*table, executor);
}

TEST(BitsDependOnNeitherShardsNorThreads) {
  SerialExecutor serial;
  std::vector<float> expected_read;
  const Contents expected = Train(0, &serial, &expected_read);
  for (int log2_shards : {0, 1, 5, 10}) {
    for (int threads = 2; threads <= 8; threads += 2) {
      const testing::Trace trace("log2_shards ", log2_shards, ", ", threads,
                                 " threads");
      testing::ThreadExecutor executor(threads);
      std::vector<float> read;
      EXPECT_TRUE(Train(log2_shards, &executor, &read) == expected);
      EXPECT_TRUE(SameBits(read, expected_read));
    }
  }
}

TEST(EqualHistoriesExportInEqualOrder) {
  std::vector<int64_t> orders[2];
  for (int run = 0; run < 2; ++run) {
    testing::ThreadExecutor executor(run == 0 ? 1 : 4);
    const auto table = MakeTable(2, 3);
    Rng rng(4);
    for (int step = 0; step < 5; ++step) {
      std::vector<int64_t> keys = Draw(MixedKeys(2000), 1500, &rng);
      const std::vector<float> values(keys.size() * 2);
      const auto n = static_cast<int64_t>(keys.size());
      EXPECT_OK(table->Upsert(keys.data(), values.data(), n, step, &executor));
      int64_t removed;
      EXPECT_OK(table->Remove(keys.data(), n / 3, &removed, &executor));
    }
    testing::Columns columns;
    EXPECT_OK(table->Export(columns.Allocate(2), &executor));
    orders[run] = columns.keys;
  }
  EXPECT_TRUE(orders[0] == orders[1] && !orders[0].empty());
}

TEST(ReadsOfMissingKeysLeaveTheTableEmpty) {
  SerialExecutor executor;
  const auto table = MakeTable(3, 4);
  const std::vector<int64_t> keys = MixedKeys(20000);
  const Oracle oracle(3, table->initializer());
  ExpectReads(*table, oracle, keys, &executor);
  std::vector<int64_t> splits = {0, 20000};
  std::vector<float> out(3);
  EXPECT_OK(testing::LookupPooled(*table, keys.data(), splits.data(), 1,
                                  nullptr, PoolSpec(), out.data(), nullptr,
                                  &executor));
  int64_t removed = -1;
  EXPECT_OK(table->Remove(keys.data(), 20000, &removed, &executor));
  EXPECT_EQ(removed, 0);
  EXPECT_EQ(table->size(), 0);
  const TableStats stats = table->stats();
  EXPECT_EQ(stats.size, 0);
  EXPECT_EQ(stats.index_bytes, 0);
  EXPECT_EQ(stats.row_bytes, 0);
  EXPECT_EQ(stats.row_used_bytes, 0);
  EXPECT_TRUE(stats.fixed_bytes > 0);
}

// As a part does that has no key in a batch of which others have.
TEST(ATableAdoptsARuleWithoutAnUpdate) {
  SerialExecutor executor;
  const auto table = MakeTable(3, 4);
  const int64_t key = 5;
  const std::vector<float> values = {1, 2, 3};
  EXPECT_OK(table->Upsert(&key, values.data(), 1, 7, &executor));
  const BoundRule adagrad = Bind("adagrad", 0.1f, 0, {0.5f, 0, 0});
  int64_t rows_reset = -1;
  EXPECT_OK(table->AdoptRule(adagrad, 0, &rows_reset));
  EXPECT_EQ(rows_reset, 0);  // There were no slots before.
  EXPECT_EQ(table->rule(), "adagrad");
  EXPECT_TRUE(ExportAll(*table).rows.at(key).slots ==
              std::vector<float>({0.5f, 0.5f, 0.5f}));
  const std::vector<float> gradient = {1, 1, 1};
  EXPECT_OK(table->Apply(adagrad, &key, gradient.data(), nullptr, 1, 0,
                         &executor, &rows_reset));
  const Contents trained = ExportAll(*table);
  EXPECT_OK(table->AdoptRule(adagrad, 0, &rows_reset));
  EXPECT_TRUE(ExportAll(*table) == trained);
  EXPECT_OK(table->AdoptRule(Bind("sgd", 1, 0, {}), 0, &rows_reset));
  EXPECT_EQ(rows_reset, 1);
}

TEST(EmptyBatchesChangeNothing) {
  SerialExecutor executor;
  const auto table = MakeTable(3, 4);
  const int64_t key = 5;
  const std::vector<float> values = {1, 2, 3};
  EXPECT_OK(table->Upsert(&key, values.data(), 1, 7, &executor));
  const Contents before = ExportAll(*table);
  int64_t number = -1;
  EXPECT_OK(table->Lookup(nullptr, 0, nullptr, &executor));
  EXPECT_OK(table->Upsert(nullptr, nullptr, 0, 1, &executor));
  EXPECT_OK(table->Remove(nullptr, 0, &number, &executor));
  EXPECT_EQ(number, 0);
  number = -1;
  EXPECT_OK(table->Apply(Bind("adam", 1, 0, {0, 0, 0}), nullptr, nullptr,
                         nullptr, 0, 0, &executor, &number));
  EXPECT_EQ(number, 0);
  testing::Columns columns;
  EXPECT_OK(table->Find(nullptr, 0, columns.Allocate(3), &executor));
  TableShape no_rows = before.shape;
  no_rows.size = 0;
  EXPECT_OK(table->Import(no_rows, ConstRowColumns(), false, &executor));
  EXPECT_OK(testing::LookupPooled(*table, nullptr, nullptr, 0, nullptr,
                                  PoolSpec(), nullptr, nullptr, &executor));
  EXPECT_EQ(table->rule(), "");
  EXPECT_TRUE(ExportAll(*table) == before);
  // Empty bags are zeros.
  const std::vector<int64_t> splits = {0, 0, 0};
  std::vector<float> out(6, 5);
  EXPECT_OK(testing::LookupPooled(*table, nullptr, splits.data(), 2, nullptr,
                                  PoolSpec(), out.data(), nullptr, &executor));
  EXPECT_TRUE(SameBits(out, std::vector<float>(6, 0)));
}

TEST(AMillionDuplicatesAreSummedInOrder) {
  constexpr int kDim = 3;
  constexpr int64_t kNum = 1000000;
  Rng rng(8);
  const std::vector<float> gradients = rng.Units((kNum + 500) * kDim);
  std::vector<int64_t> keys(kNum + 500, -77);
  // Other keys in between.
  for (int64_t i = 0; i < 500; ++i) keys[i * 1999] = i % 100;
  testing::ThreadExecutor executor(4);
  const auto table = MakeTable(kDim, 7, InitializerKind::kConstant);
  int64_t rows_reset;
  EXPECT_OK(table->Apply(Bind("sgd", 1, 3, {}), keys.data(), gradients.data(),
                         nullptr, kNum + 500, 3, &executor, &rows_reset));
  std::map<int64_t, std::vector<float>> sums;
  for (int64_t i = 0; i < kNum + 500; ++i) {
    auto& sum = sums.try_emplace(keys[i], kDim, 0.0f).first->second;
    for (int c = 0; c < kDim; ++c) sum[c] += gradients[i * kDim + c];
  }
  const Contents contents = ExportAll(*table);
  EXPECT_EQ(contents.rows.size(), 101u);
  for (const auto& [key, row] : contents.rows) {
    for (int c = 0; c < kDim; ++c) {
      EXPECT_EQ(row.values[c], 0.25f - sums[key][c]);
    }
    EXPECT_EQ(row.frequency, key == -77 ? kNum : 5);
    EXPECT_EQ(row.version, 3);
  }
}

TEST(FrequencyStopsAtItsMaximum) {
  SerialExecutor executor;
  const auto table = MakeTable(1, 0);
  const int64_t keys[] = {1, 1};
  const float gradients[] = {0, 0};
  const int64_t counts[] = {int64_t{1} << 31, (int64_t{1} << 31) - 2};
  int64_t rows_reset;
  const BoundRule rule = Bind("sgd", 1, 0, {});
  const auto apply = [&](int64_t n) {
    EXPECT_OK(table->Apply(rule, keys, gradients, counts, n, 0, &executor,
                           &rows_reset));
    return ExportAll(*table).rows[1].frequency;
  };
  EXPECT_EQ(apply(2), kMaxUint32 - 1);
  EXPECT_OK(table->Apply(rule, keys, gradients, nullptr, 1, 0, &executor,
                         &rows_reset));
  EXPECT_EQ(ExportAll(*table).rows[1].frequency, kMaxUint32);
  EXPECT_EQ(apply(1), kMaxUint32);
  EXPECT_EQ(apply(2), kMaxUint32);
}

TEST(VersionsTakeEveryStep) {
  SerialExecutor executor;
  const auto table = MakeTable(1, 0);
  const int64_t key = 1;
  const float value = 0;
  int64_t rows_reset;
  for (int64_t step : {kMaxUint32 - 1, int64_t{0}, int64_t{5}}) {
    EXPECT_OK(table->Apply(Bind("sgd", 1, step, {}), &key, &value, nullptr, 1,
                           step, &executor, &rows_reset));
    EXPECT_EQ(ExportAll(*table).rows[1].version, step);
    EXPECT_OK(table->Upsert(&key, &value, 1, step / 2, &executor));
    EXPECT_EQ(ExportAll(*table).rows[1].version, step / 2);
  }
}

TEST(MemoryFallsAfterRemoval) {
  constexpr int kDim = 16;
  constexpr int64_t kNum = 100000;
  testing::ThreadExecutor executor(2);
  const auto table = MakeTable(kDim, 4);
  std::vector<int64_t> keys(kNum);
  for (int64_t i = 0; i < kNum; ++i) keys[i] = i * 64;
  const std::vector<float> values(kNum * kDim, 1);
  EXPECT_OK(table->Upsert(keys.data(), values.data(), kNum, 0, &executor));
  const TableStats full = table->stats();
  EXPECT_EQ(full.size, kNum);
  EXPECT_EQ(full.row_used_bytes, kNum * (kDim * 4 + 8));
  EXPECT_TRUE(full.row_bytes >= full.row_used_bytes);
  EXPECT_TRUE(full.row_bytes < full.row_used_bytes * 5 / 4);
  EXPECT_TRUE(full.index_bytes < kNum * 20);
  int64_t removed;
  EXPECT_OK(table->Remove(keys.data(), kNum * 9 / 10, &removed, &executor));
  EXPECT_EQ(removed, kNum * 9 / 10);
  const TableStats tenth = table->stats();
  EXPECT_EQ(tenth.size, kNum / 10);
  EXPECT_TRUE(tenth.row_bytes < full.row_bytes * 3 / 10);
  EXPECT_TRUE(tenth.index_bytes < full.index_bytes * 3 / 10);
  EXPECT_EQ(static_cast<int64_t>(ExportAll(*table).rows.size()), kNum / 10);
  EXPECT_OK(table->Remove(keys.data(), kNum, &removed, &executor));
  EXPECT_EQ(removed, kNum / 10);
  const TableStats none = table->stats();
  EXPECT_EQ(none.row_bytes, 0);
  EXPECT_EQ(none.index_bytes, 0);
  // Removing and adding again does not grow without end.
  for (int round = 0; round < 5; ++round) {
    EXPECT_OK(table->Upsert(keys.data(), values.data(), kNum, 0, &executor));
    EXPECT_TRUE(table->stats().row_bytes <= full.row_bytes);
    EXPECT_OK(table->Remove(keys.data(), kNum, &removed, &executor));
  }
}

TEST(ARuleChangeKeepsVectorsAndResetsSlots) {
  constexpr int kDim = 4;
  SerialExecutor executor;
  const auto table = MakeTable(kDim, 2);
  const std::vector<int64_t> keys = MixedKeys(1000);
  const std::vector<float> gradients(1000 * kDim, 0.5f);
  const auto apply = [&](const BoundRule& rule, int64_t n, int64_t step) {
    int64_t rows_reset = -1;
    EXPECT_OK(table->Apply(rule, keys.data(), gradients.data(), nullptr, n,
                           step, &executor, &rows_reset));
    return rows_reset;
  };
  EXPECT_EQ(apply(Bind("sgd", 0.1f, 0, {}), 1000, 0), 0);
  EXPECT_EQ(table->rule(), "sgd");
  // SGD has no slots to lose.
  EXPECT_EQ(apply(Bind("adagrad", 0.1f, 1, {0.25f, 0, 0}), 1000, 1), 0);
  EXPECT_EQ(apply(Bind("adagrad", 0.1f, 2, {0.25f, 0, 0}), 1000, 2), 0);
  const Contents before = ExportAll(*table);
  EXPECT_EQ(before.shape.slot_width, kDim);
  EXPECT_EQ(before.rows.at(0).slots[0], 0.25f + 0.25f + 0.25f);
  EXPECT_EQ(apply(Bind("adagrad_decay", 0.1f, 30, {0.5f, 10, 0.9f}), 1, 30),
            1000);
  const Contents after = ExportAll(*table);
  EXPECT_EQ(table->rule(), "adagrad_decay");
  EXPECT_EQ(after.shape.slot_width, kDim + 1);
  EXPECT_TRUE(after.shape.initial_slots == (std::vector<float>{0.5f, 3}));
  EXPECT_EQ(after.rows.size(), 1000u);
  for (const auto& [key, row] : after.rows) {
    if (key == keys[0]) continue;
    EXPECT_TRUE(SameBits(row.values, before.rows.at(key).values));
    EXPECT_TRUE(SameBits(row.slots, {0.5f, 0.5f, 0.5f, 0.5f, 3}));
    EXPECT_EQ(row.frequency, 3);
    EXPECT_EQ(row.version, 2);
  }
  EXPECT_EQ(after.rows.at(keys[0]).version, 30);
  // Back to no slots, and memory with it.
  EXPECT_EQ(apply(Bind("sgd", 0.1f, 31, {}), 1, 31), 1000);
  EXPECT_EQ(ExportAll(*table).shape.slot_width, 0);
}

TEST(ImportReplacesOrAdds) {
  constexpr int kDim = 2;
  SerialExecutor executor;
  const auto source = MakeTable(kDim, 3);
  const std::vector<int64_t> keys = MixedKeys(100);
  Rng rng(3);
  const std::vector<float> gradients = rng.Units(100 * kDim);
  int64_t rows_reset;
  EXPECT_OK(source->Apply(Bind("adam", 0.1f, 0, {0.9f, 0.99f, 1e-7f}),
                          keys.data(), gradients.data(), nullptr, 100, 0,
                          &executor, &rows_reset));
  const Contents rows = ExportAll(*source);
  // Into a table with other rows of another rule.
  const auto target = MakeTable(kDim, 0);
  const std::vector<int64_t> others = {0, 1234567};
  EXPECT_OK(target->Apply(Bind("adagrad", 0.1f, 9, {0.1f, 0, 0}), others.data(),
                          gradients.data(), nullptr, 2, 9, &executor,
                          &rows_reset));
  const Contents before = ExportAll(*target);
  EXPECT_ERROR(ImportAll(rows, false, target.get(), &executor),
               StatusCode::kInvalidArgument, "rule is \"adam\"");
  EXPECT_TRUE(ExportAll(*target) == before);
  EXPECT_OK(ImportAll(rows, true, target.get(), &executor));
  EXPECT_TRUE(ExportAll(*target) == rows);
  // Adding rows of the same rule keeps the others.
  Contents more;
  more.shape = rows.shape;
  more.rows[0] = rows.rows.at(-1);
  more.rows[99999] = rows.rows.at(0);
  EXPECT_OK(ImportAll(more, false, target.get(), &executor));
  Contents expected = rows;
  expected.rows[0] = more.rows[0];
  expected.rows[99999] = more.rows[99999];
  EXPECT_TRUE(ExportAll(*target) == expected);
  // Training goes on to the same bits in the copy.
  EXPECT_OK(ImportAll(rows, true, target.get(), &executor));
  for (EmbeddingTable* table : {source.get(), target.get()}) {
    EXPECT_OK(table->Apply(Bind("adam", 0.1f, 1, {0.9f, 0.99f, 1e-7f}),
                           keys.data(), gradients.data(), nullptr, 100, 1,
                           &executor, &rows_reset));
    EXPECT_EQ(rows_reset, 0);
  }
  EXPECT_TRUE(ExportAll(*target) == ExportAll(*source));
  // Of equal keys the last wins; replacing by nothing clears.
  testing::Columns twice = testing::ToColumns(more);
  twice.keys = {7, 7};
  EXPECT_OK(target->Import(twice.shape, twice.view(), true, &executor));
  EXPECT_TRUE(ExportAll(*target).rows.at(7) == twice.At(1, kDim));
  EXPECT_OK(ImportAll(Contents(), true, target.get(), &executor));
  EXPECT_EQ(target->size(), 0);
  EXPECT_EQ(target->rule(), "");
}

TEST(FindLeavesOutColumnsThatAreNotWanted) {
  SerialExecutor executor;
  const auto table = MakeTable(2, 1);
  const std::vector<int64_t> keys = {4, 5};
  const std::vector<float> values = {1, 2};
  EXPECT_OK(table->Upsert(keys.data(), values.data(), 1, 6, &executor));
  std::vector<int64_t> version(2);
  int calls = 0;
  const auto only_version = [&](const TableShape& shape, RowColumns* out) {
    ++calls;
    EXPECT_EQ(shape.size, 2 - calls / 2);
    out->version = version.data();
    return Status();
  };
  EXPECT_OK(table->Find(keys.data(), 2, only_version, &executor));
  EXPECT_TRUE(version == (std::vector<int64_t>{6, kNoVersion}));
  EXPECT_OK(table->Export(only_version, &executor));
  EXPECT_EQ(calls, 2);
  const auto refuse = [](const TableShape&, RowColumns*) {
    return ResourceExhausted("no room");
  };
  EXPECT_ERROR(table->Export(refuse, &executor), StatusCode::kResourceExhausted,
               "no room");
  EXPECT_ERROR(table->Find(keys.data(), 2, refuse, &executor),
               StatusCode::kResourceExhausted, "no room");
}

TEST(ANewInitializerServesNewKeys) {
  SerialExecutor executor;
  const auto table = MakeTable(2, 1);
  const int64_t keys[] = {4, 5};
  const float values[] = {1, 2};
  EXPECT_OK(table->Upsert(keys, values, 1, 0, &executor));
  InitializerSpec spec;
  spec.a = 9;
  std::shared_ptr<const Initializer> initializer;
  EXPECT_OK(Initializer::Create(spec, 2, &initializer));
  table->set_initializer(initializer);
  EXPECT_TRUE(table->initializer() == initializer);
  std::vector<float> out(4);
  EXPECT_OK(table->Lookup(keys, 2, out.data(), &executor));
  EXPECT_TRUE(SameBits(out, {1, 2, 9, 9}));
}

}  // namespace
}  // namespace tf_embedding
