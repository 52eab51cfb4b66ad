// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Deltas of the core: copies that follow a table, beside training, several at a
// time, into other parts, and from damaged bytes.

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cc/core/checkpoint_format.h"
#include "cc/core/checkpoint_merger.h"
#include "cc/core/checkpoint_writer.h"
#include "cc/core/crc32c.h"
#include "cc/core/table.h"
#include "cc/core/table_snapshot.h"
#include "tests/cc/executors.h"
#include "tests/cc/random.h"
#include "tests/cc/table_util.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

using testing::Contents;
using testing::ExportAll;
using testing::MakeTable;

constexpr int kDim = 4;

BoundRule Adagrad() { return testing::Bind("adagrad", 0.1f, 0, {0.1f, 0, 0}); }
BoundRule Adam() {
  return testing::Bind("adam", 0.1f, 0, {0.9f, 0.99f, 1e-7f});
}

// The step never moves: nothing may depend on it.
void Train(EmbeddingTable* table, const std::vector<int64_t>& keys,
           const BoundRule& rule = Adagrad()) {
  std::vector<float> gradients(keys.size() * kDim, 1.0f);
  SerialExecutor executor;
  int64_t rows_reset;
  EXPECT_OK(table->Apply(rule, keys.data(), gradients.data(), nullptr,
                         static_cast<int64_t>(keys.size()), 0, &executor,
                         &rows_reset));
}

void Remove(EmbeddingTable* table, const std::vector<int64_t>& keys) {
  SerialExecutor executor;
  int64_t removed;
  EXPECT_OK(table->Remove(keys.data(), static_cast<int64_t>(keys.size()),
                          &removed, &executor));
}

std::vector<std::string> Save(const EmbeddingTable& table, uint32_t since,
                              int64_t part = 0, int64_t num_parts = 1) {
  CheckpointWriter writer(&table, part, num_parts, since);
  std::vector<std::string> elements(writer.num_elements());
  for (int64_t i = 0; i < writer.num_elements(); ++i) {
    EXPECT_OK(writer.Encode(i, &elements[i]));
  }
  return elements;
}

Status Apply(CheckpointParts parts, const RestoreOptions& options,
             EmbeddingTable* copy, DeltaReport* report) {
  testing::ThreadExecutor executor(2);
  PreparedDelta prepared;
  TFE_RETURN_IF_ERROR(
      copy->PrepareDelta(std::move(parts), options, &executor, &prepared));
  return copy->ApplyDelta(prepared, &executor, report);
}

Status Apply(CheckpointParts parts, EmbeddingTable* copy) {
  DeltaReport unused;
  return Apply(std::move(parts), RestoreOptions(), copy, &unused);
}

// A copy of a table, and whether it was all rows that brought it up to date.
struct Follower {
  std::string name;
  std::unique_ptr<EmbeddingTable> copy = MakeTable(kDim, 2);
  bool was_full = false;
  size_t bytes = 0;

  // finish: else the delta is written and lost.
  void Follow(EmbeddingTable* table, bool finish = true) {
    uint32_t since;
    EXPECT_OK(table->StartDelta(name, &since));
    const std::vector<std::string> saved = Save(*table, since);
    if (!finish) return;
    was_full = since == 0;
    bytes = 0;
    for (const std::string& element : saved) bytes += element.size();
    if (was_full) {
      SerialExecutor executor;
      RestoreReport unused;
      EXPECT_OK(copy->Restore({saved}, RestoreOptions(), &executor, &unused));
    } else {
      EXPECT_OK(Apply({saved}, copy.get()));
      EXPECT_OK(Apply({saved}, copy.get()));  // twice is as once
    }
    EXPECT_OK(table->FinishDelta(name));
  }
};

// A copy of the table that keeps no log, as one on a device does.
std::unique_ptr<EmbeddingTable> Copy(const EmbeddingTable& table,
                                     int log2_shards) {
  auto copy = MakeTable(kDim, log2_shards);
  SerialExecutor executor;
  EXPECT_OK(testing::ImportAll(ExportAll(table), /*replace=*/true, copy.get(),
                               &executor));
  return copy;
}

TEST(WhatChangedBetweenTwoMomentsIsADelta) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    testing::Trace trace("seed ", seed);
    testing::Rng rng(seed);
    const auto table = MakeTable(kDim, 3);
    Train(table.get(), {1, 2, 3, 1000});
    const auto follower = Copy(*table, 2);
    TableSnapshot before;
    EXPECT_OK(table->Snapshot(&before));
    for (int round = 0; round < 15; ++round) {
      std::vector<int64_t> changed;
      for (int64_t action = rng.Below(4); action > 0; --action) {
        std::vector<int64_t> keys(1 + rng.Below(30));
        for (int64_t& key : keys) key = rng.Below(200) - 100;
        changed.insert(changed.end(), keys.begin(), keys.end());
        if (rng.Below(3) == 0) {
          Remove(table.get(), keys);
        } else {
          Train(table.get(), keys);
        }
      }
      const auto copy = Copy(*table, static_cast<int>(seed % 5));
      TableSnapshot now;
      EXPECT_OK(copy->Snapshot(&now));
      EXPECT_TRUE(now.rule == "adagrad");
      EXPECT_OK(copy->FollowSince("one", before, now));
      uint32_t since;
      EXPECT_OK(copy->DeltaSince("one", &since));
      EXPECT_TRUE(since > 0);
      DeltaReport report;
      EXPECT_OK(Apply({Save(*copy, since)}, RestoreOptions(), follower.get(),
                      &report));
      EXPECT_TRUE(ExportAll(*follower) == ExportAll(*table));
      std::sort(changed.begin(), changed.end());
      const auto end = std::unique(changed.begin(), changed.end());
      EXPECT_TRUE(report.rows + report.removed <= end - changed.begin());
      before = now;
    }
  }
}

TEST(EveryPartOfARowTellsThatItChanged) {
  const auto table = MakeTable(kDim, 2);
  Train(table.get(), {7, 8});
  const Contents contents = ExportAll(*table);
  TableSnapshot before;
  EXPECT_OK(table->Snapshot(&before));
  for (int part = 0; part < 4; ++part) {
    Contents changed = contents;
    testing::Row& row = changed.rows[7];
    if (part == 0) row.values[kDim - 1] = -row.values[kDim - 1];
    if (part == 1) row.slots[0] += 1;
    if (part == 2) ++row.frequency;
    if (part == 3) ++row.version;
    SerialExecutor executor;
    EXPECT_OK(
        testing::ImportAll(changed, /*replace=*/true, table.get(), &executor));
    TableSnapshot now;
    EXPECT_OK(table->Snapshot(&now));
    EXPECT_EQ(now.rows.size(), size_t{2});
    EXPECT_TRUE(now.rows[0].hash != before.rows[0].hash);
    EXPECT_EQ(now.rows[1].hash, before.rows[1].hash);
  }
}

TEST(CopiesFollowAnyHistory) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    testing::Trace trace("seed ", seed);
    testing::Rng rng(seed);
    const auto table = MakeTable(kDim, static_cast<int>(seed % 5));
    Train(table.get(), {1});
    Follower followers[2] = {{"a"}, {"b"}};
    std::vector<std::string> kept = Save(*table, 0);
    int deltas = 0;
    for (int round = 0; round < 60; ++round) {
      std::vector<int64_t> keys(1 + rng.Below(40));
      for (int64_t& key : keys) key = rng.Below(300) - 150;
      const int64_t what = rng.Below(40);
      SerialExecutor executor;
      if (what < 16) {
        Train(table.get(), keys);
      } else if (what < 26) {
        Remove(table.get(), keys);
      } else if (what == 26) {
        table->Clear();
      } else if (what == 27) {
        RestoreReport unused;
        EXPECT_OK(table->Restore({kept}, RestoreOptions(), &executor, &unused));
      } else if (what == 28) {
        Train(table.get(), keys, Adam());
      } else if (what == 29) {
        EXPECT_OK(testing::ImportAll(ExportAll(*table), /*replace=*/true,
                                     table.get(), &executor));
      } else if (what == 30) {
        kept = Save(*table, 0);
      } else {
        Follower* const follower = &followers[what % 2];
        follower->Follow(table.get(), /*finish=*/what < 39);
        if (what == 39) continue;
        EXPECT_TRUE(ExportAll(*follower->copy) == ExportAll(*table));
        deltas += follower->was_full ? 0 : 1;
      }
    }
    EXPECT_TRUE(deltas > 0);
    for (Follower& follower : followers) {
      follower.Follow(table.get());
      EXPECT_TRUE(ExportAll(*follower.copy) == ExportAll(*table));
    }
  }
}

TEST(ADeltaIsAsLargeAsWhatChanged) {
  const auto table = MakeTable(kDim, 7);
  const std::vector<int64_t> keys = testing::MixedKeys(50000);
  Train(table.get(), keys);
  Follower follower{"a"};
  follower.Follow(table.get());
  EXPECT_TRUE(follower.was_full);
  const size_t full = follower.bytes;
  Train(table.get(), {keys.begin(), keys.begin() + 500});
  follower.Follow(table.get());
  EXPECT_TRUE(!follower.was_full && follower.bytes * 1000 < full * 15);
  Remove(table.get(), {keys.begin(), keys.begin() + 10});
  follower.Follow(table.get());
  EXPECT_TRUE(!follower.was_full && follower.bytes < 600);
  follower.Follow(table.get());
  EXPECT_TRUE(follower.bytes < 550);
  EXPECT_TRUE(ExportAll(*follower.copy) == ExportAll(*table));
}

TEST(WhatNoOneNeedsIsForgotten) {
  const auto table = MakeTable(kDim, 0);
  const std::vector<int64_t> keys = testing::MixedKeys(4000);
  Train(table.get(), keys);
  const auto bytes = [&] { return table->stats().row_bytes; };
  const int64_t without = bytes();
  Follower slow{"slow"}, fast{"fast"};
  slow.Follow(table.get());
  fast.Follow(table.get());
  const int64_t with = bytes();
  EXPECT_TRUE(with >= without + 4 * 4000 && with < without + 8 * 4000);
  Remove(table.get(), {keys.begin(), keys.begin() + 600});
  const int64_t removed = bytes();
  fast.Follow(table.get());
  EXPECT_EQ(bytes(), removed);  // the slow one needs them
  slow.Follow(table.get());
  EXPECT_TRUE(bytes() < removed);
  EXPECT_TRUE(!slow.was_full);
  EXPECT_TRUE(ExportAll(*slow.copy) == ExportAll(*table));
  table->ForgetConsumer("slow");
  table->ForgetConsumer("never there");
  fast.Follow(table.get());
  EXPECT_TRUE(!fast.was_full);
  table->ForgetConsumer("fast");
  EXPECT_TRUE(bytes() <= without);
  EXPECT_ERROR(table->FinishDelta("fast"), StatusCode::kInvalidArgument,
               "has started no delta");
  fast.Follow(table.get());
  EXPECT_TRUE(fast.was_full);
}

TEST(TooManyRemovedKeysMakeItFull) {
  const auto table = MakeTable(kDim, 0);
  const std::vector<int64_t> keys = testing::MixedKeys(9000);
  Train(table.get(), keys);
  Follower follower{"a"};
  follower.Follow(table.get());
  Remove(table.get(), {keys.begin(), keys.begin() + 4000});
  follower.Follow(table.get());
  EXPECT_TRUE(!follower.was_full);
  Remove(table.get(), {keys.begin() + 4000, keys.end() - 10});
  follower.Follow(table.get());
  EXPECT_TRUE(follower.was_full);
  EXPECT_TRUE(ExportAll(*follower.copy) == ExportAll(*table));
  EXPECT_TRUE(table->stats().row_bytes < 64 * 10 + 32 * 4096);
}

// Parts that were cut one way into parts cut another way.
TEST(PartsIntoOtherParts) {
  const auto whole = MakeTable(kDim, 3);
  const std::vector<int64_t> keys = testing::MixedKeys(3000);
  const auto of_part = [](const std::vector<int64_t>& all, int part, int n) {
    std::vector<int64_t> own;
    for (int64_t key : all) {
      if (PartOfHash(MixKey(key), n) == part) own.push_back(key);
    }
    return own;
  };
  std::vector<std::unique_ptr<EmbeddingTable>> from, to;
  CheckpointParts full, delta;
  const std::vector<int64_t> again(keys.begin(), keys.begin() + 300);
  const std::vector<int64_t> gone(keys.begin() + 200, keys.begin() + 400);
  Train(whole.get(), keys);
  Train(whole.get(), again);
  Remove(whole.get(), gone);
  for (int p = 0; p < 2; ++p) {
    from.push_back(MakeTable(kDim, 2));
    Train(from[p].get(), of_part(keys, p, 2));
    uint32_t since;
    EXPECT_OK(from[p]->StartDelta("a", &since));
    full.push_back(Save(*from[p], since, p, 2));
    EXPECT_OK(from[p]->FinishDelta("a"));
    Train(from[p].get(), of_part(again, p, 2));
    Remove(from[p].get(), of_part(gone, p, 2));
    EXPECT_OK(from[p]->StartDelta("a", &since));
    delta.push_back(Save(*from[p], since, p, 2));
  }
  Contents got;
  for (int p = 0; p < 3; ++p) {
    to.push_back(MakeTable(kDim, 4));
    RestoreOptions options;
    options.part = p;
    options.num_parts = 3;
    SerialExecutor executor;
    RestoreReport restored;
    EXPECT_OK(to[p]->Restore(full, options, &executor, &restored));
    DeltaReport report;
    EXPECT_OK(Apply(delta, options, to[p].get(), &report));
    EXPECT_EQ(report.rows + report.rows_of_others, 200);
    const Contents part = ExportAll(*to[p]);
    got.shape = part.shape;
    got.rows.insert(part.rows.begin(), part.rows.end());
  }
  EXPECT_TRUE(got == ExportAll(*whole));
}

// A save in memory.
class Saved : public ElementSource {
 public:
  explicit Saved(CheckpointParts parts) : parts_(std::move(parts)) {}
  std::string name() const override { return "saved"; }
  int64_t num_parts() const override {
    return static_cast<int64_t>(parts_.size());
  }
  int64_t num_elements(int64_t part) const override {
    return static_cast<int64_t>(parts_[part].size());
  }
  Status Read(int64_t part, int64_t element, std::string* bytes) override {
    ++reads;
    *bytes = parts_[part][element];
    return Status();
  }
  CheckpointParts parts_;
  int64_t reads = 0;
};

Status Merge(const std::vector<ElementSource*>& sources,
             std::vector<std::string>* merged) {
  std::unique_ptr<CheckpointMerger> merger;
  TFE_RETURN_IF_ERROR(CheckpointMerger::Create(sources, &merger));
  merged->resize(merger->num_elements());
  for (int64_t i = 0; i < merger->num_elements(); ++i) {
    TFE_RETURN_IF_ERROR(merger->Encode(i, &(*merged)[i]));
  }
  for (size_t s = 0; s < sources.size(); ++s) {
    const auto* const saved = static_cast<const Saved*>(sources[s]);
    std::vector<uint32_t> want;
    for (const auto& part : saved->parts_) {
      for (const std::string& element : part) {
        want.push_back(FrameChecksum(element));
      }
    }
    EXPECT_TRUE(merger->SourceChecksums(s) == want);
    EXPECT_EQ(saved->reads, static_cast<int64_t>(want.size()));
  }
  return Status();
}

// Chains whose saves have one block and many, in one part and in two.
TEST(ChainsMerge) {
  for (int num_parts : {1, 2}) {
    testing::Rng rng(num_parts);
    std::vector<std::unique_ptr<EmbeddingTable>> tables;
    for (int p = 0; p < num_parts; ++p) tables.push_back(MakeTable(kDim, 3));
    const std::vector<int64_t> keys = testing::MixedKeys(20000);
    std::vector<std::unique_ptr<Saved>> saves;
    for (int round = 0; round < 6; ++round) {
      CheckpointParts parts;
      for (int p = 0; p < num_parts; ++p) {
        std::vector<int64_t> some, gone;
        const int64_t n = round == 0 || round == 3 ? 20000 : 200;
        for (int64_t i = 0; i < n; ++i) {
          const int64_t key = keys[rng.Below(20000)];
          if (PartOfHash(MixKey(key), num_parts) == p) some.push_back(key);
          if (PartOfHash(MixKey(key + 1), num_parts) == p && i % 5 == 0) {
            gone.push_back(key + 1);
          }
        }
        Train(tables[p].get(), some);
        Remove(tables[p].get(), gone);
        Remove(tables[p].get(), {some.begin(), some.begin() + 20});
        uint32_t since;
        EXPECT_OK(tables[p]->StartDelta("a", &since));
        EXPECT_EQ(since == 0, round == 0);
        parts.push_back(Save(*tables[p], since, p, num_parts));
        EXPECT_OK(tables[p]->FinishDelta("a"));
      }
      saves.push_back(std::make_unique<Saved>(std::move(parts)));
    }
    std::vector<ElementSource*> sources;
    for (const auto& save : saves) sources.push_back(save.get());
    std::vector<std::string> merged;
    EXPECT_OK(Merge(sources, &merged));
    EXPECT_TRUE(merged.size() >= 3);  // blocks, and the footer
    const auto got = MakeTable(kDim, 2);
    SerialExecutor executor;
    RestoreReport report;
    EXPECT_OK(got->Restore({merged}, RestoreOptions(), &executor, &report));
    Contents want = ExportAll(*tables[0]);
    for (const auto& table : tables) {
      const Contents part = ExportAll(*table);
      want.rows.insert(part.rows.begin(), part.rows.end());
    }
    EXPECT_TRUE(ExportAll(*got) == want);
    EXPECT_ERROR(Merge({sources[1], sources[2]}, &merged),
                 StatusCode::kInvalidArgument, "saved is a delta");
    EXPECT_ERROR(Merge({sources[0], sources[0]}, &merged),
                 StatusCode::kInvalidArgument, "saved is no delta");
    std::string* const bytes = &saves[2]->parts_[0][0];
    bytes->back() ^= 1;
    EXPECT_ERROR(Merge(sources, &merged), StatusCode::kDataLoss,
                 "saved: block 0 of 1");
  }
}

TEST(DeltasBesideTraining) {
  const auto table = MakeTable(kDim, 3, InitializerKind::kConstant);
  const std::vector<int64_t> keys = testing::MixedKeys(1200);
  Train(table.get(), keys);
  Follower followers[2] = {{"a"}, {"b"}};
  std::atomic<int> training{2};
  std::vector<std::thread> trainers;
  for (int t = 0; t < 2; ++t) {
    trainers.emplace_back([&, t] {
      testing::Rng rng(t);
      for (int step = 0; step < 150; ++step) {
        std::vector<int64_t> some(50);
        for (int64_t& key : some) key = keys[rng.Below(1200)];
        if (step % 3 == t) {
          Remove(table.get(), some);
        } else {
          Train(table.get(), some);
        }
      }
      --training;
    });
  }
  int rounds = 0;
  while (training > 0) followers[rounds++ % 2].Follow(table.get());
  for (std::thread& trainer : trainers) trainer.join();
  for (Follower& follower : followers) {
    follower.Follow(table.get());
    EXPECT_TRUE(!follower.was_full || rounds < 2);
    EXPECT_TRUE(ExportAll(*follower.copy) == ExportAll(*table));
  }
}

TEST(LookupsBesideDeltas) {
  const std::vector<int64_t> keys = testing::MixedKeys(1500);
  const auto n = static_cast<int64_t>(keys.size());
  SerialExecutor executor;
  const auto table = MakeTable(kDim, 3);
  const auto copy = MakeTable(kDim, 3);
  std::vector<std::string> deltas[2];
  for (float value : {0.0f, 1.0f, 2.0f}) {
    uint32_t since;
    const std::vector<float> values(n * kDim, value);
    EXPECT_OK(table->Upsert(keys.data(), values.data(), n, 0, &executor));
    EXPECT_OK(table->StartDelta("a", &since));
    const std::vector<std::string> saved = Save(*table, since);
    EXPECT_OK(table->FinishDelta("a"));
    if (value > 0) {
      deltas[static_cast<int>(value) - 1] = saved;
      continue;
    }
    RestoreReport unused;
    EXPECT_OK(copy->Restore({saved}, RestoreOptions(), &executor, &unused));
  }
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (int round = 0; round < 60; ++round) {
      EXPECT_OK(Apply({deltas[round % 2]}, copy.get()));
    }
    done = true;
  });
  std::vector<float> out(n * kDim);
  while (!done) {
    EXPECT_OK(copy->Lookup(keys.data(), n, out.data(), &executor));
    for (int64_t i = 0; i < n; ++i) {
      const float* const row = &out[i * kDim];
      EXPECT_TRUE(row[0] == 0.0f || row[0] == 1.0f || row[0] == 2.0f);
      for (int c = 1; c < kDim; ++c) EXPECT_TRUE(row[c] == row[0]);
    }
  }
  writer.join();
}

TEST(DamagedDeltasAreRefused) {
  const auto table = MakeTable(kDim, 1);
  const std::vector<int64_t> keys = testing::MixedKeys(60);
  Train(table.get(), keys);
  Follower follower{"a"};
  follower.Follow(table.get());
  Train(table.get(), {keys.begin(), keys.begin() + 20});
  Remove(table.get(), {keys.begin() + 20, keys.begin() + 40});
  uint32_t since;
  EXPECT_OK(table->StartDelta("a", &since));
  const std::vector<std::string> good = Save(*table, since);
  const Contents before = ExportAll(*follower.copy);
  const auto refused = [&](std::vector<std::string> elements) {
    const Status status = Apply({std::move(elements)}, follower.copy.get());
    EXPECT_TRUE(!status.ok() && !status.message().empty());
  };
  for (size_t e = 0; e < good.size(); ++e) {
    for (size_t bit = 0; bit < good[e].size() * 8; ++bit) {
      std::vector<std::string> bad = good;
      bad[e][bit / 8] ^= static_cast<char>(1 << bit % 8);
      refused(bad);
    }
    for (size_t size = 0; size < good[e].size(); size += 3) {
      std::vector<std::string> bad = good;
      bad[e].resize(size);
      refused(bad);
    }
    std::vector<std::string> bad = good;
    bad.erase(bad.begin() + static_cast<int64_t>(e));
    refused(bad);
  }
  // Nonsense under a right checksum: refused or taken, never a crash.
  testing::Rng rng(1);
  for (int round = 0; round < 8000; ++round) {
    std::vector<std::string> bad = good;
    std::string& bytes = bad[rng.Below(static_cast<int64_t>(bad.size()))];
    const auto size = static_cast<int64_t>(bytes.size());
    bytes[8 + rng.Below(std::min<int64_t>(size - 12, 150))] ^=
        static_cast<char>(1 << rng.Below(8));
    const uint32_t checksum = Crc32c(bytes.data(), bytes.size() - 4);
    std::memcpy(&bytes[bytes.size() - 4], &checksum, 4);
    const auto other = MakeTable(kDim, 1);
    Train(other.get(), {1});
    const bool taken = Apply({bad}, other.get()).ok();
    EXPECT_TRUE(taken || other->size() == 1);
  }
  EXPECT_TRUE(ExportAll(*follower.copy) == before);
  EXPECT_OK(Apply({good}, follower.copy.get()));
  EXPECT_TRUE(ExportAll(*follower.copy) == ExportAll(*table));
}

TEST(WhatDoesNotFitIsRefused) {
  const auto table = MakeTable(kDim, 1);
  Train(table.get(), {1, 2});
  Follower follower{"a"};
  follower.Follow(table.get());
  Train(table.get(), {2});
  uint32_t since;
  EXPECT_OK(table->StartDelta("a", &since));
  EXPECT_TRUE(since > 0);
  const std::vector<std::string> delta = Save(*table, since);
  SerialExecutor executor;
  RestoreReport unused;
  EXPECT_ERROR(table->Restore({delta}, RestoreOptions(), &executor, &unused),
               StatusCode::kInvalidArgument, "is a delta");
  EXPECT_ERROR(Apply({Save(*table, 0)}, table.get()),
               StatusCode::kInvalidArgument, "is no delta");
  EXPECT_ERROR(Apply({delta}, MakeTable(kDim + 1, 1).get()),
               StatusCode::kInvalidArgument, "has dim 4, the variable 5");
  EXPECT_ERROR(Apply({delta}, MakeTable(kDim, 1).get()),
               StatusCode::kInvalidArgument, "slots of rule \"adagrad\"");
  // Content that changes as a whole while a delta is written is not in it.
  EXPECT_OK(table->DeltaSince("a", &since));
  EXPECT_TRUE(since > 0);
  table->Clear();
  EXPECT_OK(table->DeltaSince("a", &since));
  EXPECT_EQ(since, 0u);
}

}  // namespace
}  // namespace tf_embedding
