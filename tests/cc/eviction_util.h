// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Tables that evict, for the tests of rules and of bounds.

#ifndef TF_EMBEDDING_TESTS_CC_EVICTION_UTIL_H_
#define TF_EMBEDDING_TESTS_CC_EVICTION_UTIL_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cc/core/eviction.h"
#include "cc/core/table.h"
#include "tests/cc/table_util.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace testing {

inline constexpr int kDim = 2;

inline std::unique_ptr<EmbeddingTable> MakeTable(
    const EvictionOptions& eviction, int log2_shards = 7, int dim = kDim) {
  TableOptions options;
  options.dim = dim;
  options.log2_shards = log2_shards;
  options.initializer.kind = InitializerKind::kConstant;
  options.eviction = eviction;
  std::unique_ptr<EmbeddingTable> table;
  EXPECT_OK(EmbeddingTable::Create(options, &table));
  return table;
}

inline EvictionOptions MaxKeys(int64_t max_keys, EvictOrder order) {
  EvictionOptions options;
  options.max_keys = max_keys;
  options.order = order;
  return options;
}

// Some legal values.
inline std::vector<float> Hyper(const std::string& rule) {
  const std::map<std::string, float> special = {{"nesterov", 0.0f},
                                                {"epsilon_in_sqrt", 0.0f},
                                                {"decay_steps", 10.0f},
                                                {"learning_rate_power", -0.5f}};
  std::vector<float> hyper;
  for (const std::string& name : FindRule(rule)->hyper) {
    const auto found = special.find(name);
    hyper.push_back(found == special.end() ? 0.1f : found->second);
  }
  return hyper;
}

inline void Train(EmbeddingTable* table, const std::vector<int64_t>& keys,
                  int64_t step, Executor* executor,
                  const std::string& rule = "sgd", float gradient = 0) {
  const std::vector<float> gradients(keys.size() * table->dim(), gradient);
  int64_t rows_reset;
  EXPECT_OK(table->Apply(
      Bind(rule, 1.0f, step, Hyper(rule)), keys.data(), gradients.data(),
      nullptr, static_cast<int64_t>(keys.size()), step, executor, &rows_reset));
}

inline void Train(EmbeddingTable* table, const std::vector<int64_t>& keys,
                  int64_t step) {
  SerialExecutor executor;
  Train(table, keys, step, &executor);
}

inline std::set<int64_t> Keys(const EmbeddingTable& table) {
  std::set<int64_t> keys;
  for (const auto& [key, row] : ExportAll(table).rows) keys.insert(key);
  return keys;
}

inline std::vector<int64_t> Range(int64_t begin, int64_t end) {
  std::vector<int64_t> keys;
  for (int64_t key = begin; key < end; ++key) keys.push_back(key);
  return keys;
}

}  // namespace testing
}  // namespace tf_embedding

#endif  // TF_EMBEDDING_TESTS_CC_EVICTION_UTIL_H_
