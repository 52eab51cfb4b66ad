// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Philox4x32-10: random bits as a pure function of a counter and a key.
//
// Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011. There is no state: any thread or device that knows the seed, the
// embedding's key and the column computes the same four words.

#ifndef TF_EMBEDDING_CC_CORE_PHILOX_H_
#define TF_EMBEDDING_CC_CORE_PHILOX_H_

#include <cstdint>

#include "cc/core/platform.h"

namespace tf_embedding {

struct PhiloxWords {
  uint32_t w[4];
};

constexpr uint32_t kPhiloxWeyl0 = 0x9E3779B9u;
constexpr uint32_t kPhiloxWeyl1 = 0xBB67AE85u;
constexpr uint32_t kPhiloxMultiplier0 = 0xD2511F53u;
constexpr uint32_t kPhiloxMultiplier1 = 0xCD9E8D57u;
constexpr int kPhiloxRounds = 10;

TFE_HOST_DEVICE inline void PhiloxRound(uint32_t k0, uint32_t k1, uint32_t* c0,
                                        uint32_t* c1, uint32_t* c2,
                                        uint32_t* c3) {
  const uint64_t p0 = static_cast<uint64_t>(*c0) * kPhiloxMultiplier0;
  const uint64_t p1 = static_cast<uint64_t>(*c2) * kPhiloxMultiplier1;
  *c0 = static_cast<uint32_t>(p1 >> 32) ^ *c1 ^ k0;
  *c1 = static_cast<uint32_t>(p1);
  *c2 = static_cast<uint32_t>(p0 >> 32) ^ *c3 ^ k1;
  *c3 = static_cast<uint32_t>(p0);
}

TFE_HOST_DEVICE inline PhiloxWords Philox4x32(uint64_t counter_low,
                                              uint64_t counter_high,
                                              uint64_t key) {
  uint32_t c0 = static_cast<uint32_t>(counter_low);
  uint32_t c1 = static_cast<uint32_t>(counter_low >> 32);
  uint32_t c2 = static_cast<uint32_t>(counter_high);
  uint32_t c3 = static_cast<uint32_t>(counter_high >> 32);
  uint32_t k0 = static_cast<uint32_t>(key);
  uint32_t k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    PhiloxRound(k0, k1, &c0, &c1, &c2, &c3);
    k0 += kPhiloxWeyl0;
    k1 += kPhiloxWeyl1;
  }
  return PhiloxWords{{c0, c1, c2, c3}};
}

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_PHILOX_H_
