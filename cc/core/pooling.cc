// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/pooling.h"

#include <algorithm>
#include <cmath>

#include "cc/core/isa.h"

namespace tf_embedding {
namespace {

// What the sum of a bag is divided by.
float Divisor(Combiner combiner, const float* weights, int64_t n) {
  if (combiner == Combiner::kSum) return 1;
  if (weights == nullptr) {
    const auto count = static_cast<float>(n);
    return combiner == Combiner::kMean ? count : std::sqrt(count);
  }
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    sum += combiner == Combiner::kMean ? weights[i] : weights[i] * weights[i];
  }
  return combiner == Combiner::kMean ? sum : std::sqrt(sum);
}

// The factor by which clip scales a row, and the row's norm.
float ClipScale(const IsaKernels& kernels, float max_norm, const float* row,
                int dim, float* norm) {
  *norm = std::sqrt(kernels.dot(row, row, dim));
  return *norm > max_norm ? max_norm / *norm : 1;
}

}  // namespace

Status ParsePoolSpec(const std::string& combiner, float max_norm,
                     PoolSpec* spec) {
  if (combiner == "sum") {
    spec->combiner = Combiner::kSum;
  } else if (combiner == "mean") {
    spec->combiner = Combiner::kMean;
  } else if (combiner == "sqrtn") {
    spec->combiner = Combiner::kSqrtN;
  } else {
    return InvalidArgument("combiner is \"", combiner,
                           "\"; use sum, mean or sqrtn");
  }
  if (!(max_norm >= 0) || !std::isfinite(max_norm)) {
    return InvalidArgument("max_norm is ", max_norm,
                           "; it must be finite and above 0, or 0 for none");
  }
  spec->max_norm = max_norm;
  return Status();
}

Status CheckSplits(const int64_t* splits, int64_t num_splits,
                   int64_t num_keys) {
  if (num_splits < 1) {
    return InvalidArgument("row_splits is empty; it must start with 0");
  }
  if (splits[0] != 0) {
    return InvalidArgument("row_splits[0] is ", splits[0], "; it must be 0");
  }
  for (int64_t b = 1; b < num_splits; ++b) {
    if (splits[b] < splits[b - 1]) {
      return InvalidArgument("row_splits[", b, "] is ", splits[b],
                             ", below the ", splits[b - 1],
                             " before it; splits must not decrease");
    }
  }
  if (splits[num_splits - 1] != num_keys) {
    return InvalidArgument("row_splits ends with ", splits[num_splits - 1],
                           "; it must end with the number of keys, ", num_keys);
  }
  return Status();
}

bool EachBagIsOneKey(const int64_t* splits, int64_t from, int64_t to) {
  for (int64_t b = from; b < to; ++b) {
    if (splits[b + 1] - splits[b] != 1) return false;
  }
  return true;
}

void PoolBag(const PoolSpec& spec, const float* rows, const float* weights,
             int64_t n, int dim, float* out) {
  std::fill_n(out, dim, 0.0f);
  const float divisor = Divisor(spec.combiner, weights, n);
  if (divisor == 0) return;
  const IsaKernels& kernels = ActiveKernels();
  for (int64_t i = 0; i < n; ++i) {
    const float* const row = rows + i * dim;
    float scale = weights == nullptr ? 1.0f : weights[i];
    if (spec.max_norm > 0) {
      float norm;
      scale *= ClipScale(kernels, spec.max_norm, row, dim, &norm);
    }
    kernels.add_scaled(scale, row, dim, out);
  }
  if (divisor != 1) {
    for (int c = 0; c < dim; ++c) out[c] /= divisor;
  }
}

namespace {

void BagGradient(const PoolSpec& spec, const float* gradient,
                 const float* weights, const float* rows, int64_t n, int dim,
                 float* row_gradients, float* weight_gradients) {
  const IsaKernels& kernels = ActiveKernels();
  const float divisor = Divisor(spec.combiner, weights, n);
  // Terms of the weights' gradient through the divisor need g . o.
  float gradient_dot_out = 0;
  for (int64_t i = 0; i < n; ++i) {
    float* const row_gradient = row_gradients + i * dim;
    std::fill_n(row_gradient, dim, 0.0f);
    if (weight_gradients != nullptr) weight_gradients[i] = 0;
    if (divisor == 0) continue;
    const float weight = weights == nullptr ? 1.0f : weights[i];
    float clip = 1;
    float norm = 0;
    const float* const row = rows == nullptr ? nullptr : rows + i * dim;
    if (spec.max_norm > 0) {
      clip = ClipScale(kernels, spec.max_norm, row, dim, &norm);
    }
    kernels.add_scaled(weight / divisor * clip, gradient, dim, row_gradient);
    if (clip != 1) {
      // d clip(r) = max_norm / |r| (I - r r^T / |r|^2): the part along r goes.
      const float along = kernels.dot(row, row_gradient, dim) / (norm * norm);
      kernels.add_scaled(-along, row, dim, row_gradient);
    }
    if (weight_gradients != nullptr) {
      const float direct = clip * kernels.dot(gradient, row, dim) / divisor;
      weight_gradients[i] = direct;
      gradient_dot_out += weight * direct;
    }
  }
  if (weight_gradients == nullptr || divisor == 0) return;
  for (int64_t i = 0; i < n; ++i) {
    if (spec.combiner == Combiner::kMean) {
      weight_gradients[i] -= gradient_dot_out / divisor;
    } else if (spec.combiner == Combiner::kSqrtN) {
      const float weight = weights == nullptr ? 1.0f : weights[i];
      weight_gradients[i] -= gradient_dot_out * weight / (divisor * divisor);
    }
  }
}

}  // namespace

void PoolGradient(const PoolSpec& spec, const float* gradients,
                  const int64_t* splits, int64_t num_bags, const float* weights,
                  const float* rows, int dim, float* row_gradients,
                  float* weight_gradients, Executor* executor) {
  if (num_bags == 0) return;
  const int64_t keys_per_bag = splits[num_bags] / num_bags + 1;
  executor->ParallelFor(
      num_bags, keys_per_bag * (4 + dim / 4), [&](int64_t from, int64_t to) {
        for (int64_t b = from; b < to; ++b) {
          const int64_t begin = splits[b];
          BagGradient(
              spec, gradients + b * dim,
              weights == nullptr ? nullptr : weights + begin,
              rows == nullptr ? nullptr : rows + begin * dim,
              splits[b + 1] - begin, dim, row_gradients + begin * dim,
              weight_gradients == nullptr ? nullptr : weight_gradients + begin);
        }
      });
}

}  // namespace tf_embedding
