// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Tables with filters: made, trained, saved and restored.

#ifndef TF_EMBEDDING_TESTS_CC_ADMISSION_UTIL_H_
#define TF_EMBEDDING_TESTS_CC_ADMISSION_UTIL_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cc/core/admission.h"
#include "cc/core/checkpoint_writer.h"
#include "cc/core/table.h"
#include "tests/cc/executors.h"
#include "tests/cc/random.h"
#include "tests/cc/table_util.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace testing {

constexpr int kDim = 3;
constexpr float kInitial = 0.25f;

inline AdmissionSpec Counter(int64_t filter_freq) {
  AdmissionSpec spec;
  spec.kind = AdmissionKind::kCounter;
  spec.filter_freq = filter_freq;
  return spec;
}

inline AdmissionSpec Bloom(int64_t filter_freq, int64_t max_elements,
                           double probability, int counter_bits) {
  AdmissionSpec spec;
  spec.kind = AdmissionKind::kBloom;
  spec.filter_freq = filter_freq;
  spec.max_elements = max_elements;
  spec.probability = probability;
  spec.counter_bits = counter_bits;
  return spec;
}

inline AdmissionSpec Probabilistic(double probability, uint64_t seed) {
  AdmissionSpec spec;
  spec.kind = AdmissionKind::kProbabilistic;
  spec.probability = probability;
  spec.seed = seed;
  return spec;
}

inline Status Make(const AdmissionSpec& admission, int log2_shards,
                   std::unique_ptr<EmbeddingTable>* table, int dim = kDim) {
  TableOptions options;
  options.dim = dim;
  options.log2_shards = log2_shards;
  options.initializer.a = kInitial;
  options.admission = admission;
  return EmbeddingTable::Create(options, table);
}

inline std::unique_ptr<EmbeddingTable> Filtered(const AdmissionSpec& admission,
                                                int log2_shards = 3,
                                                int dim = kDim) {
  std::unique_ptr<EmbeddingTable> table;
  EXPECT_OK(Make(admission, log2_shards, &table, dim));
  return table;
}

// Every gradient is 1 in each column, under plain gradient descent at rate 1/8:
// sums are exact.
inline void Train(EmbeddingTable* table, const std::vector<int64_t>& keys,
                  const int64_t* counts, int64_t step, Executor* executor) {
  const std::vector<float> gradients(keys.size() * table->dim(), 1.0f);
  int64_t rows_reset;
  EXPECT_OK(table->Apply(
      Bind("sgd", 0.125f, step, {}), keys.data(), gradients.data(), counts,
      static_cast<int64_t>(keys.size()), step, executor, &rows_reset));
}

inline void Train(EmbeddingTable* table, const std::vector<int64_t>& keys,
                  int64_t step = 0) {
  SerialExecutor executor;
  Train(table, keys, nullptr, step, &executor);
}

// What Find says of keys: frequency, of rows and of candidates.
inline std::vector<int64_t> Frequencies(const EmbeddingTable& table,
                                        const std::vector<int64_t>& keys) {
  Columns columns;
  SerialExecutor executor;
  EXPECT_OK(table.Find(keys.data(), static_cast<int64_t>(keys.size()),
                       columns.Allocate(table.dim()), &executor));
  return columns.frequency;
}

inline std::vector<std::string> Save(const EmbeddingTable& table,
                                     int64_t part = 0, int64_t num_parts = 1) {
  CheckpointWriter writer(&table, part, num_parts);
  std::vector<std::string> elements(writer.num_elements());
  for (int64_t i = 0; i < writer.num_elements(); ++i) {
    EXPECT_OK(writer.Encode(i, &elements[i]));
  }
  return elements;
}

inline RestoreReport Load(CheckpointParts parts, const RestoreOptions& options,
                          EmbeddingTable* table) {
  ThreadExecutor executor(2);
  RestoreReport report;
  EXPECT_OK(table->Restore(std::move(parts), options, &executor, &report));
  return report;
}

// A few keys often, many rarely.
inline std::vector<int64_t> Stream(const std::vector<int64_t>& universe,
                                   int64_t n, Rng* rng) {
  std::vector<int64_t> keys(n);
  for (int64_t& key : keys) {
    const int64_t below = int64_t{1} << rng->Below(12);
    key = universe[rng->Below(
        std::min<int64_t>(below, static_cast<int64_t>(universe.size())))];
  }
  return keys;
}

}  // namespace testing
}  // namespace tf_embedding

#endif  // TF_EMBEDDING_TESTS_CC_ADMISSION_UTIL_H_
