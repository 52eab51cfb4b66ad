// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Save and restore of the core: bit for bit, beside training, and from damaged
// bytes.

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cc/core/checkpoint_format.h"
#include "cc/core/checkpoint_writer.h"
#include "cc/core/crc32c.h"
#include "cc/core/table.h"
#include "tests/cc/executors.h"
#include "tests/cc/random.h"
#include "tests/cc/table_util.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

using testing::Contents;
using testing::ExportAll;
using testing::MakeTable;

constexpr int kDim = 5;

BoundRule Adam(int64_t step) {
  return testing::Bind("adam", 0.1f, step, {0.9f, 0.99f, 1e-7f});
}
BoundRule Adagrad(int64_t step) {
  return testing::Bind("adagrad", 0.1f, step, {0.1f, 0, 0});
}

void Train(EmbeddingTable* table, const BoundRule& rule,
           const std::vector<int64_t>& keys, int64_t step) {
  std::vector<float> gradients(keys.size() * table->dim());
  for (size_t i = 0; i < gradients.size(); ++i) {
    gradients[i] = static_cast<float>((i * 7 + step) % 11) - 5;
  }
  SerialExecutor executor;
  int64_t rows_reset;
  EXPECT_OK(table->Apply(rule, keys.data(), gradients.data(), nullptr,
                         static_cast<int64_t>(keys.size()), step, &executor,
                         &rows_reset));
}

std::vector<std::string> Save(const EmbeddingTable& table, int64_t part = 0,
                              int64_t num_parts = 1) {
  CheckpointWriter writer(&table, part, num_parts);
  std::vector<std::string> elements(writer.num_elements());
  for (int64_t i = 0; i < writer.num_elements(); ++i) {
    EXPECT_OK(writer.Encode(i, &elements[i]));
  }
  return elements;
}

Status Load(CheckpointParts parts, const RestoreOptions& options,
            EmbeddingTable* table, RestoreReport* report = nullptr) {
  testing::ThreadExecutor executor(2);
  RestoreReport unused;
  return table->Restore(std::move(parts), options, &executor,
                        report == nullptr ? &unused : report);
}

Status Load(CheckpointParts parts, EmbeddingTable* table) {
  return Load(std::move(parts), RestoreOptions(), table);
}

std::unique_ptr<EmbeddingTable> Trained(int log2_shards, int64_t num_keys) {
  auto table = MakeTable(kDim, log2_shards);
  const std::vector<int64_t> keys = testing::MixedKeys(num_keys);
  for (int64_t step = 0; step < 3; ++step) {
    const int64_t from = std::min(step * 3, num_keys - 1);
    Train(table.get(), Adam(step),
          std::vector<int64_t>(keys.begin() + from, keys.end()), step);
  }
  return table;
}

// Fewer blocks than shards, and more, on both sides.
TEST(RoundTrip) {
  for (int64_t num_keys : {0, 1, 1000, 40000}) {
    for (int from : {0, 3, 7}) {
      for (int to : {0, 2, 6}) {
        testing::Trace trace("keys ", num_keys, ", log2_shards ", from, " to ",
                             to);
        const auto table =
            num_keys == 0 ? MakeTable(kDim, from) : Trained(from, num_keys);
        const Contents want = ExportAll(*table);
        CheckpointParts parts = {Save(*table)};
        EXPECT_TRUE(num_keys < 40000 || parts[0].size() > 8);
        CheckpointFooter footer;
        EXPECT_OK(ParseFooter(parts[0].back(), "footer", &footer));
        EXPECT_EQ(footer.rows, num_keys);
        EXPECT_EQ(footer.step, num_keys == 0 ? -1 : 2);
        const auto other = MakeTable(kDim, to, InitializerKind::kConstant);
        Train(other.get(), Adagrad(0), {1, 2, 3, 12345}, 0);
        EXPECT_OK(Load(std::move(parts), other.get()));
        EXPECT_TRUE(ExportAll(*other) == want);
        EXPECT_EQ(other->rule(), table->rule());
        EXPECT_TRUE(other->initializer()->spec().kind ==
                    InitializerKind::kUniform);
      }
    }
  }
}

// As kernels do: the next group is made while the caller has this one.
std::vector<std::string> SaveAhead(const EmbeddingTable& table) {
  CheckpointWriter writer(&table, 0, 1);
  std::vector<std::string> elements(writer.num_elements());
  std::vector<std::thread> ahead;
  for (int64_t i = 0; i < writer.num_elements(); ++i) {
    EXPECT_OK(writer.Encode(i, &elements[i]));
    const int64_t next = writer.GroupAfter(i);
    if (next < 0) continue;
    ahead.emplace_back([&writer, next] { writer.MakeAhead(next); });
  }
  for (std::thread& thread : ahead) thread.join();
  return elements;
}

TEST(BlocksMadeAheadAreTheSame) {
  for (const int log2_shards : {0, 2, 6}) {
    const auto table = Trained(log2_shards, 60000);
    const std::vector<std::string> want = Save(*table);
    EXPECT_TRUE(want.size() > 8);
    EXPECT_TRUE(SaveAhead(*table) == want);
    // Passed, asked for again, or never asked for.
    CheckpointWriter writer(table.get(), 0, 1);
    std::string bytes;
    for (int64_t i : {0, 5, 1, 0}) {
      writer.MakeAhead(std::max<int64_t>(0, writer.GroupAfter(i)));
      EXPECT_OK(writer.Encode(i, &bytes));
      EXPECT_TRUE(bytes == want[i]);
    }
    for (size_t i = 0; i < want.size(); ++i) {
      EXPECT_OK(writer.Encode(i, &bytes));
      EXPECT_TRUE(bytes == want[i]);
    }
    EXPECT_EQ(writer.GroupAfter(writer.num_elements() - 2), int64_t{-1});
  }
}

TEST(BytesThatAreGivenBackDoNoHarm) {
  for (const int log2_shards : {0, 2, 6}) {
    const auto table = Trained(log2_shards, 60000);
    const std::vector<std::string> want = Save(*table);
    CheckpointWriter writer(table.get(), 0, 1);
    // More than it keeps, and before they are of use.
    for (int i = 0; i < 300; ++i) writer.Reuse(std::string(i * 5000, 'x'));
    for (size_t i = 0; i < want.size(); ++i) {
      std::string bytes;
      EXPECT_OK(writer.Encode(i, &bytes));
      EXPECT_TRUE(bytes == want[i]);
      const int64_t next = writer.GroupAfter(i);
      if (next >= 0) writer.MakeAhead(next);
      writer.Reuse(std::move(bytes));
    }
  }
}

TEST(EveryElementCanBeAskedForInAnyOrderAndAgain) {
  const auto table = Trained(2, 40000);
  const std::vector<std::string> want = Save(*table);
  CheckpointWriter writer(table.get(), 0, 1);
  for (int64_t i = writer.num_elements() - 2; i >= 0; --i) {
    std::string bytes;
    EXPECT_OK(writer.Encode(i, &bytes));
    EXPECT_TRUE(bytes == want[i]);
    EXPECT_OK(writer.Encode(i, &bytes));
    EXPECT_TRUE(bytes == want[i]);
  }
}

std::vector<std::unique_ptr<EmbeddingTable>> Split(const EmbeddingTable& whole,
                                                   int64_t num_parts) {
  std::vector<std::unique_ptr<EmbeddingTable>> parts;
  for (int64_t part = 0; part < num_parts; ++part) {
    parts.push_back(MakeTable(kDim, 2));
    RestoreOptions options;
    options.part = static_cast<int>(part);
    options.num_parts = static_cast<int>(num_parts);
    EXPECT_OK(Load({Save(whole)}, options, parts.back().get()));
  }
  return parts;
}

TEST(PartsIntoParts) {
  const auto whole = Trained(3, 20000);
  const Contents want = ExportAll(*whole);
  for (int64_t from : {1, 2, 3, 7}) {
    const auto saved = Split(*whole, from);
    CheckpointParts parts;
    for (int64_t part = 0; part < from; ++part) {
      // An even share, so that no part idles.
      EXPECT_NEAR(static_cast<double>(saved[part]->size()), 20000.0 / from,
                  600.0);
      parts.push_back(Save(*saved[part], part, from));
    }
    std::swap(parts.front(), parts.back());  // in any order
    for (int64_t to : {1, 2, 5}) {
      testing::Trace trace(from, " parts into ", to);
      std::map<int64_t, testing::Row> got;
      for (int64_t part = 0; part < to; ++part) {
        const auto table = MakeTable(kDim, 4);
        RestoreOptions options;
        options.part = static_cast<int>(part);
        options.num_parts = static_cast<int>(to);
        RestoreReport report;
        EXPECT_OK(Load(parts, options, table.get(), &report));
        EXPECT_EQ(report.rows, table->size());
        Contents contents = ExportAll(*table);
        EXPECT_EQ(contents.shape.rule, "adam");
        got.merge(contents.rows);
        EXPECT_TRUE(contents.rows.empty());  // no key in two parts
      }
      EXPECT_TRUE(got == want.rows);
    }
  }
}

TEST(PartsMustBeComplete) {
  const auto whole = Trained(3, 500);
  const auto saved = Split(*whole, 3);
  CheckpointParts parts;
  for (int64_t part = 0; part < 3; ++part) {
    parts.push_back(Save(*saved[part], part, 3));
  }
  const auto table = MakeTable(kDim, 1);
  table->Clear();
  EXPECT_ERROR(Load({parts[0], parts[2]}, table.get()),
               StatusCode::kInvalidArgument, "part 1 of 3 is missing");
  EXPECT_ERROR(Load({parts[0], parts[2], parts[2]}, table.get()),
               StatusCode::kInvalidArgument, "part 2 of 3 is given twice");
  EXPECT_ERROR(Load({parts[0], parts[1], Save(*whole)}, table.get()),
               StatusCode::kInvalidArgument, "not parts of one variable");
  EXPECT_ERROR(Load({}, table.get()), StatusCode::kInvalidArgument,
               "no part is given");
  EXPECT_EQ(table->size(), 0);
  // Its own part alone is whole.
  RestoreOptions own;
  own.part = 1;
  own.num_parts = 3;
  EXPECT_OK(Load({parts[1]}, own, table.get()));
  EXPECT_TRUE(ExportAll(*table) == ExportAll(*saved[1]));
  // Any part, on request, beside the rows there are.
  RestoreOptions partial;
  partial.partial = true;
  EXPECT_OK(Load({parts[0]}, partial, table.get()));
  EXPECT_EQ(table->size(), saved[0]->size() + saved[1]->size());
  EXPECT_OK(Load({parts[2]}, partial, table.get()));
  EXPECT_TRUE(ExportAll(*table) == ExportAll(*whole));
}

TEST(PartialKeepsTheTablesRule) {
  const auto saved = Trained(3, 100);
  const auto table = MakeTable(kDim, 2, InitializerKind::kConstant);
  Train(table.get(), Adagrad(0), {5, 1 << 20}, 7);
  const Contents before = ExportAll(*table);
  RestoreOptions partial;
  partial.partial = true;
  RestoreReport report;
  EXPECT_OK(Load({Save(*saved)}, partial, table.get(), &report));
  EXPECT_EQ(report.rows_reset, 100);
  const Contents after = ExportAll(*table);
  const Contents theirs = ExportAll(*saved);
  EXPECT_EQ(after.shape.rule, "adagrad");
  EXPECT_TRUE(after.rows.at(1 << 20) == before.rows.at(1 << 20));
  for (const auto& [key, row] : theirs.rows) {
    EXPECT_TRUE(testing::SameBits(after.rows.at(key).values, row.values));
    EXPECT_TRUE(testing::SameBits(after.rows.at(key).slots,
                                  std::vector<float>(kDim, 0.1f)));
    EXPECT_EQ(after.rows.at(key).version, row.version);
  }
  EXPECT_TRUE(table->initializer()->spec().kind == InitializerKind::kConstant);
}

TEST(AnotherDimOnRequest) {
  const auto saved = Trained(3, 300);
  const Contents want = ExportAll(*saved);
  for (int dim : {1, 3, 8}) {
    const auto table = MakeTable(dim, 2);
    table->Clear();
    EXPECT_ERROR(Load({Save(*saved)}, table.get()),
                 StatusCode::kInvalidArgument, "the checkpoint has dim 5");
    RestoreOptions options;
    options.change_dim = true;
    EXPECT_OK(Load({Save(*saved)}, options, table.get()));
    const Contents got = ExportAll(*table);
    EXPECT_EQ(got.rows.size(), want.rows.size());
    for (const auto& [key, row] : want.rows) {
      const testing::Row& wide = got.rows.at(key);
      std::vector<float> born(dim);
      table->initializer()->Fill(key, born.data());
      for (int c = 0; c < dim; ++c) {
        EXPECT_EQ(wide.values[c], c < kDim ? row.values[c] : born[c]);
        for (int k = 0; k < 2; ++k) {
          EXPECT_EQ(wide.slots[k * dim + c],
                    c < kDim ? row.slots[k * kDim + c] : 0.0f);
        }
      }
      EXPECT_EQ(wide.frequency, row.frequency);
    }
  }
}

// A save runs, and the first update comes.
TEST(TheRuleMayChangeDuringASave) {
  const auto table = MakeTable(kDim, 1);
  std::vector<int64_t> keys = testing::MixedKeys(40000);
  std::vector<float> values(keys.size() * kDim, 0.5f);
  SerialExecutor executor;
  EXPECT_OK(table->Upsert(keys.data(), values.data(),
                          static_cast<int64_t>(keys.size()), 0, &executor));
  CheckpointWriter writer(table.get(), 0, 1);
  EXPECT_TRUE(writer.num_elements() > 4);
  std::vector<std::string> elements(writer.num_elements());
  EXPECT_OK(writer.Encode(0, &elements[0]));
  Train(table.get(), Adagrad(0), {1}, 5);
  for (int64_t i = 1; i < writer.num_elements(); ++i) {
    EXPECT_OK(writer.Encode(i, &elements[i]));
  }
  const auto other = MakeTable(kDim, 3);
  EXPECT_OK(Load({elements}, other.get()));
  Contents got = ExportAll(*other);
  Contents want = ExportAll(*table);
  EXPECT_EQ(got.shape.rule, "adagrad");
  got.rows.erase(1);
  want.rows.erase(1);
  EXPECT_TRUE(got == want);
}

// A row's record as a function of how often it was trained: every trainer
// updates each of its keys once a step, by the same gradient.
std::vector<testing::Row> History(int64_t steps) {
  const auto table = MakeTable(kDim, 0, InitializerKind::kConstant);
  std::vector<testing::Row> history;
  const std::vector<float> gradient(kDim, 1.0f);
  SerialExecutor executor;
  const int64_t key = 1;
  int64_t rows_reset;
  for (int64_t step = 0; step < steps; ++step) {
    EXPECT_OK(table->Apply(Adam(0), &key, gradient.data(), nullptr, 1, step,
                           &executor, &rows_reset));
    history.push_back(ExportAll(*table).rows.at(key));
  }
  return history;
}

TEST(SavesBesideTraining) {
  constexpr int64_t kKeys = 6000;
  constexpr int64_t kSteps = 60;
  const std::vector<testing::Row> history = History(kSteps);
  const auto table = MakeTable(kDim, 3, InitializerKind::kConstant);
  const std::vector<int64_t> keys = testing::MixedKeys(2 * kKeys);
  std::atomic<int> training{2};
  std::vector<std::thread> trainers;
  for (int t = 0; t < 2; ++t) {
    trainers.emplace_back([&, t] {
      testing::ThreadExecutor executor(2);
      const std::vector<float> gradients(kKeys * kDim, 1.0f);
      int64_t rows_reset;
      for (int64_t step = 0; step < kSteps; ++step) {
        EXPECT_OK(table->Apply(Adam(0), keys.data() + t * kKeys,
                               gradients.data(), nullptr, kKeys, step,
                               &executor, &rows_reset));
      }
      --training;
    });
  }
  int saves = 0;
  int64_t records = 0;
  for (bool last = false; !last; ++saves) {
    last = training == 0;
    const std::vector<std::string> elements = SaveAhead(*table);
    for (size_t e = 0; e + 1 < elements.size(); ++e) {
      BlockHeader header;
      const char* at;
      EXPECT_OK(ParseBlock(elements[e], "block", &header, &at));
      for (int64_t i = 0; i < header.rows; ++i) {
        const RecordView view(at + i * header.record_bytes());
        const int64_t frequency = view.frequency();
        EXPECT_TRUE(frequency >= 1 && frequency <= kSteps);
        testing::Row row;
        row.values.resize(kDim);
        row.slots.resize(header.slot_width);
        view.CopyValues(0, kDim, row.values.data());
        view.CopyValues(kDim, header.slot_width, row.slots.data());
        row.frequency = frequency;
        row.version = view.version();
        EXPECT_TRUE(row == history[frequency - 1]);
        ++records;
      }
    }
    const auto other = MakeTable(kDim, 1);
    EXPECT_OK(Load({elements}, other.get()));
  }
  for (std::thread& trainer : trainers) trainer.join();
  EXPECT_TRUE(saves >= 2 && records > kKeys);
  EXPECT_EQ(table->size(), 2 * kKeys);
}

TEST(ReadersNeverSeeARestoreHalfDone) {
  const std::vector<int64_t> keys = testing::MixedKeys(2000);
  const auto n = static_cast<int64_t>(keys.size());
  std::vector<std::vector<std::string>> saved;
  SerialExecutor executor;
  for (float value : {1.0f, 2.0f}) {
    const auto table = MakeTable(kDim, 2, InitializerKind::kConstant);
    const std::vector<float> values(n * kDim, value);
    EXPECT_OK(table->Upsert(keys.data(), values.data(), n, 0, &executor));
    saved.push_back(Save(*table));
  }
  const auto table = MakeTable(kDim, 2, InitializerKind::kConstant);
  EXPECT_OK(Load({saved[0]}, table.get()));
  const testing::Columns rows = [&] {
    testing::Columns columns;
    EXPECT_OK(table->Export(columns.Allocate(kDim), &executor));
    return columns;
  }();
  std::atomic<bool> done{false};
  std::thread writer([&] {
    SerialExecutor serial;
    for (int round = 0; round < 40; ++round) {
      EXPECT_OK(Load({saved[round % 2]}, table.get()));
      EXPECT_OK(
          table->Import(rows.shape, rows.view(), /*replace=*/true, &serial));
    }
    done = true;
  });
  std::vector<float> out(n * kDim);
  while (!done) {
    EXPECT_OK(table->Lookup(keys.data(), n, out.data(), &executor));
    for (float value : out) EXPECT_TRUE(value == out[0]);
    EXPECT_TRUE(out[0] == 1.0f || out[0] == 2.0f);
    EXPECT_EQ(table->size(), n);
  }
  writer.join();
}

// Damage. The table that refuses it holds other rows, and keeps them.
struct Damaged {
  std::vector<std::string> saved = Save(*Trained(1, 60));
  std::unique_ptr<EmbeddingTable> table = Trained(2, 20);
  Contents before = ExportAll(*table);

  void ExpectRefused(const std::vector<std::string>& elements) {
    SerialExecutor executor;
    RestoreReport unused;
    const Status status =
        table->Restore({elements}, RestoreOptions(), &executor, &unused);
    EXPECT_TRUE(!status.ok() && !status.message().empty());
  }
  ~Damaged() {
    EXPECT_TRUE(ExportAll(*table) == before);
    EXPECT_OK(Load({saved}, table.get()));
  }
};

TEST(EveryTruncationIsRefused) {
  Damaged d;
  for (size_t e = 0; e < d.saved.size(); ++e) {
    for (size_t size = 0; size < d.saved[e].size(); ++size) {
      std::vector<std::string> elements = d.saved;
      elements[e].resize(size);
      d.ExpectRefused(elements);
    }
  }
  for (size_t e = 0; e < d.saved.size(); ++e) {
    std::vector<std::string> elements = d.saved;
    elements.erase(elements.begin() + static_cast<int64_t>(e));
    d.ExpectRefused(elements);
  }
}

TEST(EveryBitFlipIsRefused) {
  Damaged d;
  testing::Rng rng(5);
  for (int round = 0; round < 12000; ++round) {
    std::vector<std::string> elements = d.saved;
    std::string& bytes = elements[rng.Next() % elements.size()];
    bytes[rng.Next() % bytes.size()] ^= static_cast<char>(1 << rng.Next() % 8);
    d.ExpectRefused(elements);
  }
}

// Nonsense under a right checksum: refused or taken, but no crash, and no
// memory beyond the bytes.
TEST(ForgedFramesDoNoHarm) {
  const std::vector<std::string> saved = Save(*Trained(1, 20));
  testing::Rng rng(6);
  int refused = 0;
  for (int round = 0; round < 12000; ++round) {
    std::vector<std::string> elements = saved;
    std::string& bytes = elements[rng.Next() % elements.size()];
    // Most in the head, where the counts are.
    const size_t reach = round % 4 == 0 ? bytes.size() - 4 : 120;
    const size_t at = 8 + rng.Next() % (reach - 8);
    if (round % 3 == 0) {
      const uint64_t word =
          round % 2 == 0 ? rng.Next() : ~0ull << rng.Next() % 64;
      std::memcpy(&bytes[at], &word, std::min<size_t>(8, reach - at));
    } else {
      bytes[at] ^= static_cast<char>(1 << rng.Next() % 8);
    }
    const uint32_t checksum = Crc32c(bytes.data(), bytes.size() - 4);
    std::memcpy(&bytes[bytes.size() - 4], &checksum, 4);
    const auto table = MakeTable(kDim, 1);
    SerialExecutor executor;
    RestoreReport unused;
    if (!table->Restore({elements}, RestoreOptions(), &executor, &unused)
             .ok()) {
      ++refused;
      EXPECT_EQ(table->size(), 0);
    }
  }
  EXPECT_TRUE(refused > 6000);
}

TEST(ErrorsSayWhatIsWrong) {
  const auto saved = Trained(1, 20000);
  const std::vector<std::string> good = Save(*saved);
  const auto table = MakeTable(kDim, 1);
  const auto expect = [&](std::vector<std::string> elements, StatusCode code,
                          const char* part) {
    EXPECT_ERROR(Load({std::move(elements)}, table.get()), code, part);
  };
  std::vector<std::string> bad = good;
  bad[1][100] ^= 1;
  expect(bad, StatusCode::kDataLoss, "block 1 of 8 is damaged: its checksum");
  bad = good;
  bad[2].resize(50);
  expect(bad, StatusCode::kDataLoss, "block 2 of 8 is cut short");
  bad = good;
  std::swap(bad[0], bad[1]);
  expect(bad, StatusCode::kDataLoss,
         "block 0 of 8 belongs to another checkpoint");
  bad = good;
  bad[3] = Save(*Trained(1, 20100))[3];
  expect(bad, StatusCode::kDataLoss, "its footer says 20000");
  bad = good;
  bad.pop_back();
  expect(bad, StatusCode::kDataLoss, "the footer is damaged or something else");
  bad = good;
  bad[8][8] = 3;
  const uint32_t checksum = Crc32c(bad[8].data(), bad[8].size() - 4);
  std::memcpy(&bad[8][bad[8].size() - 4], &checksum, 4);
  expect(bad, StatusCode::kInvalidArgument, "has format version 3");
  EXPECT_EQ(table->size(), 0);
}

}  // namespace
}  // namespace tf_embedding
