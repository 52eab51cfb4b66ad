// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// The parts of a saved variable: what their footers say, whether they fit
// together and fit a table, and what errors call their blocks. Shared by
// restores and deltas.
//
// Thread safety: functions. Failure: kDataLoss where the bytes are damaged,
// kInvalidArgument where they are whole and do not fit.

#ifndef TF_EMBEDDING_CC_CORE_CHECKPOINT_PARTS_H_
#define TF_EMBEDDING_CC_CORE_CHECKPOINT_PARTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "cc/core/checkpoint_format.h"
#include "cc/core/status.h"
#include "cc/core/table.h"

namespace tf_embedding {

std::string PartName(const CheckpointFooter& footer);
std::string BlockName(int64_t number, const std::string& kind,
                      const CheckpointFooter& footer);

// Whether it is the footer of what changed since a base.
bool IsDelta(const CheckpointFooter& footer);

// One of each part; each part has the blocks that its footer says.
Status ParseFooters(const CheckpointParts& parts,
                    std::vector<CheckpointFooter>* footers);

// Whether these parts are all that a table needs.
Status CheckParts(const std::vector<CheckpointFooter>& footers,
                  const RestoreOptions& options);

// Parts of the same cut hold nothing for each other.
bool HoldsOthersOnly(const CheckpointFooter& footer,
                     const RestoreOptions& options);

// Which rule's slots the rows will hold: that of all parts that have one.
Status ChooseRule(const std::vector<CheckpointFooter>& footers,
                  const CheckpointFooter** chosen);
Status FindCheckpointRule(const CheckpointFooter& footer,
                          const RuleInfo** rule);

// Whether a block is the one that its place and the footer say.
Status CheckBlock(const BlockHeader& header, int64_t number,
                  const std::string& kind, const CheckpointFooter& footer,
                  const std::string& what);
// Whether a row's numbers are in range.
Status CheckRecord(const RecordView& view, const std::string& what);
Status NotOfItsBuckets(int64_t key, const std::string& what);

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_CHECKPOINT_PARTS_H_
