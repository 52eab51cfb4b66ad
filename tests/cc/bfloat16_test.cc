// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// bfloat16: both roundings, against exact arithmetic in double.

#include "cc/core/bfloat16.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <set>
#include <vector>

#include "tests/cc/random.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

float FloatOfBits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

double Exactly(Bfloat16 x) { return static_cast<double>(ToFloat(x)); }

// Finite float32 values whose high half takes every exponent, and NaNs and
// infinities aside: patterns of the low half that matter, and random ones.
std::vector<float> Values() {
  std::vector<float> values;
  testing::Rng rng(1);
  for (uint32_t high = 0; high < 1 << 16; high += 37) {
    if ((high & 0x7F80u) == 0x7F80u) continue;
    for (const uint32_t low : {0u, 1u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
      values.push_back(FloatOfBits(high << 16 | low));
    }
    values.push_back(FloatOfBits(high << 16 | (rng.Next() & 0xFFFFu)));
  }
  return values;
}

TEST(EveryBfloat16IsItselfAfterBothRoundings) {
  for (uint32_t bits = 0; bits < 1 << 16; ++bits) {
    const float x = ToFloat(Bfloat16{static_cast<uint16_t>(bits)});
    if (std::isnan(x)) {
      EXPECT_TRUE(std::isnan(ToFloat(RoundToNearest(x))));
      EXPECT_TRUE(std::isnan(ToFloat(RoundStochastically(x, 0xFFFF))));
      continue;
    }
    EXPECT_EQ(RoundToNearest(x).bits, bits);
    EXPECT_EQ(RoundStochastically(x, 0).bits, bits);
    EXPECT_EQ(RoundStochastically(x, 0xFFFF).bits, bits);
  }
}

TEST(NearestIsTheNearestOfAll) {
  for (const float x : Values()) {
    const Bfloat16 rounded = RoundToNearest(x);
    if (std::isinf(ToFloat(rounded))) {
      // Past the middle of the largest one and what would come next.
      EXPECT_TRUE(std::fabs(x) >= 0x1.FFp127f);
      continue;
    }
    const double error = std::fabs(Exactly(rounded) - static_cast<double>(x));
    // Its neighbours in magnitude are no nearer, and of two as near the even
    // one is taken.
    for (const int other : {-1, 1}) {
      if (other < 0 && (rounded.bits & 0x7FFFu) == 0) continue;
      const Bfloat16 near{static_cast<uint16_t>(rounded.bits + other)};
      if (std::isinf(ToFloat(near))) continue;
      const double theirs = std::fabs(Exactly(near) - static_cast<double>(x));
      EXPECT_TRUE(error < theirs || (error == theirs && rounded.bits % 2 == 0));
    }
  }
}

TEST(NotANumberStaysSo) {
  for (const uint32_t bits :
       {0x7F800001u, 0x7FC00000u, 0xFF800001u, 0x7FFFFFFFu, 0xFFFFFFFFu}) {
    const float nan = FloatOfBits(bits);
    for (const Bfloat16 rounded :
         {RoundToNearest(nan), RoundStochastically(nan, 0xFFFF)}) {
      EXPECT_TRUE(std::isnan(ToFloat(rounded)));
      EXPECT_EQ(rounded.bits >> 15, bits >> 31);
    }
  }
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(ToFloat(RoundToNearest(-infinity)), -infinity);
  EXPECT_EQ(ToFloat(RoundStochastically(infinity, 0xFFFF)), infinity);
}

TEST(StochasticRoundingIsRightOnAverage) {
  // Over all 2^16 random numbers the mean is the value, exactly.
  std::vector<float> some = {1.0f / 3, -0.1f, 1.00001f, 1e-40f, -3e38f, 65535};
  some.push_back(FloatOfBits(0x00000001));
  for (const float x : some) {
    double sum = 0;
    for (uint32_t random = 0; random < 1 << 16; ++random) {
      sum += Exactly(RoundStochastically(x, random)) * 0x1p-16;
    }
    EXPECT_EQ(sum, static_cast<double>(x));
  }
  // It is one of the two next to the value.
  testing::Rng rng(2);
  for (const float x : Values()) {
    const auto random = static_cast<uint32_t>(rng.Next() & 0xFFFFu);
    const uint32_t rounded = RoundStochastically(x, random).bits;
    const uint32_t below = BitsOfFloat(x) >> 16;
    EXPECT_TRUE(rounded == below || rounded == below + 1);
    EXPECT_TRUE(
        std::isfinite(ToFloat(Bfloat16{static_cast<uint16_t>(rounded)})));
  }
}

// The bits as bfloat16.h describes them, one counter at a time.
uint32_t BitsOf(uint64_t seed, int64_t key, uint32_t step, uint32_t frequency,
                uint32_t column) {
  const PhiloxWords words =
      Philox4x32(static_cast<uint64_t>(key),
                 (uint64_t{frequency} << 32) + column / 256 * 32 + column % 32,
                 seed ^ MixKey(step));
  const uint32_t half = column / 32 % 8;
  return words.w[half == 2 || half == 3   ? 1
                 : half == 4 || half == 5 ? 2
                 : half >= 6              ? 3
                                          : 0] >>
             half % 2 * 16 &
         0xFFFFu;
}

TEST(RandomBitsAreAFunctionOfSeedKeyStepFrequencyAndColumn) {
  UpdateRounding<Bfloat16> rounding(7, -5, 3, 9);
  // In any order of columns.
  for (int i = 0; i < 2000; ++i) {
    const int column = i * 1237 % 2000;
    EXPECT_EQ(rounding.Bits(column), BitsOf(7, -5, 3, 9, column));
  }
  // All different, but for chance: each has 8 columns of its own half words.
  const auto row = [](uint64_t seed, int64_t key, uint32_t step,
                      uint32_t frequency) {
    UpdateRounding<Bfloat16> bits(seed, key, step, frequency);
    std::vector<uint32_t> out;
    for (int c = 0; c < 512; ++c) out.push_back(bits.Bits(c));
    return out;
  };
  const std::set<std::vector<uint32_t>> rows = {
      row(7, 5, 3, 9), row(8, 5, 3, 9),  row(7, -5, 3, 9),
      row(7, 5, 4, 9), row(7, 5, 3, 10), row(7, 9, 3, 5)};
  EXPECT_EQ(rows.size(), size_t{6});
  const std::vector<uint32_t> one = row(7, 5, 3, 9);
  EXPECT_TRUE((std::set<uint32_t>(one.begin(), one.end()).size() > 490));
}

TEST(RandomBitsAreUniform) {
  // 2^20 of them: each of 16 bits is set half the time, and the mean of all is
  // half the range, within five standard deviations.
  constexpr int kKeys = 64, kUpdates = 64, kColumns = 256;
  constexpr double kDraws = 1.0 * kKeys * kUpdates * kColumns;
  double set[16] = {};
  double sum = 0;
  for (int key = 0; key < kKeys; ++key) {
    for (uint32_t update = 0; update < kUpdates; ++update) {
      UpdateRounding<Bfloat16> rounding(0, key, 0, update);
      for (int c = 0; c < kColumns; ++c) {
        const uint32_t bits = rounding.Bits(c);
        sum += bits;
        for (int b = 0; b < 16; ++b) set[b] += bits >> b & 1;
      }
    }
  }
  for (const double count : set) {
    EXPECT_NEAR(count / kDraws, 0.5, 5 * 0.5 / std::sqrt(kDraws));
  }
  EXPECT_NEAR(sum / kDraws, 32767.5, 5 * 65536 / std::sqrt(12 * kDraws));
}

}  // namespace
}  // namespace tf_embedding
