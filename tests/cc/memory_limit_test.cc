// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Memory that runs out, at every allocation in turn: the operation says so, and
// every row is whole: as before, as after, or newly born.
//
// The program replaces operator new and aligned_alloc by ones that can be told
// to fail. Tables here are too small to take memory from mmap directly, but for
// the arena's first chunk.

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <vector>

#include "cc/core/table.h"
#include "tests/cc/random.h"
#include "tests/cc/table_util.h"
#include "tests/cc/testing.h"

namespace {

// How many more allocations succeed; below zero: all.
std::atomic<int64_t> allocations_left{-1};

bool MayAllocate() {
  if (allocations_left.load() < 0) return true;
  if (allocations_left.load() == 0) return false;
  --allocations_left;
  return true;
}

}  // namespace

// Not inlined, or the compiler sees a new that ends in free, and warns.
__attribute__((noinline)) void* operator new(size_t size) {
  void* const memory = MayAllocate() ? std::malloc(size) : nullptr;
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* operator new[](size_t size) { return operator new(size); }
__attribute__((noinline)) void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept { operator delete(memory); }
void operator delete(void* memory, size_t) noexcept { operator delete(memory); }
void operator delete[](void* memory, size_t) noexcept {
  operator delete(memory);
}

extern "C" void* aligned_alloc(size_t alignment, size_t size) {
  void* memory = nullptr;
  if (!MayAllocate()) return nullptr;
  return posix_memalign(&memory, alignment, size) == 0 ? memory : nullptr;
}

namespace tf_embedding {
namespace {

using testing::Contents;
using testing::ExportAll;

constexpr int kDim = 24;
constexpr int64_t kNum = 300;

std::unique_ptr<EmbeddingTable> Trained() {
  SerialExecutor executor;
  auto table = testing::MakeTable(kDim, 1);
  const std::vector<int64_t> keys = testing::MixedKeys(kNum);
  testing::Rng rng(1);
  const std::vector<float> gradients = rng.Units(kNum * kDim);
  int64_t rows_reset;
  EXPECT_OK(table->Apply(testing::Bind("adagrad", 0.1f, 0, {0.1f, 0, 0}),
                         keys.data(), gradients.data(), nullptr, kNum, 0,
                         &executor, &rows_reset));
  return table;
}

// Runs the operation with room for 0, 1, 2, ... allocations until it succeeds.
// check(table) looks at what a failure left.
void FailAtEach(const std::function<Status(EmbeddingTable*)>& operation,
                const std::function<void(const Contents&)>& check) {
  for (int64_t room = 0;; ++room) {
    const testing::Trace trace("room for ", room, " allocations");
    const std::unique_ptr<EmbeddingTable> table = Trained();
    // Made before there is nothing to make it of.
    Status status;
    bool threw = false;
    allocations_left = room;
    try {
      status = operation(table.get());
    } catch (const std::bad_alloc&) {
      threw = true;
    }
    allocations_left = -1;
    if (status.ok() && !threw) {
      EXPECT_TRUE(room > 2);
      return;
    }
    // The sentence itself needs memory, so the exception may come through
    // where nothing is left at all. With real memory it would not be so tight.
    if (!threw) EXPECT_TRUE(status.code() == StatusCode::kResourceExhausted);
    const Contents left = ExportAll(*table);
    EXPECT_EQ(table->size(), static_cast<int64_t>(left.rows.size()));
    check(left);
    // And the table goes on.
    SerialExecutor executor;
    const std::vector<int64_t> keys = testing::MixedKeys(2 * kNum);
    const std::vector<float> values(2 * kNum * kDim, 1);
    EXPECT_OK(
        table->Upsert(keys.data(), values.data(), 2 * kNum, 0, &executor));
    EXPECT_EQ(table->size(), 2 * kNum);
    int64_t removed;
    EXPECT_OK(table->Remove(keys.data(), 2 * kNum, &removed, &executor));
    EXPECT_EQ(removed, 2 * kNum);
    EXPECT_EQ(table->stats().row_bytes, 0);
  }
}

// The row is one of two, or the one that a key is born with.
void ExpectWhole(int64_t key, const testing::Row& row, const Contents& before,
                 const Contents& after, const Initializer& initializer) {
  const auto is = [&](const Contents& contents) {
    const auto found = contents.rows.find(key);
    return found != contents.rows.end() && found->second == row;
  };
  if (is(before) || is(after)) return;
  std::vector<float> born(kDim);
  initializer.Fill(key, born.data());
  EXPECT_TRUE(before.rows.count(key) == 0);
  EXPECT_TRUE(testing::SameBits(row.values, born));
  for (float slot : row.slots) EXPECT_EQ(slot, 0.1f);
  EXPECT_EQ(row.frequency, 0);
}

void ExpectRowsWhole(const std::function<Status(EmbeddingTable*)>& operation) {
  const auto reference = Trained();
  const Contents before = ExportAll(*reference);
  EXPECT_OK(operation(reference.get()));
  const Contents after = ExportAll(*reference);
  FailAtEach(operation, [&](const Contents& left) {
    for (const auto& [key, row] : left.rows) {
      ExpectWhole(key, row, before, after, *reference->initializer());
    }
    for (const auto& [key, row] : before.rows) {
      EXPECT_TRUE(left.rows.count(key) == 1 || after.rows.count(key) == 0);
    }
  });
}

TEST(Apply) {
  const std::vector<int64_t> keys = testing::MixedKeys(2 * kNum);
  testing::Rng rng(2);
  const std::vector<float> gradients = rng.Units(2 * kNum * kDim);
  SerialExecutor executor;
  const BoundRule rule = testing::Bind("adagrad", 0.1f, 1, {0.1f, 0, 0});
  ExpectRowsWhole([&](EmbeddingTable* table) {
    int64_t rows_reset;
    return table->Apply(rule, keys.data(), gradients.data(), nullptr, 2 * kNum,
                        1, &executor, &rows_reset);
  });
}

TEST(ApplyOverHolesOfRemovedRows) {
  // Born rows take the places, and find the values, of removed ones.
  const std::vector<int64_t> keys = testing::MixedKeys(3 * kNum);
  testing::Rng rng(2);
  const std::vector<float> gradients = rng.Units(3 * kNum * kDim);
  SerialExecutor executor;
  const BoundRule rule = testing::Bind("adagrad", 0.1f, 1, {0.1f, 0, 0});
  const auto initializer = Trained()->initializer();
  for (int64_t room = 0; room < 60; ++room) {
    const auto table = Trained();
    int64_t number;
    EXPECT_OK(table->Remove(keys.data(), kNum - 20, &number, &executor));
    allocations_left = room;
    try {
      static_cast<void>(table->Apply(rule, keys.data() + kNum, gradients.data(),
                                     nullptr, 2 * kNum, 1, &executor, &number));
    } catch (const std::bad_alloc&) {
    }
    allocations_left = -1;
    const Contents left = ExportAll(*table);
    for (int64_t i = kNum; i < 3 * kNum; ++i) {
      const auto found = left.rows.find(keys[i]);
      if (found == left.rows.end() || found->second.frequency == 1) continue;
      ExpectWhole(keys[i], found->second, Contents(), Contents(), *initializer);
    }
  }
}

TEST(ApplyUnderAFilter) {
  // A key is a candidate or has a row, and is never lost.
  const std::vector<int64_t> keys = testing::MixedKeys(2 * kNum);
  const std::vector<float> gradients(2 * kNum * kDim, 1.0f);
  SerialExecutor executor;
  const BoundRule rule = testing::Bind("adagrad", 0.1f, 1, {0.1f, 0, 0});
  TableOptions options;
  options.dim = kDim;
  options.log2_shards = 1;
  options.admission.kind = AdmissionKind::kCounter;
  options.admission.filter_freq = 2;
  int failures = 0;
  for (int64_t room = 0; room < 100; ++room) {
    const testing::Trace trace("room for ", room, " allocations");
    std::unique_ptr<EmbeddingTable> table;
    EXPECT_OK(EmbeddingTable::Create(options, &table));
    const auto apply = [&](int64_t n) {
      int64_t rows_reset;
      return table->Apply(rule, keys.data(), gradients.data(), nullptr, n, 1,
                          &executor, &rows_reset);
    };
    EXPECT_OK(apply(kNum));
    allocations_left = room;
    try {
      if (!apply(2 * kNum).ok()) ++failures;
    } catch (const std::bad_alloc&) {
      ++failures;
    }
    allocations_left = -1;
    const TableStats stats = table->stats();
    EXPECT_TRUE(stats.size + stats.candidates >= kNum);
    EXPECT_EQ(stats.counters.admitted, stats.size);
    EXPECT_OK(apply(2 * kNum));
    EXPECT_OK(apply(2 * kNum));
    EXPECT_EQ(table->size(), 2 * kNum);
    EXPECT_EQ(table->stats().candidates, 0);
    for (const auto& [key, row] : ExportAll(*table).rows) {
      EXPECT_TRUE(row.frequency >= 2 && row.frequency <= 4);
    }
  }
  EXPECT_TRUE(failures > 5 && failures < 100);
}

TEST(ARuleChangeHappensOrNot) {
  const std::vector<int64_t> keys = testing::MixedKeys(10);
  const std::vector<float> gradients(10 * kDim);
  SerialExecutor executor;
  const BoundRule rule = testing::Bind("adam", 0.1f, 1, {0.9f, 0.99f, 1e-7f});
  const Contents before = ExportAll(*Trained());
  FailAtEach(
      [&](EmbeddingTable* table) {
        int64_t rows_reset;
        return table->Apply(rule, keys.data(), gradients.data(), nullptr, 10, 1,
                            &executor, &rows_reset);
      },
      [&](const Contents& left) {
        EXPECT_TRUE(left.shape.rule == "adam" || left == before);
        EXPECT_EQ(left.rows.size(), before.rows.size());
      });
}

TEST(UpsertAndImport) {
  const std::vector<int64_t> keys = testing::MixedKeys(2 * kNum);
  const std::vector<float> values(2 * kNum * kDim, 5);
  SerialExecutor executor;
  ExpectRowsWhole([&](EmbeddingTable* table) {
    return table->Upsert(keys.data(), values.data(), 2 * kNum, 1, &executor);
  });
  Contents more = ExportAll(*Trained());
  for (int64_t key : keys) {
    more.rows[key] = more.rows[0];
  }
  const testing::Columns columns = testing::ToColumns(more);
  ExpectRowsWhole([&](EmbeddingTable* table) {
    return table->Import(columns.shape, columns.view(), false, &executor);
  });
}

TEST(Remove) {
  const std::vector<int64_t> keys = testing::MixedKeys(kNum);
  SerialExecutor executor;
  int64_t removed = 0;
  FailAtEach(
      [&](EmbeddingTable* table) {
        return table->Remove(keys.data(), kNum - 40, &removed, &executor);
      },
      [&](const Contents& left) {
        EXPECT_EQ(static_cast<int64_t>(left.rows.size()), kNum - removed);
      });
}

TEST(Export) {
  SerialExecutor executor;
  const Contents before = ExportAll(*Trained());
  const auto nothing = [](const TableShape&, RowColumns*) { return Status(); };
  FailAtEach(
      [&](EmbeddingTable* table) { return table->Export(nothing, &executor); },
      [&](const Contents& left) { EXPECT_TRUE(left == before); });
}

}  // namespace
}  // namespace tf_embedding
