// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// EmbeddingTable::Apply: sum duplicates, find or insert, run the rule.

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "cc/core/table_internal.h"

namespace tf_embedding {
namespace {

// Rows in flight at once.
constexpr int kBlock = 32;
constexpr uint32_t kNone = 0xFFFFFFFFu;

// The distinct keys of a share, in order of first occurrence, each with its
// summed gradient and count.
struct DistinctKeys {
  std::vector<int64_t> keys;
  std::vector<uint64_t> hashes;
  std::vector<const float*> gradients;
  std::vector<int64_t> counts;
  std::vector<float> sums;  // gradients of keys that occur twice or more
};

uint32_t SaturatingAdd(uint32_t frequency, int64_t count) {
  const uint32_t room = std::numeric_limits<uint32_t>::max() - frequency;
  return frequency + static_cast<uint32_t>(std::min<int64_t>(count, room));
}

}  // namespace

struct EmbeddingTable::Update {
  const BoundRule& rule;
  const int64_t* keys;
  const float* gradients;
  const int64_t* counts;
  uint32_t step;
};

namespace {

// A gradient that stands alone is used where it lies; the first of several is
// copied to its sum when the second arrives.
DistinctKeys SumDuplicates(const int64_t* keys, const float* gradients,
                           const int64_t* counts, int dim,
                           const uint32_t* positions, int64_t n) {
  DistinctKeys distinct;
  distinct.keys.reserve(n);
  distinct.hashes.reserve(n);
  distinct.gradients.reserve(n);
  distinct.counts.reserve(n);
  uint64_t capacity = 16;
  while (capacity < static_cast<uint64_t>(n) * 2) capacity *= 2;
  // Open addressing, sized for the share: it stays in the first-level cache.
  std::vector<uint32_t> slots(capacity, kNone);
  // Where the sum of a key begins in sums; kNone while it occurred once.
  std::vector<int64_t> sum_at;
  for (int64_t p = 0; p < n; ++p) {
    const int64_t i = positions[p];
    const int64_t key = keys[i];
    const uint64_t hash = MixKey(key);
    const float* const gradient = gradients + i * dim;
    const int64_t count = counts == nullptr ? 1 : counts[i];
    uint64_t slot = hash & (capacity - 1);
    while (slots[slot] != kNone && distinct.keys[slots[slot]] != key) {
      slot = (slot + 1) & (capacity - 1);
    }
    if (slots[slot] == kNone) {
      slots[slot] = static_cast<uint32_t>(distinct.keys.size());
      distinct.keys.push_back(key);
      distinct.hashes.push_back(hash);
      distinct.gradients.push_back(gradient);
      distinct.counts.push_back(count);
      sum_at.push_back(-1);
      continue;
    }
    const uint32_t d = slots[slot];
    distinct.counts[d] += count;
    if (sum_at[d] < 0) {
      sum_at[d] = static_cast<int64_t>(distinct.sums.size());
      distinct.sums.insert(distinct.sums.end(), distinct.gradients[d],
                           distinct.gradients[d] + dim);
    }
    float* const sum = distinct.sums.data() + sum_at[d];
    for (int c = 0; c < dim; ++c) sum[c] += gradient[c];
  }
  for (size_t d = 0; d < sum_at.size(); ++d) {
    if (sum_at[d] >= 0) {
      distinct.gradients[d] = distinct.sums.data() + sum_at[d];
    }
  }
  return distinct;
}

}  // namespace

void EmbeddingTable::InitRow(const Update& update, int64_t key,
                             float* record) const {
  initializer_->Fill(key, record);
  float* slot = record + dim_;
  for (int k = 0; k < layout_.vector_slots; ++k) {
    slot = std::fill_n(slot, dim_, update.rule.initial_vector_slots[k]);
  }
  std::copy_n(update.rule.initial_scalar_slots, layout_.scalar_slots, slot);
}

void EmbeddingTable::ApplyShare(const Update& update, int shard_number,
                                const uint32_t* positions, int64_t count) {
  Shard* const shard = shards_[shard_number].get();
  const DistinctKeys distinct = SumDuplicates(
      update.keys, update.gradients, update.counts, dim_, positions, count);
  const IsaKernels& kernels = ActiveKernels();
  const auto apply = kernels.apply[static_cast<int>(update.rule.driver)];
  const auto n = static_cast<int64_t>(distinct.keys.size());
  uint32_t rows[kBlock];
  float* records[kBlock];
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int block = static_cast<int>(std::min<int64_t>(kBlock, n - begin));
    const int64_t* const keys = distinct.keys.data() + begin;
    kernels.find_rows(shard->view(), keys, distinct.hashes.data() + begin,
                      block, rows);
    for (int i = 0; i < block; ++i) {
      if (rows[i] != kNoRow) continue;
      rows[i] = shard->Insert(distinct.hashes[begin + i], keys[i]);
      // Whole at once: the next Insert may find no memory.
      InitRow(update, keys[i], shard->rows().record(rows[i]));
      *shard->rows().meta(rows[i]) = RowMeta{0, update.step};
    }
    for (int i = 0; i < block; ++i) {
      records[i] = shard->rows().record(rows[i]);
      const char* const bytes = reinterpret_cast<const char*>(records[i]);
      for (int64_t b = 0; b < layout_.stride; b += kCacheLine) {
        TFE_PREFETCH_WRITE(bytes + b);
      }
      TFE_PREFETCH_WRITE(shard->rows().meta(rows[i]));
    }
    apply(update.rule.functor, records, distinct.gradients.data() + begin,
          block, dim_);
    for (int i = 0; i < block; ++i) {
      RowMeta* const meta = shard->rows().meta(rows[i]);
      meta->frequency =
          SaturatingAdd(meta->frequency, distinct.counts[begin + i]);
      meta->version = update.step;
    }
  }
}

Status EmbeddingTable::Apply(const BoundRule& rule, const int64_t* keys,
                             const float* gradients, const int64_t* counts,
                             int64_t n, int64_t step, Executor* executor,
                             int64_t* rows_reset) {
  *rows_reset = 0;
  TFE_RETURN_IF_ERROR(CheckBatchSize(n));
  TFE_RETURN_IF_ERROR(CheckStep(step));
  if (counts != nullptr) {
    for (int64_t i = 0; i < n; ++i) {
      // Also keeps the sum over a batch inside int64.
      if (counts[i] < 1 || counts[i] > (int64_t{1} << 31)) {
        return InvalidArgument("counts[", i, "] is ", counts[i],
                               "; it must be in [1, 2147483648]");
      }
    }
  }
  if (n == 0) return Status();
  return CatchOutOfMemory(*this, [&] {
    for (;;) {
      {
        ReaderLock lock(&layout_lock_);
        if (rule_ == rule.info) {
          const Update update{rule, keys, gradients, counts,
                              static_cast<uint32_t>(step)};
          return ForEachShare(
              keys, n, executor,
              [&](int shard_number, const uint32_t* positions, int64_t count) {
                ApplyShare(update, shard_number, positions, count);
              });
        }
      }
      WriterLock lock(&layout_lock_);
      if (rule_ != rule.info) {
        int64_t reset;
        TFE_RETURN_IF_ERROR(ChangeRule(rule.info, rule.initial_vector_slots,
                                       rule.initial_scalar_slots, &reset));
        *rows_reset += reset;
      }
    }
  });
}

Status EmbeddingTable::AdoptRule(const BoundRule& rule, int64_t* rows_reset) {
  *rows_reset = 0;
  return CatchOutOfMemory(*this, [&] {
    WriterLock lock(&layout_lock_);
    if (rule_ == rule.info) return Status();
    return ChangeRule(rule.info, rule.initial_vector_slots,
                      rule.initial_scalar_slots, rows_reset);
  });
}

}  // namespace tf_embedding
