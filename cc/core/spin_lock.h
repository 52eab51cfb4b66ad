// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// A reader-writer lock of four bytes.
//
// A batch reads from every shard, so it takes a hundred locks, each for a
// microsecond or so: what counts is the price of a lock that nobody contends
// for. Here that is one atomic addition to take and one to give back, where a
// pthread lock costs several times as much and 56 bytes.
//
// State: the number of readers in the low 30 bits, bit 31 while a writer
// holds the lock, bit 30 while one waits. A waiting writer turns new readers
// away, so that lookups cannot starve training. Not recursive: a thread that
// already reads must not read-lock again. Waiting only reads the state.
//
// Memory order: taking acquires and giving back releases, so everything done
// under the lock happens before the next holder's work.

#ifndef TF_EMBEDDING_CC_CORE_SPIN_LOCK_H_
#define TF_EMBEDDING_CC_CORE_SPIN_LOCK_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

#include "cc/core/platform.h"

namespace tf_embedding {

// Waits a little for what the caller then looks at again; spins, of one wait,
// starts at 0. Spins briefly, then yields the processor, because there can be
// more threads than cores, then sleeps, because a checkpoint can hold updates
// for seconds.
inline void SpinWait(int* spins) {
  if (*spins < 64) {
    TFE_PAUSE();
  } else if (*spins < 4096) {
    std::this_thread::yield();
  } else {
    std::this_thread::sleep_for(std::chrono::microseconds(50));
    return;
  }
  ++*spins;
}

class SharedSpinLock {
 public:
  SharedSpinLock() = default;
  SharedSpinLock(const SharedSpinLock&) = delete;
  SharedSpinLock& operator=(const SharedSpinLock&) = delete;

  void lock_shared() {
    for (int spins = 0;;) {
      if (TFE_LIKELY((state_.fetch_add(1, std::memory_order_acquire) &
                      (kWriter | kWaiting)) == 0)) {
        return;
      }
      state_.fetch_sub(1, std::memory_order_relaxed);
      do {
        SpinWait(&spins);
      } while (state_.load(std::memory_order_relaxed) & (kWriter | kWaiting));
    }
  }

  void unlock_shared() { state_.fetch_sub(1, std::memory_order_release); }

  void lock() {
    for (int spins = 0;; SpinWait(&spins)) {
      uint32_t state = state_.load(std::memory_order_relaxed);
      if ((state & ~kWaiting) == 0) {
        if (state_.compare_exchange_weak(state, kWriter,
                                         std::memory_order_acquire,
                                         std::memory_order_relaxed)) {
          return;
        }
      } else if ((state & kWaiting) == 0) {
        state_.fetch_or(kWaiting, std::memory_order_relaxed);
      }
    }
  }

  // Readers that came and went while the writer held the lock may have left
  // their count in flight, so only the writer's own bit is cleared. A waiting
  // bit set by another writer stays.
  void unlock() { state_.fetch_and(~kWriter, std::memory_order_release); }

 private:
  static constexpr uint32_t kWriter = 1u << 31;
  static constexpr uint32_t kWaiting = 1u << 30;

  std::atomic<uint32_t> state_{0};
};

// Holds a lock of either kind for a scope.
class WriterLock {
 public:
  explicit WriterLock(SharedSpinLock* lock) : lock_(lock) { lock_->lock(); }
  ~WriterLock() { lock_->unlock(); }
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;

 private:
  SharedSpinLock* const lock_;
};

class ReaderLock {
 public:
  explicit ReaderLock(SharedSpinLock* lock) : lock_(lock) {
    lock_->lock_shared();
  }
  ~ReaderLock() { lock_->unlock_shared(); }
  ReaderLock(const ReaderLock&) = delete;
  ReaderLock& operator=(const ReaderLock&) = delete;

 private:
  SharedSpinLock* const lock_;
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_SPIN_LOCK_H_
