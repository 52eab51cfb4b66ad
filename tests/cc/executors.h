// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Executors with real threads.

#ifndef TF_EMBEDDING_TESTS_CC_EXECUTORS_H_
#define TF_EMBEDDING_TESTS_CC_EXECUTORS_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "cc/core/executor.h"

namespace tf_embedding {
namespace testing {

// New threads for every call; units are dealt out one by one, so which thread
// gets which differs from run to run.
class ThreadExecutor final : public Executor {
 public:
  explicit ThreadExecutor(int num_threads) : num_threads_(num_threads) {}

  int num_threads() const override { return num_threads_; }
  void ParallelFor(int64_t n, int64_t /*nanoseconds*/,
                   const std::function<void(int64_t, int64_t)>& body) override {
    std::atomic<int64_t> next{0};
    const auto work = [&] {
      for (int64_t i = next++; i < n; i = next++) body(i, i + 1);
    };
    std::vector<std::thread> threads;
    const auto wanted = std::min<int64_t>(num_threads_, n);
    for (int64_t t = 1; t < wanted; ++t) threads.emplace_back(work);
    work();
    for (std::thread& thread : threads) thread.join();
  }

 private:
  const int num_threads_;
};

// A fixed pool with one queue, shared by all callers, as TensorFlow's: the
// caller runs its first piece and waits for the pool to come to the others.
class PoolExecutor final : public Executor {
 public:
  explicit PoolExecutor(int num_threads) {
    for (int t = 0; t < num_threads; ++t) {
      threads_.emplace_back([this] { Run(); });
    }
  }
  ~PoolExecutor() override {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  int num_threads() const override { return static_cast<int>(threads_.size()); }
  void ParallelFor(int64_t n, int64_t /*nanoseconds*/,
                   const std::function<void(int64_t, int64_t)>& body) override {
    if (n <= 0) return;
    const int64_t pieces =
        std::min<int64_t>(n, static_cast<int64_t>(threads_.size()) + 1);
    int64_t left = pieces - 1;  // guarded by mutex_
    {
      std::lock_guard<std::mutex> lock(mutex_);
      for (int64_t p = 1; p < pieces; ++p) {
        queue_.push_back([this, n, p, pieces, &body, &left] {
          body(n * p / pieces, n * (p + 1) / pieces);
          std::lock_guard<std::mutex> done(mutex_);
          if (--left == 0) changed_.notify_all();
        });
      }
    }
    changed_.notify_all();
    body(0, n / pieces);
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&left] { return left == 0; });
  }

 private:
  void Run() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      const std::function<void()> piece = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      piece();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace testing
}  // namespace tf_embedding

#endif  // TF_EMBEDDING_TESTS_CC_EXECUTORS_H_
