// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// The bytes of a saved table: blocks of rows, then a footer.
//
// docs/checkpoint_format.md has the grammar; this header is its C++ reader and
// writer, over byte strings. Where the strings live (an element each of a
// tensor in a TensorFlow bundle, a dataset each of a Keras file) is the
// caller's business.
//
//   part    = block{num_blocks x kinds} footer
//   frame   = magic: 8 bytes | format version: i64 | body length: i64
//             | body | CRC-32C of all before: u32
//   block   = a frame whose body is a BlockHeader and its records
//   record  = key: i64 | frequency: i64 | version: i64
//             | vector: f32 x dim | slots: f32 x slot_width
//
// That is the record of a row. A part may have blocks of other kinds too, whose
// records are of another size, each named in its header: the footer lists the
// kinds, and for each number there is one block of each, in that order.
//
// Everything is little-endian and not aligned. The rows of a part are dealt out
// by fixed hash buckets: bucket = the high 16 bits of MixKey(key), and block b
// of B, a power of two, holds buckets b * 65536 / B and on. So parts of any
// number and tables of any number of shards exchange whole ranges of buckets.
//
// The footer comes last because only then is known how many rows there are, and
// because a save runs beside training: a block carries the rule whose slots its
// own rows hold, and where an update changed the rule meanwhile, the footer has
// the last one.
//
// Thread safety: functions, and structs of plain data. Failure: parsing never
// reads out of bounds, allocates no more than it was given, and returns
// kDataLoss with a sentence that starts with the element ("block 3 ...").
// Memory that runs out throws std::bad_alloc.

#ifndef TF_EMBEDDING_CC_CORE_CHECKPOINT_FORMAT_H_
#define TF_EMBEDDING_CC_CORE_CHECKPOINT_FORMAT_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "cc/core/admission.h"
#include "cc/core/hash.h"
#include "cc/core/initializer.h"
#include "cc/core/status.h"

namespace tf_embedding {

constexpr int64_t kCheckpointFormat = 2;
// Of format 1, which has blocks of rows only.
constexpr int64_t kOldestCheckpointFormat = 1;

// Kinds of blocks.
constexpr char kRowsKind[] = "rows";
// What a filter knows of keys without a row (admission.h): key: i64 | count:
// i64 of candidates, and the counters of a Bloom filter.
constexpr char kCandidatesKind[] = "candidates";
constexpr char kBloomKind[] = "bloom";
constexpr int64_t kCandidateBytes = 16;
// Keys that were removed, 8 bytes each. Makes a part a delta.
constexpr char kRemovedKind[] = "removed";

constexpr int kLog2Buckets = 16;
constexpr int64_t kNumBuckets = int64_t{1} << kLog2Buckets;

// num_blocks is a power of two, at most kNumBuckets.
inline int Log2Blocks(int64_t num_blocks) {
  return __builtin_ctzll(static_cast<uint64_t>(num_blocks));
}
inline int64_t BlockOfHash(uint64_t hash, int log2_blocks) {
  return ShardOfHash(hash, log2_blocks);
}

struct BlockHeader {
  int64_t number = 0;
  int64_t num_blocks = 1;
  int64_t dim = 0;
  int64_t slot_width = 0;
  int64_t rows = 0;   // records
  int64_t step = -1;  // the largest version in it; -1 without rows
  std::string rule;   // empty: no slots
  std::string kind = kRowsKind;
  // Of a kind other than rows, whose dim and slot_width are 0.
  int64_t other_record_bytes = 0;

  int64_t record_bytes() const {
    return kind == kRowsKind ? 24 + 4 * (dim + slot_width) : other_record_bytes;
  }
};

struct CheckpointFooter {
  int64_t num_blocks = 1;
  int64_t part = 0;
  int64_t num_parts = 1;
  int64_t dim = 0;
  std::string dtype = "float32";
  std::string rule;
  std::vector<std::string> vector_slots;
  std::vector<std::string> scalar_slots;
  std::vector<float> initial_slots;  // of vector slots, then of scalar ones
  InitializerSpec initializer;
  int64_t rows = 0;
  int64_t step = -1;
  std::vector<std::string> kinds = {kRowsKind};
  BloomShape bloom;  // of the counters; all 0 without kBloomKind

  int64_t num_elements() const {
    return num_blocks * static_cast<int64_t>(kinds.size()) + 1;
  }
  int64_t slot_width() const {
    return dim * static_cast<int64_t>(vector_slots.size()) +
           static_cast<int64_t>(scalar_slots.size());
  }
};

// One row's record inside a block, read where it lies.
struct RecordView {
  explicit RecordView(const char* record) : at(record) {}

  int64_t key() const { return Int(0); }
  int64_t frequency() const { return Int(8); }
  int64_t version() const { return Int(16); }
  // Copies n values from the place-th one on: the vector, then the slots.
  void CopyValues(int64_t place, int64_t n, float* out) const {
    std::memcpy(out, at + 24 + 4 * place, 4 * n);
  }

  const char* at;

 private:
  int64_t Int(int64_t offset) const {
    int64_t value;
    std::memcpy(&value, at + offset, 8);
    return value;
  }
};

// Writes a block: begin, its records, end.
class BlockBuilder {
 public:
  // header: rows as a guess for the memory; step and rows are found out.
  // buffer: of a block that is no longer needed, whose memory is used again.
  explicit BlockBuilder(const BlockHeader& header, std::string buffer = {});
  void Add(int64_t key, int64_t frequency, int64_t version,
           const float* values) {
    const int64_t numbers[3] = {key, frequency, version};
    bytes_.append(reinterpret_cast<const char*>(numbers), sizeof(numbers));
    bytes_.append(reinterpret_cast<const char*>(values), values_bytes_);
    if (version > header_.step) header_.step = version;
    ++header_.rows;
  }
  // Records of another kind, as they are.
  void AddRecords(const void* records, int64_t n) {
    bytes_.append(static_cast<const char*>(records),
                  static_cast<size_t>(n * header_.record_bytes()));
    header_.rows += n;
  }
  int64_t rows() const { return header_.rows; }
  int64_t step() const { return header_.step; }
  // The whole frame. The builder is spent.
  std::string Finish();

 private:
  BlockHeader header_;
  size_t values_bytes_;
  std::string bytes_;
};

// The checksum at the end of a frame; 0 where the bytes are none.
uint32_t FrameChecksum(const std::string& bytes);

std::string EncodeFooter(const CheckpointFooter& footer);

// Checks the frame, its checksum, and that the records fill it. records points
// into bytes. what: how errors call the element.
Status ParseBlock(const std::string& bytes, const std::string& what,
                  BlockHeader* header, const char** records);
Status ParseFooter(const std::string& bytes, const std::string& what,
                   CheckpointFooter* footer);

// The elements of several parts, one after the other, cut behind each footer.
std::vector<std::vector<std::string>> SplitParts(
    std::vector<std::string> elements);

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_CHECKPOINT_FORMAT_H_
