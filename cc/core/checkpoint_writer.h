// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// CheckpointWriter: a live table as a list of elements, made one at a time.
//
// The elements are the blocks, those of one number side by side, and the footer
// (checkpoint_format.h). An element comes into being when it is asked for, with
// those of its group: a shard's, or the one block of several shards. So a
// caller that asks, writes and drops them in order holds what is left of one
// group: with S shards, about 1/S of the table, and never the whole. MakeAhead
// makes the next group on another thread meanwhile; then it is two. A caller
// may give back what it has written (Reuse): memory that is new costs the
// system a page fault each 4 KiB, which is as much as the copy.
//
// Moment. The blocks of one shard, or of the shards of one block, are copied
// under their locks as a reader: lookups go on, an update of that shard waits
// for the copy, one of another does not. So each row is whole, vector, slots,
// frequency and version of one moment; rows of different blocks are of
// different moments. Rows lie in row order, which reads memory front to back.
//
// Deltas. Given an epoch (change_log.h), a writer makes of a shard only the
// rows that changed since, and beside them the keys that were removed since.
// Blocks are then as many as these need: a small delta has one.
//
// Thread safety: any thread may call Encode and MakeAhead; calls wait for each
// other where they need the same group. Asked for in another order, or twice,
// elements are made again, as of then. Failure: kResourceExhausted. The table
// must outlive the writer.

#ifndef TF_EMBEDDING_CC_CORE_CHECKPOINT_WRITER_H_
#define TF_EMBEDDING_CC_CORE_CHECKPOINT_WRITER_H_

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "cc/core/checkpoint_format.h"
#include "cc/core/status.h"
#include "cc/core/table.h"

namespace tf_embedding {

class CheckpointWriter {
 public:
  // The number of blocks follows from the size now: a quarter of a mebibyte or
  // less each. part, num_parts: which part of a variable the table is. since:
  // as StartDelta says; 0 for all rows.
  CheckpointWriter(const EmbeddingTable* table, int64_t part, int64_t num_parts,
                   uint32_t since = 0);

  int64_t num_elements() const { return num_blocks_ * num_kinds() + 1; }

  Status Encode(int64_t element, std::string* bytes);

  // The group to make ahead once an element was asked for, which is where that
  // is the first of its group; else, and behind the last group, -1.
  int64_t GroupAfter(int64_t element) const;
  // Makes a group's blocks unless it was made or passed. Where memory does not
  // do for it, nothing is made, and Encode will say so.
  void MakeAhead(int64_t group);

  // For the groups to come: the bytes of an element that are needed no longer.
  void Reuse(std::string bytes);

  // That of an element's frame, as it was made last; 0 before it was.
  uint32_t Checksum(int64_t element);

 private:
  // What is copied at once: of a shard, or of the shards of one block.
  struct Group {
    int64_t number = -1;
    bool under_way = false;
    std::vector<std::string> elements;  // empty once handed out
    std::vector<int64_t> rows;          // of each block
    std::vector<int64_t> steps;
    // Of each row of a shard: its key, and whether it is in use and wanted.
    std::vector<int64_t> keys;
    std::vector<bool> used;
  };

  int64_t num_kinds() const { return static_cast<int64_t>(kinds_.size()); }
  int64_t elements_per_group() const;
  // lock: of mutex_, held, and let go while the group is made.
  void Make(int64_t number, std::unique_lock<std::mutex>* lock);
  // buffers: to put elements into.
  void EncodeGroup(std::vector<std::string> buffers, Group* group) const;
  // Of the kind beside the rows.
  int64_t OtherRecordBytes() const;
  // What the filter has of one shard. builders: of a group's blocks.
  void AddAdmission(int shard, int64_t first_block,
                    std::vector<BlockBuilder>* builders) const;
  std::string MakeFooter() const;

  const EmbeddingTable* const table_;
  const int64_t part_;
  const int64_t num_parts_;
  const uint32_t since_;
  const int64_t num_blocks_;
  const std::vector<std::string> kinds_;

  std::mutex mutex_;
  std::condition_variable made_;
  Group groups_[2];                 // a number's place is its remainder
  std::vector<std::string> spare_;  // buffers, of a group at most
  std::vector<int64_t> rows_;       // of each block; -1: not yet made
  std::vector<int64_t> steps_;
  std::vector<uint32_t> checksums_;  // of each element
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_CHECKPOINT_WRITER_H_
