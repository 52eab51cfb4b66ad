// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// The kernels for x86-64 with AVX-512 (F, DQ, BW, VL).

#include "cc/core/isa.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <cmath>
#include <cstdint>

#include "cc/core/hash.h"
#include "cc/core/philox.h"
#include "cc/core/rule_functors.h"

#if defined(__clang__)
#pragma clang attribute push(                                               \
    __attribute__((target(                                                  \
        "avx512f,avx512dq,avx512bw,avx512vl,avx2,bmi,bmi2,lzcnt,prfchw"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target( \
    "avx512f,avx512dq,avx512bw,avx512vl,avx2,bmi,bmi2,lzcnt,prfchw")
#endif

namespace tf_embedding {
namespace {

inline uint32_t MatchKeys(const IndexBucket& bucket, int64_t key) {
  // The whole bucket; lanes 5 to 7 are row numbers, and masked off.
  const __m512i line = _mm512_load_si512(&bucket);
  return _mm512_cmpeq_epi64_mask(line, _mm512_set1_epi64(key)) &
         IndexBucket::kOccupiedMask;
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

const IsaKernels* Avx512Kernels() {
  static const IsaKernels kernels = MakeKernels("avx512");
  return &kernels;
}

}  // namespace tf_embedding

#else

namespace tf_embedding {

const IsaKernels* Avx512Kernels() { return nullptr; }

}  // namespace tf_embedding

#endif
