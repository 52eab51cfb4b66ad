// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/table.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "cc/core/table_content.h"
#include "cc/core/table_internal.h"

namespace tf_embedding {
namespace {

// The last cache before memory, about. Tables of a process are looked up
// together, so it is the rows of all of them that it holds or does not.
constexpr int64_t kSharedCacheBytes = 32 << 20;

}  // namespace

Status EmbeddingTable::Create(TableOptions options,
                              std::unique_ptr<EmbeddingTable>* table) {
  if (options.dim < 1 || options.dim > kMaxDim) {
    return InvalidArgument("dim is ", options.dim, "; it must be in [1, ",
                           kMaxDim, "]");
  }
  if (options.log2_shards < 0 || options.log2_shards > kMaxLog2Shards) {
    return InvalidArgument("log2_shards is ", options.log2_shards,
                           "; it must be in [0, ", kMaxLog2Shards, "]");
  }
  TFE_RETURN_IF_ERROR(options.eviction.Check());
  if (options.reserve < 0) {
    return InvalidArgument("init_capacity is ", options.reserve,
                           "; it must be 0 or more");
  }
  options.log2_shards =
      options.eviction.ChooseLog2Shards(options.dim, options.log2_shards);
  try {
    std::shared_ptr<const Initializer> initializer;
    TFE_RETURN_IF_ERROR(Initializer::Create(std::move(options.initializer),
                                            options.dim, &initializer));
    std::unique_ptr<Admission> admission;
    TFE_RETURN_IF_ERROR(
        Admission::Create(options.admission, options.log2_shards, &admission));
    table->reset(new EmbeddingTable(std::move(options), std::move(initializer),
                                    std::move(admission)));
  } catch (const std::bad_alloc&) {
    return OutOfMemory(options.dim, 0);
  }
  return Status();
}

EmbeddingTable::EmbeddingTable(TableOptions options,
                               std::shared_ptr<const Initializer> initializer,
                               std::unique_ptr<Admission> admission)
    : dim_(options.dim),
      log2_shards_(options.log2_shards),
      reserve_(options.reserve),
      eviction_(options.eviction.any()
                    ? std::make_unique<Eviction>(std::move(options.eviction),
                                                 int64_t{1} << log2_shards_)
                    : nullptr),
      layout_(dim_, 0, 0, with_recency()),
      memory_(std::make_unique<TableMemory>(layout_, 1 << log2_shards_)),
      initializer_(std::move(initializer)),
      admission_(std::move(admission)),
      shard_locks_(new SharedSpinLock[1 << log2_shards_]) {
  const int num_shards = 1 << log2_shards_;
  views_.resize(num_shards);
  for (int s = 0; s < num_shards; ++s) {
    shards_.push_back(
        std::make_unique<Shard>(static_cast<double>(s) / num_shards, layout_,
                                memory_.get(), &shard_locks_[s]));
    shards_[s]->Reserve(reserve_ >> log2_shards_);
    views_[s] = shards_[s]->view();
  }
  AttachEviction();
}

int64_t EmbeddingTable::SizeLocked() const {
  int64_t size = 0;
  for (const auto& shard : shards_) {
    ReaderLock lock(shard->lock());
    size += static_cast<int64_t>(shard->index().size());
  }
  return size;
}

int64_t EmbeddingTable::size() const {
  ReaderLock lock(&layout_lock_);
  return SizeLocked();
}

std::string EmbeddingTable::rule() const {
  ReaderLock lock(&layout_lock_);
  return rule_ == nullptr ? "" : rule_->name;
}

std::shared_ptr<const Initializer> EmbeddingTable::initializer() const {
  ReaderLock lock(&layout_lock_);
  return initializer_;
}

AdmissionKind EmbeddingTable::admission_kind() const {
  ReaderLock lock(&layout_lock_);
  return admission_ == nullptr ? AdmissionKind::kAll : admission_->spec().kind;
}

Status EmbeddingTable::VisitFilter(
    const std::function<Status(Admission*)>& body) const {
  return CatchOutOfMemory(*this, [&] {
    WriterLock lock(&layout_lock_);
    return admission_ == nullptr ? Status() : body(admission_.get());
  });
}

void EmbeddingTable::set_initializer(
    std::shared_ptr<const Initializer> initializer) {
  WriterLock lock(&layout_lock_);
  initializer_ = std::move(initializer);
}

TableView EmbeddingTable::ViewLocked() const {
  return TableView{views_.data(),
                   log2_shards_,
                   layout_.slab_shift,
                   layout_.stride,
                   dim_,
                   SlabArena::BytesOfAll() > kSharedCacheBytes};
}

TableShape EmbeddingTable::ShapeLocked() const {
  TableShape shape;
  if (rule_ == nullptr) return shape;
  shape.rule = rule_->name;
  shape.slot_width = layout_.slot_width();
  shape.initial_slots.assign(initial_vector_slots_,
                             initial_vector_slots_ + layout_.vector_slots);
  shape.initial_slots.insert(shape.initial_slots.end(), initial_scalar_slots_,
                             initial_scalar_slots_ + layout_.scalar_slots);
  return shape;
}

void EmbeddingTable::InitSlots(float* record) const {
  float* slot = record + dim_;
  for (int k = 0; k < layout_.vector_slots; ++k) {
    slot = std::fill_n(slot, dim_, initial_vector_slots_[k]);
  }
  std::copy_n(initial_scalar_slots_, layout_.scalar_slots, slot);
}

Status EmbeddingTable::Find(const int64_t* keys, int64_t n,
                            const Allocate& allocate,
                            Executor* executor) const {
  return CatchOutOfMemory(*this, [&] {
    ReaderLock lock(&layout_lock_);
    TableShape shape = ShapeLocked();
    shape.size = n;
    RowColumns out;
    TFE_RETURN_IF_ERROR(allocate(shape, &out));
    const int64_t width = layout_.slot_width();
    executor->ParallelFor(
        n, kNanosecondsPerRow * 2, [&](int64_t from, int64_t to) {
          // On the stack: nothing may throw on the executor's threads.
          float absent[(1 + kMaxVectorSlots) * kMaxDim + kMaxScalarSlots];
          for (int64_t i = from; i < to; ++i) {
            const uint64_t hash = MixKey(keys[i]);
            const Shard& shard = *shards_[ShardOfHash(hash, log2_shards_)];
            ReaderLock shard_lock(shard.lock());
            const uint32_t row = shard.index().FindRow(hash, keys[i]);
            const bool found = row != kNoRow;
            const float* record = absent;
            if (found) {
              record = shard.rows().record(row);
            } else if (out.values != nullptr || out.slots != nullptr) {
              FillAbsent(keys[i], absent);
              InitSlots(absent);
            }
            if (out.keys != nullptr) out.keys[i] = keys[i];
            if (out.found != nullptr) out.found[i] = found;
            if (out.values != nullptr) {
              std::copy_n(record, dim_, out.values + i * dim_);
            }
            if (out.slots != nullptr) {
              std::copy_n(record + dim_, width, out.slots + i * width);
            }
            if (out.frequency != nullptr) {
              out.frequency[i] = 0;
              if (found) {
                out.frequency[i] = shard.rows().meta(row)->frequency;
              } else if (admission_ != nullptr) {
                out.frequency[i] =
                    admission_->Count(ShardOf(hash), hash, keys[i]);
              }
            }
            if (out.version != nullptr) {
              out.version[i] =
                  found ? shard.rows().meta(row)->version : kNoVersion;
            }
          }
        });
    return Status();
  });
}

Status EmbeddingTable::Export(const Allocate& allocate,
                              Executor* executor) const {
  return CatchOutOfMemory(*this, [&] {
    ReaderLock lock(&layout_lock_);
    // Not the shards' locks: updates would wait for them on the executor's
    // threads, and this waits for those below.
    WriterLock update_lock(&update_lock_);
    TableShape shape = ShapeLocked();
    std::vector<int64_t> begin;
    for (const auto& shard : shards_) {
      begin.push_back(shape.size);
      shape.size += static_cast<int64_t>(shard->index().size());
    }
    RowColumns out;
    TFE_RETURN_IF_ERROR(allocate(shape, &out));
    const auto num_shards = static_cast<int64_t>(shards_.size());
    const int64_t width = layout_.slot_width();
    executor->ParallelFor(
        num_shards, shape.size * kNanosecondsPerRow / num_shards + 1,
        [&](int64_t from, int64_t to) {
          for (int64_t s = from; s < to; ++s) {
            const Shard& shard = *shards_[s];
            int64_t i = begin[s];
            shard.index().ForEach([&](int64_t key, const uint32_t* row) {
              const float* const record = shard.rows().record(*row);
              const RowMeta* const meta = shard.rows().meta(*row);
              if (out.keys != nullptr) out.keys[i] = key;
              if (out.values != nullptr) {
                std::copy_n(record, dim_, out.values + i * dim_);
              }
              if (out.slots != nullptr) {
                std::copy_n(record + dim_, width, out.slots + i * width);
              }
              if (out.frequency != nullptr) out.frequency[i] = meta->frequency;
              if (out.version != nullptr) out.version[i] = meta->version;
              ++i;
            });
          }
        });
    return Status();
  });
}

Status EmbeddingTable::ChangeRule(const RuleInfo* rule,
                                  const float* initial_vector_slots,
                                  const float* initial_scalar_slots,
                                  int64_t* rows_reset) {
  float initial_slots[kMaxVectorSlots + kMaxScalarSlots] = {};
  if (rule != nullptr) {
    float* const scalars = std::copy_n(
        initial_vector_slots, rule->vector_slots.size(), initial_slots);
    std::copy_n(initial_scalar_slots, rule->scalar_slots.size(), scalars);
  }
  // Each shard keeps its old rows until it has the new ones, so a shard that
  // finds no memory leaves a table of two layouts: convert all or none.
  TableContent content(dim_, log2_shards_, rule, initial_slots, with_recency(),
                       shard_locks_.get());
  *rows_reset = 0;
  for (size_t s = 0; s < shards_.size(); ++s) {
    content.shards[s]->Reserve(reserve_ >> log2_shards_);
    content.shards[s]->CopyRows(
        *shards_[s], dim_, [&](float* record) { content.InitSlots(record); });
    if (layout_.slot_width() > 0) {
      *rows_reset += static_cast<int64_t>(shards_[s]->index().size());
    }
  }
  SwapContent(&content);
  return Status();
}

Status EmbeddingTable::Upsert(const int64_t* keys, const float* values,
                              int64_t n, int64_t step, Executor* executor) {
  TFE_RETURN_IF_ERROR(CheckBatchSize(n));
  TFE_RETURN_IF_ERROR(CheckStep(step));
  return CatchOutOfMemory(*this, [&] {
    ReaderLock lock(&layout_lock_);
    const EvictionMoment moment = eviction_ == nullptr
                                      ? EvictionMoment()
                                      : eviction_->Now(Eviction::kLastStep);
    return ForEachShare(
        keys, n, executor, [&](Shard* shard, const BatchShare& share) {
          ShareEviction eviction(moment, shard, share);
          for (int64_t p = 0; p < share.count; ++p) {
            const int64_t key = share.keys[p];
            const int64_t i = share.positions[p];
            const uint64_t hash = MixKey(key);
            uint32_t row = shard->index().FindRow(hash, key);
            if (row == kNoRow) {
              shard->Reserve(1);
              row = shard->Insert(hash, key);
              ForgetCandidate(hash, key);
              InitSlots(shard->rows().record(row));
              shard->rows().meta(row)->frequency = 0;
            }
            std::copy_n(values + i * dim_, dim_, shard->rows().record(row));
            shard->rows().meta(row)->version = static_cast<uint32_t>(step);
            eviction.Touch(row);
            shard->MarkChanged(row);
          }
          eviction.End();
        });
  });
}

Status CheckImport(const TableShape& shape, const ConstRowColumns& rows,
                   int dim, const RuleInfo** rule_of_shape) {
  const int64_t n = shape.size;
  TFE_RETURN_IF_ERROR(CheckBatchSize(n));
  const RuleInfo* rule = nullptr;
  if (!shape.rule.empty()) {
    rule = FindRule(shape.rule);
    if (rule == nullptr) {
      return InvalidArgument("rule is \"", shape.rule, "\"; use one of ",
                             RuleNames());
    }
  }
  const int vector_slots =
      rule == nullptr ? 0 : static_cast<int>(rule->vector_slots.size());
  const int scalar_slots =
      rule == nullptr ? 0 : static_cast<int>(rule->scalar_slots.size());
  const int width = dim * vector_slots + scalar_slots;
  if (shape.slot_width != width) {
    return InvalidArgument("slots are ", shape.slot_width,
                           " values a row; rule \"", shape.rule, "\" at dim ",
                           dim, " has ", width);
  }
  if (static_cast<int>(shape.initial_slots.size()) !=
      vector_slots + scalar_slots) {
    return InvalidArgument("initial_slots has ", shape.initial_slots.size(),
                           " values; rule \"", shape.rule, "\" has ",
                           vector_slots + scalar_slots, " slots");
  }
  for (int64_t i = 0; i < n; ++i) {
    if (rows.frequency[i] < 0 || rows.frequency[i] > kMaxUint32) {
      return InvalidArgument("frequency of key ", rows.keys[i], " is ",
                             rows.frequency[i],
                             "; it must be in [0, 4294967295]");
    }
    if (rows.version[i] < 0 || rows.version[i] >= kMaxUint32) {
      return InvalidArgument("version of key ", rows.keys[i], " is ",
                             rows.version[i],
                             "; it must be in [0, 4294967294]");
    }
  }
  *rule_of_shape = rule;
  return Status();
}

Status EmbeddingTable::Import(const TableShape& shape,
                              const ConstRowColumns& rows, bool replace,
                              Executor* executor) {
  const int64_t n = shape.size;
  const RuleInfo* rule;
  TFE_RETURN_IF_ERROR(CheckImport(shape, rows, dim_, &rule));
  const int vector_slots =
      rule == nullptr ? 0 : static_cast<int>(rule->vector_slots.size());
  return CatchOutOfMemory(*this, [&] {
    if (replace) return ReplaceRows(rule, shape, rows, executor);
    {
      WriterLock lock(&layout_lock_);
      if (rule != rule_ && SizeLocked() > 0) {
        return InvalidArgument(
            "rule is \"", shape.rule,
            "\", but the table's rows hold slots of \"",
            rule_ == nullptr ? "" : rule_->name,
            "\"; import with replace, or export from the same rule");
      }
      if (rule != rule_) {
        int64_t rows_reset;
        const float* const initial = shape.initial_slots.data();
        TFE_RETURN_IF_ERROR(
            ChangeRule(rule, initial, initial + vector_slots, &rows_reset));
      }
    }
    // Between the two locks an update of another rule may change the layout;
    // the rows then keep their vectors and get that rule's initial slots.
    ReaderLock lock(&layout_lock_);
    const bool same_rule = rule == rule_;
    const EvictionMoment moment = eviction_ == nullptr
                                      ? EvictionMoment()
                                      : eviction_->Now(Eviction::kLastStep);
    return ForEachShare(
        rows.keys, n, executor, [&](Shard* shard, const BatchShare& share) {
          ShareEviction eviction(moment, shard, share);
          ImportShare(rows, share, same_rule, shard, &eviction);
          for (int64_t p = 0; p < share.count; ++p) {
            ForgetCandidate(MixKey(share.keys[p]), share.keys[p]);
          }
          eviction.End();
        });
  });
}

Status EmbeddingTable::ReplaceRows(const RuleInfo* rule,
                                   const TableShape& shape,
                                   const ConstRowColumns& rows,
                                   Executor* executor) {
  std::vector<float> initial_slots = shape.initial_slots;
  initial_slots.resize(kMaxVectorSlots + kMaxScalarSlots);
  TableContent content(dim_, log2_shards_, rule, initial_slots.data(),
                       with_recency(), shard_locks_.get());
  const BatchPartition partition =
      PartitionByShard(rows.keys, shape.size, log2_shards_, executor);
  const auto num_shards = static_cast<int64_t>(content.shards.size());
  std::atomic<bool> out_of_memory{false};
  executor->ParallelFor(
      num_shards, shape.size * kNanosecondsPerRow / num_shards + 1,
      [&](int64_t from, int64_t to) {
        for (int64_t s = from; s < to; ++s) {
          try {
            ImportShare(rows, partition.share(static_cast<int>(s)),
                        /*with_slots=*/true, content.shards[s].get(),
                        /*eviction=*/nullptr);
          } catch (const std::bad_alloc&) {
            out_of_memory.store(true, std::memory_order_relaxed);
          }
        }
      });
  if (out_of_memory.load()) throw std::bad_alloc();
  WriterLock lock(&layout_lock_);
  SwapContent(&content);
  if (eviction_ != nullptr) eviction_->ForgetSteps();
  if (admission_ != nullptr) admission_->Clear();
  return Status();
}

void EmbeddingTable::ImportShare(const ConstRowColumns& rows,
                                 const BatchShare& share, bool with_slots,
                                 Shard* shard, ShareEviction* eviction) const {
  const int width = shard->rows().layout().slot_width();
  for (int64_t p = 0; p < share.count; ++p) {
    const int64_t key = share.keys[p];
    const int64_t i = share.positions[p];
    const uint64_t hash = MixKey(key);
    uint32_t row = shard->index().FindRow(hash, key);
    if (row == kNoRow) {
      shard->Reserve(1);
      row = shard->Insert(hash, key);
    }
    float* const record = shard->rows().record(row);
    std::copy_n(rows.values + i * dim_, dim_, record);
    if (with_slots) {
      std::copy_n(rows.slots + i * width, width, record + dim_);
    } else {
      InitSlots(record);
    }
    *shard->rows().meta(row) = RowMeta{static_cast<uint32_t>(rows.frequency[i]),
                                       static_cast<uint32_t>(rows.version[i])};
    if (eviction != nullptr) eviction->Touch(row);
    shard->MarkChanged(row);
  }
}

Status EmbeddingTable::Remove(const int64_t* keys, int64_t n, int64_t* removed,
                              Executor* executor) {
  *removed = 0;
  TFE_RETURN_IF_ERROR(CheckBatchSize(n));
  std::atomic<int64_t> total{0};
  const Status status = CatchOutOfMemory(*this, [&] {
    ReaderLock lock(&layout_lock_);
    return ForEachShare(keys, n, executor,
                        [&](Shard* shard, const BatchShare& share) {
                          // Counts even a share that failed half way.
                          struct Tally {
                            std::atomic<int64_t>* total;
                            int64_t here = 0;
                            ~Tally() {
                              total->fetch_add(here, std::memory_order_relaxed);
                            }
                          } tally{&total};
                          for (int64_t p = 0; p < share.count; ++p) {
                            const int64_t key = share.keys[p];
                            const uint64_t hash = MixKey(key);
                            ForgetCandidate(hash, key);
                            if (shard->Remove(hash, key)) ++tally.here;
                          }
                          shard->counters().removed += tally.here;
                          shard->Compact(layout_);
                        });
  });
  *removed = total.load();
  return status;
}

void EmbeddingTable::ClearLocked() {
  clock_.Lose();
  for (size_t s = 0; s < shards_.size(); ++s) {
    shards_[s]->Clear();
    views_[s] = shards_[s]->view();
  }
  memory_->index.Clear();
  AttachEviction();
  if (admission_ != nullptr) admission_->Clear();
}

void EmbeddingTable::Clear() {
  WriterLock lock(&layout_lock_);
  ClearLocked();
}

}  // namespace tf_embedding
