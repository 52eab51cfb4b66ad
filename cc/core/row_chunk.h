// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Rows outside a table, column by column, as exports and eviction hand them on.

#ifndef TF_EMBEDDING_CC_CORE_ROW_CHUNK_H_
#define TF_EMBEDDING_CC_CORE_ROW_CHUNK_H_

#include <cstdint>
#include <vector>

#include "cc/core/row_store.h"

namespace tf_embedding {

struct RowChunk {
  int dim = 0;
  int slot_width = 0;
  std::vector<int64_t> keys;
  std::vector<float> values;  // n * dim
  std::vector<float> slots;   // n * slot_width
  std::vector<int64_t> frequency;
  std::vector<int64_t> version;

  int64_t size() const { return static_cast<int64_t>(keys.size()); }
  int64_t bytes() const {
    return static_cast<int64_t>(
        (keys.capacity() + frequency.capacity() + version.capacity()) *
            sizeof(int64_t) +
        (values.capacity() + slots.capacity()) * sizeof(float));
  }

  // Rows of one layout only. Throws std::bad_alloc.
  void Add(int64_t key, const RowStore& rows, uint32_t row) {
    const RowLayout& layout = rows.layout();
    const float* const record = rows.record(row);
    dim = layout.dim;
    slot_width = layout.slot_width();
    keys.push_back(key);
    values.insert(values.end(), record, record + layout.dim);
    slots.insert(slots.end(), record + layout.dim, record + layout.width());
    frequency.push_back(rows.meta(row)->frequency);
    version.push_back(rows.meta(row)->version);
  }

  // Rows begin .. end - 1 of another chunk of the same layout.
  void Append(const RowChunk& other, int64_t begin, int64_t end) {
    dim = other.dim;
    slot_width = other.slot_width;
    const auto append = [&](auto* to, const auto& from, int64_t width) {
      to->insert(to->end(), from.begin() + begin * width,
                 from.begin() + end * width);
    };
    append(&keys, other.keys, 1);
    append(&values, other.values, dim);
    append(&slots, other.slots, slot_width);
    append(&frequency, other.frequency, 1);
    append(&version, other.version, 1);
  }
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_ROW_CHUNK_H_
