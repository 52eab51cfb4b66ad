// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/initializer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "cc/core/isa.h"

namespace tf_embedding {
namespace initializer_internal {
namespace {

constexpr double kLn2 = 0.693147180559945309417232121458;

// Natural logarithm for normal, positive x, good to 2 ulp, from operations
// that every IEEE 754 device rounds alike.
double Log(double x) {
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
double Polynomial(const double (&coefficients)[n], double x) {
  double sum = coefficients[n - 1];
  for (int i = n - 2; i >= 0; --i) sum = sum * x + coefficients[i];
  return sum;
}

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
constexpr double kC[] = {1.42343711074968357734e0,  4.63033784615654529590e0,
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

}  // namespace

double NormalQuantile(double p) {
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

}  // namespace initializer_internal

namespace {

using initializer_internal::NormalQuantile;

// Phi(-2), and Phi(2) - Phi(-2): what a truncated normal keeps.
constexpr double kBelowTwoSigma = 0.02275013194817920720;
constexpr double kWithinTwoSigma = 0.95449973610364158560;

double UnitInterval(uint32_t word) { return (word + 0.5) * 0x1p-32; }

// Random words for this many columns at a time.
constexpr int kMaxWords = 4096;

// Calls value(word) for each column of each key.
template <class Value>
void FillFromWords(uint64_t seed, const int64_t* keys, int n, int dim,
                   float* const* out, const Value& value) {
  const IsaKernels& kernels = ActiveKernels();
  const int blocks = (dim + 3) / 4;
  const int keys_at_once = std::max(1, kMaxWords / (4 * blocks));
  uint32_t words[kMaxWords];
  for (int first = 0; first < n; first += keys_at_once) {
    const int count = std::min(keys_at_once, n - first);
    kernels.philox(keys + first, count, blocks, seed, words);
    for (int i = 0; i < count; ++i) {
      const uint32_t* const word = words + int64_t{i} * blocks * 4;
      float* const row = out[first + i];
      for (int c = 0; c < dim; ++c) row[c] = value(word[c]);
    }
  }
}

}  // namespace

Status ParseInitializerKind(const std::string& name, InitializerKind* kind) {
  if (name == "constant") {
    *kind = InitializerKind::kConstant;
  } else if (name == "uniform") {
    *kind = InitializerKind::kUniform;
  } else if (name == "normal") {
    *kind = InitializerKind::kNormal;
  } else if (name == "truncated_normal") {
    *kind = InitializerKind::kTruncatedNormal;
  } else if (name == "matrix") {
    *kind = InitializerKind::kMatrix;
  } else {
    return InvalidArgument("initializer is \"", name,
                           "\"; use constant, uniform, normal, "
                           "truncated_normal or matrix");
  }
  return Status();
}

Initializer::Initializer(InitializerSpec spec, int dim)
    : spec_(std::move(spec)), dim_(dim) {
  matrix_rows_ = static_cast<int64_t>(spec_.matrix.size()) / dim_;
}

Status Initializer::Create(InitializerSpec spec, int dim,
                           std::shared_ptr<const Initializer>* out) {
  if (!std::isfinite(spec.a) || !std::isfinite(spec.b)) {
    return InvalidArgument("initializer parameters are (", spec.a, ", ", spec.b,
                           "); both must be finite");
  }
  const bool random = spec.kind == InitializerKind::kNormal ||
                      spec.kind == InitializerKind::kTruncatedNormal;
  if (random && spec.b < 0) {
    return InvalidArgument("initializer stddev is ", spec.b,
                           "; it must be 0 or more");
  }
  if (spec.kind == InitializerKind::kUniform &&
      !(spec.b >= spec.a && std::isfinite(spec.b - spec.a))) {
    return InvalidArgument("initializer range is [", spec.a, ", ", spec.b,
                           "); the upper end must not be below the lower, nor "
                           "further above than a float can say");
  }
  const bool matrix = spec.kind == InitializerKind::kMatrix;
  if (matrix && (spec.matrix.empty() || spec.matrix.size() % dim != 0)) {
    return InvalidArgument("initializer matrix has ", spec.matrix.size(),
                           " values; it must have a positive multiple of dim ",
                           dim);
  }
  if (!matrix && !spec.matrix.empty()) {
    return InvalidArgument("initializer matrix has ", spec.matrix.size(),
                           " values; only kind matrix takes one");
  }
  out->reset(new Initializer(std::move(spec), dim));
  return Status();
}

void Initializer::FillRows(const int64_t* keys, int n,
                           float* const* out) const {
  const float a = spec_.a;
  const float b = spec_.b;
  switch (spec_.kind) {
    case InitializerKind::kConstant:
      for (int i = 0; i < n; ++i) std::fill_n(out[i], dim_, a);
      return;
    case InitializerKind::kUniform: {
      const float range = b - a;
      const float most = std::nextafter(b, a);  // the sum may round up to b
      FillFromWords(
          spec_.seed, keys, n, dim_, out, [a, range, most](uint32_t word) {
            const auto top = static_cast<int32_t>(word >> 8);
            return std::min(most,
                            a + range * (static_cast<float>(top) * 0x1p-24f));
          });
      return;
    }
    case InitializerKind::kNormal:
      FillFromWords(spec_.seed, keys, n, dim_, out, [a, b](uint32_t word) {
        return static_cast<float>(a + b * NormalQuantile(UnitInterval(word)));
      });
      return;
    case InitializerKind::kTruncatedNormal:
      FillFromWords(spec_.seed, keys, n, dim_, out, [a, b](uint32_t word) {
        const double p = kBelowTwoSigma + kWithinTwoSigma * UnitInterval(word);
        return static_cast<float>(a + b * NormalQuantile(p));
      });
      return;
    case InitializerKind::kMatrix:
      for (int i = 0; i < n; ++i) {
        int64_t row = keys[i] % matrix_rows_;
        if (row < 0) row += matrix_rows_;
        std::copy_n(spec_.matrix.data() + row * dim_, dim_, out[i]);
      }
      return;
  }
}

}  // namespace tf_embedding
