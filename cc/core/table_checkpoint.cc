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
#include "cc/core/table_content.h"
#include "cc/core/table_internal.h"

namespace tf_embedding {

TableContent::TableContent(int dim, int log2_shards, const RuleInfo* rule_info,
                           const float* initial_slots, SharedSpinLock* locks)
    : rule(rule_info),
      layout(dim,
             rule == nullptr ? 0 : static_cast<int>(rule->vector_slots.size()),
             rule == nullptr ? 0 : static_cast<int>(rule->scalar_slots.size())),
      arena(std::make_unique<SlabArena>(layout.slab_bytes())) {
  std::copy_n(initial_slots, layout.vector_slots, initial_vector_slots);
  std::copy_n(initial_slots + layout.vector_slots, layout.scalar_slots,
              initial_scalar_slots);
  const int num_shards = 1 << log2_shards;
  for (int s = 0; s < num_shards; ++s) {
    shards.push_back(std::make_unique<Shard>(
        static_cast<double>(s) / num_shards, layout, arena.get(), &locks[s]));
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
  std::swap(rule_, content->rule);
  std::swap(layout_, content->layout);
  std::swap(initial_vector_slots_, content->initial_vector_slots);
  std::swap(initial_scalar_slots_, content->initial_scalar_slots);
  std::swap(arena_, content->arena);
  std::swap(shards_, content->shards);
  for (size_t s = 0; s < shards_.size(); ++s) {
    shards_[s]->counters() = content->shards[s]->counters();
    views_[s] = shards_[s]->view();
  }
}

int64_t EmbeddingTable::SaveBytes() const {
  ReaderLock lock(&layout_lock_);
  return SizeLocked() * (24 + 4 * layout_.width());
}

void EmbeddingTable::DescribeTo(CheckpointFooter* footer) const {
  ReaderLock lock(&layout_lock_);
  footer->dim = dim_;
  footer->initializer = initializer_->spec();
  if (rule_ == nullptr) return;
  footer->rule = rule_->name;
  footer->vector_slots = rule_->vector_slots;
  footer->scalar_slots = rule_->scalar_slots;
  footer->initial_slots = ShapeLocked().initial_slots;
}

namespace {

std::string PartName(const CheckpointFooter& footer) {
  if (footer.num_parts == 1) return "the checkpoint";
  return "part " + std::to_string(footer.part) + " of " +
         std::to_string(footer.num_parts);
}

std::string BlockName(int64_t number, const CheckpointFooter& footer) {
  std::string name = "block " + std::to_string(number) + " of " +
                     std::to_string(footer.num_blocks);
  if (footer.num_parts > 1) name += " of " + PartName(footer);
  return name;
}

Status ParseFooters(const CheckpointParts& parts,
                    std::vector<CheckpointFooter>* footers) {
  if (parts.empty()) {
    return InvalidArgument("no part is given; one at least is needed");
  }
  for (const std::vector<std::string>& part : parts) {
    std::string what = "the footer";
    if (parts.size() > 1) {
      what += " of part " + std::to_string(footers->size());
    }
    footers->emplace_back();
    TFE_RETURN_IF_ERROR(ParseFooter(part.empty() ? std::string() : part.back(),
                                    what, &footers->back()));
    const auto num_blocks = static_cast<int64_t>(part.size()) - 1;
    if (footers->back().num_blocks != num_blocks) {
      return DataLoss(PartName(footers->back()), " has ", num_blocks,
                      " blocks; its footer says ", footers->back().num_blocks);
    }
  }
  return Status();
}

// Parts of the same cut hold nothing for each other.
bool HoldsOthersOnly(const CheckpointFooter& footer,
                     const RestoreOptions& options) {
  return footer.num_parts == options.num_parts && footer.part != options.part;
}

// Whether these parts are all that a table needs.
Status CheckParts(const std::vector<CheckpointFooter>& footers,
                  const RestoreOptions& options) {
  const CheckpointFooter& first = footers[0];
  const bool own = footers.size() == 1 && first.part == options.part &&
                   first.num_parts == options.num_parts;
  std::vector<bool> seen;
  for (const CheckpointFooter& footer : footers) {
    if (footer.num_parts != first.num_parts || footer.dim != first.dim) {
      return InvalidArgument(PartName(footer), " (dim ", footer.dim, ") and ",
                             PartName(first), " (dim ", first.dim,
                             ") are not parts of one variable");
    }
    const auto part = static_cast<size_t>(footer.part);
    if (seen.size() <= part) seen.resize(part + 1);
    if (seen[part]) {
      return InvalidArgument(PartName(footer), " is given twice");
    }
    seen[part] = true;
  }
  if (own || options.partial ||
      static_cast<int64_t>(footers.size()) == first.num_parts) {
    return Status();
  }
  int64_t missing = 0;
  while (missing < static_cast<int64_t>(seen.size()) && seen[missing]) {
    ++missing;
  }
  return InvalidArgument("part ", missing, " of ", first.num_parts,
                         " is missing; restore all parts together, or what "
                         "there is with partial=True");
}

// Which rule's slots the rows will hold: that of all parts that have one.
Status ChooseRule(const std::vector<CheckpointFooter>& footers,
                  const CheckpointFooter** chosen) {
  *chosen = &footers[0];
  for (const CheckpointFooter& footer : footers) {
    if (footer.rule.empty()) continue;
    if ((*chosen)->rule.empty()) *chosen = &footer;
    if (footer.rule != (*chosen)->rule) {
      return InvalidArgument(PartName(footer), " holds slots of rule \"",
                             footer.rule, "\", and ", PartName(**chosen),
                             " of \"", (*chosen)->rule,
                             "\"; save them again at one moment");
    }
  }
  return Status();
}

Status FindCheckpointRule(const CheckpointFooter& footer,
                          const RuleInfo** rule) {
  *rule = nullptr;
  if (footer.rule.empty()) return Status();
  *rule = FindRule(footer.rule);
  if (*rule == nullptr) {
    return InvalidArgument("the rule of the checkpoint is \"", footer.rule,
                           "\"; this release knows ", RuleNames());
  }
  if ((*rule)->vector_slots != footer.vector_slots ||
      (*rule)->scalar_slots != footer.scalar_slots) {
    return InvalidArgument("the checkpoint's slots of rule \"", footer.rule,
                           "\" are not those of this release");
  }
  return Status();
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
        rows_read(of_parts.size()) {}
};

Status EmbeddingTable::RestoreBlock(Restoring* restoring, size_t part,
                                    int64_t number) const {
  const CheckpointFooter& footer = restoring->footers[part];
  std::string taken;
  if (restoring->take) taken = std::move((*restoring->parts)[part][number]);
  const std::string& bytes =
      restoring->take ? taken : (*restoring->parts)[part][number];
  const std::string what = BlockName(number, footer);
  BlockHeader header;
  const char* records;
  TFE_RETURN_IF_ERROR(ParseBlock(bytes, what, &header, &records));
  if (header.number != number || header.num_blocks != footer.num_blocks ||
      header.dim != footer.dim) {
    return DataLoss(what, " belongs to another checkpoint: it says block ",
                    header.number, " of ", header.num_blocks, ", dim ",
                    header.dim);
  }
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
    if (BlockOfHash(hash, log2_blocks) != number) {
      return DataLoss(what, " is damaged: key ", key, " is not of its buckets");
    }
    if (PartOfHash(hash, options.num_parts) != options.part) {
      ++others;
      continue;
    }
    const int64_t frequency = view.frequency();
    const int64_t version = view.version();
    if (frequency < 0 || frequency > kMaxUint32 || version < 0 ||
        version >= kMaxUint32) {
      return DataLoss(what, " is damaged: key ", key, " has frequency ",
                      frequency, " and version ", version);
    }
    Shard* const shard = content->shards[ShardOfHash(hash, log2_shards_)].get();
    if (shard->index().FindRow(hash, key) != kNoRow) {
      return DataLoss(what, " is damaged: key ", key, " comes twice");
    }
    shard->Reserve(1);
    const uint32_t row = shard->Insert(hash, key);
    reader.Read(view, shard->rows().record(row));
    *shard->rows().meta(row) = RowMeta{static_cast<uint32_t>(frequency),
                                       static_cast<uint32_t>(version)};
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
        dim_, log2_shards_, rule, initial_slots.data(), shard_locks_.get());

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
    return Status();
  });
}

Status EmbeddingTable::CommitRestore(PreparedRestore* prepared) {
  return CatchOutOfMemory(*this, [&] {
    WriterLock lock(&layout_lock_);
    if (prepared->keep_other_rows) KeepOtherRows(prepared->content.get());
    SwapContent(prepared->content.get());
    initializer_ = prepared->initializer;
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
    for (int64_t b = task << shift; b < (task + 1) << shift; ++b) {
      bytes += static_cast<int64_t>((*restoring->parts)[p][b].size());
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
        TFE_RETURN_IF_ERROR(RestoreBlock(restoring, p, number));
      }
    }
    return Status();
  });
}

void EmbeddingTable::KeepOtherRows(TableContent* content) const {
  const bool same_rule = content->rule == rule_;
  for (size_t s = 0; s < shards_.size(); ++s) {
    const Shard& old = *shards_[s];
    Shard* const fresh = content->shards[s].get();
    old.index().ForEach([&](int64_t key, const uint32_t* from) {
      const uint64_t hash = MixKey(key);
      if (fresh->index().FindRow(hash, key) != kNoRow) return;
      fresh->Reserve(1);
      const uint32_t row = fresh->Insert(hash, key);
      float* const record = fresh->rows().record(row);
      std::copy_n(old.rows().record(*from), same_rule ? layout_.width() : dim_,
                  record);
      if (!same_rule) content->InitSlots(record);
      *fresh->rows().meta(row) = *old.rows().meta(*from);
    });
  }
}

}  // namespace tf_embedding
