// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// SharingExecutor: each unit once, whatever the pool does.

#include "cc/core/executor.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <new>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

// Enough for every thread to be asked.
constexpr int64_t kDear = 1000000;

// How often each unit of a ParallelFor was done.
std::vector<int> Units(Executor* executor, int64_t n, int64_t nanoseconds) {
  std::vector<std::atomic<int>> times(n);
  executor->ParallelFor(n, nanoseconds, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ++times[i];
  });
  return std::vector<int>(times.begin(), times.end());
}

// A thread for each work.
class Threads final : public SharingExecutor {
 public:
  explicit Threads(int num_threads) : num_threads_(num_threads) {}
  ~Threads() override {
    for (std::thread& thread : threads_) thread.join();
  }
  int num_threads() const override { return num_threads_; }

 protected:
  void Schedule(std::function<void()> work) override {
    std::lock_guard<std::mutex> lock(mutex_);
    threads_.emplace_back(std::move(work));
  }

 private:
  const int num_threads_;
  std::mutex mutex_;
  std::vector<std::thread> threads_;
};

// A pool that comes when it is all over, and counts what it was asked for.
class Late final : public SharingExecutor {
 public:
  int num_threads() const override { return 4; }
  std::vector<std::function<void()>> asked;

 protected:
  void Schedule(std::function<void()> work) override {
    asked.push_back(std::move(work));
  }
};

// A pool without memory for more than one work.
class Poor final : public SharingExecutor {
 public:
  explicit Poor(int works) : works_(works) {}
  int num_threads() const override { return 4; }

 protected:
  void Schedule(std::function<void()> /*work*/) override {
    if (works_-- == 0) throw std::bad_alloc();
  }

 private:
  int works_;
};

TEST(EveryUnitIsDoneOnce) {
  for (const int num_threads : {1, 2, 3, 16}) {
    Threads executor(num_threads);
    for (const int64_t n : {0, 1, 2, 5, 128, 1000}) {
      for (const int64_t nanoseconds :
           {int64_t{0}, int64_t{1}, int64_t{700}, kDear, int64_t{1} << 62}) {
        const testing::Trace trace(num_threads, " threads, n ", n, ", ",
                                   nanoseconds, " ns");
        EXPECT_TRUE(Units(&executor, n, nanoseconds) == std::vector<int>(n, 1));
      }
    }
  }
}

TEST(ThePoolIsNotWaitedFor) {
  Late executor;
  EXPECT_TRUE(Units(&executor, 100, kDear) == std::vector<int>(100, 1));
  EXPECT_EQ(executor.asked.size(), 3u);
  // The body is gone by now, and nobody looks for it.
  for (const std::function<void()>& work : executor.asked) work();
}

TEST(LittleWorkStaysWithTheCaller) {
  Late executor;
  EXPECT_TRUE(Units(&executor, 1000, 20) == std::vector<int>(1000, 1));
  EXPECT_TRUE(executor.asked.empty());
  EXPECT_TRUE(Units(&executor, 1, kDear) == std::vector<int>(1, 1));
  EXPECT_TRUE(executor.asked.empty());
  // One more thread for so much more.
  EXPECT_TRUE(Units(&executor, 1000, 100) == std::vector<int>(1000, 1));
  EXPECT_EQ(executor.asked.size(), 1u);
}

TEST(APoolWithoutMemoryIsDoneWithout) {
  for (const int works : {0, 1}) {
    Poor executor(works);
    EXPECT_TRUE(Units(&executor, 100, kDear) == std::vector<int>(100, 1));
  }
}

TEST(OthersTakePieces) {
  // The caller waits in its first piece until another thread has begun one.
  Threads executor(2);
  std::mutex mutex;
  std::set<std::thread::id> ids;
  std::atomic<int> begun{0};
  executor.ParallelFor(2, kDear, [&](int64_t /*begin*/, int64_t /*end*/) {
    {
      std::lock_guard<std::mutex> lock(mutex);
      ids.insert(std::this_thread::get_id());
    }
    ++begun;
    while (begun < 2) std::this_thread::yield();
  });
  EXPECT_EQ(ids.size(), 2u);
}

TEST(WhatOthersWroteIsSeen) {
  Threads executor(4);
  for (int round = 0; round < 200; ++round) {
    std::vector<int64_t> squares(64);
    executor.ParallelFor(64, kDear, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) squares[i] = i * i;
    });
    int64_t sum = 0;
    for (const int64_t square : squares) sum += square;
    EXPECT_EQ(sum, 85344);
  }
}

}  // namespace
}  // namespace tf_embedding
