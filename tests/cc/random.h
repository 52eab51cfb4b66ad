// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Random values for tests: the same on every machine.

#ifndef TF_EMBEDDING_TESTS_CC_RANDOM_H_
#define TF_EMBEDDING_TESTS_CC_RANDOM_H_

#include <cstdint>
#include <limits>
#include <vector>

namespace tf_embedding {
namespace testing {

// xorshift64* (Vigna 2016): not the hash that is being tested.
class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed * 2 + 1) {
    for (int i = 0; i < 8; ++i) Next();
  }

  uint64_t Next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545F4914F6CDD1Du;
  }
  // In [0, n).
  int64_t Below(int64_t n) {
    return static_cast<int64_t>((Next() >> 1) % static_cast<uint64_t>(n));
  }
  // In [-1, 1), in steps of 2^-23.
  float Unit() {
    return static_cast<float>(static_cast<int64_t>(Next() >> 40) - (1 << 23)) *
           0x1p-23f;
  }
  std::vector<float> Units(int64_t n) {
    std::vector<float> values(n);
    for (float& value : values) value = Unit();
    return values;
  }

 private:
  uint64_t state_;
};

// A universe of n distinct keys that begins with the extreme ones, the
// multiples of powers of two and neighbours of 0.
inline std::vector<int64_t> MixedKeys(int64_t n) {
  std::vector<int64_t> keys = {0, -1, std::numeric_limits<int64_t>::min(),
                               std::numeric_limits<int64_t>::max()};
  for (int64_t i = 1; static_cast<int64_t>(keys.size()) < n; ++i) {
    switch (i % 4) {
      case 0:
        keys.push_back(i << 32);
        break;
      case 1:
        keys.push_back(-i * 4096 - 2);
        break;
      default:
        keys.push_back(i);
    }
  }
  keys.resize(n);
  return keys;
}

}  // namespace testing
}  // namespace tf_embedding

#endif  // TF_EMBEDDING_TESTS_CC_RANDOM_H_
