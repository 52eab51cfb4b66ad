// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// The speed of a table on a device, without TensorFlow. tests/gpu/run.sh builds
// and runs it; benchmarks/gpu/README.md says what the rows are.
//
//   table_bench [--small]
//
// --small: sizes at which any machine is through in seconds; their times say
// nothing. With TF_EMBEDDING_BENCH_ON_HOST the host runs the kernels.
//
// Prints one line a measurement, as a Markdown table: milliseconds of one call
// (the median of kSeries series, each of many calls that the device works off
// without a pause), keys a second, and what part of the time the bytes that
// must move would take at the speed of the device's own copy.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cc/cuda/device_table.h"

namespace tf_embedding {
namespace {

#if defined(TF_EMBEDDING_BENCH_ON_HOST)
const DeviceLaunchers* const launchers = tfe_host_launchers();
#else
const DeviceLaunchers* const launchers = tfe_cuda_launchers();
#endif

constexpr int kSeries = 7;
constexpr int kInputs = 8;  // sets of keys, used in turn

bool small = false;
double copy_bytes_per_ms = 0;  // read and written

void Check(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "table_bench: %s\n", status.message().c_str());
  std::exit(1);
}
void Check(int error) {
  if (error == 0) return;
  std::fprintf(stderr, "table_bench: %s\n", launchers->describe(error));
  std::exit(1);
}

template <class T>
class Array {
 public:
  explicit Array(int64_t n)
      : data_(static_cast<T*>(
            launchers->allocate(n * static_cast<int64_t>(sizeof(T))))) {
    if (data_ != nullptr) return;
    std::fprintf(stderr, "table_bench: no memory for %lld values\n",
                 static_cast<long long>(n));
    std::exit(1);
  }
  ~Array() { launchers->release(data_); }
  Array(Array&& other) noexcept : data_(other.data_) { other.data_ = nullptr; }
  T* data() const { return data_; }
  void Set(const std::vector<T>& values) {
    Check(launchers->copy(data_, values.data(),
                          static_cast<int64_t>(values.size() * sizeof(T)),
                          nullptr));
    Check(launchers->synchronize(nullptr));
  }

 private:
  T* data_;
};

// xorshift64* (Vigna 2016).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2 + 1) {
    for (int i = 0; i < 8; ++i) Next();
  }
  uint64_t Next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545F4914F6CDD1Du;
  }
  double Unit() { return static_cast<double>(Next() >> 11) * 0x1p-53; }
  int64_t Below(int64_t n) {
    return static_cast<int64_t>((Next() >> 1) % static_cast<uint64_t>(n));
  }
  // Rank 0..n-1, rank r with a chance of about (r + 1)^-alpha: the continuous
  // power law, inverted.
  int64_t PowerLaw(int64_t n, double alpha) {
    const double e = 1 - alpha;
    const double x = std::pow(
        1 + Unit() * (std::pow(static_cast<double>(n) + 1, e) - 1), 1 / e);
    return std::min(n - 1, static_cast<int64_t>(x) - 1);
  }

 private:
  uint64_t state_;
};

// Key number i of a table: spread over all of int64.
int64_t KeyOf(int64_t i) {
  return static_cast<int64_t>(static_cast<uint64_t>(i + 1) *
                              0x9E3779B97F4A7C15u);
}

double Milliseconds(int calls, const std::function<void(int)>& call) {
  using Clock = std::chrono::steady_clock;
  for (int i = 0; i < 2; ++i) call(i);
  std::vector<double> times;
  int number = 0;
  const int series = small ? 1 : kSeries;
  for (int s = 0; s < series; ++s) {
    Check(launchers->synchronize(nullptr));
    const auto start = Clock::now();
    for (int i = 0; i < calls; ++i) call(number++);
    Check(launchers->synchronize(nullptr));
    times.push_back(
        std::chrono::duration<double, std::milli>(Clock::now() - start)
            .count() /
        calls);
  }
  std::sort(times.begin(), times.end());
  return times[series / 2];
}

void Print(const std::string& what, double ms, double keys, double bytes) {
  const double rate = keys / ms * 1e3;
  std::printf("| %-52s | %9.4f | %7.3f | %7.3f | %5.1f %% |\n", what.c_str(),
              ms, rate / 1e9, rate / (1 << 30),
              100 * bytes / copy_bytes_per_ms / ms);
  std::fflush(stdout);
}

BoundRule Rule(const std::string& name, float rate) {
  std::vector<float> hyper;
  if (name == "adagrad") hyper = {0.1f, 0, 0};
  if (name == "adam") hyper = {0.9f, 0.999f, 1e-7f};
  if (name == "ftrl") hyper = {-0.5f, 0.1f, 0, 0, 0, 0};
  BoundRule rule;
  Check(BindRule(name, rate, 0, hyper.data(), static_cast<int>(hyper.size()),
                 &rule));
  return rule;
}

int Slots(const std::string& rule) {
  return rule == "sgd" ? 0 : rule == "adagrad" ? 1 : 2;
}

std::unique_ptr<DeviceTable> MakeTable(int dim, int64_t cache_bytes,
                                       RowDtype dtype) {
  DeviceTableOptions options;
  options.name = "bench";
  options.dim = dim;
  options.row_dtype = dtype;
  options.initializer.kind = InitializerKind::kUniform;
  options.initializer.a = -0.1f;
  options.initializer.b = 0.1f;
  options.cache_bytes = cache_bytes;
  std::unique_ptr<DeviceTable> table;
  Check(DeviceTable::Create(options, launchers, MakeDeviceAllocator(launchers),
                            nullptr, &table));
  return table;
}

// A table with rows for keys 0..rows-1, born by updates of rate 0.
std::unique_ptr<DeviceTable> Filled(int dim, int64_t rows,
                                    const std::string& rule,
                                    const float* gradients, int64_t batch,
                                    int64_t cache_bytes = 0,
                                    RowDtype dtype = RowDtype::kFloat32) {
  std::unique_ptr<DeviceTable> table = MakeTable(dim, cache_bytes, dtype);
  const BoundRule nothing = Rule(rule, rule == "ftrl" ? 1e-9f : 0.0f);
  Array<int64_t> keys(batch);
  for (int64_t from = 0; from < rows; from += batch) {
    std::vector<int64_t> some;
    for (int64_t i = from; i < std::min(rows, from + batch); ++i) {
      some.push_back(KeyOf(i));
    }
    keys.Set(some);
    int64_t reset;
    Check(table->Apply(nothing, keys.data(), gradients, nullptr,
                       static_cast<int64_t>(some.size()), 0, nullptr, &reset));
    Check(launchers->synchronize(nullptr));
  }
  return table;
}

// kInputs sets of n keys, and how many differ in one of them on average.
std::vector<Array<int64_t>> Inputs(int64_t n,
                                   const std::function<int64_t()>& draw,
                                   double* distinct) {
  std::vector<Array<int64_t>> inputs;
  double total = 0;
  for (int i = 0; i < kInputs; ++i) {
    std::vector<int64_t> keys(n);
    for (int64_t& key : keys) key = draw();
    inputs.emplace_back(n);
    inputs.back().Set(keys);
    std::sort(keys.begin(), keys.end());
    total += static_cast<double>(std::unique(keys.begin(), keys.end()) -
                                 keys.begin());
  }
  *distinct = total / kInputs;
  return inputs;
}

double VectorBytes(int dim, RowDtype dtype) {
  return dtype == RowDtype::kBfloat16 ? 2.0 * dim : 4.0 * dim;
}
// Bytes of a lookup: keys, a bucket's line a distinct key, rows, output.
double LookupBytes(double n, double distinct, int dim,
                   RowDtype dtype = RowDtype::kFloat32) {
  return 8 * n + distinct * (64 + VectorBytes(dim, dtype)) + n * 4.0 * dim;
}
// Bytes of an update: keys and gradients, the record of each distinct key both
// ways, its bucket and meta.
double ApplyBytes(double n, double distinct, int dim, int slots,
                  RowDtype dtype = RowDtype::kFloat32) {
  return n * (8 + 4.0 * dim) +
         distinct *
             (64 + 16 + 2 * (VectorBytes(dim, dtype) + 4.0 * dim * slots));
}

// B0: what the device's memory gives.
void Ceilings() {
  const int64_t bytes = small ? 1 << 24 : int64_t{1} << 31;
  Array<char> from(bytes), to(bytes);
  const double ms = Milliseconds(10, [&](int) {
    Check(launchers->copy(to.data(), from.data(), bytes, nullptr));
  });
  copy_bytes_per_ms = 2.0 * static_cast<double>(bytes) / ms;
  std::printf("\ncopy inside the device: %.3f TB/s, read and written\n\n",
              copy_bytes_per_ms / 1e9);
  std::printf("| %-52s | %9s | %7s | %7s | %7s |\n", "what", "ms", "10^9/s",
              "2^30/s", "of copy");
  std::printf("|---|---|---|---|---|\n");
}

// B1: a million distinct keys, 60 % of them there, as HierarchicalKV measures.
void Find() {
  const int64_t n = small ? 1 << 9 : 1 << 20;
  for (const int dim : {8, 32, 64}) {
    for (const double load : {0.5, 0.75}) {
      // Of 5 slots a bucket, 2^k buckets; the table doubles at 0.75.
      const int64_t slots = 5 * (small ? int64_t{1} << 12 : int64_t{1} << 24);
      const auto rows =
          static_cast<int64_t>(static_cast<double>(slots) * load) -
          (load == 0.75 ? 3 * n + n : 0);
      Array<float> buffer(n * dim);
      const auto table = Filled(dim, rows, "sgd", buffer.data(), n);
      TableStats stats;
      Check(table->Stats(nullptr, &stats));
      const double real_load =
          static_cast<double>(stats.size) /
          (static_cast<double>(stats.index_bytes) / 64 * 5);
      Random random(1);
      double distinct;
      const auto inputs = Inputs(
          n,
          [&] {
            const int64_t i = random.Below(rows);
            return KeyOf(random.Unit() < 0.6 ? i : -i - 2);
          },
          &distinct);
      const double ms = Milliseconds(20, [&](int i) {
        Check(table->Lookup(inputs[i % kInputs].data(), n, buffer.data(),
                            nullptr));
      });
      char what[80];
      std::snprintf(what, sizeof(what),
                    "B1 lookup, 60 %% hits, dim %d, load %.2f", dim, real_load);
      Print(what, ms, static_cast<double>(n),
            static_cast<double>(n) * (8 + 64 + 4.0 * dim * 1.6));
    }
  }
}

// B2: the configuration of the published numbers of dynamicemb and TBE.
void Train() {
  const int dim = 128;
  const int64_t rows = small ? 1 << 14 : 16 << 20;
  const int64_t n = small ? 1 << 12 : 1048570;
  Array<float> out(n * dim), gradients(n * dim);
  Check(launchers->set_zero(gradients.data(), n * dim * 4, nullptr));
  Random random(2);
  double distinct;
  const auto inputs =
      Inputs(n, [&] { return KeyOf(random.PowerLaw(rows, 1.05)); }, &distinct);
  const auto measure = [&](const std::string& name, RowDtype dtype) {
    const std::string what =
        dtype == RowDtype::kBfloat16 ? ", dim 128 in bfloat16" : ", dim 128";
    const auto table = Filled(dim, rows, name, gradients.data(), n, 0, dtype);
    if (name == "sgd") {
      Print("B2 forward" + what,
            Milliseconds(20,
                         [&](int i) {
                           Check(table->Lookup(inputs[i % kInputs].data(), n,
                                               out.data(), nullptr));
                         }),
            static_cast<double>(n),
            LookupBytes(static_cast<double>(n), distinct, dim, dtype));
    }
    const BoundRule rule = Rule(name, 0.01f);
    Print(
        "B2 backward" + what + ", " + name,
        Milliseconds(10,
                     [&](int i) {
                       int64_t reset;
                       Check(table->Apply(rule, inputs[i % kInputs].data(),
                                          gradients.data(), nullptr, n, i,
                                          nullptr, &reset));
                     }),
        static_cast<double>(n),
        ApplyBytes(static_cast<double>(n), distinct, dim, Slots(name), dtype));
  };
  for (const char* const name : {"sgd", "adagrad", "adam", "ftrl"}) {
    measure(name, RowDtype::kFloat32);
  }
  for (const char* const name : {"sgd", "adam"}) {
    measure(name, RowDtype::kBfloat16);
  }
}

// B3: sizes of batches.
void Batches() {
  const int64_t rows = small ? 1 << 14 : 16 << 20;
  for (const int dim : {16, 64}) {
    for (const int64_t thousands : {64, 256, 1024, 4096}) {
      const int64_t n = small ? thousands : thousands << 10;
      Array<float> out(n * dim);
      Check(launchers->set_zero(out.data(), n * dim * 4, nullptr));
      const auto table = Filled(dim, rows, "adagrad", out.data(), n);
      Random random(3);
      double distinct;
      const auto inputs = Inputs(
          n, [&] { return KeyOf(random.PowerLaw(rows, 1.2)); }, &distinct);
      const std::string what = " dim " + std::to_string(dim) + ", batch " +
                               std::to_string(n) + ", power law 1.2";
      Print("B3 forward," + what,
            Milliseconds(20,
                         [&](int i) {
                           Check(table->Lookup(inputs[i % kInputs].data(), n,
                                               out.data(), nullptr));
                         }),
            static_cast<double>(n),
            LookupBytes(static_cast<double>(n), distinct, dim));
      const BoundRule rule = Rule("adagrad", 0.01f);
      Print("B3 backward," + what,
            Milliseconds(10,
                         [&](int i) {
                           int64_t reset;
                           Check(table->Apply(rule, inputs[i % kInputs].data(),
                                              out.data(), nullptr, n, i,
                                              nullptr, &reset));
                         }),
            static_cast<double>(n),
            ApplyBytes(static_cast<double>(n), distinct, dim, 1));
    }
  }
}

// B5: rows in the host's memory, a cache of some of them in the device's. A
// step is a lookup and an update; the keys of the next one are fetched in
// between.
void Tiers() {
  const int dim = 64;
  const int64_t n = small ? 1 << 10 : 1 << 18;
  const int64_t rows = small ? 1 << 14 : 8 << 20;
  const int64_t row_bytes = int64_t{8} * dim + 12;  // adagrad
  Array<float> out(n * dim);
  Check(launchers->set_zero(out.data(), n * dim * 4, nullptr));
  const BoundRule rule = Rule("adagrad", 0.01f);
  for (const int percent : {10, 25, 50, 100}) {
    const auto table = Filled(dim, rows, "adagrad", out.data(), n,
                              rows * percent / 100 * row_bytes);
    Random random(5);
    double distinct;
    const auto inputs = Inputs(
        n, [&] { return KeyOf(random.PowerLaw(rows, 1.05)); }, &distinct);
    for (const bool ahead : {false, true}) {
      TableStats before, after;
      Check(table->Stats(nullptr, &before));
      const double ms = Milliseconds(10, [&](int i) {
        const int64_t* const keys = inputs[i % kInputs].data();
        Check(table->Lookup(keys, n, out.data(), nullptr));
        if (ahead) {
          Check(table->Prefetch(inputs[(i + 1) % kInputs].data(), n, nullptr));
        }
        int64_t reset;
        Check(table->Apply(rule, keys, out.data(), nullptr, n, i, nullptr,
                           &reset));
      });
      Check(table->Stats(nullptr, &after));
      const auto hits =
          static_cast<double>(after.cache_hits - before.cache_hits);
      const auto misses =
          static_cast<double>(after.cache_misses - before.cache_misses);
      char what[80];
      std::snprintf(what, sizeof(what),
                    "B5 step, cache of %d %%%s, %.1f %% hits", percent,
                    ahead ? ", fetched ahead" : "",
                    100 * hits / (hits + misses));
      Print(what, ms, static_cast<double>(n),
            LookupBytes(static_cast<double>(n), distinct, dim) +
                ApplyBytes(static_cast<double>(n), distinct, dim, 1));
    }
  }
}

// B4: a tenth of every batch is new; the table grows meanwhile. B6: out and in.
void GrowthAndCopies() {
  const int dim = 64;
  const int64_t n = small ? 1 << 12 : 1 << 20;
  const int64_t rows = small ? 1 << 14 : 8 << 20;
  Array<float> gradients(n * dim);
  Check(launchers->set_zero(gradients.data(), n * dim * 4, nullptr));
  const auto table = Filled(dim, rows, "adagrad", gradients.data(), n);
  Random random(4);
  int64_t next = rows;
  std::vector<Array<int64_t>> inputs;
  constexpr int kCalls = 4;
  for (int i = 0; i < 2 + kSeries * kCalls; ++i) {
    std::vector<int64_t> keys(n);
    for (int64_t& key : keys) {
      key = KeyOf(random.Below(10) == 0 ? next++ : random.Below(rows));
    }
    inputs.emplace_back(n);
    inputs.back().Set(keys);
  }
  const BoundRule rule = Rule("adagrad", 0.01f);
  size_t used = 0;
  Print("B4 backward, dim 64, a tenth of the keys new, adagrad",
        Milliseconds(kCalls,
                     [&](int i) {
                       int64_t reset;
                       Check(table->Apply(rule, inputs[used++].data(),
                                          gradients.data(), nullptr, n, i,
                                          nullptr, &reset));
                     }),
        static_cast<double>(n),
        ApplyBytes(static_cast<double>(n), 0.97 * static_cast<double>(n), dim,
                   1));

  std::vector<int64_t> keys, frequency, version;
  std::vector<float> values, slots;
  TableShape shape;
  const auto allocate = [&](const TableShape& wanted, RowColumns* out) {
    shape = wanted;
    keys.resize(shape.size);
    values.resize(shape.size * dim);
    slots.resize(shape.size * shape.slot_width);
    frequency.resize(shape.size);
    version.resize(shape.size);
    *out = RowColumns{keys.data(),      values.data(),  slots.data(),
                      frequency.data(), version.data(), nullptr};
    return Status();
  };
  using Clock = std::chrono::steady_clock;
  Check(table->Export(allocate, nullptr));
  const auto start = Clock::now();
  Check(table->Export(allocate, nullptr));
  const auto between = Clock::now();
  Check(table->Import(shape,
                      ConstRowColumns{keys.data(), values.data(), slots.data(),
                                      frequency.data(), version.data()},
                      /*replace=*/true, nullptr));
  const auto end = Clock::now();
  const double bytes = static_cast<double>(shape.size) * (24 + 8.0 * dim);
  const auto print = [&](const char* what, Clock::duration time) {
    const double ms = std::chrono::duration<double, std::milli>(time).count();
    Print(what, ms, static_cast<double>(shape.size), bytes);
    std::printf("|   %.2f GB/s | | | | |\n", bytes / ms / 1e6);
  };
  print("B6 export to the host", between - start);
  print("B6 import from the host", end - between);
}

}  // namespace
}  // namespace tf_embedding

int main(int argc, char** argv) {
  using namespace tf_embedding;  // NOLINT: the program is this file
  small = argc > 1 && std::strcmp(argv[1], "--small") == 0;
  if (launchers->device_count() == 0) {
    std::fprintf(stderr, "table_bench: there is no GPU, or no driver\n");
    return 1;
  }
  Ceilings();
  Find();
  Train();
  Batches();
  Tiers();
  GrowthAndCopies();
  return 0;
}
