// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// TableSnapshot: what tells which rows differ between two moments of a table.
//
// A table that keeps no log of its changes (change_log.h), since its rows lie
// elsewhere and it is a copy of them, is compared with what it was: of every
// row the key and a hash of all else, 16 bytes. A row whose bytes change keeps
// its hash with a probability of 2^-64.
//
// Invariant: rows are ordered by key, each key once.
// Thread safety: values. Failure: std::bad_alloc.

#ifndef TF_EMBEDDING_CC_CORE_TABLE_SNAPSHOT_H_
#define TF_EMBEDDING_CC_CORE_TABLE_SNAPSHOT_H_

#include <cstdint>
#include <string>
#include <vector>

namespace tf_embedding {

struct TableSnapshot {
  struct Row {
    int64_t key;
    uint64_t hash;
  };

  std::string rule;
  std::vector<Row> rows;
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_TABLE_SNAPSHOT_H_
