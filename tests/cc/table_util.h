// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// A table's content as a map, and back.

#ifndef TF_EMBEDDING_TESTS_CC_TABLE_UTIL_H_
#define TF_EMBEDDING_TESTS_CC_TABLE_UTIL_H_

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cc/core/table.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace testing {

inline bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() ||
          std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

struct Row {
  std::vector<float> values;
  std::vector<float> slots;
  int64_t frequency = 0;
  int64_t version = 0;

  bool operator==(const Row& other) const {
    return SameBits(values, other.values) && SameBits(slots, other.slots) &&
           frequency == other.frequency && version == other.version;
  }
};

struct Contents {
  TableShape shape;
  std::map<int64_t, Row> rows;

  bool operator==(const Contents& other) const {
    return shape.rule == other.shape.rule &&
           shape.slot_width == other.shape.slot_width &&
           SameBits(shape.initial_slots, other.shape.initial_slots) &&
           rows == other.rows;
  }
};

// Room for the rows of a shape, column by column.
class Columns {
 public:
  EmbeddingTable::Allocate Allocate(int dim) {
    return [this, dim](const TableShape& wanted, RowColumns* out) {
      shape = wanted;
      keys.resize(shape.size);
      values.resize(shape.size * dim);
      slots.resize(shape.size * shape.slot_width);
      frequency.resize(shape.size);
      version.resize(shape.size);
      found.reset(new bool[shape.size]());
      *out = RowColumns{keys.data(),      values.data(),  slots.data(),
                        frequency.data(), version.data(), found.get()};
      return Status();
    };
  }
  Row At(int64_t i, int dim) const {
    Row row;
    row.values.assign(values.begin() + i * dim, values.begin() + (i + 1) * dim);
    row.slots.assign(slots.begin() + i * shape.slot_width,
                     slots.begin() + (i + 1) * shape.slot_width);
    row.frequency = frequency[i];
    row.version = version[i];
    return row;
  }
  ConstRowColumns view() const {
    return ConstRowColumns{keys.data(), values.data(), slots.data(),
                           frequency.data(), version.data()};
  }

  TableShape shape;
  std::vector<int64_t> keys;
  std::vector<float> values;
  std::vector<float> slots;
  std::vector<int64_t> frequency;
  std::vector<int64_t> version;
  std::unique_ptr<bool[]> found;
};

inline Contents ExportAll(const EmbeddingTable& table, Executor* executor) {
  Columns columns;
  EXPECT_OK(table.Export(columns.Allocate(table.dim()), executor));
  Contents contents;
  contents.shape = columns.shape;
  for (int64_t i = 0; i < columns.shape.size; ++i) {
    EXPECT_TRUE(
        contents.rows.emplace(columns.keys[i], columns.At(i, table.dim()))
            .second);
  }
  return contents;
}

inline Contents ExportAll(const EmbeddingTable& table) {
  SerialExecutor executor;
  return ExportAll(table, &executor);
}

inline Columns ToColumns(const Contents& contents) {
  Columns columns;
  columns.shape = contents.shape;
  columns.shape.size = static_cast<int64_t>(contents.rows.size());
  for (const auto& [key, row] : contents.rows) {
    columns.keys.push_back(key);
    columns.values.insert(columns.values.end(), row.values.begin(),
                          row.values.end());
    columns.slots.insert(columns.slots.end(), row.slots.begin(),
                         row.slots.end());
    columns.frequency.push_back(row.frequency);
    columns.version.push_back(row.version);
  }
  return columns;
}

inline Status ImportAll(const Contents& contents, bool replace,
                        EmbeddingTable* table, Executor* executor) {
  const Columns columns = ToColumns(contents);
  return table->Import(columns.shape, columns.view(), replace, executor);
}

inline std::unique_ptr<EmbeddingTable> MakeTable(
    int dim, int log2_shards,
    InitializerKind kind = InitializerKind::kUniform) {
  TableOptions options;
  options.dim = dim;
  options.log2_shards = log2_shards;
  options.initializer.kind = kind;
  options.initializer.a = kind == InitializerKind::kUniform ? -0.5f : 0.25f;
  options.initializer.b = kind == InitializerKind::kConstant ? 0.0f : 0.5f;
  options.initializer.seed = 3;
  std::unique_ptr<EmbeddingTable> table;
  EXPECT_OK(EmbeddingTable::Create(options, &table));
  return table;
}

inline BoundRule Bind(const std::string& name, float learning_rate,
                      int64_t step, const std::vector<float>& hyper) {
  BoundRule rule;
  EXPECT_OK(BindRule(name, learning_rate, step, hyper.data(),
                     static_cast<int>(hyper.size()), &rule));
  return rule;
}

// A pooled lookup of one feature.
inline Status LookupPooled(const EmbeddingTable& table, const int64_t* keys,
                           const int64_t* splits, int64_t num_bags,
                           const float* weights, const PoolSpec& pool,
                           float* out, float* rows, Executor* executor) {
  const PooledRequest request{&table,  keys, splits, num_bags,
                              weights, pool, out,    rows};
  return EmbeddingTable::LookupPooled(&request, 1, executor);
}

}  // namespace testing
}  // namespace tf_embedding

#endif  // TF_EMBEDDING_TESTS_CC_TABLE_UTIL_H_
