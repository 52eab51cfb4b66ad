// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// A table on a device beside its twin of the host, which does the same and must
// then be the same. The device is this processor, or, with
// TF_EMBEDDING_TEST_ON_CUDA, a GPU.

#ifndef TF_EMBEDDING_TESTS_CC_DEVICE_UTIL_H_
#define TF_EMBEDDING_TESTS_CC_DEVICE_UTIL_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "cc/cuda/device_table.h"
#if !defined(TF_EMBEDDING_TEST_ON_CUDA)
#include "cc/cuda/launchers_host.h"
#endif
#include "tests/cc/random.h"
#include "tests/cc/table_util.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace testing {

inline SerialExecutor executor;

#if defined(TF_EMBEDDING_TEST_ON_CUDA)
inline constexpr bool kOnHost = false;
inline const DeviceLaunchers* const launchers = tfe_cuda_launchers();
#else
inline constexpr bool kOnHost = true;
inline const DeviceLaunchers* const launchers = tfe_host_launchers();
#endif

// An array in device memory.
template <class T>
class OnDevice {
 public:
  explicit OnDevice(int64_t n)
      : n_(n),
        data_(static_cast<T*>(
            launchers->allocate(std::max<int64_t>(1, Bytes())))) {
    EXPECT_TRUE(data_ != nullptr);
  }
  explicit OnDevice(const std::vector<T>& values)
      : OnDevice(static_cast<int64_t>(values.size())) {
    EXPECT_EQ(launchers->copy(data_, values.data(), Bytes(), nullptr), 0);
    EXPECT_EQ(launchers->synchronize(nullptr), 0);
  }
  ~OnDevice() { launchers->release(data_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  T* data() const { return data_; }
  // Null where there are no values.
  T* optional() const { return n_ == 0 ? nullptr : data_; }
  void CopyTo(T* values) const {
    EXPECT_EQ(launchers->copy(values, data_, Bytes(), nullptr), 0);
    EXPECT_EQ(launchers->synchronize(nullptr), 0);
  }
  std::vector<T> values() const {
    std::vector<T> values(n_);
    CopyTo(values.data());
    return values;
  }

 private:
  int64_t Bytes() const { return n_ * static_cast<int64_t>(sizeof(T)); }

  const int64_t n_;
  T* const data_;
};

// A GPU's powers are good to some units in the last place, not to the bit.
inline bool SameValues(const std::vector<float>& a, const std::vector<float>& b,
                       bool exactly) {
  if (exactly || a.size() != b.size()) return SameBits(a, b);
  for (size_t i = 0; i < a.size(); ++i) {
    if (!(std::fabs(a[i] - b[i]) <= 1e-5f * (1 + std::fabs(b[i]))))
      return false;
  }
  return true;
}

#if !defined(TF_EMBEDDING_TEST_ON_CUDA)
// Kernels run otherwise for a scope.
class Launches {
 public:
  explicit Launches(const HostLaunches& launches) { SetHostLaunches(launches); }
  ~Launches() { SetHostLaunches(HostLaunches()); }
  Launches(const Launches&) = delete;
  Launches& operator=(const Launches&) = delete;
};

inline HostLaunches Order(uint64_t order, int threads) {
  HostLaunches launches;
  launches.order = order;
  launches.threads = threads;
  return launches;
}

#endif

// What MakeTable makes.
inline InitializerSpec Spec(InitializerKind kind) {
  InitializerSpec spec;
  spec.kind = kind;
  spec.a = kind == InitializerKind::kUniform ? -0.5f : 0.25f;
  spec.b = kind == InitializerKind::kConstant ? 0.0f : 0.5f;
  spec.seed = 3;
  return spec;
}

// Rows in the same order, bit for bit.
inline void ExpectSameColumns(const Columns& got, const Columns& want) {
  EXPECT_TRUE(got.keys == want.keys);
  EXPECT_TRUE(SameBits(got.values, want.values));
  EXPECT_TRUE(SameBits(got.slots, want.slots));
  EXPECT_TRUE(got.frequency == want.frequency);
  EXPECT_TRUE(got.version == want.version);
}

// Of the tables that are made.
#if defined(TF_EMBEDDING_TEST_TIERS)
// From no more than one row to all, one table after the other.
inline int64_t NextCacheBytes(int dim) {
  static int tables = 0;
  const int64_t row = int64_t{4} * (dim * (1 + kMaxVectorSlots) + 8);
  const int64_t sizes[] = {row, 20 * row, 300 * row, 70000 * row};
  return sizes[tables++ % 4];
}
// Of a row, beside its record: frequency, version, and its place in the cache.
inline constexpr int64_t kBesideRecord = 12;
#else
inline int64_t NextCacheBytes(int /*dim*/) { return 0; }
inline constexpr int64_t kBesideRecord = 8;
#endif

inline std::unique_ptr<DeviceTable> MakeDeviceTable(
    int dim, InitializerSpec spec, const AdmissionSpec& admission = {},
    const EvictionOptions& eviction = {}, RowDtype dtype = RowDtype::kFloat32) {
  DeviceTableOptions options;
  options.name = "words";
  options.dim = dim;
  options.initializer = std::move(spec);
  options.admission = admission;
  options.eviction = eviction;
  options.cache_bytes = NextCacheBytes(dim);
  options.row_dtype = dtype;
  std::unique_ptr<DeviceTable> table;
  EXPECT_OK(DeviceTable::Create(
      options, launchers, MakeDeviceAllocator(launchers), nullptr, &table));
  return table;
}

// A table on the device and its twin of the host. Of one in bfloat16, without a
// filter, the twin's vectors are rounded here after each update.
struct Pair {
  explicit Pair(int dim, InitializerKind kind = InitializerKind::kUniform,
                const AdmissionSpec& admission = {},
                const EvictionOptions& eviction = {},
                RowDtype dtype = RowDtype::kFloat32)
      : dim(dim),
        in_bfloat16(dtype == RowDtype::kBfloat16),
        device(MakeDeviceTable(dim, Spec(kind), admission, eviction, dtype)) {
    TableOptions options;
    options.dim = dim;
    options.log2_shards = 3;
    options.initializer = Spec(kind);
    options.admission = admission;
    options.eviction = eviction;
    EXPECT_OK(EmbeddingTable::Create(std::move(options), &host));
  }
  Pair(int dim, InitializerKind kind, RowDtype dtype)
      : Pair(dim, kind, AdmissionSpec(), EvictionOptions(), dtype) {}

  std::vector<float> Rounded(std::vector<float> values) const {
    if (!in_bfloat16) return values;
    for (float& value : values) value = ToFloat(RoundToNearest(value));
    return values;
  }

  Columns FindOnHost(const std::vector<int64_t>& keys) const {
    Columns rows;
    EXPECT_OK(host->Find(keys.data(), static_cast<int64_t>(keys.size()),
                         rows.Allocate(dim), &executor));
    return rows;
  }

  // Gives keys without a row one of rounded initial values.
  void BearOnHost(const std::vector<int64_t>& keys) {
    const Columns rows = FindOnHost(keys);
    for (size_t i = 0; i < keys.size(); ++i) {
      if (rows.found[i]) continue;
      const std::vector<float> born =
          Rounded(rows.At(static_cast<int64_t>(i), dim).values);
      EXPECT_OK(host->Upsert(&keys[i], born.data(), 1, 0, &executor));
    }
  }

  // Rounds what an update of the host has made of vectors. frequency: of the
  // keys' rows before it.
  void RoundOnHost(const std::vector<int64_t>& keys,
                   const std::vector<int64_t>& frequency, int64_t step) {
    const Columns rows = FindOnHost(keys);
    std::vector<float> values = rows.values;
    for (size_t i = 0; i < keys.size(); ++i) {
      UpdateRounding<Bfloat16> rounded(Spec(InitializerKind::kUniform).seed,
                                       keys[i], static_cast<uint32_t>(step),
                                       static_cast<uint32_t>(frequency[i]));
      for (int c = 0; c < dim; ++c) {
        float& value = values[i * dim + c];
        value = ToFloat(rounded(value, c));
      }
    }
    EXPECT_OK(host->Upsert(keys.data(), values.data(),
                           static_cast<int64_t>(keys.size()), step, &executor));
  }

  void Apply(const BoundRule& rule, const std::vector<int64_t>& keys,
             const std::vector<float>& gradients,
             const std::vector<int64_t>& counts, int64_t step) {
    const auto n = static_cast<int64_t>(keys.size());
    std::vector<int64_t> frequency;
    int64_t reset_before = 0;
    if (in_bfloat16) {
      if (n > 0) EXPECT_OK(host->AdoptRule(rule, step, &reset_before));
      BearOnHost(keys);
      frequency = FindOnHost(keys).frequency;
    }
    int64_t reset;
    EXPECT_OK(host->Apply(rule, keys.data(), gradients.data(),
                          counts.empty() ? nullptr : counts.data(), n, step,
                          &executor, &reset));
    if (in_bfloat16) RoundOnHost(keys, frequency, step);
    EXPECT_EQ(ApplyOnDevice(device.get(), rule, keys, gradients, counts, step),
              reset_before + reset);
  }

  // Returns how many rows began their slots anew.
  static int64_t ApplyOnDevice(DeviceTable* table, const BoundRule& rule,
                               const std::vector<int64_t>& keys,
                               const std::vector<float>& gradients,
                               const std::vector<int64_t>& counts,
                               int64_t step) {
    const OnDevice<int64_t> device_keys(keys), device_counts(counts);
    const OnDevice<float> device_gradients(gradients);
    int64_t reset = 0;
    EXPECT_OK(table->Apply(rule, device_keys.data(), device_gradients.data(),
                           device_counts.optional(),
                           static_cast<int64_t>(keys.size()), step, nullptr,
                           &reset));
    return reset;
  }

  void Upsert(const std::vector<int64_t>& keys,
              const std::vector<float>& values, int64_t step) {
    const auto n = static_cast<int64_t>(keys.size());
    EXPECT_OK(
        host->Upsert(keys.data(), Rounded(values).data(), n, step, &executor));
    UpsertOnDevice(device.get(), keys, values, step);
  }

  static void UpsertOnDevice(DeviceTable* table,
                             const std::vector<int64_t>& keys,
                             const std::vector<float>& values, int64_t step) {
    const OnDevice<int64_t> device_keys(keys);
    const OnDevice<float> device_values(values);
    EXPECT_OK(table->Upsert(device_keys.data(), device_values.data(),
                            static_cast<int64_t>(keys.size()), step, nullptr));
  }

  void Remove(const std::vector<int64_t>& keys) {
    const auto n = static_cast<int64_t>(keys.size());
    int64_t removed, device_removed;
    EXPECT_OK(host->Remove(keys.data(), n, &removed, &executor));
    EXPECT_OK(device->Remove(OnDevice<int64_t>(keys).data(), n, nullptr,
                             &device_removed));
    EXPECT_EQ(device_removed, removed);
  }

  Contents DeviceContents() const {
    Columns columns;
    EXPECT_OK(device->Export(columns.Allocate(dim), nullptr));
    Contents contents;
    contents.shape = columns.shape;
    for (int64_t i = 0; i < columns.shape.size; ++i) {
      EXPECT_TRUE(
          contents.rows.emplace(columns.keys[i], columns.At(i, dim)).second);
    }
    return contents;
  }

  // Rows, and what reads of all these keys say.
  void Compare(const std::vector<int64_t>& keys, bool exactly = true) const {
    const Contents contents = DeviceContents();
    const Contents expected_contents = ExportAll(*host);
    if (exactly) {
      EXPECT_TRUE(contents == expected_contents);
    } else {
      EXPECT_EQ(contents.rows.size(), expected_contents.rows.size());
    }
    int64_t size;
    EXPECT_OK(device->Size(nullptr, &size));
    EXPECT_EQ(size, host->size());
    const auto n = static_cast<int64_t>(keys.size());
    std::vector<float> expected(n * dim);
    EXPECT_OK(host->Lookup(keys.data(), n, expected.data(), &executor));
    EXPECT_TRUE(
        SameValues(LookupOnDevice(*device, keys), Rounded(expected), exactly));
    const Columns rows = FindOnHost(keys);
    Columns device_rows;
    FindOnDevice(keys, &device_rows);
    for (int64_t i = 0; i < n; ++i) {
      EXPECT_EQ(device_rows.found[i], rows.found[i]);
      const Row row = device_rows.At(i, dim);
      const Row expected_row = rows.At(i, dim);
      EXPECT_TRUE(
          SameValues(row.values, Rounded(expected_row.values), exactly));
      EXPECT_TRUE(SameValues(row.slots, expected_row.slots, exactly));
      EXPECT_EQ(row.frequency, expected_row.frequency);
      EXPECT_EQ(row.version, expected_row.version);
    }
  }

  static std::vector<float> LookupOnDevice(DeviceTable& table,
                                           const std::vector<int64_t>& keys) {
    const auto n = static_cast<int64_t>(keys.size());
    const OnDevice<int64_t> device_keys(keys);
    const OnDevice<float> values(n * table.dim());
    EXPECT_OK(table.Lookup(device_keys.data(), n, values.data(), nullptr));
    return values.values();
  }

  void FindOnDevice(const std::vector<int64_t>& keys, Columns* rows) const {
    const auto n = static_cast<int64_t>(keys.size());
    TableShape shape;
    shape.size = n;
    shape.slot_width = device->shape().slot_width;
    RowColumns to;
    EXPECT_OK(rows->Allocate(dim)(shape, &to));
    const OnDevice<int64_t> device_keys(keys), frequency(n), version(n);
    const OnDevice<float> values(n * dim), slots(n * shape.slot_width);
    const OnDevice<bool> found(n);
    const auto allocate = [&](int slot_width, DeviceColumns* out) {
      EXPECT_EQ(slot_width, shape.slot_width);
      *out = DeviceColumns{nullptr,          values.data(),  slots.data(),
                           frequency.data(), version.data(), found.data()};
      return Status();
    };
    EXPECT_OK(device->Find(device_keys.data(), n, allocate, nullptr));
    values.CopyTo(to.values);
    slots.CopyTo(to.slots);
    frequency.CopyTo(to.frequency);
    version.CopyTo(to.version);
    found.CopyTo(to.found);
  }

  const int dim;
  const bool in_bfloat16;
  std::unique_ptr<EmbeddingTable> host;
  std::unique_ptr<DeviceTable> device;
};

inline std::vector<int64_t> Draw(const std::vector<int64_t>& universe,
                                 int64_t n, Rng* rng) {
  std::vector<int64_t> keys(n);
  for (int64_t& key : keys) {
    key = universe[rng->Below(static_cast<int64_t>(universe.size()))];
  }
  return keys;
}

}  // namespace testing
}  // namespace tf_embedding

#endif  // TF_EMBEDDING_TESTS_CC_DEVICE_UTIL_H_
