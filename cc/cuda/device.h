// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// What a kernel may use: the same names under nvcc and under a C++ compiler.
//
// A kernel is a functor with a method
//
//   template <class Group> TFE_DEVICE void operator()(const Group& group,
//                                                     int64_t i) const
//
// which does item i of a launch. A group is the threads that share the item:
// on a GPU up to 32 lanes of one warp, on a host one thread. Lanes take columns
// group.rank(), + group.size(), ...; what does not depend on the rank they all
// compute alike. A functor that writes memory which another lane of the group
// reads calls group.Sync() in between.
//
// Items of one launch run in any order and at once, and meet only through the
// atomics here. They order nothing: what one launch writes, the next launch of
// the stream reads. So a functor is right on a GPU if it is right on a host
// under any order and any interleaving of items, which is how it is tested
// (host_launchers.h).

#ifndef TF_EMBEDDING_CC_CUDA_DEVICE_H_
#define TF_EMBEDDING_CC_CUDA_DEVICE_H_

#include <cstdint>

#include "cc/core/rule.h"

#if defined(__CUDACC__)
#define TFE_DEVICE __device__ __forceinline__
#else
#define TFE_DEVICE inline
#endif

namespace tf_embedding {

#if defined(__CUDACC__)

TFE_DEVICE uint32_t AtomicLoad(const uint32_t* at) {
  return *static_cast<const volatile uint32_t*>(at);
}
TFE_DEVICE void AtomicStore(uint32_t* at, uint32_t value) {
  *static_cast<volatile uint32_t*>(at) = value;
}
TFE_DEVICE uint32_t AtomicAdd(uint32_t* at, uint32_t value) {
  return atomicAdd(at, value);
}
TFE_DEVICE void AtomicAdd(uint64_t* at, uint64_t value) {
  static_assert(sizeof(unsigned long long) == 8, "what CUDA calls it");
  atomicAdd(reinterpret_cast<unsigned long long*>(at), value);
}
TFE_DEVICE uint32_t AtomicOr(uint32_t* at, uint32_t bits) {
  return atomicOr(at, bits);
}
TFE_DEVICE uint32_t AtomicAnd(uint32_t* at, uint32_t bits) {
  return atomicAnd(at, bits);
}
TFE_DEVICE uint32_t AtomicMin(uint32_t* at, uint32_t value) {
  return atomicMin(at, value);
}
// Returns what was there: the swap was made where that is expected.
TFE_DEVICE uint32_t AtomicSwapIf(uint32_t* at, uint32_t expected,
                                 uint32_t value) {
  return atomicCAS(at, expected, value);
}

// kLanes lanes of a warp, 1 to 32, a power of two.
template <int kLanes>
class WarpGroup {
 public:
  TFE_DEVICE WarpGroup() : lane_(threadIdx.x & 31) {}
  TFE_DEVICE int rank() const { return lane_ & (kLanes - 1); }
  TFE_DEVICE static constexpr int size() { return kLanes; }
  TFE_DEVICE void Sync() const { __syncwarp(mask()); }
  // The value of lane 0.
  TFE_DEVICE uint32_t FromFirst(uint32_t value) const {
    return __shfl_sync(mask(), value, 0, kLanes);
  }
  // Adds sixteen lanes pairwise, as AddLanes of the CPU's loops does; of
  // groups of 16. value: the rank-th lane's.
  TFE_DEVICE float AddLanes(float value) const {
    static_assert(kReductionLanes == 16, "the tree below");
    for (int width = kReductionLanes / 2; width > 0; width /= 2) {
      value += __shfl_down_sync(mask(), value, width, kLanes);
    }
    return __shfl_sync(mask(), value, 0, kLanes);
  }

 private:
  TFE_DEVICE unsigned mask() const {
    return kLanes == 32 ? 0xFFFFFFFFu
                        : ((1u << (kLanes & 31)) - 1) << (lane_ & -kLanes);
  }
  const int lane_;
};

// The sum of term(c) over 0 <= c < dim in sixteen lanes, column mod 16.
template <int kLanes, class Term>
TFE_DEVICE float SumColumns(const WarpGroup<kLanes>& group, int dim,
                            const Term& term) {
  static_assert(kLanes == kReductionLanes, "a lane each");
  float sum = 0;
  for (int c = group.rank(); c < dim; c += kLanes) sum += term(c);
  return group.AddLanes(sum);
}

#else  // a host

TFE_DEVICE uint32_t AtomicLoad(const uint32_t* at) {
  return __atomic_load_n(at, __ATOMIC_RELAXED);
}
TFE_DEVICE void AtomicStore(uint32_t* at, uint32_t value) {
  __atomic_store_n(at, value, __ATOMIC_RELAXED);
}
TFE_DEVICE uint32_t AtomicAdd(uint32_t* at, uint32_t value) {
  return __atomic_fetch_add(at, value, __ATOMIC_RELAXED);
}
TFE_DEVICE void AtomicAdd(uint64_t* at, uint64_t value) {
  __atomic_fetch_add(at, value, __ATOMIC_RELAXED);
}
TFE_DEVICE uint32_t AtomicOr(uint32_t* at, uint32_t bits) {
  return __atomic_fetch_or(at, bits, __ATOMIC_RELAXED);
}
TFE_DEVICE uint32_t AtomicAnd(uint32_t* at, uint32_t bits) {
  return __atomic_fetch_and(at, bits, __ATOMIC_RELAXED);
}
TFE_DEVICE uint32_t AtomicSwapIf(uint32_t* at, uint32_t expected,
                                 uint32_t value) {
  __atomic_compare_exchange_n(at, &expected, value, /*weak=*/false,
                              __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}
TFE_DEVICE uint32_t AtomicMin(uint32_t* at, uint32_t value) {
  uint32_t seen = AtomicLoad(at);
  while (value < seen) {
    const uint32_t before = AtomicSwapIf(at, seen, value);
    if (before == seen) break;
    seen = before;
  }
  return seen;
}

class SerialGroup {
 public:
  static constexpr int rank() { return 0; }
  static constexpr int size() { return 1; }
  void Sync() const {}
  uint32_t FromFirst(uint32_t value) const { return value; }
};

template <class Term>
float SumColumns(const SerialGroup&, int dim, const Term& term) {
  float lanes[kReductionLanes] = {};
  for (int c = 0; c < dim; ++c) lanes[c % kReductionLanes] += term(c);
  for (int width = kReductionLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

#endif

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CUDA_DEVICE_H_
