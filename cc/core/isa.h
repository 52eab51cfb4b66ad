// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// The inner loops, compiled once per instruction set, chosen at run time.
//
// isa_kernels.inc holds the loops as plain C++. Each isa_*.cc compiles that
// text for one instruction set and exports one IsaKernels; ActiveKernels()
// picks the widest that the processor has. So one library runs on any x86-64
// from 2009 on, or any aarch64, and is fast on the newest.
//
// All variants give the same bits: no contraction of a * b + c (a build flag),
// IEEE division and square root, and sums in a fixed order.
//
// The variants switch instruction set with a pragma after their includes, not
// with a compiler flag: a flag would also compile the inline functions of the
// standard library for that set, and the linker could hand such a copy to code
// that runs on every machine.

#ifndef TF_EMBEDDING_CC_CORE_ISA_H_
#define TF_EMBEDDING_CC_CORE_ISA_H_

#include <cstdint>

#include "cc/core/index.h"
#include "cc/core/rule.h"

namespace tf_embedding {

// What a search needs to know of a shard; read under the shard's lock. A shard
// without buckets shows one empty one (kEmptyBucket), so that a search need not
// ask. Its size is a power of two: a batch finds the view of each key's shard.
struct alignas(32) ShardView {
  const IndexBucket* buckets = &kEmptyBucket;
  char* const* slabs = nullptr;
  const char* first_slab = nullptr;  // slabs[0]: all there is of a small table
  uint32_t num_buckets = 1;
};

// Keys to rows across shards.
struct TableView {
  const ShardView* shards;
  int log2_shards;
  int slab_shift;
  int64_t stride;  // bytes
  int dim;
  // Whether rows come from memory, not from a cache.
  bool far = false;
};

// Counters of Philox side by side, word by word; each word in the low half of
// its lane.
constexpr int kPhiloxLanes = 8;
struct PhiloxLanes {
  alignas(64) uint64_t c[4][kPhiloxLanes];
};

struct IsaKernels {
  const char* name;

  // hashes[i] = MixKey(keys[i]).
  void (*hash_keys)(const int64_t* keys, int64_t n, uint64_t* hashes);

  // Copies the vector of each key that has a row to out + i * out_stride; the
  // places of those that have none go to missing, in order. Returns how many.
  // Unless null, rows[i] becomes the row number of keys[i], or kNoRow.
  int64_t (*lookup)(const TableView& table, const int64_t* keys, int64_t n,
                    float* out, int64_t out_stride, int64_t* missing,
                    uint32_t* rows);

  // Asks for the buckets of n hashes, so that find_rows finds them in the
  // cache.
  void (*prefetch_buckets)(const ShardView& shard, const uint64_t* hashes,
                           int n);

  // rows[i] = row number of keys[i] in the shard, or kNoRow.
  void (*find_rows)(const ShardView& shard, const int64_t* keys,
                    const uint64_t* hashes, int n, uint32_t* rows);

  // Applies the driver's functor to n rows. records[i]: [vector | slots];
  // gradients[i]: dim values.
  void (*apply[static_cast<int>(RuleDriver::kCount)])(
      const void* functor, float* const* records, const float* const* gradients,
      int n, int dim);

  // words[(i * blocks + b) * 4 ..]: Philox4x32 of counter (keys[i], b) under
  // seed, for n keys and blocks of four words each.
  void (*philox)(const int64_t* keys, int n, int blocks, uint64_t seed,
                 uint32_t* words);

  // y += a x, and the dot product in sixteen lanes.
  void (*add_scaled)(float a, const float* x, int dim, float* y);
  float (*dot)(const float* x, const float* y, int dim);
};

const IsaKernels& ActiveKernels();

// Null where this build or this processor has no such variant. For tests.
// name: "baseline", "avx2" or "avx512".
const IsaKernels* FindKernels(const char* name);

// Each defined by its translation unit; null where the target has none.
const IsaKernels* BaselineKernels();
const IsaKernels* Avx2Kernels();
const IsaKernels* Avx512Kernels();

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_ISA_H_
