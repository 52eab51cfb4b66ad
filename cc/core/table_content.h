// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// TableContent: what a table holds, beside the live one.
//
// A replacement (a restore, an import, another rule's slots) is built here, by
// as many threads as there are shards, while the table goes on; then the two
// change places under the layout lock, and readers never see less than one of
// them whole. Failure on the way leaves the table untouched.
//
// Thread safety: one thread a shard. Failure: std::bad_alloc.

#ifndef TF_EMBEDDING_CC_CORE_TABLE_CONTENT_H_
#define TF_EMBEDDING_CC_CORE_TABLE_CONTENT_H_

#include <memory>
#include <vector>

#include "cc/core/table.h"

namespace tf_embedding {

struct TableContent {
  // rule: null for none. initial_slots: of vector slots, then of scalar ones.
  // locks: those of the table's shards, which stay when content changes places.
  TableContent(int dim, int log2_shards, const RuleInfo* rule,
               const float* initial_slots, bool with_recency,
               SharedSpinLock* locks);

  // The slots of a new row.
  void InitSlots(float* record) const;

  const RuleInfo* rule;
  RowLayout layout;
  float initial_vector_slots[kMaxVectorSlots] = {};
  float initial_scalar_slots[kMaxScalarSlots] = {};
  std::unique_ptr<TableMemory> memory;  // outlives the shards
  std::vector<std::unique_ptr<Shard>> shards;
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_TABLE_CONTENT_H_
