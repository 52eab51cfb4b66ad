// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/parts.h"

#include <cstring>

#include "cc/core/hash.h"

namespace tf_embedding {

Status CheckNumParts(int64_t num_parts) {
  if (num_parts >= 1 && num_parts <= kMaxParts) return Status();
  return InvalidArgument("num_parts is ", num_parts, "; it must be in [1, ",
                         kMaxParts, "]");
}

std::vector<int64_t> CountByPart(const int64_t* keys, int64_t n,
                                 int num_parts) {
  std::vector<int64_t> counts(num_parts);
  for (int64_t i = 0; i < n; ++i) {
    ++counts[PartOfHash(MixKey(keys[i]), num_parts)];
  }
  return counts;
}

void SplitByPart(const int64_t* keys, int64_t n, int num_parts,
                 const std::vector<int64_t*>& part_keys,
                 const std::vector<int64_t*>& positions) {
  std::vector<int64_t> next(num_parts);
  for (int64_t i = 0; i < n; ++i) {
    const int part = PartOfHash(MixKey(keys[i]), num_parts);
    const int64_t at = next[part]++;
    part_keys[part][at] = keys[i];
    positions[part][at] = i;
  }
}

Status JoinParts(const std::vector<PartRows>& parts, int64_t n, int dim,
                 float* out) {
  std::vector<bool> seen(n);
  int64_t total = 0;
  for (const PartRows& part : parts) {
    total += part.count;
    for (int64_t i = 0; i < part.count; ++i) {
      const int64_t position = part.positions[i];
      if (position < 0 || position >= n || seen[position]) {
        return InvalidArgument("positions has ", position,
                               ", which is twice there or outside [0, ", n,
                               ")");
      }
      seen[position] = true;
    }
  }
  if (total != n) {
    return InvalidArgument("positions has ", total, " values for ", n, " keys");
  }
  for (const PartRows& part : parts) {
    for (int64_t i = 0; i < part.count; ++i) {
      std::memcpy(out + part.positions[i] * dim, part.rows + i * dim,
                  sizeof(float) * dim);
    }
  }
  return Status();
}

}  // namespace tf_embedding
