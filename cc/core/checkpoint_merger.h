// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// CheckpointMerger: a full save of a table and the deltas upon it, as one full
// save, made an element at a time.
//
// All saves cut the key space into blocks by the same hash buckets, so a block
// of the result needs one block of each part of each save, or a piece of one.
// The result has as many blocks as the finest of them, in one part; a block of
// a coarser save stays in memory for all that it is cut into. So, asked for its
// elements in order, a merger holds one block of each part of each save, and
// reads each element once.
//
// In a block, saves are taken from the oldest to the newest: keys that a delta
// removed go, then its rows take their places. Rows of a block whose rule is
// not the footer's (checkpoint_format.h) get the footer's initial slots. What a
// filter counts of keys without a row is not carried over.
//
// Thread safety: none. Failure: kDataLoss and kInvalidArgument as of restores,
// what the sources return, and kResourceExhausted.

#ifndef TF_EMBEDDING_CC_CORE_CHECKPOINT_MERGER_H_
#define TF_EMBEDDING_CC_CORE_CHECKPOINT_MERGER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cc/core/checkpoint_format.h"
#include "cc/core/status.h"

namespace tf_embedding {

// Where the elements of a save are.
class ElementSource {
 public:
  virtual ~ElementSource() = default;
  // How errors call it.
  virtual std::string name() const = 0;
  virtual int64_t num_parts() const = 0;
  // Blocks and footer.
  virtual int64_t num_elements(int64_t part) const = 0;
  virtual Status Read(int64_t part, int64_t element, std::string* bytes) = 0;
};

class CheckpointMerger {
 public:
  // sources: the full save, then deltas in order; they outlive the merger.
  // Reads their footers.
  static Status Create(std::vector<ElementSource*> sources,
                       std::unique_ptr<CheckpointMerger>* merger);

  int64_t num_elements() const { return num_blocks_ + 1; }
  // The blocks, in order, then the footer.
  Status Encode(int64_t element, std::string* bytes);

  // The checksums of a source's elements, those of part after part, once all
  // were read.
  std::vector<uint32_t> SourceChecksums(size_t source) const;

 private:
  // A part of a save, and the block of it that is in memory.
  struct Part {
    ElementSource* source;
    int64_t number;
    bool is_delta;
    CheckpointFooter footer;
    std::vector<uint32_t> checksums;  // of its elements
    int64_t block = -1;
    std::vector<std::string> bytes;  // of each kind
    BlockHeader header;              // of the rows
    const char* records = nullptr;
    int64_t num_removed = 0;
    const char* removed = nullptr;
  };

  explicit CheckpointMerger(std::vector<ElementSource*> sources)
      : sources_(std::move(sources)) {}
  Status ReadFooters();
  Status ReadBlock(Part* part, int64_t number) const;
  Status EncodeBlock(int64_t number, std::string* bytes);

  const std::vector<ElementSource*> sources_;
  std::vector<Part> parts_;  // from the oldest save to the newest
  CheckpointFooter footer_;
  int64_t num_blocks_ = 1;
  int64_t blocks_made_ = 0;
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_CHECKPOINT_MERGER_H_
