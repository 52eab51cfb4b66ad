// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Initial rows: the vector that a key is born with.
//
// value(key, column) is a pure function of the seed, the key and the column.
// Nothing is drawn from a stream, so the row is the same on any shard, thread
// or device, in any order, before and after a restart; and a lookup can answer
// for a key that has no row yet by computing what it would be born with.
//
//   kConstant         a
//   kUniform          in [a, b)
//   kNormal           mean a, standard deviation b
//   kTruncatedNormal  the same, conditioned on lying within 2 b of the mean
//   kMatrix           row floormod(key, n) of an [n, dim] matrix, drawn once by
//                     the caller: for initializers that are arbitrary code
//
// Words come from Philox with counter (key, column / 4) and key seed; column c
// takes word c mod 4. A uniform value uses the word's upper 24 bits. A normal
// value is the quantile of (word + 1/2) / 2^32 (Wichura, algorithm AS 241,
// 1988): one word gives one value, and the arithmetic is only + - * / and
// sqrt, which IEEE 754 fixes, so hosts and devices agree to the last bit
// (compiled without contraction; library logarithms and cosines would not).
//
// Thread safety: immutable after construction.

#ifndef TF_EMBEDDING_CC_CORE_INITIALIZER_H_
#define TF_EMBEDDING_CC_CORE_INITIALIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cc/core/status.h"

namespace tf_embedding {

enum class InitializerKind {
  kConstant,
  kUniform,
  kNormal,
  kTruncatedNormal,
  kMatrix,
};

struct InitializerSpec {
  InitializerKind kind = InitializerKind::kConstant;
  float a = 0;
  float b = 0;
  uint64_t seed = 0;
  std::vector<float> matrix;  // kMatrix only: n * dim values, row-major
};

// kind: "constant", "uniform", "normal", "truncated_normal" or "matrix".
Status ParseInitializerKind(const std::string& name, InitializerKind* kind);
// The inverse: "constant", "uniform", ...
const char* InitializerKindName(InitializerKind kind);

class Initializer {
 public:
  // Checks that the parameters are finite and fit the kind and dim.
  static Status Create(InitializerSpec spec, int dim,
                       std::shared_ptr<const Initializer>* out);

  // Writes the dim values of each of n keys.
  void FillRows(const int64_t* keys, int n, float* const* out) const;
  void Fill(int64_t key, float* out) const { FillRows(&key, 1, &out); }

  const InitializerSpec& spec() const { return spec_; }

 private:
  Initializer(InitializerSpec spec, int dim);

  InitializerSpec spec_;
  int dim_;
  int64_t matrix_rows_ = 0;
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_INITIALIZER_H_
