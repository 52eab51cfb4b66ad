// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// EmbeddingTable: who follows its changes, and deltas that are applied to it.

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>
#include <vector>

#include "cc/core/checkpoint_format.h"
#include "cc/core/checkpoint_parts.h"
#include "cc/core/table_internal.h"

namespace tf_embedding {

void EmbeddingTable::StartLogs(
    const std::vector<std::unique_ptr<Shard>>& shards, uint32_t mark) {
  std::vector<std::unique_ptr<ChangeLog>> logs;
  logs.reserve(shards.size());
  for (const auto& shard : shards) {
    logs.push_back(
        std::make_unique<ChangeLog>(&clock_, shard->rows().end(), mark));
  }
  for (size_t s = 0; s < shards.size(); ++s) {
    shards[s]->set_changes(std::move(logs[s]));
  }
}

Status EmbeddingTable::StartDelta(const std::string& consumer,
                                  uint32_t* since) {
  return CatchOutOfMemory(*this, [&] {
    WriterLock lock(&layout_lock_);
    const bool first = consumers_.empty();
    Consumer* const state = &consumers_[consumer];
    if (first) {
      try {
        StartLogs(shards_, 0);
      } catch (const std::bad_alloc&) {
        consumers_.clear();
        throw;
      }
    }
    const bool follows = state->base > clock_.lost.load();
    *since = state->since = follows ? state->base : 0;
    state->started = clock_.epoch.fetch_add(1) + 1;
    return Status();
  });
}

Status EmbeddingTable::DeltaSince(const std::string& consumer,
                                  uint32_t* since) const {
  ReaderLock lock(&layout_lock_);
  const auto found = consumers_.find(consumer);
  if (found == consumers_.end() || found->second.started == 0) {
    return InvalidArgument("consumer is \"", consumer,
                           "\", which has started no delta; start one first");
  }
  // Content that changed as a whole meanwhile is not in it.
  const Consumer& state = found->second;
  *since = state.started > clock_.lost.load() ? state.since : 0;
  return Status();
}

Status EmbeddingTable::FinishDelta(const std::string& consumer) {
  uint32_t oldest;
  {
    WriterLock lock(&layout_lock_);
    const auto found = consumers_.find(consumer);
    if (found == consumers_.end() || found->second.started == 0) {
      return InvalidArgument("consumer is \"", consumer,
                             "\", which has started no delta; start one first");
    }
    Consumer* const state = &found->second;
    state->base = std::exchange(state->started, 0);
    oldest = state->base;
    for (const auto& [name, other] : consumers_) {
      const uint32_t needs = other.base != 0 ? other.base : other.started;
      if (needs != 0) oldest = std::min(oldest, needs);
    }
  }
  return CatchOutOfMemory(*this, [&] {
    ReaderLock lock(&layout_lock_);
    for (const auto& shard : shards_) {
      WriterLock shard_lock(shard->lock());
      shard->PruneChanges(oldest);
    }
    return Status();
  });
}

void EmbeddingTable::ForgetConsumer(const std::string& consumer) {
  WriterLock lock(&layout_lock_);
  if (consumers_.erase(consumer) == 0 || !consumers_.empty()) return;
  for (const auto& shard : shards_) shard->set_changes(nullptr);
}

// The blocks of one number of one part, found good.
struct ParsedBlock {
  BlockHeader header;  // of the rows
  const char* records = nullptr;
  int64_t num_removed = 0;
  const char* removed = nullptr;
};

struct ParsedDelta {
  CheckpointParts parts;
  std::vector<CheckpointFooter> footers;
  std::string rule;
  RestoreOptions options;
  std::vector<ParsedBlock> blocks;
};

PreparedDelta::PreparedDelta() = default;
PreparedDelta::~PreparedDelta() = default;
PreparedDelta::PreparedDelta(PreparedDelta&&) noexcept = default;

namespace {

int64_t KeyAt(const char* removed, int64_t i) {
  int64_t key;
  std::memcpy(&key, removed + i * static_cast<int64_t>(sizeof(key)),
              sizeof(key));
  return key;
}

Status ParseDeltaBlock(const std::vector<std::string>& part,
                       const CheckpointFooter& footer, int64_t number,
                       ParsedBlock* block) {
  const int log2_blocks = Log2Blocks(footer.num_blocks);
  for (size_t k = 0; k < footer.kinds.size(); ++k) {
    const std::string& kind = footer.kinds[k];
    const std::string what = BlockName(number, kind, footer);
    BlockHeader header;
    const char* records;
    TFE_RETURN_IF_ERROR(ParseBlock(part[number * footer.kinds.size() + k], what,
                                   &header, &records));
    TFE_RETURN_IF_ERROR(CheckBlock(header, number, kind, footer, what));
    if (kind == kRemovedKind) {
      if (header.record_bytes() != sizeof(int64_t)) {
        return DataLoss(what, " is damaged: a key has ", header.record_bytes(),
                        " bytes");
      }
      block->num_removed = header.rows;
      block->removed = records;
      for (int64_t i = 0; i < header.rows; ++i) {
        const int64_t key = KeyAt(records, i);
        if (BlockOfHash(MixKey(key), log2_blocks) != number) {
          return NotOfItsBuckets(key, what);
        }
      }
      continue;
    }
    if (header.rule != footer.rule ||
        header.slot_width != footer.slot_width()) {
      return DataLoss(what, " has ", header.slot_width,
                      " values of slots a row, of rule \"", header.rule,
                      "\"; its footer says ", footer.slot_width(),
                      ", of rule \"", footer.rule, "\"");
    }
    for (int64_t i = 0; i < header.rows; ++i) {
      const RecordView view(records + i * header.record_bytes());
      if (BlockOfHash(MixKey(view.key()), log2_blocks) != number) {
        return NotOfItsBuckets(view.key(), what);
      }
      TFE_RETURN_IF_ERROR(CheckRecord(view, what));
    }
    block->header = std::move(header);
    block->records = records;
  }
  return Status();
}

}  // namespace

Status EmbeddingTable::PrepareDelta(CheckpointParts parts,
                                    const RestoreOptions& options,
                                    Executor* executor,
                                    PreparedDelta* prepared) const {
  return CatchOutOfMemory(*this, [&] {
    auto parsed = std::make_unique<ParsedDelta>();
    std::vector<CheckpointFooter>& footers = parsed->footers;
    TFE_RETURN_IF_ERROR(ParseFooters(parts, &footers));
    for (const CheckpointFooter& footer : footers) {
      if (!IsDelta(footer)) {
        return InvalidArgument(PartName(footer),
                               " is no delta: it holds all rows; restore it");
      }
    }
    TFE_RETURN_IF_ERROR(CheckParts(footers, options));
    if (footers[0].dim != dim_) {
      return InvalidArgument("the delta has dim ", footers[0].dim,
                             ", the variable ", dim_,
                             "; restore its base and "
                             "it into a variable of its dim");
    }
    const CheckpointFooter* chosen;
    TFE_RETURN_IF_ERROR(ChooseRule(footers, &chosen));
    const RuleInfo* rule;
    TFE_RETURN_IF_ERROR(FindCheckpointRule(*chosen, &rule));
    parsed->rule = chosen->rule;
    parsed->options = options;
    parsed->parts = std::move(parts);

    std::vector<std::pair<size_t, int64_t>> tasks;
    int64_t bytes = 0;
    for (size_t p = 0; p < footers.size(); ++p) {
      if (HoldsOthersOnly(footers[p], options)) continue;
      for (int64_t b = 0; b < footers[p].num_blocks; ++b) {
        tasks.emplace_back(p, b);
      }
      for (const std::string& element : parsed->parts[p]) {
        bytes += static_cast<int64_t>(element.size());
      }
    }
    const auto n = static_cast<int64_t>(tasks.size());
    parsed->blocks.resize(n);
    std::vector<Status> results(n);
    executor->ParallelFor(
        n, bytes / (n + 1) + 1, [&](int64_t from, int64_t to) {
          for (int64_t t = from; t < to; ++t) {
            results[t] = CatchOutOfMemory(*this, [&] {
              const size_t p = tasks[t].first;
              return ParseDeltaBlock(parsed->parts[p], footers[p],
                                     tasks[t].second, &parsed->blocks[t]);
            });
          }
        });
    for (const Status& result : results) TFE_RETURN_IF_ERROR(result);
    std::vector<int64_t> rows(footers.size(), 0);
    for (int64_t t = 0; t < n; ++t) {
      rows[tasks[t].first] += parsed->blocks[t].header.rows;
    }
    for (size_t p = 0; p < footers.size(); ++p) {
      if (footers[p].rows >= 0 && footers[p].rows != rows[p] &&
          !HoldsOthersOnly(footers[p], options)) {
        return DataLoss(PartName(footers[p]), " has ", rows[p],
                        " rows; its footer says ", footers[p].rows);
      }
    }
    prepared->parsed = std::move(parsed);
    return Status();
  });
}

// Holds the lock of one shard for a run of keys that it owns.
class EmbeddingTable::ShardRun {
 public:
  explicit ShardRun(EmbeddingTable* table) : table_(table) {}
  ~ShardRun() { Leave(); }
  ShardRun(const ShardRun&) = delete;
  ShardRun& operator=(const ShardRun&) = delete;

  // The shard of a hash, locked until the next call for another one.
  Shard* Enter(uint64_t hash) {
    const auto number =
        static_cast<int64_t>(ShardOfHash(hash, table_->log2_shards_));
    if (number != number_) {
      Leave();
      number_ = number;
      shard()->lock()->lock();
    }
    return shard();
  }
  void Leave() {
    if (number_ < 0) return;
    table_->views_[number_] = shard()->view();
    if (shard()->eviction() != nullptr) shard()->eviction()->ContentChanged();
    shard()->lock()->unlock();
    number_ = -1;
  }

 private:
  Shard* shard() const { return table_->shards_[number_].get(); }

  EmbeddingTable* const table_;
  int64_t number_ = -1;
};

void EmbeddingTable::ApplyDeltaBlock(const ParsedBlock& block,
                                     const RestoreOptions& options,
                                     DeltaReport* report) {
  ShardRun run(this);
  for (int64_t i = 0; i < block.num_removed; ++i) {
    const int64_t key = KeyAt(block.removed, i);
    const uint64_t hash = MixKey(key);
    if (PartOfHash(hash, options.num_parts) != options.part) continue;
    Shard* const shard = run.Enter(hash);
    ForgetCandidate(hash, key);
    if (shard->Remove(hash, key)) shard->Compact(layout_);
    ++report->removed;
  }
  const int64_t record_bytes = block.header.record_bytes();
  for (int64_t i = 0; i < block.header.rows; ++i) {
    const RecordView view(block.records + i * record_bytes);
    const int64_t key = view.key();
    const uint64_t hash = MixKey(key);
    if (PartOfHash(hash, options.num_parts) != options.part) {
      ++report->rows_of_others;
      continue;
    }
    Shard* const shard = run.Enter(hash);
    uint32_t row = shard->index().FindRow(hash, key);
    if (row == kNoRow) {
      shard->Reserve(1);
      row = shard->Insert(hash, key);
      ForgetCandidate(hash, key);
    }
    view.CopyValues(0, layout_.width(), shard->rows().record(row));
    *shard->rows().meta(row) = RowMeta{static_cast<uint32_t>(view.frequency()),
                                       static_cast<uint32_t>(view.version())};
    shard->MarkChanged(row);
    ++report->rows;
  }
}

Status EmbeddingTable::ApplyDelta(const PreparedDelta& prepared,
                                  Executor* executor, DeltaReport* report) {
  const ParsedDelta& delta = *prepared.parsed;
  return CatchOutOfMemory(*this, [&] {
    ReaderLock lock(&layout_lock_);
    const std::string rule = rule_ == nullptr ? "" : rule_->name;
    if (rule != delta.rule) {
      return InvalidArgument("the delta's rows hold slots of rule \"",
                             delta.rule, "\", and the table's of \"", rule,
                             "\"; restore its base before it");
    }
    const RowWriterLock writer_lock(&update_lock_, &read_gate_);
    const auto n = static_cast<int64_t>(delta.blocks.size());
    std::vector<DeltaReport> reports(n);
    std::atomic<bool> out_of_memory{false};
    int64_t rows = 0;
    for (const ParsedBlock& block : delta.blocks) {
      rows += block.header.rows + block.num_removed;
    }
    executor->ParallelFor(
        n, rows * kNanosecondsPerRow / (n + 1) + 1,
        [&](int64_t from, int64_t to) {
          for (int64_t b = from; b < to; ++b) {
            try {
              ApplyDeltaBlock(delta.blocks[b], delta.options, &reports[b]);
            } catch (const std::bad_alloc&) {
              out_of_memory.store(true, std::memory_order_relaxed);
            }
          }
        });
    for (const DeltaReport& one : reports) {
      report->rows += one.rows;
      report->removed += one.removed;
      report->rows_of_others += one.rows_of_others;
    }
    if (out_of_memory.load()) throw std::bad_alloc();
    return Status();
  });
}

}  // namespace tf_embedding
