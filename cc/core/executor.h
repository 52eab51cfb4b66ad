// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Where threads come from: the caller.
//
// The core owns no thread. Whoever calls a batch operation hands in an
// Executor; TensorFlow's kernels wrap the device's worker pool, tests wrap
// std::thread, and SerialExecutor runs everything in the caller. Results never
// depend on the choice: work is cut by hash or by position, never by thread.
//
// SharingExecutor is one over any pool. The caller takes pieces of the work
// itself, one after another, and so does each of the pool's threads that it
// asked, from whenever it comes. What the caller waits for at the end is only
// the pieces that others have begun: a pool that is busy, or slow to wake,
// costs nothing but its help. To wake a thread takes tens of microseconds, as
// long as a thousand lookups; so one thread is asked for every 40 microseconds
// of work, the caller among them.

#ifndef TF_EMBEDDING_CC_CORE_EXECUTOR_H_
#define TF_EMBEDDING_CC_CORE_EXECUTOR_H_

#include <cstdint>
#include <functional>

namespace tf_embedding {

class Executor {
 public:
  virtual ~Executor() = default;

  // At least 1; how many pieces are worth making.
  virtual int num_threads() const = 0;

  // Calls body(begin, end) on disjoint ranges that cover [0, n), on any
  // threads, and returns when all are done. nanoseconds: the rough cost of one
  // unit, by which the implementation decides how finely to cut. body must not
  // throw.
  virtual void ParallelFor(
      int64_t n, int64_t nanoseconds,
      const std::function<void(int64_t, int64_t)>& body) = 0;
};

class SerialExecutor final : public Executor {
 public:
  int num_threads() const override { return 1; }
  void ParallelFor(int64_t n, int64_t /*nanoseconds*/,
                   const std::function<void(int64_t, int64_t)>& body) override {
    if (n > 0) body(0, n);
  }
};

class SharingExecutor : public Executor {
 public:
  void ParallelFor(int64_t n, int64_t nanoseconds,
                   const std::function<void(int64_t, int64_t)>& body) override;

 protected:
  // The pool runs work once, on another thread, now or later: also after the
  // ParallelFor that asked for it is over. May throw std::bad_alloc; then that
  // thread is done without.
  virtual void Schedule(std::function<void()> work) = 0;
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_EXECUTOR_H_
