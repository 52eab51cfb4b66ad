// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// The launchers on this processor: how the device's algorithms are tested where
// there is no device. A launch runs its items, each by a group of one thread,
// in an order and by as many threads as a test says; what is right in every
// order and interleaving is right on a device (device.h).
//
// Device memory is the heap, so a sanitizer sees every access. The stream that
// has no name (null) does its work at once. One that was created does it in a
// thread of its own, so that a sanitizer of threads sees what nobody waits for.

#ifndef TF_EMBEDDING_CC_CUDA_LAUNCHERS_HOST_H_
#define TF_EMBEDDING_CC_CUDA_LAUNCHERS_HOST_H_

#include <cstdint>

#include "cc/cuda/launchers.h"

namespace tf_embedding {

// How launches run from now on; not while any does.
struct HostLaunches {
  int threads = 1;
  uint64_t order = 0;  // 0: from item 0 up; else a permutation of that number
  // allocate gives null beyond so many bytes in all; -1: no limit.
  int64_t memory_limit = -1;
  int64_t pinned_limit = -1;  // allocate_pinned likewise
};
void SetHostLaunches(const HostLaunches& launches);

// What was asked of the launchers since the start, by kind.
struct HostLaunchCounts {
  int64_t launches = 0;
  int64_t allocations = 0;
  int64_t synchronizations = 0;
  int64_t bytes_held = 0;
  int64_t pinned_bytes_held = 0;
};
HostLaunchCounts CountHostLaunches();

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CUDA_LAUNCHERS_HOST_H_
