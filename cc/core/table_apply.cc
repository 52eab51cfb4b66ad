// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// EmbeddingTable::Apply: sum duplicates, find or insert where admitted, run the
// rule.

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "cc/core/table_internal.h"

namespace tf_embedding {
namespace {

// Rows in flight at once.
constexpr int kBlock = 32;
constexpr uint32_t kNone = 0xFFFFFFFFu;
// How far ahead of the sums gradients are asked for.
constexpr int64_t kGradientsAhead = 12;

uint32_t SaturatingAdd(uint32_t frequency, int64_t count) {
  const uint32_t room = std::numeric_limits<uint32_t>::max() - frequency;
  return frequency + static_cast<uint32_t>(std::min<int64_t>(count, room));
}

// All lines that floats[0..n-1] have a part in.
void PrefetchFloats(const float* floats, int64_t n) {
  for (int64_t i = 0; i < n; i += kCacheLine / 4) TFE_PREFETCH_L2(floats + i);
  TFE_PREFETCH_L2(floats + n - 1);
}

}  // namespace

struct EmbeddingTable::Update {
  const BoundRule& rule;
  const float* gradients;
  int64_t gradient_stride;
  const int64_t* counts;
  uint32_t step;
  uint64_t found_at;  // the moment of the lookup whose rows the shares have
};

namespace {

// The distinct keys of a share, in order of first occurrence, each with its
// summed gradient and count. One serves many shares, so that they share its
// memory.
class DistinctKeys final : public TouchedKeys {
 public:
  // Throws std::bad_alloc.
  void Collect(const BatchShare& share, const float* gradients, int64_t stride,
               const int64_t* counts, int dim) {
    Reserve(share.count, dim);
    uint64_t num_slots = 16;
    while (num_slots < static_cast<uint64_t>(share.count) * 2) num_slots *= 2;
    std::fill_n(slots_.get(), num_slots, kNone);
    const uint64_t mask = num_slots - 1;
    mask_ = mask;
    int64_t n = 0;
    uint32_t num_sums = 0;
    const IsaKernels& kernels = ActiveKernels();
    for (int64_t p = 0; p < share.count; ++p) {
      if (p + kGradientsAhead < share.count) {
        const int64_t ahead = share.positions[p + kGradientsAhead];
        PrefetchFloats(gradients + ahead * stride, dim);
      }
      const int64_t i = share.positions[p];
      const int64_t key = share.keys[p];
      const int64_t count = counts == nullptr ? 1 : counts[i];
      const uint64_t hash = MixKey(key);
      uint64_t slot = hash & mask;
      while (slots_[slot] != kNone && keys_[slots_[slot]] != key) {
        slot = (slot + 1) & mask;
      }
      if (slots_[slot] == kNone) {
        slots_[slot] = static_cast<uint32_t>(n);
        keys_[n] = key;
        hashes_[n] = hash;
        if (share.rows != nullptr) rows_[n] = share.rows[p];
        // A gradient that stands alone is used where it lies.
        gradients_[n] = gradients + i * stride;
        counts_[n] = count;
        sum_of_[n] = kNone;
        ++n;
        continue;
      }
      const uint32_t d = slots_[slot];
      if (sum_of_[d] == kNone) {  // the second occurrence
        sum_of_[d] = num_sums++;
        float* const sum = sums_.get() + int64_t{sum_of_[d]} * dim;
        std::copy_n(gradients_[d], dim, sum);
        gradients_[d] = sum;
      }
      float* const sum = sums_.get() + int64_t{sum_of_[d]} * dim;
      kernels.add_scaled(1.0f, gradients + i * stride, dim, sum);
      counts_[d] += count;
    }
    size_ = n;
  }

  bool Contains(uint64_t hash, int64_t key) const override {
    uint64_t slot = hash & mask_;
    while (slots_[slot] != kNone && keys_[slots_[slot]] != key) {
      slot = (slot + 1) & mask_;
    }
    return slots_[slot] != kNone;
  }

  int64_t size() const { return size_; }
  const int64_t* keys() const { return keys_.get(); }
  const uint64_t* hashes() const { return hashes_.get(); }
  // Of each, where the share has rows.
  const uint32_t* rows() const { return rows_.get(); }
  const float* const* gradients() const { return gradients_.get(); }
  const int64_t* counts() const { return counts_.get(); }

 private:
  void Reserve(int64_t n, int dim) {
    if (n <= capacity_) return;
    n = std::max(n, kMinCapacity);
    capacity_ = 0;  // should memory run out half way
    keys_.reset(new int64_t[n]);
    hashes_.reset(new uint64_t[n]);
    rows_.reset(new uint32_t[n]);
    gradients_.reset(new const float*[n]);
    counts_.reset(new int64_t[n]);
    sum_of_.reset(new uint32_t[n]);
    slots_.reset(new uint32_t[std::max<int64_t>(16, 4 * n)]);
    sums_.reset(new float[(n / 2 + 1) * dim]);
    capacity_ = n;
  }

  static constexpr int64_t kMinCapacity = 64;

  int64_t capacity_ = 0;
  int64_t size_ = 0;
  uint64_t mask_ = 0;
  std::unique_ptr<int64_t[]> keys_;
  std::unique_ptr<uint64_t[]> hashes_;
  std::unique_ptr<uint32_t[]> rows_;
  std::unique_ptr<const float*[]> gradients_;
  std::unique_ptr<int64_t[]> counts_;
  // Which of sums_ is a key's; kNone while it occurred once.
  std::unique_ptr<uint32_t[]> sum_of_;
  // Open addressing, sized for the share: it stays in the first-level cache.
  std::unique_ptr<uint32_t[]> slots_;
  // Gradients of keys that occur twice or more: at most half of the share.
  std::unique_ptr<float[]> sums_;
};

}  // namespace

// One shard's share of a batch, in blocks. While the rule runs on the rows of
// one block, those of the next are on their way from memory, and the buckets of
// the one after it.
class EmbeddingTable::ShareUpdate {
 public:
  // with_rows: the share has rows.
  ShareUpdate(const EmbeddingTable& table, const Update& update, Shard* shard,
              const DistinctKeys& distinct, bool with_rows)
      : table_(table),
        update_(update),
        shard_(shard),
        distinct_(distinct),
        // They hold to the end: a table that evicts within an update takes
        // none.
        with_rows_(with_rows && shard->moved_at() < update.found_at),
        n_(distinct.size()),
        kernels_(ActiveKernels()),
        admission_(table.admission_.get()),
        eviction_(shard->eviction()) {}

  // The three stages, one after the other. Between them others have their turn,
  // while the memory that was asked for is on its way.
  void AskForBuckets() {
    PrefetchBuckets(0);
    PrefetchBuckets(kBlock);
  }
  // Throws std::bad_alloc, with nothing done.
  void FindFirst() { FindRows(0); }
  // Throws std::bad_alloc; the rows that were found or born by then have had
  // their update.
  void Finish() {
    for (int64_t begin = 0; begin < n_; begin += kBlock) {
      PrefetchBuckets(begin + 2 * kBlock);
      try {
        if (eviction_ != nullptr) eviction_->DuringShare(shard_, distinct_);
        FindRows(begin + kBlock);
      } catch (const std::bad_alloc&) {
        ApplyBlock(begin);
        throw;
      }
      ApplyBlock(begin);
    }
    if (admission_ != nullptr && n_ > 0) {
      admission_->Trim(table_.ShardOf(distinct_.hashes()[0]));
    }
  }
  // Rows that had their first update of this step.
  int64_t num_stamped() const { return num_stamped_; }

 private:
  int Size(int64_t begin) const {
    return static_cast<int>(std::clamp<int64_t>(n_ - begin, 0, kBlock));
  }
  uint32_t* Rows(int64_t begin) { return rows_[begin / kBlock % 2]; }
  // How many keys of a block were refused: theirs is kNoRow.
  int* Refused(int64_t begin) { return &refused_[begin / kBlock % 2]; }

  void PrefetchRecord(const float* record) const {
    PrefetchFloats(record, table_.layout_.width());
  }

  void PrefetchBuckets(int64_t begin) {
    if (begin >= n_) return;
    const ShardView view = shard_->view();
    const uint64_t* const hashes = distinct_.hashes() + begin;
    const int n = Size(begin);
    if (!with_rows_) {
      kernels_.prefetch_buckets(view, hashes, n);
      return;
    }
    for (int i = 0; i < n; ++i) {
      if (distinct_.rows()[begin + i] == kNoRow) {
        kernels_.prefetch_buckets(view, hashes + i, 1);
      }
    }
  }

  // Of a block of n keys.
  void SearchRows(int64_t begin, int n, uint32_t* rows) const {
    const ShardView view = shard_->view();
    const int64_t* const keys = distinct_.keys() + begin;
    const uint64_t* const hashes = distinct_.hashes() + begin;
    if (!with_rows_) {
      kernels_.find_rows(view, keys, hashes, n, rows);
      return;
    }
    std::copy_n(distinct_.rows() + begin, n, rows);
    for (int i = 0; i < n; ++i) {
      if (TFE_UNLIKELY(rows[i] == kNoRow)) {
        kernels_.find_rows(view, keys + i, hashes + i, 1, rows + i);
      }
    }
  }

  // Finds the rows of a block, gives birth to those that there are not, and
  // asks for their memory.
  void FindRows(int64_t begin) {
    const int n = Size(begin);
    if (n == 0) return;
    uint32_t* const rows = Rows(begin);
    SearchRows(begin, n, rows);
    int missing[kBlock];
    int num_missing = 0;
    for (int i = 0; i < n; ++i) {
      if (rows[i] == kNoRow) missing[num_missing++] = i;
    }
    *Refused(begin) = 0;
    if (num_missing > 0) {
      if (admission_ == nullptr) {
        GiveBirth(begin, missing, nullptr, num_missing);
      } else {
        AskAdmission(begin, missing, num_missing);
      }
    }
    const RowStore& store = shard_->rows();
    for (int i = 0; i < n; ++i) {
      if (rows[i] == kNoRow) continue;
      PrefetchRecord(store.record(rows[i]));
      TFE_PREFETCH_L2(store.meta(rows[i]));
      PrefetchFloats(distinct_.gradients()[begin + i], table_.dim_);
    }
  }

  // Gives birth to the rows of those keys that are admitted.
  void AskAdmission(int64_t begin, const int* missing, int n) {
    int64_t keys[kBlock];
    uint64_t hashes[kBlock];
    int64_t counts[kBlock];
    int64_t totals[kBlock];
    for (int m = 0; m < n; ++m) {
      const int64_t at = begin + missing[m];
      keys[m] = distinct_.keys()[at];
      hashes[m] = distinct_.hashes()[at];
      counts[m] = distinct_.counts()[at];
    }
    const int shard = table_.ShardOf(hashes[0]);
    *Refused(begin) = n - admission_->Admit(shard, keys, hashes, counts, n,
                                            update_.step, totals);
    for (int m = 0; m < n; ++m) {
      if (totals[m] == 0) shard_->counters().refused += counts[m];
    }
    if (*Refused(begin) == n) return;
    int admitted[kBlock];
    int64_t before[kBlock];
    int num = 0;
    for (int m = 0; m < n; ++m) {
      if (totals[m] == 0) continue;
      admitted[num] = missing[m];
      before[num] = totals[m] - counts[m];
      ++num;
    }
    GiveBirth(begin, admitted, before, num);
    shard_->counters().admitted += num;
    for (int m = 0; m < n; ++m) {
      if (totals[m] > 0) admission_->Forget(shard, hashes[m], keys[m]);
    }
  }

  // before: occurrences in earlier batches; none if null.
  void GiveBirth(int64_t begin, const int* missing, const int64_t* before,
                 int n) {
    shard_->Reserve(n);  // nothing throws from here on
    int64_t keys[kBlock];
    float* records[kBlock];
    num_stamped_ += n;
    for (int m = 0; m < n; ++m) {
      const int64_t at = begin + missing[m];
      keys[m] = distinct_.keys()[at];
      const uint32_t row = shard_->Insert(distinct_.hashes()[at], keys[m]);
      Rows(begin)[missing[m]] = row;
      records[m] = shard_->rows().record(row);
      PrefetchRecord(records[m]);
      const uint32_t frequency =
          before == nullptr ? 0 : SaturatingAdd(0, before[m]);
      *shard_->rows().meta(row) = RowMeta{frequency, update_.step};
    }
    table_.initializer_->FillRows(keys, n, records);
    for (int m = 0; m < n; ++m) InitSlots(records[m]);
  }

  void InitSlots(float* record) const {
    float* slot = record + table_.dim_;
    for (int k = 0; k < table_.layout_.vector_slots; ++k) {
      slot =
          std::fill_n(slot, table_.dim_, update_.rule.initial_vector_slots[k]);
    }
    std::copy_n(update_.rule.initial_scalar_slots, table_.layout_.scalar_slots,
                slot);
  }

  void ApplyBlock(int64_t begin) {
    const int n = Size(begin);
    const uint32_t* const rows = Rows(begin);
    const float* const* const gradients = distinct_.gradients() + begin;
    const int64_t* const counts = distinct_.counts() + begin;
    if (*Refused(begin) == 0) {
      ApplyRows(rows, gradients, counts, n);
      return;
    }
    uint32_t rows_left[kBlock];
    const float* gradients_left[kBlock];
    int64_t counts_left[kBlock];
    int left = 0;
    for (int i = 0; i < n; ++i) {
      if (rows[i] == kNoRow) continue;
      rows_left[left] = rows[i];
      gradients_left[left] = gradients[i];
      counts_left[left] = counts[i];
      ++left;
    }
    ApplyRows(rows_left, gradients_left, counts_left, left);
  }

  void ApplyRows(const uint32_t* rows, const float* const* gradients,
                 const int64_t* counts, int n) {
    const RowStore& store = shard_->rows();
    float* records[kBlock] = {};
    for (int i = 0; i < n; ++i) records[i] = store.record(rows[i]);
    kernels_.apply[static_cast<int>(update_.rule.driver)](
        update_.rule.functor, records, gradients, n, table_.dim_);
    for (int i = 0; i < n; ++i) {
      RowMeta* const meta = store.meta(rows[i]);
      meta->frequency = SaturatingAdd(meta->frequency, counts[i]);
      num_stamped_ += meta->version != update_.step;
      meta->version = update_.step;
      shard_->MarkChanged(rows[i]);
    }
    if (!table_.layout_.has_recency()) return;
    for (int i = 0; i < n; ++i) {
      *store.recency(rows[i]) = eviction_->recency();
    }
  }

  const EmbeddingTable& table_;
  const Update& update_;
  Shard* const shard_;
  const DistinctKeys& distinct_;
  const bool with_rows_;  // of distinct_, that still hold
  const int64_t n_;
  const IsaKernels& kernels_;
  Admission* const admission_;     // null: every key is admitted
  ShardEviction* const eviction_;  // null: nothing goes
  int64_t num_stamped_ = 0;
  uint32_t rows_[2][kBlock];
  int refused_[2] = {};
};

// The shares of a group, each stage for all of them: a small share alone would
// wait for its buckets, and then for its rows, with nothing to do meanwhile.
class EmbeddingTable::GroupUpdate {
 public:
  // False where memory ran out for one of them; the others are done.
  bool Run(const EmbeddingTable& table, const Update& update,
           const EvictionMoment& moment, const ShareGroup& group) {
    std::optional<ShareUpdate> updates[ShareGroup::kMaxShares];
    bool done = true;
    const auto stage = [&](const auto& body) {
      for (int i = 0; i < group.size(); ++i) {
        try {
          body(i);
        } catch (const std::bad_alloc&) {
          updates[i].reset();
          done = false;
        }
      }
    };
    stage([&](int i) {
      Shard* const shard = group.shard(i);
      distinct_[i].Collect(group.share(i), update.gradients,
                           update.gradient_stride, update.counts, table.dim_);
      if (shard->eviction() != nullptr) {
        shard->eviction()->BeginShare(moment, shard, distinct_[i].size());
      }
      updates[i].emplace(table, update, shard, distinct_[i],
                         group.share(i).rows != nullptr);
      updates[i]->AskForBuckets();
    });
    stage([&](int i) {
      if (updates[i]) updates[i]->FindFirst();
    });
    stage([&](int i) {
      if (!updates[i]) return;
      updates[i]->Finish();
      Shard* const shard = group.shard(i);
      ShardEviction* const eviction = shard->eviction();
      if (eviction == nullptr) return;
      eviction->Stamped(updates[i]->num_stamped(), update.step);
      eviction->EndShare(moment, shard, distinct_[i].size(), distinct_[i]);
    });
    return done;
  }

 private:
  DistinctKeys distinct_[ShareGroup::kMaxShares];
};

Status EmbeddingTable::Apply(const BoundRule& rule, const int64_t* keys,
                             const float* gradients, const int64_t* counts,
                             int64_t n, int64_t step, Executor* executor,
                             int64_t* rows_reset, int64_t gradient_stride) {
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
          std::unique_ptr<FoundRows::Batch> found;
          if (eviction_ == nullptr || !eviction_->options().bounded()) {
            found = memory_->found.Take(keys, n);
          }
          const Update update{rule,
                              gradients,
                              gradient_stride == 0 ? dim_ : gradient_stride,
                              counts,
                              static_cast<uint32_t>(step),
                              found == nullptr ? 0 : found->moment};
          const EvictionMoment moment =
              eviction_ == nullptr ? EvictionMoment() : eviction_->Begin(step);
          const Status status = ForEachGroup<GroupUpdate>(
              keys, n, found.get(), executor,
              [&](const ShareGroup& group, GroupUpdate* group_update) {
                return group_update->Run(*this, update, moment, group);
              });
          memory_->index.EndBatch();
          if (found != nullptr) {
            memory_->found.GiveBack(std::move(found),
                                    memory_->rows.bytes_in_use());
          }
          return status;
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

Status EmbeddingTable::AdoptRule(const BoundRule& rule, int64_t step,
                                 int64_t* rows_reset) {
  *rows_reset = 0;
  TFE_RETURN_IF_ERROR(CheckStep(step));
  if (eviction_ != nullptr) eviction_->Begin(step);
  return CatchOutOfMemory(*this, [&] {
    WriterLock lock(&layout_lock_);
    if (rule_ == rule.info) return Status();
    return ChangeRule(rule.info, rule.initial_vector_slots,
                      rule.initial_scalar_slots, rows_reset);
  });
}

}  // namespace tf_embedding
