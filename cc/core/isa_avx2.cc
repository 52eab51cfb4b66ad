// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// The kernels for x86-64 with AVX2.

#include "cc/core/isa.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <cmath>
#include <cstdint>

#include "cc/core/hash.h"
#include "cc/core/philox.h"
#include "cc/core/rule_functors.h"

#if defined(__clang__)
#pragma clang attribute push(                              \
    __attribute__((target("avx2,bmi,bmi2,lzcnt,prfchw"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2,lzcnt,prfchw")
#endif

namespace tf_embedding {
namespace {

inline uint32_t MatchKeys(const IndexBucket& bucket, int64_t key) {
  // Keys 0 to 3 at once; the fifth by itself.
  const __m256i wanted = _mm256_set1_epi64x(key);
  const __m256i four =
      _mm256_load_si256(reinterpret_cast<const __m256i*>(bucket.keys));
  const uint32_t match = static_cast<uint32_t>(_mm256_movemask_pd(
      _mm256_castsi256_pd(_mm256_cmpeq_epi64(four, wanted))));
  return match | static_cast<uint32_t>(bucket.keys[4] == key) << 4;
}

#include "cc/core/isa_philox_avx2.inc"
// After what it uses.
#include "cc/core/isa_kernels.inc"

}  // namespace
}  // namespace tf_embedding

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace tf_embedding {

const IsaKernels* Avx2Kernels() {
  static const IsaKernels kernels = MakeKernels("avx2");
  return &kernels;
}

}  // namespace tf_embedding

#else

namespace tf_embedding {

const IsaKernels* Avx2Kernels() { return nullptr; }

}  // namespace tf_embedding

#endif
