// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// How many lines of the index a search reads, for kinds of keys.
//
//   python benchmarks/native.py probes 10000000
//
// Prints a line of JSON for each kind. Counts by walking the buckets as a
// search does (index.h): from the home on, while the bucket was passed.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "cc/core/hash.h"
#include "cc/core/index.h"
#include "tests/cc/random.h"

namespace tf_embedding {
namespace {

// The inverse of MixKey: multiplies by the inverses, undoes the shifts.
int64_t UnmixKey(uint64_t z) {
  const auto unshift = [](uint64_t x, int by) {
    uint64_t y = x;
    for (int known = by; known < 64; known += by) y = x ^ (y >> by);
    return y;
  };
  const auto inverse = [](uint64_t odd) {
    uint64_t x = odd;  // right in 3 bits; each step doubles them
    for (int i = 0; i < 5; ++i) x *= 2 - odd * x;
    return x;
  };
  z = unshift(z, 31) * inverse(0x94D049BB133111EBu);
  z = unshift(z, 27) * inverse(0xBF58476D1CE4E5B9u);
  return static_cast<int64_t>(unshift(z, 30) - 0x9E3779B97F4A7C15u);
}

int64_t LinesRead(const ShardIndex& index, int64_t key) {
  uint32_t b = BucketOfHash(MixKey(key), index.num_buckets());
  for (int64_t lines = 1;; ++lines) {
    const IndexBucket& bucket = index.buckets()[b];
    for (int slot = 0; slot < kSlotsPerBucket; ++slot) {
      if ((bucket.control >> slot & 1) != 0 && bucket.keys[slot] == key) {
        return lines;
      }
    }
    if ((bucket.control & IndexBucket::kPassedMask) == 0) return lines;
    b = b + 1 == index.num_buckets() ? 0 : b + 1;
  }
}

void Measure(const std::string& name, int64_t n,
             const std::function<int64_t(int64_t)>& key,
             const std::function<int64_t(int64_t)>& absent) {
  ShardIndex index;
  int64_t size = 0;
  for (int64_t i = 0; i < n; ++i) {
    const uint64_t hash = MixKey(key(i));
    if (index.size() > 0 && index.FindRow(hash, key(i)) != kNoRow) continue;
    index.Reserve(1);
    index.Insert(hash, key(i), static_cast<uint32_t>(size++));
  }
  std::vector<int64_t> hits;
  double hit_sum = 0;
  double miss_sum = 0;
  int64_t miss_most = 0;
  const int64_t asked = std::min<int64_t>(n, 1000000);
  for (int64_t i = 0; i < asked; ++i) {
    hits.push_back(LinesRead(index, key(i * (n / asked))));
    hit_sum += static_cast<double>(hits.back());
    const int64_t miss = LinesRead(index, absent(i));
    miss_sum += static_cast<double>(miss);
    miss_most = std::max(miss_most, miss);
  }
  std::sort(hits.begin(), hits.end());
  std::printf(
      "{\"keys\": \"%s\", \"size\": %lld, \"load\": %.4f, \"hit_mean\": %.4f, "
      "\"hit_p99\": %lld, \"hit_max\": %lld, \"miss_mean\": %.4f, "
      "\"miss_max\": %lld}\n",
      name.c_str(), static_cast<long long>(size),
      static_cast<double>(size) /
          (static_cast<double>(index.num_buckets()) * kSlotsPerBucket),
      hit_sum / static_cast<double>(asked),
      static_cast<long long>(hits[hits.size() * 99 / 100]),
      static_cast<long long>(hits.back()),
      miss_sum / static_cast<double>(asked), static_cast<long long>(miss_most));
  std::fflush(stdout);
}

void Run(int64_t n) {
  testing::Rng rng(1);
  std::vector<int64_t> random(n);
  std::vector<int64_t> others(1000000);
  for (int64_t& key : random) key = static_cast<int64_t>(rng.Next());
  for (int64_t& key : others) key = static_cast<int64_t>(rng.Next());
  const auto other = [&](int64_t i) { return others[i]; };
  Measure("random", n, [&](int64_t i) { return random[i]; }, other);
  Measure("sequential", n, [](int64_t i) { return i; }, other);
  Measure("multiples of 1024", n, [](int64_t i) { return i * 1024; }, other);
  Measure("multiples of 2^32", n, [](int64_t i) { return i << 32; }, other);
  Measure("descending", n, [](int64_t i) { return -i; }, other);
  // Equal in the bits that choose a bucket.
  const auto same_home = [](int64_t i) {
    return UnmixKey(static_cast<uint64_t>(i) << 32 | 7);
  };
  Measure("adversarial", 1000, same_home,
          [&](int64_t i) { return same_home(i + 1000000); });
  Measure("adversarial", 10000, same_home,
          [&](int64_t i) { return same_home(i + 1000000); });
}

}  // namespace
}  // namespace tf_embedding

int main(int argc, char** argv) {
  const int64_t n = argc > 1 ? std::atoll(argv[1]) : 1000000;
  if (n < 1 || n > int64_t{1} << 31) {
    std::fprintf(stderr, "probes: how many keys, 1 to 2^31\n");
    return 1;
  }
  tf_embedding::Run(n);
}
