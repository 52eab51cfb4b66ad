// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/checkpoint_writer.h"

#include <algorithm>
#include <new>
#include <utility>

#include "cc/core/table_internal.h"

namespace tf_embedding {
namespace {

constexpr int64_t kBlockBytes = int64_t{1} << 18;
// Rows whose records are fetched ahead of the copy.
constexpr uint32_t kAhead = 8;

int64_t ChooseNumBlocks(int64_t bytes) {
  int64_t blocks = 1;
  while (blocks < kNumBuckets && blocks * kBlockBytes < bytes) blocks *= 2;
  return blocks;
}

// Of what a table has, which keeps its filter's kind for life; since: of a
// delta.
std::vector<std::string> KindsOf(uint32_t since, AdmissionKind kind) {
  if (since != 0) return {kRowsKind, kRemovedKind};
  if (kind == AdmissionKind::kCounter) return {kRowsKind, kCandidatesKind};
  if (kind == AdmissionKind::kBloom) return {kRowsKind, kBloomKind};
  return {kRowsKind};
}

}  // namespace

CheckpointWriter::CheckpointWriter(const EmbeddingTable* table, int64_t part,
                                   int64_t num_parts, uint32_t since)
    : table_(table),
      part_(part),
      num_parts_(num_parts),
      since_(since),
      num_blocks_(ChooseNumBlocks(table->SaveBytes(since))),
      kinds_(KindsOf(since, table->admission_kind())),
      rows_(num_blocks_, -1),
      steps_(num_blocks_, -1),
      checksums_(num_elements(), 0) {}

int64_t CheckpointWriter::elements_per_group() const {
  return std::max<int64_t>(1, num_blocks_ >> table_->log2_shards_) *
         num_kinds();
}

Status CheckpointWriter::Encode(int64_t element, std::string* bytes) {
  return CatchOutOfMemory(*table_, [&] {
    std::unique_lock<std::mutex> lock(mutex_);
    if (element == num_elements() - 1) {
      *bytes = MakeFooter();
      checksums_[element] = FrameChecksum(*bytes);
      return Status();
    }
    const int64_t number = element / elements_per_group();
    const int64_t place = element % elements_per_group();
    Group* const group = &groups_[number % 2];
    made_.wait(lock, [&] { return !group->under_way; });
    if (group->number != number || group->elements[place].empty()) {
      Make(number, &lock);
    }
    *bytes = std::move(group->elements[place]);
    group->elements[place].clear();
    checksums_[element] = FrameChecksum(*bytes);
    return Status();
  });
}

int64_t CheckpointWriter::GroupAfter(int64_t element) const {
  if (element % elements_per_group() != 0) return -1;
  const int64_t next = element / elements_per_group() + 1;
  return next * elements_per_group() < num_elements() - 1 ? next : -1;
}

void CheckpointWriter::MakeAhead(int64_t group) {
  try {
    std::unique_lock<std::mutex> lock(mutex_);
    const Group& place = groups_[group % 2];
    if (place.under_way || place.number >= group) return;
    Make(group, &lock);
  } catch (const std::bad_alloc&) {
    // Make left no trace.
  }
}

void CheckpointWriter::Make(int64_t number,
                            std::unique_lock<std::mutex>* lock) {
  Group* const group = &groups_[number % 2];
  group->number = number;
  group->under_way = true;
  std::vector<std::string> buffers = std::move(spare_);
  spare_.clear();
  lock->unlock();
  try {
    EncodeGroup(std::move(buffers), group);
  } catch (...) {
    lock->lock();
    group->number = -1;
    group->under_way = false;
    made_.notify_all();
    throw;
  }
  lock->lock();
  const int64_t first_block = number * elements_per_group() / num_kinds();
  std::copy(group->rows.begin(), group->rows.end(),
            rows_.begin() + first_block);
  std::copy(group->steps.begin(), group->steps.end(),
            steps_.begin() + first_block);
  group->under_way = false;
  made_.notify_all();
}

void CheckpointWriter::Reuse(std::string bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (static_cast<int64_t>(spare_.size()) < elements_per_group()) {
    spare_.push_back(std::move(bytes));
  }
}

uint32_t CheckpointWriter::Checksum(int64_t element) {
  std::lock_guard<std::mutex> lock(mutex_);
  return checksums_[element];
}

void CheckpointWriter::EncodeGroup(std::vector<std::string> buffers,
                                   Group* group) const {
  group->elements.clear();
  group->rows.clear();
  group->steps.clear();
  const int log2_blocks = Log2Blocks(num_blocks_);
  const int log2_shards = table_->log2_shards_;
  const int64_t num_blocks = int64_t{1}
                             << std::max(0, log2_blocks - log2_shards);
  const int64_t num_shards = int64_t{1}
                             << std::max(0, log2_shards - log2_blocks);
  const int64_t first_block = group->number * num_blocks;

  ReaderLock layout_lock(&table_->layout_lock_);
  const TableShape shape = table_->ShapeLocked();
  // Of each number, one for each kind.
  std::vector<BlockBuilder> builders;
  std::vector<int64_t>& keys = group->keys;
  std::vector<bool>& used = group->used;
  const int64_t first_shard = group->number * num_shards;
  for (int64_t s = first_shard; s < first_shard + num_shards; ++s) {
    const Shard& shard = *table_->shards_[s];
    ReaderLock shard_lock(shard.lock());
    // Without a log all rows may have changed.
    const ChangeLog* const changes = since_ == 0 ? nullptr : shard.changes();
    if (builders.empty()) {
      // A few percent more than an even share.
      const auto size =
          static_cast<int64_t>(shard.index().size()) * num_shards / num_blocks;
      for (int64_t b = first_block; b < first_block + num_blocks; ++b) {
        BlockHeader header;
        header.number = b;
        header.num_blocks = num_blocks_;
        header.dim = table_->dim_;
        header.slot_width = shape.slot_width;
        header.rule = shape.rule;
        header.rows = since_ == 0 ? size + size / 16 + 16 : 0;
        std::string buffer;
        if (!buffers.empty()) {
          buffer = std::move(buffers.back());
          buffers.pop_back();
        }
        builders.emplace_back(header, std::move(buffer));
        if (num_kinds() == 1) continue;
        BlockHeader other;
        other.number = b;
        other.num_blocks = num_blocks_;
        other.kind = kinds_[1];
        other.other_record_bytes = OtherRecordBytes();
        builders.emplace_back(other);
      }
    }
    if (since_ == 0 && num_kinds() > 1) {
      AddAdmission(static_cast<int>(s), first_block, &builders);
    }
    const RowStore& rows = shard.rows();
    const uint32_t end = rows.end();
    keys.resize(end);
    used.assign(end, false);
    shard.index().ForEach([&](int64_t key, const uint32_t* row) {
      keys[*row] = key;
      used[*row] = changes == nullptr || changes->mark(*row) >= since_;
    });
    for (uint32_t row = 0; row < end; ++row) {
      if (row + kAhead < end && used[row + kAhead]) {
        TFE_PREFETCH_READ(rows.record(row + kAhead));
      }
      if (!used[row]) continue;
      const int64_t block = BlockOfHash(MixKey(keys[row]), log2_blocks);
      const RowMeta* const meta = rows.meta(row);
      builders[(block - first_block) * num_kinds()].Add(
          keys[row], meta->frequency, meta->version, rows.record(row));
    }
    if (changes == nullptr) continue;
    changes->ForEachRemoved(since_, [&](int64_t key) {
      const int64_t block = BlockOfHash(MixKey(key), log2_blocks);
      builders[(block - first_block) * num_kinds() + 1].AddRecords(&key, 1);
    });
  }
  for (int64_t b = 0; b < num_blocks; ++b) {
    const BlockBuilder& of_rows = builders[b * num_kinds()];
    group->rows.push_back(of_rows.rows());
    group->steps.push_back(of_rows.step());
  }
  for (BlockBuilder& builder : builders) {
    group->elements.push_back(builder.Finish());
  }
}

int64_t CheckpointWriter::OtherRecordBytes() const {
  if (kinds_[1] == kRemovedKind) return sizeof(int64_t);
  if (kinds_[1] == kCandidatesKind) return kCandidateBytes;
  return table_->admission_->bloom().counter_bytes;
}

void CheckpointWriter::AddAdmission(int shard, int64_t first_block,
                                    std::vector<BlockBuilder>* builders) const {
  const Admission& admission = *table_->admission_;
  const int log2_blocks = Log2Blocks(num_blocks_);
  const int64_t num_blocks =
      static_cast<int64_t>(builders->size()) / num_kinds();
  if (kinds_[1] == kCandidatesKind) {
    admission.ForEachCandidate(shard, [&](int64_t key, int64_t count) {
      const int64_t block = BlockOfHash(MixKey(key), log2_blocks) - first_block;
      const int64_t record[2] = {key, count};
      (*builders)[block * num_kinds() + 1].AddRecords(record, 1);
    });
    return;
  }
  const BloomShape& bloom = admission.bloom();
  const int64_t begin = bloom.Offset(shard, table_->log2_shards_);
  const int64_t end = bloom.Offset(shard + 1, table_->log2_shards_);
  for (int64_t b = 0; b < num_blocks; ++b) {
    const int64_t block = first_block + b;
    const int64_t from = std::max(begin, bloom.Offset(block, log2_blocks));
    const int64_t to = std::min(end, bloom.Offset(block + 1, log2_blocks));
    (*builders)[b * num_kinds() + 1].AddRecords(
        admission.counters() + from, (to - from) / bloom.counter_bytes);
  }
}

std::string CheckpointWriter::MakeFooter() const {
  CheckpointFooter footer;
  footer.num_blocks = num_blocks_;
  footer.part = part_;
  footer.num_parts = num_parts_;
  footer.kinds = kinds_;
  table_->DescribeTo(&footer);
  for (int64_t b = 0; b < num_blocks_; ++b) {
    if (rows_[b] < 0) {
      // Blocks that this writer has not made: not known.
      footer.rows = -1;
      break;
    }
    footer.rows += rows_[b];
    footer.step = std::max(footer.step, steps_[b]);
  }
  return EncodeFooter(footer);
}

}  // namespace tf_embedding
