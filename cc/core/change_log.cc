// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/change_log.h"

#include "cc/core/hash.h"

namespace tf_embedding {

void ChangeLog::Prune(uint32_t before) {
  std::vector<int64_t> old;
  removed_.ForEach([&](int64_t key, const uint32_t* epoch) {
    if (*epoch < before) old.push_back(key);
  });
  for (int64_t key : old) removed_.Remove(MixKey(key), key);
  removed_.Shrink();
}

}  // namespace tf_embedding
