// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Initial values: from a random word to a value, on hosts and devices.
//
// initializer.h says what the distributions are and why normal values come from
// a quantile: the arithmetic here is only + - * / and sqrt, which IEEE 754
// fixes, so every processor gives the same bits (without contraction).
//
// Thread safety: pure functions. Nothing allocates or fails.

#ifndef TF_EMBEDDING_CC_CORE_INITIAL_VALUE_H_
#define TF_EMBEDDING_CC_CORE_INITIAL_VALUE_H_

#include <cmath>
#include <cstdint>
#include <cstring>

#include "cc/core/platform.h"

namespace tf_embedding {
namespace initializer_internal {

// Natural logarithm for normal, positive x, good to 2 ulp, from operations
// that every IEEE 754 device rounds alike.
TFE_HOST_DEVICE inline double Log(double x) {
  constexpr double kLn2 = 0.693147180559945309417232121458;
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  int exponent = static_cast<int>(bits >> 52) - 1023;
  bits = (bits & 0x000FFFFFFFFFFFFFu) | 0x3FF0000000000000u;
  double m;
  std::memcpy(&m, &bits, sizeof(m));
  if (m > 1.41421356237309504880) {  // keeps |s| below 0.172
    m *= 0.5;
    ++exponent;
  }
  const double s = (m - 1) / (m + 1);
  const double s2 = s * s;
  double sum = 0;  // atanh(s) / s = 1 + s^2/3 + s^4/5 + ...
  for (int k = 21; k >= 1; k -= 2) sum = sum * s2 + 1.0 / k;
  return 2 * s * sum + exponent * kLn2;
}

template <int n>
TFE_HOST_DEVICE inline double Polynomial(const double (&coefficients)[n],
                                         double x) {
  double sum = coefficients[n - 1];
  for (int i = n - 2; i >= 0; --i) sum = sum * x + coefficients[i];
  return sum;
}

// The quantile of the standard normal distribution, 2^-33 <= p <= 1 - 2^-33.
TFE_HOST_DEVICE inline double NormalQuantile(double p) {
  // Coefficients of AS 241, routine PPND16.
  constexpr double kA[] = {3.3871328727963666080e0,  1.3314166789178437745e+2,
                           1.9715909503065514427e+3, 1.3731693765509461125e+4,
                           4.5921953931549871457e+4, 6.7265770927008700853e+4,
                           3.3430575583588128105e+4, 2.5090809287301226727e+3};
  constexpr double kB[] = {1.0,
                           4.2313330701600911252e+1,
                           6.8718700749205790830e+2,
                           5.3941960214247511077e+3,
                           2.1213794301586595867e+4,
                           3.9307895800092710610e+4,
                           2.8729085735721942674e+4,
                           5.2264952788528545610e+3};
  constexpr double kC[] = {
      1.42343711074968357734e0,  4.63033784615654529590e0,
      5.76949722146069140550e0,  3.64784832476320460504e0,
      1.27045825245236838258e0,  2.41780725177450611770e-1,
      2.27238449892691845833e-2, 7.74545014278341407640e-4};
  constexpr double kD[] = {1.0,
                           2.05319162663775882187e0,
                           1.67638483018380384940e0,
                           6.89767334985100004550e-1,
                           1.48103976427480074590e-1,
                           1.51986665636164571966e-2,
                           5.47593808499534494600e-4,
                           1.05075007164441684324e-9};
  const double q = p - 0.5;
  if (std::fabs(q) <= 0.425) {
    const double r = 0.180625 - q * q;
    return q * Polynomial(kA, r) / Polynomial(kB, r);
  }
  // AS 241 has a third branch for r > 5, that is p < 1.4e-11. It cannot be
  // reached from 32 random bits.
  const double r = std::sqrt(-Log(q < 0 ? p : 1 - p)) - 1.6;
  const double x = Polynomial(kC, r) / Polynomial(kD, r);
  return q < 0 ? -x : x;
}

TFE_HOST_DEVICE inline double UnitInterval(uint32_t word) {
  return (word + 0.5) * (1.0 / 4294967296.0);
}

}  // namespace initializer_internal

// range: b - a. most: the float before b, because the sum may round up to it.
TFE_HOST_DEVICE inline float UniformValue(uint32_t word, float a, float range,
                                          float most) {
  const auto top = static_cast<int32_t>(word >> 8);
  const float value = a + range * (static_cast<float>(top) * (1.0f / 16777216));
  return value < most ? value : most;
}

TFE_HOST_DEVICE inline float NormalValue(uint32_t word, float mean,
                                         float stddev) {
  using initializer_internal::NormalQuantile;
  using initializer_internal::UnitInterval;
  return static_cast<float>(mean + stddev * NormalQuantile(UnitInterval(word)));
}

TFE_HOST_DEVICE inline float TruncatedNormalValue(uint32_t word, float mean,
                                                  float stddev) {
  using initializer_internal::NormalQuantile;
  using initializer_internal::UnitInterval;
  // Phi(-2), and Phi(2) - Phi(-2): what a truncated normal keeps.
  constexpr double kBelowTwoSigma = 0.02275013194817920720;
  constexpr double kWithinTwoSigma = 0.95449973610364158560;
  const double p = kBelowTwoSigma + kWithinTwoSigma * UnitInterval(word);
  return static_cast<float>(mean + stddev * NormalQuantile(p));
}

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_INITIAL_VALUE_H_
