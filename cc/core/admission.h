// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Admission: by which rule a key earns its row.
//
// Most ids of a stream come once or twice and then never again. A table with a
// filter gives them no row: a batch of updates puts the keys that have none
// before the filter, with the number of their occurrences in it. A key that is
// refused loses its gradient and costs no memory but its count. A key that is
// admitted has its whole gradient applied in that batch, and its row's
// frequency starts at its total count. A row once given stays whatever the
// filter says, and a key that gets one in another way (upsert, import, restore)
// is not asked.
//
//   kCounter        exact: admitted in the batch in which its total number of
//                   occurrences reaches filter_freq
//   kBloom          the same, the total being an estimate that is never too
//                   low: some keys are admitted early
//   kProbabilistic  each occurrence admits with a probability: no memory at all
//
// Layout.
//
//   Admission
//     2^log2_shards x PerShard      by the high bits of MixKey(key)
//       ShardIndex candidates       kCounter: key -> count in place of a row
//     counters                      kBloom: 2^kLog2Segments x segment_counters
//
// kCounter. A candidate takes a slot of an index (index.h): 14.9 to 16.8 bytes,
// 15.8 on average over the shards. Counts stay at kMaxCandidateCount. A
// candidate leaves when its key gets a row or is removed.
//
// kBloom: a counting Bloom filter (Fan, Cao, Almeida and Broder, "Summary
// cache", SIGCOMM 1998) with conservative update (Estan and Varghese, "New
// directions in traffic measurement and accounting", SIGCOMM 2002): the count
// of a key is the smallest of its num_hashes counters, and a new occurrence
// raises only those counters that are below the new count. Counters stay at
// their maximum. For n keys at false positive probability p a Bloom filter
// needs k = ceil(|log2 p|) hashes and c = |ln p| / ln(2)^2 counters a key. The
// filter is cut into 1024 segments by the highest bits of the hash, so that a
// segment lies inside a shard, whose lock guards it, and sees its keys in
// position order, however many shards and threads there are. A segment expects
// l = n / 1024 keys and is made for a few more, because some get more:
//
//   segment_counters = ceil(c * (l + sqrt(l) + 2))
//   bytes            = 1024 * segment_counters * counter_bits / 8
//
// which is c * n counters and 3 % at a million keys, 0.3 % at a hundred
// million. Memory is asked of the system as zero pages, of 4 KiB, each used
// when it is first written. Places in a segment come from one more hash by
// double hashing (Kirsch and Mitzenmacher, "Less hashing, same performance",
// ESA 2006). A counter cannot be taken back: a key that was removed is admitted
// at once when it comes again.
//
// kProbabilistic. A key with c occurrences in a batch is admitted if a uniform
// number, which is a hash of (seed, key, step), is below 1 - (1 - p)^c: the
// probability that one of c draws admits. So the same step draws the same.
//
// Invariants: a key is never a candidate and in the shard's index at once; what
// a batch admits is a function of the batches before it, not of threads or the
// number of shards.
//
// Cost: a table without a filter has no Admission. With one, a key that has a
// row costs nothing more, and a key without one a second search, whose lines
// are asked for a block of keys before.
//
// Thread safety: the lock of shard s guards all that concerns s, const methods
// as a reader, the others as the writer; the table's layout lock guards the
// whole. Failure: Create gives a Status; Admit throws std::bad_alloc with
// nothing changed; the rest does not fail unless it says so.

#ifndef TF_EMBEDDING_CC_CORE_ADMISSION_H_
#define TF_EMBEDDING_CC_CORE_ADMISSION_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cc/core/admission_math.h"
#include "cc/core/index.h"
#include "cc/core/status.h"

namespace tf_embedding {

enum class AdmissionKind { kAll, kCounter, kBloom, kProbabilistic };

// kNoRow is what an index says of a key that it does not have.
constexpr uint32_t kMaxCandidateCount = kNoRow - 1;

struct AdmissionSpec {
  AdmissionKind kind = AdmissionKind::kAll;
  int64_t filter_freq = 1;   // kCounter, kBloom: occurrences, 1 to 2^32 - 1
  double probability = 1;    // kBloom: of a false positive; kProbabilistic
  int64_t max_elements = 1;  // kBloom: keys that the filter is made for
  int counter_bits = 64;     // kBloom: 8, 16, 32 or 64
  uint64_t seed = 0;         // kProbabilistic
  // What every column of a key without a row reads; its initial row if unset.
  std::optional<float> no_permission;
};

// kind: "", "counter", "bloom" or "probabilistic".
Status ParseAdmissionKind(const std::string& name, AdmissionKind* kind);
const char* AdmissionKindName(AdmissionKind kind);

class Admission {
 public:
  // *admission stays null for kAll. Errors name the argument. May throw
  // std::bad_alloc.
  static Status Create(const AdmissionSpec& spec, int log2_shards,
                       std::unique_ptr<Admission>* admission);
  // What Create checks; bloom: of a filter of kind kBloom.
  static Status Check(const AdmissionSpec& spec, BloomShape* bloom);
  ~Admission();
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;

  const AdmissionSpec& spec() const { return spec_; }
  const BloomShape& bloom() const { return bloom_; }

  // Counts the occurrences of n distinct keys without a row; hashes are their
  // MixKey. totals[i]: all occurrences of keys[i] so far if it is admitted,
  // else 0. The rows must follow, and Forget for each of them. Returns how
  // many.
  int Admit(int shard, const int64_t* keys, const uint64_t* hashes,
            const int64_t* counts, int n, int64_t step, int64_t* totals);
  // The key has got its row, in whatever way, or is removed: no candidate any
  // more.
  void Forget(int shard, uint64_t hash, int64_t key) {
    ShardIndex& candidates = per_shard_[shard]->candidates;
    if (candidates.size() > 0) candidates.Remove(hash, key);
  }
  // Gives memory of candidates that left back. Does nothing without memory.
  void Trim(int shard);
  // Forgets all counts. Needs all shards.
  void Clear();

  // Occurrences of a key without a row so far, 0 if the filter does not count.
  int64_t Count(int shard, uint64_t hash, int64_t key) const;

  int64_t num_candidates(int shard) const {
    return static_cast<int64_t>(per_shard_[shard]->candidates.size());
  }
  // Of the candidates of a shard.
  int64_t candidate_bytes(int shard) const {
    return per_shard_[shard]->candidates.bytes();
  }
  int64_t fixed_bytes() const;

  // For checkpoints.

  // visit(key, count), in no particular order.
  template <class Visit>
  void ForEachCandidate(int shard, const Visit& visit) const {
    per_shard_[shard]->candidates.ForEach(
        [&](int64_t key, const uint32_t* count) { visit(key, *count); });
  }
  // False if the key is a candidate already. Throws std::bad_alloc.
  bool AddCandidate(int shard, uint64_t hash, int64_t key, uint32_t count);
  int log2_shards() const { return log2_shards_; }
  char* counters() { return counters_; }
  const char* counters() const { return counters_; }
  // Raises the counters to those of a filter of the same shape.
  void KeepCounters(const Admission& old);

 private:
  Admission(const AdmissionSpec& spec, const BloomShape& bloom,
            int log2_shards);

  // Set totals: to counts so far and these, or of draws to these or 0.
  void CountCandidates(const int64_t* keys, const uint64_t* hashes,
                       const int64_t* counts, int n, int64_t* totals,
                       ShardIndex* candidates) const;
  void CountInBloom(const uint64_t* hashes, const int64_t* counts, int n,
                    int64_t* totals);
  void Draw(const uint64_t* hashes, const int64_t* counts, int n, int64_t step,
            int64_t* totals) const;

  struct alignas(kCacheLine) PerShard {
    explicit PerShard(double phase) : candidates(phase) {}
    ShardIndex candidates;
  };

  const AdmissionSpec spec_;
  const BloomShape bloom_;
  const int log2_shards_;
  std::vector<std::unique_ptr<PerShard>> per_shard_;
  char* counters_ = nullptr;
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_ADMISSION_H_
