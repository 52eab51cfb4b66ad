// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// bfloat16: the high half of a float32, and two ways to get there.
//
// To nearest, ties to even, as IEEE 754 has it: for values that are set. An
// update that is smaller than half a unit in the last place (2^-9 of the value)
// is lost then, and with it all training at a small learning rate. So updates
// round stochastically: up or down with the probabilities that make the result
// right on average. Gupta, Agrawal, Gopalakrishnan and Narayanan, "Deep
// Learning with Limited Numerical Precision", ICML 2015.
//
//   the 16 bits that go + 16 random bits >= 2^16   rounds away from zero
//
// The random bits are Philox's, of the seed, the key, the step of the update,
// how often the row had been trained before it, and the column. So nothing is
// kept from one update to the next, and neither threads nor launches nor the
// place of a row matter. A row that was trained 2^32 - 1 times has the step
// alone to tell one update from the next.
//
// Thread safety: values. Nothing allocates or fails.

#ifndef TF_EMBEDDING_CC_CORE_BFLOAT16_H_
#define TF_EMBEDDING_CC_CORE_BFLOAT16_H_

#include <cstdint>
#include <cstring>

#include "cc/core/hash.h"
#include "cc/core/philox.h"
#include "cc/core/platform.h"

namespace tf_embedding {

struct Bfloat16 {
  uint16_t bits;
};

TFE_HOST_DEVICE inline uint32_t BitsOfFloat(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

TFE_HOST_DEVICE inline float ToFloat(Bfloat16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}
TFE_HOST_DEVICE inline float ToFloat(float x) { return x; }

constexpr uint32_t kInfinityBits = 0x7F800000u;

// A NaN of a float32 stays one.
TFE_HOST_DEVICE inline Bfloat16 NanToBfloat16(uint32_t bits) {
  return Bfloat16{static_cast<uint16_t>(bits >> 16 | 0x40u)};
}

TFE_HOST_DEVICE inline Bfloat16 RoundToNearest(float x) {
  const uint32_t bits = BitsOfFloat(x);
  if ((bits & 0x7FFFFFFFu) > kInfinityBits) return NanToBfloat16(bits);
  const uint32_t odd = bits >> 16 & 1;
  return Bfloat16{static_cast<uint16_t>((bits + 0x7FFFu + odd) >> 16)};
}

// random: 16 bits. What is finite stays finite: past the largest bfloat16 there
// is nothing to round up to.
TFE_HOST_DEVICE inline Bfloat16 RoundStochastically(float x, uint32_t random) {
  const uint32_t bits = BitsOfFloat(x);
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > kInfinityBits) return NanToBfloat16(bits);
  uint32_t rounded = (bits + random) >> 16;
  if ((rounded & 0x7FFFu) == kInfinityBits >> 16) rounded = bits >> 16;
  return Bfloat16{static_cast<uint16_t>(rounded)};
}

// Rounds what an update makes of a row's vector.
template <class Value>
class UpdateRounding;

template <>
class UpdateRounding<float> {
 public:
  TFE_HOST_DEVICE UpdateRounding(uint64_t, int64_t, uint32_t, uint32_t) {}
  TFE_HOST_DEVICE float operator()(float x, int /*column*/) { return x; }
};

template <>
class UpdateRounding<Bfloat16> {
 public:
  // frequency: of the row before the update.
  TFE_HOST_DEVICE UpdateRounding(uint64_t seed, int64_t key, uint32_t step,
                                 uint32_t frequency)
      // Never the seed itself, with which initial values are drawn.
      : philox_key_(seed ^ MixKey(static_cast<int64_t>(step))),
        key_(static_cast<uint64_t>(key)),
        frequency_(frequency) {}

  TFE_HOST_DEVICE Bfloat16 operator()(float x, int column) {
    return RoundStochastically(x, Bits(column));
  }

  // Eight columns that are 32 apart share the words of one counter, so that
  // one of 32 lanes, which has just those, computes them once.
  TFE_HOST_DEVICE uint32_t Bits(int column) {
    const auto c = static_cast<uint32_t>(column);
    const uint32_t counter = c >> 8 << 5 | (c & 31);
    if (counter != counter_) {
      counter_ = counter;
      words_ =
          Philox4x32(key_, uint64_t{frequency_} << 32 | counter, philox_key_);
    }
    const uint32_t half = c >> 5 & 7;
    // Not words_.w[half / 2]: an index would put them into memory.
    const uint32_t low = (half & 2) == 0 ? words_.w[0] : words_.w[1];
    const uint32_t high = (half & 2) == 0 ? words_.w[2] : words_.w[3];
    const uint32_t word = (half & 4) == 0 ? low : high;
    return (half & 1) == 0 ? word & 0xFFFFu : word >> 16;
  }

 private:
  const uint64_t philox_key_;
  const uint64_t key_;
  const uint32_t frequency_;
  uint32_t counter_ = 0xFFFFFFFFu;
  PhiloxWords words_ = {};
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_BFLOAT16_H_
