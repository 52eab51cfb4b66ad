// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Tables of two tiers: all that device_table_test.cc asks of a table in device
// memory, with caches from one row to all rows; then what is their own.

#define TF_EMBEDDING_TEST_TIERS
#include "tests/cc/device_table_test.cc"

namespace tf_embedding {
namespace {

std::unique_ptr<DeviceTable> MakeTiered(int dim, int64_t cache_bytes,
                                        CacheStrategy strategy) {
  DeviceTableOptions options;
  options.name = "words";
  options.dim = dim;
  options.initializer = Spec(InitializerKind::kUniform);
  options.cache_bytes = cache_bytes;
  options.cache_strategy = strategy;
  std::unique_ptr<DeviceTable> table;
  EXPECT_OK(DeviceTable::Create(
      options, launchers, MakeDeviceAllocator(launchers), nullptr, &table));
  return table;
}

TableStats StatsOf(DeviceTable* table) {
  TableStats stats;
  EXPECT_OK(table->Stats(nullptr, &stats));
  return stats;
}

}  // namespace
}  // namespace tf_embedding
