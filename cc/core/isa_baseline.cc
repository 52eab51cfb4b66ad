// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// The kernels for the machine that the whole library is built for.

#include <cstdint>

#include "cc/core/hash.h"
#include "cc/core/isa.h"
#include "cc/core/philox.h"
#include "cc/core/rule_functors.h"

namespace tf_embedding {
namespace {

inline uint32_t MatchKeys(const IndexBucket& bucket, int64_t key) {
  uint32_t match = 0;
  for (int i = 0; i < kSlotsPerBucket; ++i) {
    match |= static_cast<uint32_t>(bucket.keys[i] == key) << i;
  }
  return match;
}

inline void PhiloxRounds(uint32_t k0, uint32_t k1, PhiloxLanes* lanes) {
  uint32_t c[4][kPhiloxLanes];
  for (int w = 0; w < 4; ++w) {
    for (int l = 0; l < kPhiloxLanes; ++l) {
      c[w][l] = static_cast<uint32_t>(lanes->c[w][l]);
    }
  }
  for (int round = 0; round < kPhiloxRounds; ++round) {
    for (int l = 0; l < kPhiloxLanes; ++l) {
      PhiloxRound(k0, k1, &c[0][l], &c[1][l], &c[2][l], &c[3][l]);
    }
    k0 += kPhiloxWeyl0;
    k1 += kPhiloxWeyl1;
  }
  for (int w = 0; w < 4; ++w) {
    for (int l = 0; l < kPhiloxLanes; ++l) lanes->c[w][l] = c[w][l];
  }
}

#include "cc/core/isa_kernels.inc"

}  // namespace

const IsaKernels* BaselineKernels() {
  static const IsaKernels kernels = MakeKernels("baseline");
  return &kernels;
}

}  // namespace tf_embedding
