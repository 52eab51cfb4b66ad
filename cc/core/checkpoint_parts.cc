// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/checkpoint_parts.h"

#include <algorithm>

#include "cc/core/table_internal.h"

namespace tf_embedding {

std::string PartName(const CheckpointFooter& footer) {
  if (footer.num_parts == 1) return "the checkpoint";
  return "part " + std::to_string(footer.part) + " of " +
         std::to_string(footer.num_parts);
}

std::string BlockName(int64_t number, const std::string& kind,
                      const CheckpointFooter& footer) {
  std::string name = "block " + std::to_string(number) + " of " +
                     std::to_string(footer.num_blocks);
  if (kind != kRowsKind) name += " of " + kind;
  if (footer.num_parts > 1) name += " of " + PartName(footer);
  return name;
}

bool IsDelta(const CheckpointFooter& footer) {
  return std::find(footer.kinds.begin(), footer.kinds.end(), kRemovedKind) !=
         footer.kinds.end();
}

Status CheckBlock(const BlockHeader& header, int64_t number,
                  const std::string& kind, const CheckpointFooter& footer,
                  const std::string& what) {
  if (header.number == number && header.num_blocks == footer.num_blocks &&
      header.kind == kind &&
      (header.kind != kRowsKind || header.dim == footer.dim)) {
    return Status();
  }
  return DataLoss(what, " belongs to another checkpoint: it says block ",
                  header.number, " of ", header.num_blocks, " of ", header.kind,
                  ", dim ", header.dim);
}

Status CheckRecord(const RecordView& view, const std::string& what) {
  const int64_t frequency = view.frequency();
  const int64_t version = view.version();
  if (frequency >= 0 && frequency <= kMaxUint32 && version >= 0 &&
      version < kMaxUint32) {
    return Status();
  }
  return DataLoss(what, " is damaged: key ", view.key(), " has frequency ",
                  frequency, " and version ", version);
}

Status NotOfItsBuckets(int64_t key, const std::string& what) {
  return DataLoss(what, " is damaged: key ", key, " is not of its buckets");
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
    const CheckpointFooter& footer = footers->back();
    const auto num_blocks = static_cast<int64_t>(part.size()) - 1;
    if (footer.num_elements() - 1 != num_blocks) {
      return DataLoss(PartName(footer), " has ", num_blocks,
                      " blocks; its footer says ", footer.num_elements() - 1);
    }
    for (const std::string& kind : footer.kinds) {
      if (kind != kRowsKind && kind != kRemovedKind &&
          kind != kCandidatesKind && kind != kBloomKind) {
        return InvalidArgument(PartName(footer), " has blocks of \"", kind,
                               "\", which this release does not know; use one "
                               "as new as that which wrote it");
      }
    }
  }
  return Status();
}

bool HoldsOthersOnly(const CheckpointFooter& footer,
                     const RestoreOptions& options) {
  return footer.num_parts == options.num_parts && footer.part != options.part;
}

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

}  // namespace tf_embedding
