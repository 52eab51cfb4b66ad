// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Philox and the rows that keys are born with.

#include "cc/core/initializer.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "cc/core/initial_value.h"
#include "cc/core/philox.h"
#include "cc/core/table.h"
#include "tests/cc/random.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

InitializerSpec Spec(InitializerKind kind, float a, float b,
                     uint64_t seed = 1) {
  InitializerSpec spec;
  spec.kind = kind;
  spec.a = a;
  spec.b = b;
  spec.seed = seed;
  return spec;
}

std::vector<float> Row(const InitializerSpec& spec, int dim, int64_t key) {
  std::shared_ptr<const Initializer> initializer;
  EXPECT_OK(Initializer::Create(spec, dim, &initializer));
  std::vector<float> row(dim);
  initializer->Fill(key, row.data());
  return row;
}

void ExpectWords(uint64_t low, uint64_t high, uint64_t key,
                 const uint32_t (&expected)[4]) {
  const PhiloxWords words = Philox4x32(low, high, key);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(words.w[i], expected[i]);
}

TEST(PhiloxGivesTheKnownAnswers) {
  // kat_vectors of Random123, "philox4x32 10". Words are listed low to high.
  ExpectWords(0, 0, 0, {0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8});
  ExpectWords(~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0},
              {0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD});
  ExpectWords(0x85A308D3243F6A88u, 0x0370734413198A2Eu, 0x299F31D0A4093822u,
              {0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1});
}

// The quantile by bisection on erfc, in long double.
double QuantileByBisection(double p) {
  if (p > 0.5) return -QuantileByBisection(1 - p);
  long double low = -10;
  long double high = 10;
  for (int i = 0; i < 100; ++i) {
    const long double middle = (low + high) / 2;
    const long double below = std::erfc(-middle / std::sqrt(2.0L)) / 2;
    (below < p ? low : high) = middle;
  }
  return static_cast<double>((low + high) / 2);
}

TEST(NormalQuantileIsExact) {
  using initializer_internal::NormalQuantile;
  const double least = 0x1p-33;
  std::vector<double> points = {least,   1 - least, 0.5,       0.075,
                                0.925,   0.0749999, 0.9250001, 0.02275,
                                0.97725, 1e-9,      1e-5};
  for (int i = 1; i < 1000; ++i) points.push_back(i / 1000.0);
  for (double p : points) {
    const testing::Trace trace("p = ", p);
    // 1 - p has lost digits of p already: the tail magnifies that.
    const double tolerance = p > 0.5 ? 1e-15 + 1e-16 / (1 - p) : 0;
    const double expected = QuantileByBisection(p);
    EXPECT_NEAR(NormalQuantile(p), expected,
                1e-14 * (1 + std::fabs(expected)) + tolerance);
  }
  EXPECT_EQ(NormalQuantile(0.5), 0.0);
}

struct Moments {
  double mean = 0;
  double variance = 0;
  double fourth = 0;  // central, over variance squared
  double least = std::numeric_limits<double>::infinity();
  double most = -std::numeric_limits<double>::infinity();
};

Moments MomentsOf(const InitializerSpec& spec, int dim, int64_t stride) {
  constexpr int64_t kNumKeys = 20000;
  std::shared_ptr<const Initializer> initializer;
  EXPECT_OK(Initializer::Create(spec, dim, &initializer));
  std::vector<double> values;
  std::vector<float> row(dim);
  for (int64_t key = 0; key < kNumKeys; ++key) {
    initializer->Fill(key * stride, row.data());
    values.insert(values.end(), row.begin(), row.end());
  }
  Moments moments;
  const auto n = static_cast<double>(values.size());
  for (double value : values) {
    moments.mean += value / n;
    moments.least = std::min(moments.least, value);
    moments.most = std::max(moments.most, value);
  }
  double fourth = 0;
  for (double value : values) {
    const double square = (value - moments.mean) * (value - moments.mean);
    moments.variance += square / n;
    fourth += square * square / n;
  }
  moments.fourth = fourth / (moments.variance * moments.variance);
  return moments;
}

TEST(DistributionsHaveTheirMoments) {
  for (int64_t stride : {int64_t{1}, int64_t{1} << 32}) {
    const testing::Trace trace("stride ", stride);
    const Moments uniform =
        MomentsOf(Spec(InitializerKind::kUniform, -1, 3), 7, stride);
    EXPECT_NEAR(uniform.mean, 1, 0.02);
    EXPECT_NEAR(uniform.variance, 16.0 / 12, 0.02);
    EXPECT_NEAR(uniform.fourth, 1.8, 0.03);
    EXPECT_TRUE(uniform.least >= -1 && uniform.least < -0.999);
    EXPECT_TRUE(uniform.most < 3 && uniform.most > 2.999);

    const Moments normal =
        MomentsOf(Spec(InitializerKind::kNormal, 2, 0.5), 7, stride);
    EXPECT_NEAR(normal.mean, 2, 0.01);
    EXPECT_NEAR(normal.variance, 0.25, 0.005);
    EXPECT_NEAR(normal.fourth, 3, 0.08);
    EXPECT_TRUE(normal.most > 2 + 0.5 * 3.5);

    const Moments truncated =
        MomentsOf(Spec(InitializerKind::kTruncatedNormal, 2, 0.5), 7, stride);
    EXPECT_NEAR(truncated.mean, 2, 0.01);
    // Of the standard normal within two deviations: 0.7737.
    EXPECT_NEAR(truncated.variance, 0.25 * 0.77374, 0.005);
    EXPECT_TRUE(truncated.least >= 1 && truncated.most <= 3);
    EXPECT_TRUE(truncated.least < 1.001 && truncated.most > 2.999);
  }
}

TEST(UniformStaysBelowItsUpperEnd) {
  // Sixteen values only lie between the ends, so many words round upwards.
  const float upper = 1 + 16 * std::numeric_limits<float>::epsilon();
  const Moments narrow =
      MomentsOf(Spec(InitializerKind::kUniform, 1, upper), 8, 1);
  EXPECT_TRUE(narrow.least >= 1 && narrow.most < upper);
  const Moments point = MomentsOf(Spec(InitializerKind::kUniform, 3, 3), 2, 1);
  EXPECT_TRUE(point.least == 3 && point.most == 3);
}

TEST(ColumnsAndKeysAreUncorrelated) {
  constexpr int kDim = 8;
  constexpr int64_t kNumKeys = 20000;
  std::shared_ptr<const Initializer> initializer;
  EXPECT_OK(Initializer::Create(Spec(InitializerKind::kNormal, 0, 1), kDim,
                                &initializer));
  double products[kDim][kDim] = {};
  double neighbours = 0;
  float last[kDim] = {};
  for (int64_t key = 0; key < kNumKeys; ++key) {
    float row[kDim];
    initializer->Fill(key, row);
    for (int i = 0; i < kDim; ++i) {
      for (int j = 0; j < i; ++j) products[i][j] += row[i] * row[j];
    }
    neighbours += row[0] * last[0];
    std::copy_n(row, kDim, last);
  }
  for (int i = 0; i < kDim; ++i) {
    for (int j = 0; j < i; ++j) {
      EXPECT_NEAR(products[i][j] / kNumKeys, 0, 0.04);
    }
  }
  EXPECT_NEAR(neighbours / kNumKeys, 0, 0.04);
}

TEST(ARowIsAFunctionOfSeedKeyAndColumn) {
  const InitializerKind kinds[] = {InitializerKind::kUniform,
                                   InitializerKind::kNormal,
                                   InitializerKind::kTruncatedNormal};
  for (InitializerKind kind : kinds) {
    for (int64_t key : testing::MixedKeys(20)) {
      const std::vector<float> wide = Row(Spec(kind, 0, 1, 7), 17, key);
      // A narrower row is the beginning of a wider one.
      for (int dim : {1, 3, 4, 16}) {
        const std::vector<float> row = Row(Spec(kind, 0, 1, 7), dim, key);
        EXPECT_TRUE(std::equal(row.begin(), row.end(), wide.begin()));
      }
      EXPECT_TRUE(Row(Spec(kind, 0, 1, 8), 17, key) != wide);
      EXPECT_TRUE(Row(Spec(kind, 0, 1, 7 | uint64_t{1} << 63), 17, key) !=
                  wide);
      EXPECT_TRUE(Row(Spec(kind, 0, 1, 7), 17, key ^ 1) != wide);
      EXPECT_TRUE(Row(Spec(kind, 0, 1, 7), 17,
                      key ^ std::numeric_limits<int64_t>::min()) != wide);
    }
  }
}

TEST(UniformTakesTheUpperBitsOfTheWords) {
  const PhiloxWords words = Philox4x32(42, 1, 9);
  const std::vector<float> row =
      Row(Spec(InitializerKind::kUniform, 0, 1, 9), 8, 42);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(row[4 + i], static_cast<float>(words.w[i] >> 8) * 0x1p-24f);
  }
}

TEST(ATableOfAnyShardsReadsTheSameRows) {
  constexpr int kDim = 5;
  const std::vector<int64_t> keys = testing::MixedKeys(500);
  const auto n = static_cast<int64_t>(keys.size());
  for (int log2_shards = 0; log2_shards <= kMaxLog2Shards; ++log2_shards) {
    TableOptions options;
    options.dim = kDim;
    options.log2_shards = log2_shards;
    options.initializer = Spec(InitializerKind::kNormal, 0, 1, 11);
    std::unique_ptr<EmbeddingTable> table;
    EXPECT_OK(EmbeddingTable::Create(options, &table));
    SerialExecutor executor;
    std::vector<float> out(n * kDim);
    EXPECT_OK(table->Lookup(keys.data(), n, out.data(), &executor));
    for (int64_t i = 0; i < n; ++i) {
      const std::vector<float> row = Row(options.initializer, kDim, keys[i]);
      EXPECT_TRUE(std::equal(row.begin(), row.end(), out.data() + i * kDim));
    }
  }
}

TEST(ConstantAndMatrix) {
  EXPECT_TRUE(Row(Spec(InitializerKind::kConstant, 1.5, 0), 3, -4) ==
              std::vector<float>(3, 1.5f));
  InitializerSpec spec = Spec(InitializerKind::kMatrix, 0, 0);
  spec.matrix = {0, 1, 10, 11, 20, 21};
  EXPECT_TRUE(Row(spec, 2, 0) == (std::vector<float>{0, 1}));
  EXPECT_TRUE(Row(spec, 2, 5) == (std::vector<float>{20, 21}));
  EXPECT_TRUE(Row(spec, 2, -1) == (std::vector<float>{20, 21}));
  EXPECT_TRUE(Row(spec, 2, -3) == (std::vector<float>{0, 1}));
  // floormod(-2^63, 3) = 1.
  EXPECT_TRUE(Row(spec, 2, std::numeric_limits<int64_t>::min()) ==
              (std::vector<float>{10, 11}));
}

TEST(BadParametersAreErrors) {
  const StatusCode invalid = StatusCode::kInvalidArgument;
  std::shared_ptr<const Initializer> none;
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float most = std::numeric_limits<float>::max();
  for (float bad : {infinity, -infinity, nan}) {
    EXPECT_ERROR(
        Initializer::Create(Spec(InitializerKind::kConstant, bad, 0), 2, &none),
        invalid, "initializer parameters");
    EXPECT_ERROR(
        Initializer::Create(Spec(InitializerKind::kNormal, 0, bad), 2, &none),
        invalid, "initializer parameters");
  }
  for (auto kind :
       {InitializerKind::kNormal, InitializerKind::kTruncatedNormal}) {
    EXPECT_ERROR(Initializer::Create(Spec(kind, 0, -1), 2, &none), invalid,
                 "initializer stddev is -1");
  }
  EXPECT_ERROR(
      Initializer::Create(Spec(InitializerKind::kUniform, 1, 0.5), 2, &none),
      invalid, "initializer range is [1, 0.5)");
  EXPECT_ERROR(Initializer::Create(Spec(InitializerKind::kUniform, -most, most),
                                   2, &none),
               invalid, "initializer range is [");
  InitializerSpec matrix = Spec(InitializerKind::kMatrix, 0, 0);
  EXPECT_ERROR(Initializer::Create(matrix, 2, &none), invalid,
               "initializer matrix has 0");
  matrix.matrix = {1, 2, 3};
  EXPECT_ERROR(Initializer::Create(matrix, 2, &none), invalid,
               "initializer matrix has 3");
  matrix.kind = InitializerKind::kUniform;
  EXPECT_ERROR(Initializer::Create(matrix, 3, &none), invalid,
               "only kind matrix");
  EXPECT_TRUE(none == nullptr);
}

TEST(KindsHaveNames) {
  InitializerKind kind;
  EXPECT_OK(ParseInitializerKind("constant", &kind));
  EXPECT_TRUE(kind == InitializerKind::kConstant);
  EXPECT_OK(ParseInitializerKind("uniform", &kind));
  EXPECT_TRUE(kind == InitializerKind::kUniform);
  EXPECT_OK(ParseInitializerKind("normal", &kind));
  EXPECT_TRUE(kind == InitializerKind::kNormal);
  EXPECT_OK(ParseInitializerKind("truncated_normal", &kind));
  EXPECT_TRUE(kind == InitializerKind::kTruncatedNormal);
  EXPECT_OK(ParseInitializerKind("matrix", &kind));
  EXPECT_TRUE(kind == InitializerKind::kMatrix);
  EXPECT_ERROR(ParseInitializerKind("Uniform", &kind),
               StatusCode::kInvalidArgument, "initializer is \"Uniform\"");
}

}  // namespace
}  // namespace tf_embedding
