// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/checkpoint_merger.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <unordered_map>
#include <utility>

#include "cc/core/checkpoint_parts.h"

namespace tf_embedding {
namespace {

Status In(const ElementSource& source, const Status& status) {
  if (status.ok()) return status;
  return Status(status.code(), source.name() + ": " + status.message());
}

template <class Body>
Status CatchOutOfMemory(const Body& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return ResourceExhausted(
        "out of memory for a block of each checkpoint that is merged");
  }
}

}  // namespace

Status CheckpointMerger::Create(std::vector<ElementSource*> sources,
                                std::unique_ptr<CheckpointMerger>* merger) {
  return CatchOutOfMemory([&] {
    merger->reset(new CheckpointMerger(std::move(sources)));
    return (*merger)->ReadFooters();
  });
}

Status CheckpointMerger::ReadFooters() {
  for (size_t s = 0; s < sources_.size(); ++s) {
    ElementSource* const source = sources_[s];
    std::vector<CheckpointFooter> footers;
    for (int64_t p = 0; p < source->num_parts(); ++p) {
      const int64_t n = source->num_elements(p);
      Part part;
      part.source = source;
      part.number = p;
      part.checksums.resize(n);
      std::string bytes;
      TFE_RETURN_IF_ERROR(source->Read(p, n - 1, &bytes));
      TFE_RETURN_IF_ERROR(
          In(*source, ParseFooter(bytes, "the footer", &part.footer)));
      part.checksums[n - 1] = FrameChecksum(bytes);
      if (part.footer.num_elements() != n) {
        return DataLoss(source->name(), ": ", PartName(part.footer), " has ",
                        n - 1, " blocks; its footer says ",
                        part.footer.num_elements() - 1);
      }
      part.is_delta = IsDelta(part.footer);
      if (part.is_delta != (s > 0)) {
        return InvalidArgument(source->name(), " is ",
                               part.is_delta ? "a delta" : "no delta",
                               "; a full checkpoint comes first, then deltas");
      }
      footers.push_back(part.footer);
      num_blocks_ = std::max(num_blocks_, part.footer.num_blocks);
      parts_.push_back(std::move(part));
    }
    TFE_RETURN_IF_ERROR(In(*source, CheckParts(footers, RestoreOptions())));
    const CheckpointFooter* chosen;
    TFE_RETURN_IF_ERROR(In(*source, ChooseRule(footers, &chosen)));
    if (s > 0 && (chosen->rule != footer_.rule || chosen->dim != footer_.dim)) {
      return InvalidArgument(source->name(), " has rule \"", chosen->rule,
                             "\" and dim ", chosen->dim, ", its base \"",
                             footer_.rule, "\" and ", footer_.dim,
                             "; they are not of one chain");
    }
    footer_ = *chosen;
  }
  footer_.num_blocks = num_blocks_;
  footer_.part = 0;
  footer_.num_parts = 1;
  footer_.kinds = {kRowsKind};
  footer_.bloom = BloomShape();
  footer_.rows = 0;
  footer_.step = -1;
  return Status();
}

Status CheckpointMerger::ReadBlock(Part* part, int64_t number) const {
  if (part->block == number) return Status();
  part->block = -1;
  part->num_removed = 0;
  const std::vector<std::string>& kinds = part->footer.kinds;
  part->bytes.resize(kinds.size());
  for (size_t k = 0; k < kinds.size(); ++k) {
    const auto element = static_cast<int64_t>(number * kinds.size() + k);
    std::string* const bytes = &part->bytes[k];
    TFE_RETURN_IF_ERROR(part->source->Read(part->number, element, bytes));
    part->checksums[element] = FrameChecksum(*bytes);
    const std::string what = BlockName(number, kinds[k], part->footer);
    BlockHeader header;
    const char* records;
    TFE_RETURN_IF_ERROR(
        In(*part->source, ParseBlock(*bytes, what, &header, &records)));
    TFE_RETURN_IF_ERROR(In(*part->source, CheckBlock(header, number, kinds[k],
                                                     part->footer, what)));
    if (kinds[k] == kRemovedKind) {
      if (header.record_bytes() != sizeof(int64_t)) {
        return DataLoss(part->source->name(), ": ", what,
                        " is damaged: a key has ", header.record_bytes(),
                        " bytes");
      }
      part->num_removed = header.rows;
      part->removed = records;
    } else if (kinds[k] == kRowsKind) {
      if (header.rule == part->footer.rule &&
          header.slot_width != part->footer.slot_width()) {
        return DataLoss(part->source->name(), ": ", what, " has ",
                        header.slot_width, " values of slots a row; rule \"",
                        header.rule, "\" has ", part->footer.slot_width());
      }
      part->header = std::move(header);
      part->records = records;
    }
  }
  part->block = number;
  return Status();
}

Status CheckpointMerger::Encode(int64_t element, std::string* bytes) {
  return CatchOutOfMemory([&] {
    if (element < num_blocks_) return EncodeBlock(element, bytes);
    CheckpointFooter footer = footer_;
    if (blocks_made_ != num_blocks_) footer.rows = -1;
    *bytes = EncodeFooter(footer);
    return Status();
  });
}

Status CheckpointMerger::EncodeBlock(int64_t number, std::string* bytes) {
  const int log2_blocks = Log2Blocks(num_blocks_);
  struct Found {
    const Part* part;
    const char* record;  // null: removed
  };
  std::vector<Found> rows;
  std::unordered_map<int64_t, size_t> places;
  for (Part& part : parts_) {
    const int shift = log2_blocks - Log2Blocks(part.footer.num_blocks);
    TFE_RETURN_IF_ERROR(ReadBlock(&part, number >> shift));
    for (int64_t i = 0; i < part.num_removed; ++i) {
      int64_t key;
      std::memcpy(&key, part.removed + i * sizeof(key), sizeof(key));
      const auto place = places.find(key);
      if (place != places.end()) rows[place->second].record = nullptr;
    }
    const int64_t record_bytes = part.header.record_bytes();
    for (int64_t i = 0; i < part.header.rows; ++i) {
      const char* const record = part.records + i * record_bytes;
      const int64_t key = RecordView(record).key();
      if (BlockOfHash(MixKey(key), log2_blocks) != number) continue;
      const Found found{&part, record};
      const auto [place, is_new] = places.emplace(key, rows.size());
      if (is_new) {
        rows.push_back(found);
      } else {
        rows[place->second] = found;
      }
    }
  }
  BlockHeader header;
  header.number = number;
  header.num_blocks = num_blocks_;
  header.dim = footer_.dim;
  header.slot_width = footer_.slot_width();
  header.rule = footer_.rule;
  header.rows = static_cast<int64_t>(rows.size());
  BlockBuilder builder(header);
  std::vector<float> values(header.dim + header.slot_width);
  for (const Found& row : rows) {
    if (row.record == nullptr) continue;
    const RecordView view(row.record);
    if (row.part->header.rule == footer_.rule) {
      view.CopyValues(0, static_cast<int64_t>(values.size()), values.data());
    } else {
      view.CopyValues(0, header.dim, values.data());
      float* slot = values.data() + header.dim;
      const size_t vectors = footer_.vector_slots.size();
      for (size_t k = 0; k < footer_.initial_slots.size(); ++k) {
        slot = std::fill_n(slot, k < vectors ? header.dim : 1,
                           footer_.initial_slots[k]);
      }
    }
    builder.Add(view.key(), view.frequency(), view.version(), values.data());
  }
  footer_.rows += builder.rows();
  footer_.step = std::max(footer_.step, builder.step());
  ++blocks_made_;
  *bytes = builder.Finish();
  return Status();
}

std::vector<uint32_t> CheckpointMerger::SourceChecksums(size_t source) const {
  std::vector<uint32_t> all;
  for (const Part& part : parts_) {
    if (part.source != sources_[source]) continue;
    all.insert(all.end(), part.checksums.begin(), part.checksums.end());
  }
  return all;
}

}  // namespace tf_embedding
