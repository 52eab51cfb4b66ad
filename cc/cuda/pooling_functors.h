// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of pooling (cc/core/pooling.h has the formulas): a group a bag, terms
// in position order, sums over columns in sixteen lanes, so the bits are the
// CPU's.
//
// A host cannot look at splits in device memory without waiting for the device.
// Splits that are out of order or out of range are taken as the nearest that
// are not; nothing is read or written out of bounds.

#ifndef TF_EMBEDDING_CC_CUDA_POOLING_FUNCTORS_H_
#define TF_EMBEDDING_CC_CUDA_POOLING_FUNCTORS_H_

#include <cmath>

#include "cc/core/pooling.h"
#include "cc/cuda/table_view.h"

namespace tf_embedding {

// The keys begin..end-1 of bag b.
struct Bag {
  TFE_DEVICE Bag(const int64_t* splits, int64_t num_keys, int64_t b)
      : begin(Clamp(splits[b], 0, num_keys)),
        end(Clamp(splits[b + 1], begin, num_keys)) {}
  static TFE_DEVICE int64_t Clamp(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : (x > high ? high : x);
  }
  int64_t begin;
  int64_t end;
};

TFE_DEVICE float PoolDivisor(Combiner combiner, const float* weights,
                             const Bag& bag) {
  if (combiner == Combiner::kSum) return 1;
  if (weights == nullptr) {
    const auto count = static_cast<float>(bag.end - bag.begin);
    return combiner == Combiner::kMean ? count : std::sqrt(count);
  }
  float sum = 0;
  for (int64_t i = bag.begin; i < bag.end; ++i) {
    sum += combiner == Combiner::kMean ? weights[i] : weights[i] * weights[i];
  }
  return combiner == Combiner::kMean ? sum : std::sqrt(sum);
}

// The factor by which clipping scales a row, and the row's norm.
template <class Group>
TFE_DEVICE float ClipScale(const Group& group, float max_norm, const float* row,
                           int dim, float* norm) {
  *norm =
      std::sqrt(SumColumns(group, dim, [&](int c) { return row[c] * row[c]; }));
  return *norm > max_norm ? max_norm / *norm : 1;
}

// Item b: pools bag b of vectors that lie side by side.
struct PoolBags {
  PoolSpec spec;
  int dim;
  const float* vectors;  // num_keys * dim
  const int64_t* splits;
  int64_t num_keys;
  const float* weights;  // one each if null
  float* out;

  template <class Group>
  TFE_DEVICE void operator()(const Group& group, int64_t b) const {
    const Bag bag(splits, num_keys, b);
    float* const to = out + b * dim;
    for (int c = group.rank(); c < dim; c += group.size()) to[c] = 0;
    const float divisor = PoolDivisor(spec.combiner, weights, bag);
    if (divisor == 0) return;
    for (int64_t i = bag.begin; i < bag.end; ++i) {
      const float* const row = vectors + i * dim;
      float scale = weights == nullptr ? 1.0f : weights[i];
      if (spec.max_norm > 0) {
        float norm;
        scale *= ClipScale(group, spec.max_norm, row, dim, &norm);
      }
      for (int c = group.rank(); c < dim; c += group.size()) {
        to[c] += scale * row[c];
      }
    }
    if (divisor == 1) return;
    for (int c = group.rank(); c < dim; c += group.size()) to[c] /= divisor;
  }
};

// Item b: looks up and pools bag b. Without clipping, which needs whole rows.
struct LookupBags {
  IndexView index;
  RowsView rows;
  InitialView initial;
  const int64_t* keys;
  Combiner combiner;
  const int64_t* splits;
  int64_t num_keys;
  const float* weights;
  float* out;
  TableTallies* tallies;

  template <class Group>
  TFE_DEVICE void operator()(const Group& group, int64_t b) const {
    constexpr int kColumns = 4;  // of a lane, in registers
    const Bag bag(splits, num_keys, b);
    const float divisor = PoolDivisor(combiner, weights, bag);
    const int dim = rows.dim;
    for (int base = 0; base < dim; base += kColumns * group.size()) {
      float sums[kColumns] = {};
      for (int64_t i = bag.begin; i < bag.end && divisor != 0; ++i) {
        const int64_t key = keys[i];
        const uint32_t row = FindRow(index, key);
        const float* const record = row == kNoRow ? nullptr : rows.Record(row);
        if (record == nullptr && base == 0 && group.rank() == 0) {
          tallies->CountMiss(i);
        }
        const float scale = weights == nullptr ? 1.0f : weights[i];
        const auto add = [&](auto value_at) {
          for (int u = 0; u < kColumns; ++u) {
            const int c = base + group.rank() + u * group.size();
            if (c < dim) sums[u] += scale * value_at(c);
          }
        };
        // Two loops: the rare one calls functions, and what it needs would
        // push registers out of the other.
        if (record != nullptr) {
          add([&](int c) { return rows.Value(record, c); });
        } else {
          add([&](int c) {
            return rows.Rounded(InitialValue(initial, key, dim, c));
          });
        }
      }
      for (int u = 0; u < kColumns; ++u) {
        const int c = base + group.rank() + u * group.size();
        if (c >= dim) continue;
        out[b * dim + c] =
            divisor == 1 || divisor == 0 ? sums[u] : sums[u] / divisor;
      }
    }
  }
};

// Item b: the gradients of bag b's vectors and, unless null, of its weights.
struct PoolGradients {
  PoolSpec spec;
  int dim;
  const float* gradients;  // num_bags * dim
  const int64_t* splits;
  int64_t num_bags;
  int64_t num_keys;
  const float* weights;
  const float* rows;  // null where neither clipping nor weights need them
  float* row_gradients;
  float* weight_gradients;

  template <class Group>
  TFE_DEVICE void operator()(const Group& group, int64_t b) const {
    const Bag bag(splits, num_keys, b);
    if (b == 0) NoGradient(group, 0, bag.begin);
    if (b + 1 == num_bags) NoGradient(group, bag.end, num_keys);
    const float* const gradient = gradients + b * dim;
    const float divisor = PoolDivisor(spec.combiner, weights, bag);
    // Terms of the weights' gradient through the divisor need g . o.
    float gradient_dot_out = 0;
    for (int64_t i = bag.begin; i < bag.end; ++i) {
      float* const row_gradient = row_gradients + i * dim;
      const float* const row = rows == nullptr ? nullptr : rows + i * dim;
      const float weight = weights == nullptr ? 1.0f : weights[i];
      float clip = 1;
      float norm = 0;
      if (divisor != 0 && spec.max_norm > 0) {
        clip = ClipScale(group, spec.max_norm, row, dim, &norm);
      }
      const float scale = divisor == 0 ? 0.0f : weight / divisor * clip;
      for (int c = group.rank(); c < dim; c += group.size()) {
        row_gradient[c] = divisor == 0 ? 0.0f : 0.0f + scale * gradient[c];
      }
      if (clip != 1) {
        // d clip(r) = max_norm / |r| (I - r r^T / |r|^2): the part along r
        // goes.
        const float along =
            SumColumns(group, dim,
                       [&](int c) { return row[c] * row_gradient[c]; }) /
            (norm * norm);
        for (int c = group.rank(); c < dim; c += group.size()) {
          row_gradient[c] += -along * row[c];
        }
      }
      if (weight_gradients == nullptr) continue;
      float direct = 0;
      if (divisor != 0) {
        direct = clip *
                 SumColumns(group, dim,
                            [&](int c) { return gradient[c] * row[c]; }) /
                 divisor;
      }
      gradient_dot_out += weight * direct;
      if (group.rank() == 0) weight_gradients[i] = direct;
    }
    if (weight_gradients == nullptr || divisor == 0) return;
    if (group.rank() != 0) return;
    for (int64_t i = bag.begin; i < bag.end; ++i) {
      const float weight = weights == nullptr ? 1.0f : weights[i];
      if (spec.combiner == Combiner::kMean) {
        weight_gradients[i] -= gradient_dot_out / divisor;
      } else if (spec.combiner == Combiner::kSqrtN) {
        weight_gradients[i] -= gradient_dot_out * weight / (divisor * divisor);
      }
    }
  }

  // Of keys that bad splits leave outside of all bags.
  template <class Group>
  TFE_DEVICE void NoGradient(const Group& group, int64_t from,
                             int64_t to) const {
    for (int64_t i = from; i < to; ++i) {
      for (int c = group.rank(); c < dim; c += group.size()) {
        row_gradients[i * dim + c] = 0;
      }
      if (weight_gradients != nullptr && group.rank() == 0) {
        weight_gradients[i] = 0;
      }
    }
  }
};

// Item r of num_rows + 1: where row r begins among sorted row ids.
struct FindSplits {
  const int64_t* row_ids;
  int64_t n;
  int64_t* splits;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t r) const {
    int64_t low = 0;
    int64_t high = n;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (row_ids[middle] < r) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    splits[r] = low;
  }
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CUDA_POOLING_FUNCTORS_H_
