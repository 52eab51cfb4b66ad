// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Pooling against the formulas of pooling.h in double, and its gradient against
// finite differences of those.

#include "cc/core/pooling.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "tests/cc/executors.h"
#include "tests/cc/random.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

using Doubles = std::vector<double>;

Doubles Pool(const PoolSpec& spec, const Doubles& rows, const Doubles& weights,
             int dim) {
  Doubles out(dim);
  double sum = 0;
  double squares = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    double norm = 0;
    for (int c = 0; c < dim; ++c) norm += rows[i * dim + c] * rows[i * dim + c];
    norm = std::sqrt(norm);
    const double clip =
        spec.max_norm > 0
            ? spec.max_norm / std::max<double>(norm, spec.max_norm)
            : 1;
    for (int c = 0; c < dim; ++c) {
      out[c] += weights[i] * clip * rows[i * dim + c];
    }
    sum += weights[i];
    squares += weights[i] * weights[i];
  }
  double divisor = 1;
  if (spec.combiner == Combiner::kMean) divisor = sum;
  if (spec.combiner == Combiner::kSqrtN) divisor = std::sqrt(squares);
  for (double& value : out) value = divisor == 0 ? 0 : value / divisor;
  return out;
}

// Bags of 0 to 6 rows; weights well away from a sum of 0.
struct Bags {
  Bags(int dim, bool weighted, uint64_t seed) : dim(dim) {
    testing::Rng rng(seed);
    for (int b = 0; b < 12; ++b) splits.push_back(splits.back() + b % 7);
    const int64_t n = splits.back();
    rows = rng.Units(n * dim);
    gradients = rng.Units(num_bags() * dim);
    for (int64_t i = 0; i < n; ++i) {
      weights.push_back(weighted ? 1 + rng.Unit() / 2 : 1);
    }
  }
  int64_t num_bags() const { return static_cast<int64_t>(splits.size()) - 1; }
  Doubles RowsOf(int64_t b) const {
    return Doubles(rows.begin() + splits[b] * dim,
                   rows.begin() + splits[b + 1] * dim);
  }
  Doubles WeightsOf(int64_t b) const {
    return Doubles(weights.begin() + splits[b],
                   weights.begin() + splits[b + 1]);
  }

  int dim;
  std::vector<int64_t> splits = {0};
  std::vector<float> rows;
  std::vector<float> weights;
  std::vector<float> gradients;
};

template <class Body>
void ForEachCase(const Body& body) {
  for (int dim : {1, 3, 8, 16, 17, 40}) {
    for (bool weighted : {false, true}) {
      for (Combiner combiner :
           {Combiner::kSum, Combiner::kMean, Combiner::kSqrtN}) {
        // Clips some rows and not others.
        for (float max_norm :
             {0.0f, 0.5f * std::sqrt(static_cast<float>(dim))}) {
          const testing::Trace trace("dim ", dim, ", weighted ", weighted,
                                     ", combiner ", static_cast<int>(combiner),
                                     ", max_norm ", max_norm);
          PoolSpec spec;
          spec.combiner = combiner;
          spec.max_norm = max_norm;
          body(spec, weighted, Bags(dim, weighted, 5));
        }
      }
    }
  }
}

TEST(ForwardIsTheFormula) {
  ForEachCase([](const PoolSpec& spec, bool weighted, const Bags& bags) {
    for (int64_t b = 0; b < bags.num_bags(); ++b) {
      std::vector<float> out(bags.dim, 99);
      PoolBag(spec, bags.rows.data() + bags.splits[b] * bags.dim,
              weighted ? bags.weights.data() + bags.splits[b] : nullptr,
              bags.splits[b + 1] - bags.splits[b], bags.dim, out.data());
      const Doubles expected =
          Pool(spec, bags.RowsOf(b), bags.WeightsOf(b), bags.dim);
      for (int c = 0; c < bags.dim; ++c) EXPECT_NEAR(out[c], expected[c], 2e-6);
    }
  });
}

// g . Pool as a function of one of its arguments, differentiated.
double Derivative(const PoolSpec& spec, Doubles rows, Doubles weights, int dim,
                  const float* gradient, bool of_rows, size_t at) {
  constexpr double kStep = 1e-5;
  double& argument = of_rows ? rows[at] : weights[at];
  const double middle = argument;
  double difference = 0;
  for (double sign : {1.0, -1.0}) {
    argument = middle + sign * kStep;
    const Doubles out = Pool(spec, rows, weights, dim);
    for (int c = 0; c < dim; ++c) difference += sign * gradient[c] * out[c];
  }
  return difference / (2 * kStep);
}

TEST(GradientIsThatOfFiniteDifferences) {
  ForEachCase([](const PoolSpec& spec, bool weighted, const Bags& bags) {
    const int dim = bags.dim;
    std::vector<float> row_gradients(bags.rows.size(), 99);
    std::vector<float> weight_gradients(bags.weights.size(), 99);
    SerialExecutor executor;
    PoolGradient(spec, bags.gradients.data(), bags.splits.data(),
                 bags.num_bags(), weighted ? bags.weights.data() : nullptr,
                 bags.rows.data(), dim, row_gradients.data(),
                 weight_gradients.data(), &executor);
    for (int64_t b = 0; b < bags.num_bags(); ++b) {
      const Doubles rows = bags.RowsOf(b);
      const Doubles weights = bags.WeightsOf(b);
      const float* const gradient = bags.gradients.data() + b * dim;
      for (size_t i = 0; i < weights.size(); ++i) {
        const size_t position = bags.splits[b] + i;
        EXPECT_NEAR(weight_gradients[position],
                    Derivative(spec, rows, weights, dim, gradient, false, i),
                    1e-5);
        for (int c = 0; c < dim; ++c) {
          EXPECT_NEAR(
              row_gradients[position * dim + c],
              Derivative(spec, rows, weights, dim, gradient, true, i * dim + c),
              1e-5);
        }
      }
    }
    // The same bits on threads, and without what is not needed.
    testing::ThreadExecutor threads(3);
    std::vector<float> again(bags.rows.size(), 99);
    PoolGradient(spec, bags.gradients.data(), bags.splits.data(),
                 bags.num_bags(), weighted ? bags.weights.data() : nullptr,
                 spec.max_norm > 0 ? bags.rows.data() : nullptr, dim,
                 again.data(), nullptr, &threads);
    EXPECT_TRUE(std::memcmp(again.data(), row_gradients.data(),
                            again.size() * sizeof(float)) == 0);
  });
}

TEST(BagsWithoutADivisorGiveZeros) {
  const std::vector<float> rows = {1, 2, 3, 4};
  const std::vector<float> weights = {2, -2};
  const std::vector<int64_t> splits = {0, 2};
  const std::vector<float> gradient = {1, 1};
  PoolSpec mean;
  std::vector<float> out(2, 99);
  PoolBag(mean, rows.data(), weights.data(), 2, 2, out.data());
  EXPECT_TRUE(out == std::vector<float>(2, 0));
  std::vector<float> row_gradients(4, 99);
  std::vector<float> weight_gradients(2, 99);
  SerialExecutor executor;
  PoolGradient(mean, gradient.data(), splits.data(), 1, weights.data(),
               rows.data(), 2, row_gradients.data(), weight_gradients.data(),
               &executor);
  EXPECT_TRUE(row_gradients == std::vector<float>(4, 0));
  EXPECT_TRUE(weight_gradients == std::vector<float>(2, 0));
  for (Combiner combiner :
       {Combiner::kSum, Combiner::kMean, Combiner::kSqrtN}) {
    PoolSpec spec;
    spec.combiner = combiner;
    spec.max_norm = 1;
    out.assign(2, 99);
    PoolBag(spec, nullptr, nullptr, 0, 2, out.data());
    EXPECT_TRUE(out == std::vector<float>(2, 0));
  }
}

TEST(ZeroRowsAreNotClipped) {
  PoolSpec spec;
  spec.max_norm = 0.5f;
  const std::vector<float> rows = {0, 0};
  std::vector<float> out(2, 99);
  PoolBag(spec, rows.data(), nullptr, 1, 2, out.data());
  EXPECT_TRUE(out == std::vector<float>(2, 0));
  const std::vector<int64_t> splits = {0, 1};
  const std::vector<float> gradient = {1, 2};
  std::vector<float> row_gradients(2);
  SerialExecutor executor;
  PoolGradient(spec, gradient.data(), splits.data(), 1, nullptr, rows.data(), 2,
               row_gradients.data(), nullptr, &executor);
  EXPECT_TRUE(row_gradients == gradient);
}

}  // namespace
}  // namespace tf_embedding
