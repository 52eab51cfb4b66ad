// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/initializer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "cc/core/initial_value.h"
#include "cc/core/isa.h"

namespace tf_embedding {
namespace {

// Random words for this many columns at a time.
constexpr int kMaxWords = 4096;

// Calls value(word) for each column of each key.
template <class Value>
void FillFromWords(uint64_t seed, const int64_t* keys, int n, int dim,
                   float* const* out, const Value& value) {
  const IsaKernels& kernels = ActiveKernels();
  const int blocks = (dim + 3) / 4;
  const int keys_at_once = std::max(1, kMaxWords / (4 * blocks));
  uint32_t words[kMaxWords];
  for (int first = 0; first < n; first += keys_at_once) {
    const int count = std::min(keys_at_once, n - first);
    kernels.philox(keys + first, count, blocks, seed, words);
    for (int i = 0; i < count; ++i) {
      const uint32_t* const word = words + int64_t{i} * blocks * 4;
      float* const row = out[first + i];
      for (int c = 0; c < dim; ++c) row[c] = value(word[c]);
    }
  }
}

}  // namespace

Status ParseInitializerKind(const std::string& name, InitializerKind* kind) {
  if (name == "constant") {
    *kind = InitializerKind::kConstant;
  } else if (name == "uniform") {
    *kind = InitializerKind::kUniform;
  } else if (name == "normal") {
    *kind = InitializerKind::kNormal;
  } else if (name == "truncated_normal") {
    *kind = InitializerKind::kTruncatedNormal;
  } else if (name == "matrix") {
    *kind = InitializerKind::kMatrix;
  } else {
    return InvalidArgument("initializer is \"", name,
                           "\"; use constant, uniform, normal, "
                           "truncated_normal or matrix");
  }
  return Status();
}

const char* InitializerKindName(InitializerKind kind) {
  switch (kind) {
    case InitializerKind::kConstant:
      return "constant";
    case InitializerKind::kUniform:
      return "uniform";
    case InitializerKind::kNormal:
      return "normal";
    case InitializerKind::kTruncatedNormal:
      return "truncated_normal";
    case InitializerKind::kMatrix:
      return "matrix";
  }
  return "";
}

Initializer::Initializer(InitializerSpec spec, int dim)
    : spec_(std::move(spec)), dim_(dim) {
  matrix_rows_ = static_cast<int64_t>(spec_.matrix.size()) / dim_;
}

Status Initializer::Create(InitializerSpec spec, int dim,
                           std::shared_ptr<const Initializer>* out) {
  if (!std::isfinite(spec.a) || !std::isfinite(spec.b)) {
    return InvalidArgument("initializer parameters are (", spec.a, ", ", spec.b,
                           "); both must be finite");
  }
  const bool random = spec.kind == InitializerKind::kNormal ||
                      spec.kind == InitializerKind::kTruncatedNormal;
  if (random && spec.b < 0) {
    return InvalidArgument("initializer stddev is ", spec.b,
                           "; it must be 0 or more");
  }
  if (spec.kind == InitializerKind::kUniform &&
      !(spec.b >= spec.a && std::isfinite(spec.b - spec.a))) {
    return InvalidArgument("initializer range is [", spec.a, ", ", spec.b,
                           "); the upper end must not be below the lower, nor "
                           "further above than a float can say");
  }
  const bool matrix = spec.kind == InitializerKind::kMatrix;
  if (matrix && (spec.matrix.empty() || spec.matrix.size() % dim != 0)) {
    return InvalidArgument("initializer matrix has ", spec.matrix.size(),
                           " values; it must have a positive multiple of dim ",
                           dim);
  }
  if (!matrix && !spec.matrix.empty()) {
    return InvalidArgument("initializer matrix has ", spec.matrix.size(),
                           " values; only kind matrix takes one");
  }
  out->reset(new Initializer(std::move(spec), dim));
  return Status();
}

void Initializer::FillRows(const int64_t* keys, int n,
                           float* const* out) const {
  const float a = spec_.a;
  const float b = spec_.b;
  switch (spec_.kind) {
    case InitializerKind::kConstant:
      for (int i = 0; i < n; ++i) std::fill_n(out[i], dim_, a);
      return;
    case InitializerKind::kUniform: {
      const float range = b - a;
      const float most = std::nextafter(b, a);
      FillFromWords(spec_.seed, keys, n, dim_, out,
                    [a, range, most](uint32_t word) {
                      return UniformValue(word, a, range, most);
                    });
      return;
    }
    case InitializerKind::kNormal:
      FillFromWords(spec_.seed, keys, n, dim_, out,
                    [a, b](uint32_t word) { return NormalValue(word, a, b); });
      return;
    case InitializerKind::kTruncatedNormal:
      FillFromWords(spec_.seed, keys, n, dim_, out, [a, b](uint32_t word) {
        return TruncatedNormalValue(word, a, b);
      });
      return;
    case InitializerKind::kMatrix:
      for (int i = 0; i < n; ++i) {
        int64_t row = keys[i] % matrix_rows_;
        if (row < 0) row += matrix_rows_;
        std::copy_n(spec_.matrix.data() + row * dim_, dim_, out[i]);
      }
      return;
  }
}

}  // namespace tf_embedding
