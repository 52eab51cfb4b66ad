// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/isa.h"

#include <cstring>

namespace tf_embedding {

const IsaKernels* FindKernels(const char* name) {
  if (std::strcmp(name, "baseline") == 0) return BaselineKernels();
#if defined(__x86_64__)
  if (std::strcmp(name, "avx2") == 0 && __builtin_cpu_supports("avx2")) {
    return Avx2Kernels();
  }
  if (std::strcmp(name, "avx512") == 0 && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl")) {
    return Avx512Kernels();
  }
#endif
  return nullptr;
}

const IsaKernels& ActiveKernels() {
  static const IsaKernels* const active = [] {
    for (const char* name : {"avx512", "avx2"}) {
      if (const IsaKernels* kernels = FindKernels(name)) return kernels;
    }
    return BaselineKernels();
  }();
  return *active;
}

}  // namespace tf_embedding
