// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/cuda/launchers_host.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <numeric>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tf_embedding {
namespace {

constexpr int kUnknownRule = 1;
constexpr int64_t kAlignment = 256;

// A launch of fewer items is not worth threads.
constexpr int64_t kMinItemsOfThread = 64;

HostLaunches& Launches() {
  static HostLaunches launches;
  return launches;
}

struct Counts {
  std::atomic<int64_t> launches{0};
  std::atomic<int64_t> allocations{0};
  std::atomic<int64_t> synchronizations{0};
  std::mutex mutex;
  // Guarded by mutex.
  std::unordered_map<void*, int64_t> sizes;
  int64_t bytes_held = 0;
  int64_t pinned_bytes_held = 0;
};
Counts& AllCounts() {
  static auto* const counts = new Counts;
  return *counts;
}

// Item number i of a permutation of 0..n-1.
int64_t Permuted(int64_t i, int64_t n, uint64_t order) {
  if (order == 0) return i;
  auto step = static_cast<int64_t>(MixKey(static_cast<int64_t>(order)) %
                                   static_cast<uint64_t>(n));
  while (std::gcd(step, n) != 1) ++step;
  const auto start = static_cast<int64_t>(order % static_cast<uint64_t>(n));
  return static_cast<int64_t>(
      (static_cast<unsigned __int128>(i) * static_cast<uint64_t>(step) +
       static_cast<uint64_t>(start)) %
      static_cast<uint64_t>(n));
}

// What a stream was given, worked off by a thread, in order.
class HostStream {
 public:
  HostStream() : thread_([this] { Work(); }) {}
  ~HostStream() {
    Give([this] { ended_ = true; });
    thread_.join();
  }
  HostStream(const HostStream&) = delete;
  HostStream& operator=(const HostStream&) = delete;

  void Give(std::function<void()> task) {
    std::lock_guard<std::mutex> lock(mutex_);
    tasks_.push_back(std::move(task));
    ++given_;
    changed_.notify_all();
  }
  int64_t given() {
    std::lock_guard<std::mutex> lock(mutex_);
    return given_;
  }
  bool IsDone(int64_t tasks) {
    std::lock_guard<std::mutex> lock(mutex_);
    return done_ >= tasks;
  }
  void Wait(int64_t tasks) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return done_ >= tasks; });
  }

 private:
  void Work() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!ended_) {
      changed_.wait(lock, [&] { return !tasks_.empty(); });
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
      ++done_;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::deque<std::function<void()>> tasks_;
  int64_t given_ = 0;
  int64_t done_ = 0;
  bool ended_ = false;  // the thread's
  std::thread thread_;
};

HostStream* ToStream(void* stream) { return static_cast<HostStream*>(stream); }

// Runs a task, or gives it to the stream that is not null.
template <class Task>
int RunIn(void* stream, Task task) {
  if (stream == nullptr) {
    task();
  } else {
    ToStream(stream)->Give(std::move(task));
  }
  return 0;
}

template <int kLanes, class Functor>
void RunKernel(const Functor& functor, int64_t n) {
  const HostLaunches& launches = Launches();
  AllCounts().launches.fetch_add(1, std::memory_order_relaxed);
  const auto run = [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) {
      functor(SerialGroup(), Permuted(i, n, launches.order));
    }
  };
  const int64_t pieces = std::clamp<int64_t>(n / kMinItemsOfThread, 1,
                                             std::max(1, launches.threads));
  std::vector<std::thread> threads;
  for (int64_t t = 1; t < pieces; ++t) {
    threads.emplace_back(run, n * t / pieces, n * (t + 1) / pieces);
  }
  run(0, n / pieces);
  for (std::thread& thread : threads) thread.join();
}

template <int kLanes, class Functor>
int Launch(const Functor& functor, int64_t n, void* stream) {
  if (n <= 0) return 0;
  return RunIn(stream, [functor, n] { RunKernel<kLanes>(functor, n); });
}

const char* Describe(int error) {
  return error == kUnknownRule ? "unknown rule" : "no error";
}

int DeviceCount() { return 1; }

// held: of the counts.
void* AllocateWithin(int64_t limit, int64_t bytes, int64_t Counts::* held) {
  Counts& counts = AllCounts();
  counts.allocations.fetch_add(1, std::memory_order_relaxed);
  std::lock_guard<std::mutex> lock(counts.mutex);
  if (limit >= 0 && counts.*held + bytes > limit) return nullptr;
  void* const memory = std::aligned_alloc(
      kAlignment,
      (std::max<int64_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment);
  if (memory == nullptr) return nullptr;
  // What a device's memory holds at first is anything.
  std::memset(memory, 0xA5, static_cast<size_t>(bytes));
  counts.sizes[memory] = bytes;
  counts.*held += bytes;
  return memory;
}

void ReleaseHeld(void* memory, int64_t Counts::* held) {
  if (memory == nullptr) return;
  Counts& counts = AllCounts();
  std::lock_guard<std::mutex> lock(counts.mutex);
  counts.*held -= counts.sizes[memory];
  counts.sizes.erase(memory);
  std::free(memory);
}

void* Allocate(int64_t bytes) {
  return AllocateWithin(Launches().memory_limit, bytes, &Counts::bytes_held);
}
void Release(void* memory) { ReleaseHeld(memory, &Counts::bytes_held); }

void* AllocatePinned(int64_t bytes) {
  return AllocateWithin(Launches().pinned_limit, bytes,
                        &Counts::pinned_bytes_held);
}
void ReleasePinned(void* memory) {
  ReleaseHeld(memory, &Counts::pinned_bytes_held);
}

int Copy(void* to, const void* from, int64_t bytes, void* stream) {
  return RunIn(stream, [=] {
    if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
  });
}
int SetZero(void* memory, int64_t bytes, void* stream) {
  return RunIn(stream, [=] {
    if (bytes > 0) std::memset(memory, 0, static_cast<size_t>(bytes));
  });
}
int Synchronize(void* stream) {
  AllCounts().synchronizations.fetch_add(1, std::memory_order_relaxed);
  if (stream != nullptr) ToStream(stream)->Wait(ToStream(stream)->given());
  return 0;
}

int CreateStream(void** stream) {
  *stream = new HostStream;
  return 0;
}
void DestroyStream(void* stream) { delete ToStream(stream); }

// Of a stream that is not null: after so many of its tasks.
struct HostEvent {
  HostStream* stream = nullptr;
  int64_t tasks = 0;
};
HostEvent* ToEvent(void* event) { return static_cast<HostEvent*>(event); }

int CreateEvent(void** event) {
  *event = new HostEvent;
  return 0;
}
void DestroyEvent(void* event) { delete ToEvent(event); }
int RecordEvent(void* event, void* stream) {
  HostStream* const in = ToStream(stream);
  *ToEvent(event) = HostEvent{in, in == nullptr ? 0 : in->given()};
  return 0;
}
int Done(void* event, bool* done) {
  const HostEvent at = *ToEvent(event);
  *done = at.stream == nullptr || at.stream->IsDone(at.tasks);
  return 0;
}

void WaitFor(const HostEvent& at) {
  if (at.stream != nullptr) at.stream->Wait(at.tasks);
}
int Wait(void* event) {
  WaitFor(*ToEvent(event));
  return 0;
}
int WaitIn(void* event, void* stream) {
  return RunIn(stream, [at = *ToEvent(event)] { WaitFor(at); });
}

int64_t SortBytes(int64_t /*n*/) { return 1; }
int Sort(const uint32_t* keys, uint32_t* sorted_keys, const uint32_t* values,
         uint32_t* sorted_values, int64_t n, int end_bit, void* /*workspace*/,
         int64_t /*workspace_bytes*/, void* stream) {
  return RunIn(stream, [=] {
    const uint32_t mask = end_bit >= 32 ? 0xFFFFFFFFu : (1u << end_bit) - 1;
    std::vector<uint32_t> order(n);
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
      return (keys[a] & mask) < (keys[b] & mask);
    });
    for (int64_t i = 0; i < n; ++i) {
      sorted_keys[i] = keys[order[i]];
      sorted_values[i] = values[order[i]];
    }
  });
}

int64_t SumBytes(int64_t /*n*/) { return 1; }
int PrefixSum(const uint32_t* values, uint32_t* sums, int64_t n,
              void* /*workspace*/, int64_t /*workspace_bytes*/, void* stream) {
  return RunIn(stream, [=] {
    uint32_t sum = 0;
    for (int64_t i = 0; i < n; ++i) {
      sums[i] = sum;
      sum += values[i];
    }
  });
}

#include "cc/cuda/launchers.inc"

}  // namespace

void SetHostLaunches(const HostLaunches& launches) { Launches() = launches; }

HostLaunchCounts CountHostLaunches() {
  Counts& counts = AllCounts();
  std::lock_guard<std::mutex> lock(counts.mutex);
  return HostLaunchCounts{counts.launches.load(), counts.allocations.load(),
                          counts.synchronizations.load(), counts.bytes_held,
                          counts.pinned_bytes_held};
}

extern "C" const DeviceLaunchers* tfe_host_launchers() {
  static const DeviceLaunchers launchers = MakeLaunchers();
  return &launchers;
}

}  // namespace tf_embedding
