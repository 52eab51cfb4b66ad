// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// EmbeddingTable: content built beside the live one, and Restore.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "cc/core/checkpoint_format.h"
#include "cc/core/checkpoint_parts.h"
#include "cc/core/table_content.h"
#include "cc/core/table_internal.h"

namespace tf_embedding {

TableContent::TableContent(int dim, int log2_shards, const RuleInfo* rule_info,
                           const float* initial_slots, bool with_recency,
                           SharedSpinLock* locks)
    : rule(rule_info),
      layout(dim,
             rule == nullptr ? 0 : static_cast<int>(rule->vector_slots.size()),
             rule == nullptr ? 0 : static_cast<int>(rule->scalar_slots.size()),
             with_recency),
      memory(std::make_unique<TableMemory>(layout, 1 << log2_shards)) {
  std::copy_n(initial_slots, layout.vector_slots, initial_vector_slots);
  std::copy_n(initial_slots + layout.vector_slots, layout.scalar_slots,
              initial_scalar_slots);
  const int num_shards = 1 << log2_shards;
  for (int s = 0; s < num_shards; ++s) {
    shards.push_back(std::make_unique<Shard>(
        static_cast<double>(s) / num_shards, layout, memory.get(), &locks[s]));
  }
}

void TableContent::InitSlots(float* record) const {
  float* slot = record + layout.dim;
  for (int k = 0; k < layout.vector_slots; ++k) {
    slot = std::fill_n(slot, layout.dim, initial_vector_slots[k]);
  }
  std::copy_n(initial_scalar_slots, layout.scalar_slots, slot);
}

void EmbeddingTable::SwapContent(TableContent* content) {
  if (!consumers_.empty()) {
    // The next delta has to be whole; one under way then has at least these.
    StartLogs(content->shards, clock_.epoch.load());
    clock_.Lose();
  }
  std::swap(rule_, content->rule);
  std::swap(layout_, content->layout);
  std::swap(initial_vector_slots_, content->initial_vector_slots);
  std::swap(initial_scalar_slots_, content->initial_scalar_slots);
  std::swap(memory_, content->memory);
  std::swap(shards_, content->shards);
  for (size_t s = 0; s < shards_.size(); ++s) {
    shards_[s]->counters() = content->shards[s]->counters();
    views_[s] = shards_[s]->view();
  }
  AttachEviction();
}

int64_t EmbeddingTable::SaveBytes(uint32_t since) const {
  ReaderLock lock(&layout_lock_);
  const int64_t record_bytes = 24 + 4 * layout_.width();
  if (since == 0) {
    int64_t bytes = SizeLocked() * record_bytes;
    if (admission_ == nullptr) return bytes;
    bytes += admission_->bloom().bytes();
    for (int s = 0; s < static_cast<int>(shards_.size()); ++s) {
      ReaderLock shard_lock(shards_[s]->lock());
      bytes += admission_->num_candidates(s) * kCandidateBytes;
    }
    return bytes;
  }
  int64_t bytes = 0;
  for (const auto& shard : shards_) {
    ReaderLock shard_lock(shard->lock());
    const ChangeLog* const changes = shard->changes();
    if (changes == nullptr) {
      bytes += static_cast<int64_t>(shard->index().size()) * record_bytes;
      continue;
    }
    bytes += changes->CountChanged(since) * record_bytes +
             changes->num_removed() * static_cast<int64_t>(sizeof(int64_t));
  }
  return bytes;
}

void EmbeddingTable::DescribeTo(CheckpointFooter* footer) const {
  ReaderLock lock(&layout_lock_);
  footer->dim = dim_;
  footer->initializer = initializer_->spec();
  if (admission_ != nullptr) footer->bloom = admission_->bloom();
  if (rule_ == nullptr) return;
  footer->rule = rule_->name;
  footer->vector_slots = rule_->vector_slots;
  footer->scalar_slots = rule_->scalar_slots;
  footer->initial_slots = ShapeLocked().initial_slots;
}

namespace {

// Whether the counts in blocks of a kind are of use to a table's filter. Those
// of a Bloom filter say nothing of any other cut into parts.
bool TakesCounts(const Admission* admission, const std::string& kind,
                 const CheckpointFooter& footer,
                 const RestoreOptions& options) {
  if (admission == nullptr) return false;
  if (kind == kCandidatesKind) {
    return admission->spec().kind == AdmissionKind::kCounter;
  }
  return admission->spec().kind == AdmissionKind::kBloom &&
         admission->bloom() == footer.bloom &&
         footer.num_parts == options.num_parts && footer.part == options.part;
}

// What a row's record becomes.
struct RowReader {
  const TableContent* content;
  const Initializer* initializer;
  int64_t dim;         // of the checkpoint
  int64_t slot_width;  // of the block
  bool same_rule;

  void Read(const RecordView& view, float* record) const {
    const RowLayout& layout = content->layout;
    const auto common = std::min<int64_t>(dim, layout.dim);
    if (common < layout.dim) initializer->Fill(view.key(), record);
    view.CopyValues(0, common, record);
    if (!same_rule) {
      content->InitSlots(record);
    } else if (dim == layout.dim) {
      view.CopyValues(dim, slot_width, record + dim);
    } else {
      content->InitSlots(record);
      for (int k = 0; k < layout.vector_slots; ++k) {
        view.CopyValues(dim * (k + 1), common, record + layout.dim * (k + 1));
      }
      view.CopyValues(dim * (layout.vector_slots + 1), layout.scalar_slots,
                      record + layout.dim * (layout.vector_slots + 1));
    }
  }
};

}  // namespace

// What the tasks of one restore share.
struct EmbeddingTable::Restoring {
  CheckpointParts* parts;
  bool take;
  const std::vector<CheckpointFooter>& footers;
  const RestoreOptions& options;
  const Initializer* initializer;
  TableContent* content;
  Admission* admission;
  std::atomic<int64_t> rows{0};
  std::atomic<int64_t> rows_reset{0};
  std::atomic<int64_t> rows_of_others{0};
  std::vector<std::atomic<int64_t>> rows_read;  // of each part

  Restoring(CheckpointParts* from, bool take_bytes,
            const std::vector<CheckpointFooter>& of_parts,
            const RestoreOptions& how, PreparedRestore* into)
      : parts(from),
        take(take_bytes),
        footers(of_parts),
        options(how),
        initializer(into->initializer.get()),
        content(into->content.get()),
        admission(into->admission.get()),
        rows_read(of_parts.size()) {}
};

Status EmbeddingTable::RestoreBlock(Restoring* restoring, size_t part,
                                    int64_t number, size_t kind) const {
  const CheckpointFooter& footer = restoring->footers[part];
  const size_t element = number * footer.kinds.size() + kind;
  std::string taken;
  if (restoring->take) taken = std::move((*restoring->parts)[part][element]);
  const std::string& bytes =
      restoring->take ? taken : (*restoring->parts)[part][element];
  const std::string what = BlockName(number, footer.kinds[kind], footer);
  BlockHeader header;
  const char* records;
  TFE_RETURN_IF_ERROR(ParseBlock(bytes, what, &header, &records));
  TFE_RETURN_IF_ERROR(
      CheckBlock(header, number, footer.kinds[kind], footer, what));
  if (header.kind == kCandidatesKind) {
    return RestoreCandidates(restoring, part, header, records, what);
  }
  if (header.kind == kBloomKind) {
    return RestoreBloom(restoring, part, header, records, what);
  }
  return RestoreRows(restoring, part, header, records, what);
}

Status EmbeddingTable::RestoreCandidates(Restoring* restoring, size_t part,
                                         const BlockHeader& header,
                                         const char* records,
                                         const std::string& what) const {
  if (header.record_bytes() != kCandidateBytes) {
    return DataLoss(what, " is damaged: its record size cannot be");
  }
  const RestoreOptions& options = restoring->options;
  const bool take = TakesCounts(restoring->admission, header.kind,
                                restoring->footers[part], options);
  const int log2_blocks = Log2Blocks(header.num_blocks);
  for (int64_t i = 0; i < header.rows; ++i) {
    int64_t record[2];
    std::memcpy(record, records + i * kCandidateBytes, sizeof(record));
    const auto [key, count] = record;
    const uint64_t hash = MixKey(key);
    if (BlockOfHash(hash, log2_blocks) != header.number) {
      return NotOfItsBuckets(key, what);
    }
    if (count < 1 || count > kMaxUint32) {
      return DataLoss(what, " is damaged: key ", key, " has count ", count);
    }
    if (!take || PartOfHash(hash, options.num_parts) != options.part) continue;
    const int shard = ShardOf(hash);
    const ShardIndex& rows = restoring->content->shards[shard]->index();
    if (rows.FindRow(hash, key) != kNoRow ||
        !restoring->admission->AddCandidate(shard, hash, key,
                                            static_cast<uint32_t>(count))) {
      return DataLoss(what, " is damaged: key ", key, " comes twice");
    }
  }
  return Status();
}

Status EmbeddingTable::RestoreBloom(Restoring* restoring, size_t part,
                                    const BlockHeader& header,
                                    const char* records,
                                    const std::string& what) const {
  const CheckpointFooter& footer = restoring->footers[part];
  const int log2_blocks = Log2Blocks(header.num_blocks);
  const int64_t begin = footer.bloom.Offset(header.number, log2_blocks);
  const int64_t bytes =
      footer.bloom.Offset(header.number + 1, log2_blocks) - begin;
  if (header.record_bytes() != footer.bloom.counter_bytes ||
      header.rows * header.record_bytes() != bytes) {
    return DataLoss(what, " is damaged: it has ", header.rows, " counters of ",
                    header.record_bytes(), " bytes; its footer says ", bytes,
                    " bytes of ", footer.bloom.counter_bytes);
  }
  if (TakesCounts(restoring->admission, header.kind, footer,
                  restoring->options)) {
    std::memcpy(restoring->admission->counters() + begin, records, bytes);
  }
  return Status();
}

Status EmbeddingTable::RestoreRows(Restoring* restoring, size_t part,
                                   const BlockHeader& header,
                                   const char* records,
                                   const std::string& what) const {
  TableContent* const content = restoring->content;
  RowReader reader{content, restoring->initializer, header.dim,
                   header.slot_width, false};
  if (content->rule != nullptr && header.rule == content->rule->name) {
    const RowLayout saved(static_cast<int>(header.dim),
                          content->layout.vector_slots,
                          content->layout.scalar_slots);
    if (header.slot_width != saved.slot_width()) {
      return DataLoss(what, " has ", header.slot_width,
                      " values of slots a row; rule \"", header.rule, "\" has ",
                      saved.slot_width());
    }
    reader.same_rule = true;
  }
  const int log2_blocks = Log2Blocks(header.num_blocks);
  const RestoreOptions& options = restoring->options;
  int64_t others = 0;
  for (int64_t i = 0; i < header.rows; ++i) {
    const RecordView view(records + i * header.record_bytes());
    const int64_t key = view.key();
    const uint64_t hash = MixKey(key);
    if (BlockOfHash(hash, log2_blocks) != header.number) {
      return NotOfItsBuckets(key, what);
    }
    if (PartOfHash(hash, options.num_parts) != options.part) {
      ++others;
      continue;
    }
    TFE_RETURN_IF_ERROR(CheckRecord(view, what));
    Shard* const shard = content->shards[ShardOfHash(hash, log2_shards_)].get();
    if (shard->index().FindRow(hash, key) != kNoRow) {
      return DataLoss(what, " is damaged: key ", key, " comes twice");
    }
    shard->Reserve(1);
    const uint32_t row = shard->Insert(hash, key);
    reader.Read(view, shard->rows().record(row));
    *shard->rows().meta(row) = RowMeta{static_cast<uint32_t>(view.frequency()),
                                       static_cast<uint32_t>(view.version())};
  }
  restoring->rows_read[part] += header.rows;
  restoring->rows_of_others += others;
  restoring->rows += header.rows - others;
  // Rows that never had slots lose none.
  if (!reader.same_rule && header.slot_width > 0) {
    restoring->rows_reset += header.rows - others;
  }
  return Status();
}

PreparedRestore::PreparedRestore() = default;
PreparedRestore::~PreparedRestore() = default;
PreparedRestore::PreparedRestore(PreparedRestore&&) noexcept = default;

Status EmbeddingTable::Restore(CheckpointParts parts,
                               const RestoreOptions& options,
                               Executor* executor, RestoreReport* report) {
  PreparedRestore prepared;
  TFE_RETURN_IF_ERROR(
      PrepareRestore(&parts, /*take=*/true, options, executor, &prepared));
  *report = prepared.report;
  return CommitRestore(&prepared);
}

Status EmbeddingTable::PrepareRestore(CheckpointParts* parts, bool take,
                                      const RestoreOptions& options,
                                      Executor* executor,
                                      PreparedRestore* prepared) const {
  return CatchOutOfMemory(*this, [&] {
    std::vector<CheckpointFooter> footers;
    TFE_RETURN_IF_ERROR(ParseFooters(*parts, &footers));
    for (const CheckpointFooter& footer : footers) {
      if (IsDelta(footer)) {
        return InvalidArgument(
            PartName(footer),
            " is a delta: it holds what changed since its base, and nothing "
            "else; restore it with te.DeltaCheckpoint, which restores its base "
            "first");
      }
    }
    TFE_RETURN_IF_ERROR(CheckParts(footers, options));
    if (footers[0].dim != dim_ &&
        (!options.change_dim || footers[0].dim > kMaxDim)) {
      return InvalidArgument(
          "the checkpoint has dim ", footers[0].dim, ", the variable ", dim_,
          "; make it of that dim, or restore with change_dim=True, which cuts "
          "vectors or fills them up with initial values");
    }
    const CheckpointFooter* chosen;
    TFE_RETURN_IF_ERROR(ChooseRule(footers, &chosen));
    const RuleInfo* rule;
    TFE_RETURN_IF_ERROR(FindCheckpointRule(*chosen, &rule));
    std::vector<float> initial_slots = chosen->initial_slots;

    // A matrix of another dim says nothing of this one's rows.
    const bool keep_initializer =
        options.partial ||
        (footers[0].dim != dim_ &&
         chosen->initializer.kind == InitializerKind::kMatrix);
    prepared->initializer = initializer();
    if (!keep_initializer) {
      TFE_RETURN_IF_ERROR(Initializer::Create(chosen->initializer, dim_,
                                              &prepared->initializer));
    }
    prepared->keep_other_rows = options.partial;
    if (options.partial) {
      ReaderLock lock(&layout_lock_);
      if (rule_ != nullptr) {
        rule = rule_;
        initial_slots = ShapeLocked().initial_slots;
      }
    }
    initial_slots.resize(kMaxVectorSlots + kMaxScalarSlots);
    prepared->content = std::make_unique<TableContent>(
        dim_, log2_shards_, rule, initial_slots.data(), with_recency(),
        shard_locks_.get());
    {
      ReaderLock lock(&layout_lock_);
      if (admission_ != nullptr) {
        TFE_RETURN_IF_ERROR(Admission::Create(admission_->spec(), log2_shards_,
                                              &prepared->admission));
      }
    }

    // A task owns a range of the hash that is whole blocks of every part and
    // whole shards.
    int log2_tasks = log2_shards_;
    int64_t bytes = 0;
    for (size_t p = 0; p < parts->size(); ++p) {
      log2_tasks = std::min(log2_tasks, Log2Blocks(footers[p].num_blocks));
      for (const std::string& element : (*parts)[p]) {
        bytes += static_cast<int64_t>(element.size());
      }
    }
    Restoring restoring(parts, take, footers, options, prepared);
    const int64_t num_tasks = int64_t{1} << log2_tasks;
    std::vector<Status> results(num_tasks);
    executor->ParallelFor(
        num_tasks, bytes / num_tasks + 1, [&](int64_t from, int64_t to) {
          for (int64_t t = from; t < to; ++t) {
            results[t] = RestoreRange(&restoring, t, log2_tasks);
          }
        });
    for (const Status& result : results) TFE_RETURN_IF_ERROR(result);
    for (size_t p = 0; p < footers.size(); ++p) {
      if (footers[p].rows >= 0 && footers[p].rows != restoring.rows_read[p] &&
          !HoldsOthersOnly(footers[p], options)) {
        return DataLoss(PartName(footers[p]), " has ",
                        restoring.rows_read[p].load(),
                        " rows; its footer says ", footers[p].rows);
      }
    }
    prepared->report.rows = restoring.rows;
    prepared->report.rows_reset = restoring.rows_reset;
    prepared->report.rows_of_others = restoring.rows_of_others;
    for (const CheckpointFooter& footer : footers) {
      for (const std::string& kind : footer.kinds) {
        prepared->report.counts_dropped |=
            kind != kRowsKind && !HoldsOthersOnly(footer, options) &&
            !TakesCounts(prepared->admission.get(), kind, footer, options);
      }
    }
    return Status();
  });
}

Status EmbeddingTable::CommitRestore(PreparedRestore* prepared) {
  return CatchOutOfMemory(*this, [&] {
    WriterLock lock(&layout_lock_);
    if (prepared->keep_other_rows) KeepOtherRows(prepared);
    SwapContent(prepared->content.get());
    admission_.swap(prepared->admission);
    initializer_ = prepared->initializer;
    if (eviction_ != nullptr) eviction_->ForgetSteps();
    return Status();
  });
}

// Room for most of what the footers say, so that shards do not grow step by
// step: for an even share less three deviations of it, which hardly any shard
// falls short of. A restored table is then as large as one that grew.
void EmbeddingTable::ReserveForRange(Restoring* restoring, int64_t task,
                                     int log2_tasks) const {
  const RestoreOptions& options = restoring->options;
  int64_t rows = 0;
  for (size_t p = 0; p < restoring->footers.size(); ++p) {
    const CheckpointFooter& footer = restoring->footers[p];
    if (HoldsOthersOnly(footer, options)) continue;
    // Never more than the bytes can hold.
    int64_t bytes = 0;
    const int shift = Log2Blocks(footer.num_blocks) - log2_tasks;
    const auto kinds = static_cast<int64_t>(footer.kinds.size());
    for (int64_t k = 0; k < kinds; ++k) {
      if (footer.kinds[k] != kRowsKind) continue;
      for (int64_t b = task << shift; b < (task + 1) << shift; ++b) {
        bytes +=
            static_cast<int64_t>((*restoring->parts)[p][b * kinds + k].size());
      }
    }
    rows += bytes / (24 + 4 * (footer.dim + footer.slot_width())) /
            (footer.num_parts == options.num_parts ? 1 : options.num_parts);
  }
  const int shift = log2_shards_ - log2_tasks;
  const auto share = static_cast<double>(rows >> shift);
  const auto room =
      static_cast<int64_t>(std::max(0.0, share - 3 * std::sqrt(share)));
  for (int64_t s = task << shift; s < (task + 1) << shift; ++s) {
    restoring->content->shards[s]->Reserve(room);
  }
}

Status EmbeddingTable::RestoreRange(Restoring* restoring, int64_t task,
                                    int log2_tasks) const {
  return CatchOutOfMemory(*this, [&] {
    ReserveForRange(restoring, task, log2_tasks);
    for (size_t p = 0; p < restoring->footers.size(); ++p) {
      if (HoldsOthersOnly(restoring->footers[p], restoring->options)) continue;
      const int shift =
          Log2Blocks(restoring->footers[p].num_blocks) - log2_tasks;
      const int64_t begin = task << shift;
      const int64_t end = (task + 1) << shift;
      for (int64_t number = begin; number < end; ++number) {
        for (size_t k = 0; k < restoring->footers[p].kinds.size(); ++k) {
          TFE_RETURN_IF_ERROR(RestoreBlock(restoring, p, number, k));
        }
      }
    }
    return Status();
  });
}

void EmbeddingTable::KeepOtherRows(PreparedRestore* prepared) const {
  TableContent* const content = prepared->content.get();
  Admission* const admission = prepared->admission.get();
  const bool same_rule = content->rule == rule_;
  for (size_t s = 0; s < shards_.size(); ++s) {
    const Shard& old = *shards_[s];
    Shard* const fresh = content->shards[s].get();
    old.index().ForEach([&](int64_t key, const uint32_t* from) {
      const uint64_t hash = MixKey(key);
      if (fresh->index().FindRow(hash, key) != kNoRow) return;
      fresh->Reserve(1);
      const uint32_t row = fresh->Insert(hash, key);
      if (admission != nullptr) {
        admission->Forget(static_cast<int>(s), hash, key);
      }
      float* const record = fresh->rows().record(row);
      std::copy_n(old.rows().record(*from), same_rule ? layout_.width() : dim_,
                  record);
      if (!same_rule) content->InitSlots(record);
      *fresh->rows().meta(row) = *old.rows().meta(*from);
    });
    if (admission == nullptr) continue;
    const auto shard = static_cast<int>(s);
    admission_->ForEachCandidate(shard, [&](int64_t key, uint32_t count) {
      const uint64_t hash = MixKey(key);
      if (fresh->index().FindRow(hash, key) == kNoRow) {
        admission->AddCandidate(shard, hash, key, count);
      }
    });
  }
  if (admission != nullptr) admission->KeepCounters(*admission_);
}

}  // namespace tf_embedding
