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

#include "cc/core/isa_kernels.inc"

}  // namespace

const IsaKernels* BaselineKernels() {
  static const IsaKernels kernels = MakeKernels("baseline");
  return &kernels;
}

}  // namespace tf_embedding
