// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Real threads on one table, for ThreadSanitizer above all.
//
// Every vector, gradient and slot has equal columns, and every operation keeps
// it so. A reader that ever sees two columns differ has seen half an update.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "cc/core/read_gate.h"
#include "cc/core/spin_lock.h"
#include "cc/core/table.h"
#include "tests/cc/executors.h"
#include "tests/cc/random.h"
#include "tests/cc/table_util.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

constexpr int kDim = 20;
constexpr int64_t kBatch = 500;

void RunThreads(const std::vector<std::function<void()>>& bodies) {
  std::vector<std::thread> threads;
  for (const auto& body : bodies) threads.emplace_back(body);
  for (std::thread& thread : threads) thread.join();
}

TEST(AWriterIsAlone) {
  SharedSpinLock lock;
  // Unprotected but for the lock: the sanitizer watches.
  int64_t first = 0;
  int64_t second = 0;
  constexpr int kRounds = 3000;
  const auto write = [&] {
    for (int i = 0; i < kRounds; ++i) {
      WriterLock writer(&lock);
      ++first;
      ++second;
    }
  };
  const auto read = [&] {
    int64_t last = 0;
    for (int i = 0; i < kRounds; ++i) {
      ReaderLock reader(&lock);
      if (first != second || first < last) {
        EXPECT_EQ(first, second);
        EXPECT_TRUE(first >= last);
      }
      last = first;
    }
  };
  RunThreads({write, read, write, read, read, write});
  EXPECT_EQ(first, 3 * kRounds);
  EXPECT_EQ(second, 3 * kRounds);
}

TEST(ReadersShare) {
  SharedSpinLock lock;
  std::atomic<int> inside{0};
  const auto read = [&] {
    ReaderLock reader(&lock);
    ++inside;
    // Comes to an end only if both are inside at once.
    while (inside < 2) std::this_thread::yield();
  };
  RunThreads({read, read});
  EXPECT_EQ(inside.load(), 2);
}

TEST(GateKeepsReadersAndWritersApart) {
  ReadGate gate;
  SharedSpinLock lock;  // among the writers
  int64_t first = 0;
  int64_t second = 0;
  std::atomic<int64_t> reads{0};
  std::atomic<bool> done{false};
  constexpr int kRounds = 3000;
  const auto write = [&] {
    for (int i = 0; i < kRounds; ++i) {
      gate.EnterWriter();
      {
        WriterLock writer(&lock);
        ++first;
        ++second;
      }
      gate.LeaveWriter();
      // Writers that never pause would keep every reader out.
      if (i % 16 == 0) std::this_thread::yield();
    }
  };
  const auto read = [&] {
    while (!done) {
      if (!gate.TryEnterReader()) continue;
      if (first != second) EXPECT_EQ(first, second);
      gate.LeaveReader();
      ++reads;
    }
  };
  std::thread reader(read);
  std::thread other(read);
  RunThreads({write, write});
  while (reads == 0) std::this_thread::yield();
  done = true;
  reader.join();
  other.join();
  EXPECT_EQ(first, 2 * kRounds);
}

TEST(GateLetsNoReaderInWhileAWriterWaits) {
  ReadGate gate;
  EXPECT_TRUE(gate.TryEnterReader());
  EXPECT_TRUE(gate.TryEnterReader());
  std::atomic<bool> in{false};
  std::thread writer([&] {
    gate.EnterWriter();
    in = true;
    gate.LeaveWriter();
  });
  // The writer says that it is there, at some time.
  while (gate.TryEnterReader()) {
    gate.LeaveReader();
    std::this_thread::yield();
  }
  EXPECT_TRUE(!in);
  gate.LeaveReader();
  EXPECT_TRUE(!in);  // the other reader is still inside
  gate.LeaveReader();
  writer.join();
  EXPECT_TRUE(in);
  EXPECT_TRUE(gate.TryEnterReader());
}

void ExpectEqualColumns(const float* values, int64_t n, int width) {
  for (int64_t i = 0; i < n; ++i) {
    for (int c = 1; c < width; ++c) {
      if (values[i * width + c] != values[i * width]) {
        EXPECT_EQ(values[i * width + c], values[i * width]);
      }
    }
  }
}

struct Batch {
  Batch(testing::Rng* rng, int64_t universe) {
    for (int64_t i = 0; i < kBatch; ++i) {
      keys.push_back(rng->Below(universe) << 12);
      values.insert(values.end(), kDim, rng->Unit());
    }
  }
  std::vector<int64_t> keys;
  std::vector<float> values;
};

void ExpectWholeExport(const EmbeddingTable& table, Executor* executor) {
  testing::Columns rows;
  EXPECT_OK(table.Export(rows.Allocate(kDim), executor));
  ExpectEqualColumns(rows.values.data(), rows.shape.size, kDim);
  if (rows.shape.slot_width == 0) return;
  EXPECT_EQ(rows.shape.slot_width % kDim, 0);
  ExpectEqualColumns(rows.slots.data(),
                     rows.shape.size * rows.shape.slot_width / kDim, kDim);
}

// Everything at once. Each thread has its executor, or all share one.
void Mix(int log2_shards, int rounds, const std::vector<Executor*>& executors) {
  const auto table =
      testing::MakeTable(kDim, log2_shards, InitializerKind::kConstant);
  std::atomic<int> trainers_running{2};
  size_t next_executor = 0;
  std::vector<std::function<void()>> bodies;
  const auto thread =
      [&](const std::function<void(Executor*, testing::Rng*)>& body) {
        Executor* const executor =
            executors[next_executor++ % executors.size()];
        const uint64_t seed = bodies.size();
        bodies.emplace_back([executor, seed, body] {
          testing::Rng rng(seed);
          body(executor, &rng);
        });
      };
  for (int trainer = 0; trainer < 2; ++trainer) {
    thread([&table, &trainers_running, rounds](Executor* executor,
                                               testing::Rng* rng) {
      for (int64_t step = 0; step < rounds; ++step) {
        // The universe grows: so do the shards.
        const Batch batch(rng, 200 + 20000 * step / rounds);
        const BoundRule rule =
            step < rounds / 2
                ? testing::Bind("adagrad", 0.1f, step, {0.1f, 0, 0})
                : testing::Bind("adam", 0.1f, step, {0.9f, 0.99f, 1e-7f});
        int64_t rows_reset;
        EXPECT_OK(table->Apply(rule, batch.keys.data(), batch.values.data(),
                               nullptr, kBatch, step, executor, &rows_reset));
      }
      --trainers_running;
    });
  }
  // The others go on for as long as the trainers do.
  const auto while_training =
      [&](const std::function<void(const Batch&, int64_t, Executor*)>& body) {
        thread(
            [&trainers_running, body](Executor* executor, testing::Rng* rng) {
              for (int64_t round = 0; trainers_running > 0; ++round) {
                body(Batch(rng, 20000), round, executor);
              }
            });
      };
  while_training([&table](const Batch& batch, int64_t, Executor* executor) {
    std::vector<float> out(kBatch * kDim);
    // All shards' locks, and a few only.
    EXPECT_OK(table->Lookup(batch.keys.data(), kBatch, out.data(), executor));
    ExpectEqualColumns(out.data(), kBatch, kDim);
    EXPECT_OK(table->Lookup(batch.keys.data(), 3, out.data(), executor));
    ExpectEqualColumns(out.data(), 3, kDim);
  });
  while_training([&table](const Batch& batch, int64_t, Executor* executor) {
    std::vector<int64_t> splits;
    for (int64_t split = 0; split <= kBatch; split += 10) {
      splits.push_back(split);
    }
    const auto bags = static_cast<int64_t>(splits.size()) - 1;
    PoolSpec spec;
    spec.max_norm = 1;
    std::vector<float> out(bags * kDim);
    EXPECT_OK(testing::LookupPooled(*table, batch.keys.data(), splits.data(),
                                    bags, nullptr, spec, out.data(), nullptr,
                                    executor));
    ExpectEqualColumns(out.data(), bags, kDim);
  });
  while_training(
      [&table](const Batch& batch, int64_t round, Executor* executor) {
        int64_t removed;
        EXPECT_OK(table->Remove(batch.keys.data(), kBatch, &removed, executor));
        EXPECT_OK(table->Upsert(batch.keys.data(), batch.values.data(), 50,
                                round, executor));
        if (round % 50 == 49) table->Clear();
      });
  while_training([&table](const Batch& batch, int64_t round,
                          Executor* executor) {
    testing::Columns rows;
    EXPECT_OK(
        table->Find(batch.keys.data(), kBatch, rows.Allocate(kDim), executor));
    ExpectEqualColumns(rows.values.data(), kBatch, kDim);
    if (round % 4 != 0) return;
    // Rows of the rule that the table had a moment ago.
    const Status status = table->Import(
        rows.shape,
        ConstRowColumns{rows.keys.data(), rows.values.data(), rows.slots.data(),
                        rows.frequency.data(), rows.frequency.data()},
        round % 64 == 0, executor);
    if (!status.ok()) {
      EXPECT_ERROR(status, StatusCode::kInvalidArgument, "rule is ");
    }
  });
  while_training([&table](const Batch&, int64_t, Executor* executor) {
    ExpectWholeExport(*table, executor);
    const TableStats stats = table->stats();
    EXPECT_TRUE(stats.row_bytes >= stats.row_used_bytes);
    EXPECT_TRUE(table->size() >= 0);
    static_cast<void>(table->rule());
    table->set_initializer(table->initializer());
  });
  RunThreads(bodies);
  SerialExecutor serial;
  ExpectWholeExport(*table, &serial);
  const testing::Contents all = testing::ExportAll(*table);
  EXPECT_EQ(table->size(), static_cast<int64_t>(all.rows.size()));
  // The index finds what the export lists.
  for (const auto& [key, row] : all.rows) {
    std::vector<float> out(kDim);
    EXPECT_OK(table->Lookup(&key, 1, out.data(), &serial));
    EXPECT_TRUE(testing::SameBits(out, row.values));
  }
}

TEST(EverythingAtOnceInTheCallersThreads) {
  SerialExecutor serial;
  for (int log2_shards : {0, 5}) Mix(log2_shards, 60, {&serial});
}

TEST(EverythingAtOnceInOnePool) {
  // One thread of the pool is enough for any of them to get on: no operation
  // may wait, on the pool, for one whose pieces are queued behind it.
  for (int threads : {1, 2}) {
    testing::PoolExecutor pool(threads);
    Mix(3, 40, {&pool});
  }
}

TEST(EverythingAtOnceInThreadsOfTheirOwn) {
  testing::ThreadExecutor two(2);
  testing::ThreadExecutor three(3);
  Mix(6, 20, {&two, &three});
}

TEST(UpdatesAreCountedExactly) {
  const auto table = testing::MakeTable(1, 3, InitializerKind::kConstant);
  constexpr int kThreads = 4;
  constexpr int kSteps = 50;
  const auto train = [&] {
    SerialExecutor executor;
    std::vector<int64_t> keys;
    for (int64_t key = 0; key < 300; ++key) keys.push_back(key);
    // Powers of two: sums are exact in any order.
    const std::vector<float> gradients(300, 0.5f);
    for (int step = 0; step < kSteps; ++step) {
      int64_t rows_reset;
      EXPECT_OK(table->Apply(testing::Bind("sgd", 1, step, {}), keys.data(),
                             gradients.data(), nullptr, 300, step, &executor,
                             &rows_reset));
    }
  };
  RunThreads(std::vector<std::function<void()>>(kThreads, train));
  const testing::Contents all = testing::ExportAll(*table);
  EXPECT_EQ(all.rows.size(), 300u);
  for (const auto& [key, row] : all.rows) {
    EXPECT_EQ(row.frequency, kThreads * kSteps);
    EXPECT_EQ(row.values[0], 0.25f - 0.5f * kThreads * kSteps);
  }
}

TEST(AnExportIsOneMoment) {
  // Each batch adds the same to all rows, so between batches all are equal.
  const auto table = testing::MakeTable(2, 5, InitializerKind::kConstant);
  testing::PoolExecutor pool(2);
  std::vector<int64_t> keys;
  for (int64_t key = 0; key < 400; ++key) keys.push_back(key);
  const std::vector<float> gradients(800, 1);
  std::atomic<bool> done{false};
  RunThreads({[&] {
                for (int step = 0; step < 150; ++step) {
                  int64_t rows_reset;
                  EXPECT_OK(table->Apply(testing::Bind("sgd", 1, step, {}),
                                         keys.data(), gradients.data(), nullptr,
                                         400, step, &pool, &rows_reset));
                }
                done = true;
              },
              [&] {
                while (!done) {
                  testing::Columns rows;
                  EXPECT_OK(table->Export(rows.Allocate(2), &pool));
                  EXPECT_TRUE(rows.shape.size == 0 || rows.shape.size == 400);
                  for (int64_t i = 1; i < rows.shape.size; ++i) {
                    EXPECT_EQ(rows.version[i], rows.version[0]);
                    EXPECT_EQ(rows.values[2 * i], rows.values[0]);
                  }
                }
              }});
}

}  // namespace
}  // namespace tf_embedding
