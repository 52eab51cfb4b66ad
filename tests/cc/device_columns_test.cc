// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Vectors and gradients in the columns of wider matrices, on the host and on a
// device: the same bits as with matrices of their own, and nothing beside them.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "tests/cc/device_util.h"

namespace tf_embedding {
namespace {

using testing::Bind;
using testing::Draw;
using testing::executor;
using testing::ExportAll;
using testing::MixedKeys;
using testing::OnDevice;
using testing::Pair;
using testing::Rng;
using testing::SameBits;
using testing::Trace;

// Rows of width values, -7 but for those of rows, from a column on.
std::vector<float> Widened(const std::vector<float>& rows, int dim,
                           int64_t width, int64_t column) {
  const auto n = static_cast<int64_t>(rows.size()) / dim;
  std::vector<float> wide(n * width, -7);
  for (int64_t i = 0; i < n; ++i) {
    std::copy_n(rows.data() + i * dim, dim, wide.data() + i * width + column);
  }
  return wide;
}

// Calls body(dim, column, rng) for columns that are aligned and such that are
// not.
template <class Body>
void EachPlace(const Body& body) {
  for (const int dim : {1, 4, 7, 16, 40}) {
    for (const int64_t column : {0, 3, 8}) {
      const Trace trace("dim ", dim, ", column ", column);
      Rng rng(static_cast<uint64_t>(dim));
      body(dim, column, &rng);
    }
  }
}

TEST(GradientsInColumns) {
  const std::vector<int64_t> universe = MixedKeys(900);
  EachPlace([&](int dim, int64_t column, Rng* rng) {
    const int64_t width = column + dim + 5;
    // One of wide matrices, and one of matrices of its own.
    Pair wide(dim), narrow(dim);
    for (int64_t step = 0; step < 4; ++step) {
      const std::vector<int64_t> keys = Draw(universe, 3000, rng);
      const auto n = static_cast<int64_t>(keys.size());
      const std::vector<float> gradients = rng->Units(n * dim);
      const std::vector<float> columns = Widened(gradients, dim, width, column);
      const BoundRule rule = Bind("adagrad", 0.5f, step, {0.1f, 0, 0});
      narrow.Apply(rule, keys, gradients, {}, step);
      int64_t reset;
      EXPECT_OK(wide.host->Apply(rule, keys.data(), columns.data() + column,
                                 nullptr, n, step, &executor, &reset, width));
      const OnDevice<int64_t> device_keys(keys);
      const OnDevice<float> device_columns(columns);
      EXPECT_OK(wide.device->Apply(rule, device_keys.data(),
                                   device_columns.data() + column, nullptr, n,
                                   step, nullptr, &reset, width));
    }
    EXPECT_TRUE(ExportAll(*wide.host) == ExportAll(*narrow.host));
    wide.Compare(universe);
  });
}

TEST(VectorsInColumns) {
  const std::vector<int64_t> universe = MixedKeys(600);
  EachPlace([&](int dim, int64_t column, Rng* rng) {
    const int64_t width = column + dim + 8;
    Pair pair(dim);
    pair.Upsert({universe.begin(), universe.begin() + 300},
                rng->Units(300 * dim), 0);
    const std::vector<int64_t> keys = Draw(universe, 2000, rng);
    const auto n = static_cast<int64_t>(keys.size());
    const std::vector<float> expected =
        Widened(Pair::LookupOnDevice(*pair.device, keys), dim, width, column);
    const OnDevice<int64_t> device_keys(keys);
    const OnDevice<float> out(std::vector<float>(n * width, -7));
    EXPECT_OK(pair.device->Lookup(device_keys.data(), n, out.data() + column,
                                  nullptr, width));
    EXPECT_TRUE(SameBits(out.values(), expected));
  });
}

}  // namespace
}  // namespace tf_embedding
