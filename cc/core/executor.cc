// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/executor.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include "cc/core/platform.h"

namespace tf_embedding {
namespace {

constexpr int64_t kNanosecondsPerThread = 40000;
constexpr int64_t kNanosecondsPerPiece = 5000;

// How often the end is looked for before the caller sleeps: some 20
// microseconds, less than it takes to be woken.
constexpr int kSpins = 500;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// What the threads share of one ParallelFor. It outlives the call where the
// pool comes late.
class Work {
 public:
  Work(int64_t n, int64_t min_piece, int64_t threads,
       const std::function<void(int64_t, int64_t)>* body)
      : n_(n), min_piece_(min_piece), threads_(threads), body_(body) {}

  // Takes pieces until there is none. body_ is the caller's, which waits for
  // every piece that was taken: whoever takes none does not look at it.
  void Run() {
    int64_t done = 0;
    int64_t begin, end;
    while (Take(&begin, &end)) {
      (*body_)(begin, end);
      done += end - begin;
    }
    if (done == 0) return;
    if (done_.fetch_add(done, std::memory_order_acq_rel) + done < n_) return;
    // Under the mutex, so that it does not come between a waiter's look and
    // its sleep.
    std::lock_guard<std::mutex> lock(mutex_);
    all_done_.notify_all();
  }

  void Wait() {
    for (int i = 0; i < kSpins; ++i) {
      if (is_done()) return;
      TFE_PAUSE();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    all_done_.wait(lock, [this] { return is_done(); });
  }

 private:
  // Half of an even share of what is left: large pieces first, so that they are
  // few, and small ones last, so that all threads end together.
  bool Take(int64_t* begin, int64_t* end) {
    *begin = next_.load(std::memory_order_relaxed);
    do {
      if (*begin == n_) return false;
      const int64_t left = n_ - *begin;
      *end =
          *begin + std::min(left, std::max(min_piece_, left / (2 * threads_)));
    } while (
        !next_.compare_exchange_weak(*begin, *end, std::memory_order_relaxed));
    return true;
  }

  bool is_done() const { return done_.load(std::memory_order_acquire) >= n_; }

  const int64_t n_;
  const int64_t min_piece_;
  const int64_t threads_;
  const std::function<void(int64_t, int64_t)>* const body_;
  std::atomic<int64_t> next_{0};
  std::atomic<int64_t> done_{0};
  std::mutex mutex_;
  std::condition_variable all_done_;
};

}  // namespace

void SharingExecutor::ParallelFor(
    int64_t n, int64_t nanoseconds,
    const std::function<void(int64_t, int64_t)>& body) {
  if (n <= 0) return;
  nanoseconds = std::max<int64_t>(1, nanoseconds);
  // Of so many units each; what they all take may be past 2^63.
  const int64_t units = CeilDiv(kNanosecondsPerThread, nanoseconds);
  const int64_t threads =
      std::clamp<int64_t>(n / units, 1, std::max(1, num_threads()));
  if (threads == 1) {
    body(0, n);
    return;
  }
  std::shared_ptr<Work> work;
  try {
    work = std::make_shared<Work>(n, CeilDiv(kNanosecondsPerPiece, nanoseconds),
                                  threads, &body);
    for (int64_t t = 1; t < threads; ++t) {
      Schedule([work] { work->Run(); });
    }
  } catch (const std::bad_alloc&) {
    if (work == nullptr) {
      body(0, n);
      return;
    }
  }
  work->Run();
  work->Wait();
}

}  // namespace tf_embedding
