// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// EmbeddingTable: from any int64 key to a row, grown as training meets keys.
//
// Layout.
//
//   EmbeddingTable
//     2^log2_shards x Shard          by the high bits of MixKey(key)
//       ShardIndex                   key -> row number, 5 to a cache line
//       RowStore                     row number -> [vector | slots], meta
//     Initializer                    (seed, key, column) -> value
//     Admission                      which keys earn a row; null: all do
//     RowLayout, rule                which optimizer's slots the rows hold
//
// A row is a key's vector of dim floats, the slots of the optimizer rule that
// last updated the table, a frequency and a version. Rules are defined in
// rule.h. A table starts without slots; the first Apply gives its rows the
// slots of its rule (initial values), and an Apply of another rule replaces
// them: vectors stay, slots start anew, and the caller is told how many rows
// that concerned.
//
// Semantics. Reading never changes the table: Lookup of a key without a row
// gives the vector that it would be born with. Apply gives birth to rows, where
// a filter (admission.h) admits the key; else it drops the gradient, and Lookup
// gives what the filter has for such keys, if anything. The
// gradients of a key that is several times in a batch are summed in position
// order and applied once. What a batch does is a function of its content
// alone: not of threads, executor or number of shards.
//
// Concurrency. Every method may be called from any thread at any time. A batch
// operation deals its keys out by shard; a shard's share is done under that
// shard's lock, so each row changes as a whole, and a batch that runs beside
// another is not one atomic step. Lookup holds all the locks it needs as a
// reader, in ascending order, or none while nobody writes (read_gate.h);
// writers hold one shard's lock at a time, or those of a few in ascending
// order: no deadlock. Growing a shard, index or rows, stops that shard's users
// only. A save (checkpoint_writer.h) holds one shard's lock at a time, as a
// reader. Export is the table at one moment, between two batches: it holds
// update_lock_ as the writer and every batch that changes rows holds it as a
// reader, so updates wait and lookups go on. Changing the layout (the first
// Apply of a rule, Clear, the moment in which restored or imported content
// takes its place) stops the world once, by layout_lock_, which every operation
// holds as a reader. Both are taken by the thread that calls, layout_lock_
// first, never by the executor's: those might all wait for one that waits for
// them.
//
// Cost, a key: Lookup touches 1.3 lines of the index and ceil(dim / 16) of the
// row, of 32 keys at a time, prefetched. Apply hashes twice, moves 12 bytes to
// its shard, and probes once per distinct key, whatever the rule, or not at all
// where a lookup has just found the rows of the same batch (found_rows.h); it
// touches the index, the whole record, the line of its frequency and version,
// and the gradient, each asked for a block of 32 keys before it is needed.
//
// Failure. Arguments are checked before anything changes. Memory that runs out
// is kResourceExhausted; rows updated by then stay updated, each one whole.

#ifndef TF_EMBEDDING_CC_CORE_TABLE_H_
#define TF_EMBEDDING_CC_CORE_TABLE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cc/core/admission.h"
#include "cc/core/batch.h"
#include "cc/core/change_log.h"
#include "cc/core/eviction.h"
#include "cc/core/executor.h"
#include "cc/core/found_rows.h"
#include "cc/core/initializer.h"
#include "cc/core/pooling.h"
#include "cc/core/read_gate.h"
#include "cc/core/row_chunk.h"
#include "cc/core/rule.h"
#include "cc/core/shard.h"
#include "cc/core/stats.h"
#include "cc/core/status.h"

namespace tf_embedding {

struct TableSnapshot;

constexpr int kMaxDim = 4096;
constexpr int kMaxLog2Shards = 10;
// What version says of a key without a row.
constexpr int64_t kNoVersion = -1;

struct TableOptions {
  int dim = 0;
  InitializerSpec initializer;
  // Many more shards than threads, so that they rarely meet, and each small
  // enough that its growth is not felt.
  int log2_shards = 7;
  // A bound may make the shards fewer.
  EvictionOptions eviction;
  // Rows for which there is room from the start.
  int64_t reserve = 0;
  AdmissionSpec admission;
};

// Where whole rows are written to or read from, column by column. A null
// pointer leaves the column out.
struct RowColumns {
  int64_t* keys = nullptr;
  float* values = nullptr;  // n * dim
  float* slots = nullptr;   // n * slot_width
  int64_t* frequency = nullptr;
  int64_t* version = nullptr;
  bool* found = nullptr;  // Find only
};

struct ConstRowColumns {
  const int64_t* keys = nullptr;
  const float* values = nullptr;
  const float* slots = nullptr;
  const int64_t* frequency = nullptr;
  const int64_t* version = nullptr;
};

// What Export says before it writes, and Import takes.
struct TableShape {
  int64_t size = 0;
  std::string rule;  // empty: no slots
  int slot_width = 0;
  // What slots of a new row start with: one value for each vector slot, then
  // one for each scalar slot.
  std::vector<float> initial_slots;
};

// The cursor after the last chunk.
constexpr int64_t kEndOfRows = -1;

// A saved variable: the elements of each part, blocks and footer
// (checkpoint_format.h).
using CheckpointParts = std::vector<std::vector<std::string>>;

struct RestoreOptions {
  // Vectors and slots of another dim are cut, or filled up with initial values.
  bool change_dim = false;
  // Parts may be missing, and rows that the checkpoint lacks stay, as does the
  // initializer.
  bool partial = false;
  // The table is this part of so many: keys of the others are passed over.
  int part = 0;
  int num_parts = 1;
};

struct RestoreReport {
  int64_t rows = 0;
  int64_t rows_reset = 0;      // slots of another rule, begun anew
  int64_t rows_of_others = 0;  // of other parts
  // The checkpoint has counts of a filter, which is not the table's.
  bool counts_dropped = false;
};

struct BlockHeader;
struct CheckpointFooter;
struct TableContent;

// Between the two steps of a restore.
struct PreparedRestore {
  PreparedRestore();
  ~PreparedRestore();
  PreparedRestore(PreparedRestore&&) noexcept;

  std::unique_ptr<TableContent> content;
  std::shared_ptr<const Initializer> initializer;
  std::unique_ptr<Admission> admission;  // its counts
  bool keep_other_rows = false;
  RestoreReport report;
};

struct ParsedBlock;
struct ParsedDelta;

// A delta that was found good, to be applied.
struct PreparedDelta {
  PreparedDelta();
  ~PreparedDelta();
  PreparedDelta(PreparedDelta&&) noexcept;

  std::unique_ptr<ParsedDelta> parsed;
};

struct DeltaReport {
  int64_t rows = 0;            // set
  int64_t removed = 0;         // keys, with a row or without
  int64_t rows_of_others = 0;  // of other parts
};

class EmbeddingTable;

// One feature of a pooled lookup: bag b is keys splits[b] .. splits[b + 1] - 1
// of the table, and out + b * out_stride its combination (pooling.h), dim
// values. splits[0] is 0, never decreases, and ends with the number of keys, as
// CheckSplits says. If splits is null each key is a bag, and out their vectors.
struct PooledRequest {
  const EmbeddingTable* table = nullptr;
  const int64_t* keys = nullptr;
  const int64_t* splits = nullptr;
  int64_t num_bags = 0;
  const float* weights = nullptr;  // one each if null
  PoolSpec pool;
  float* out = nullptr;
  float* rows = nullptr;   // the vectors of all keys too, unless null
  int64_t out_stride = 0;  // 0: dim, one beside the other
};

class ShareEviction;

class EmbeddingTable {
 public:
  static Status Create(TableOptions options,
                       std::unique_ptr<EmbeddingTable>* table);

  int dim() const { return dim_; }
  int64_t size() const;
  TableStats stats() const;
  // The rule whose slots the rows hold; empty before the first.
  std::string rule() const;
  std::shared_ptr<const Initializer> initializer() const;
  // Which keys earn a row; the same for life.
  AdmissionKind admission_kind() const;
  // For who copies a table: calls body with the filter's counts, if there is a
  // filter, while no one else uses the table.
  Status VisitFilter(const std::function<Status(Admission*)>& body) const;
  // What unknown keys read and new rows start with, from now on.
  void set_initializer(std::shared_ptr<const Initializer> initializer);

  // Whether updates follow lookups, as far as can be told; never exact.
  bool in_training() const;

  // Writes n * dim values.
  Status Lookup(const int64_t* keys, int64_t n, float* out,
                Executor* executor) const;

  // Looks up and pools features of many tables, one table several times if need
  // be, in one round of the executor. num_requests may be 0.
  static Status LookupPooled(const PooledRequest* requests,
                             int64_t num_requests, Executor* executor);

  // The rows of given keys. allocate is called once with the shape (size: n)
  // and returns where to write; the rows of absent keys are: initial vector,
  // initial slots, frequency 0 or what the filter has counted of them, version
  // -1, found false.
  using Allocate = std::function<Status(const TableShape&, RowColumns*)>;
  Status Find(const int64_t* keys, int64_t n, const Allocate& allocate,
              Executor* executor) const;

  // All rows, in an order that equal histories share.
  Status Export(const Allocate& allocate, Executor* executor) const;

  // Whole rows of the keys from cursor on: about max_rows, a few more at most,
  // fewer at the end. Every shard's are of one moment, which updates wait for.
  // From chunk to chunk every key that stays comes once. cursor: 0, then what
  // the last call gave; kEndOfRows after the last chunk.
  Status ExportChunk(int64_t cursor, int64_t max_rows, RowChunk* chunk,
                     int64_t* next) const;

  // At most n keys, by a measure other than age.
  Status Top(RowMeasure measure, int64_t n, Executor* executor,
             TopKeys* top) const;
  // step: the present, which ages are told from.
  Status Count(RowMeasure measure, int64_t step, Executor* executor,
               Histogram* histogram) const;

  // Sums the gradients (n * dim) of equal keys, gives birth to rows, and runs
  // the rule. counts: how many occurrences each gradient stands for, one each
  // if null. step stamps the version. rows_reset: how many rows lost the slots
  // of another rule. gradient_stride: values from one gradient to the next,
  // dim if 0; more where they are columns of a wider matrix.
  Status Apply(const BoundRule& rule, const int64_t* keys,
               const float* gradients, const int64_t* counts, int64_t n,
               int64_t step, Executor* executor, int64_t* rows_reset,
               int64_t gradient_stride = 0);

  // What Apply does to a table of another rule before it updates rows: slots
  // start anew. For a part that has no key in a batch of the variable.
  Status AdoptRule(const BoundRule& rule, int64_t step, int64_t* rows_reset);

  // Sets vectors. New rows get initial slots and frequency 0; others keep
  // theirs. Of equal keys the last wins.
  Status Upsert(const int64_t* keys, const float* values, int64_t n,
                int64_t step, Executor* executor);

  // Sets whole rows. replace: the content becomes exactly this. Without it the
  // rule must be that of the table, or the table without rows. With it all
  // counts of the filter are forgotten.
  Status Import(const TableShape& shape, const ConstRowColumns& rows,
                bool replace, Executor* executor);

  // The content becomes that of the checkpoint, bit for bit, or stays what it
  // was where anything is wrong with it. It is built beside the live rows,
  // which readers see until it is whole; updates meanwhile go to those and are
  // lost with them.
  Status Restore(CheckpointParts parts, const RestoreOptions& options,
                 Executor* executor, RestoreReport* report);
  // The same in two steps, for several tables that change together or not at
  // all. take: a block's bytes are freed as soon as its rows are in.
  Status PrepareRestore(CheckpointParts* parts, bool take,
                        const RestoreOptions& options, Executor* executor,
                        PreparedRestore* prepared) const;
  Status CommitRestore(PreparedRestore* prepared);

  // Asks all rules of eviction of all rows. step: the present, or
  // Eviction::kLastStep for that of the last batch.
  Status Evict(int64_t step, int64_t* evicted, Executor* executor);
  // Those that run at a save; it then begins.
  Status EvictForSave(Executor* executor);
  // What was collected of evicted rows, by shard, oldest first; it is then
  // empty. dropped: how many did not fit since it was asked before.
  Status TakeEvicted(RowChunk* rows, int64_t* dropped);

  Status Remove(const int64_t* keys, int64_t n, int64_t* removed,
                Executor* executor);
  void Clear();

  // Deltas. A consumer, by a name of its own, keeps copies up to date: it
  // starts a delta, saves what changed (checkpoint_writer.h), and, once that is
  // safe, finishes it; one that it does not finish is included in its next.
  // since: what to hand the writer; 0 where all rows are needed, because it is
  // the first, or because content changed as a whole (Clear, Restore, another
  // rule), or too many keys were removed. While there are consumers each row
  // costs 4 bytes more and each key that was removed since the base of the
  // slowest about 16.
  Status StartDelta(const std::string& consumer, uint32_t* since);
  Status FinishDelta(const std::string& consumer);
  // Of the delta that was started last.
  Status DeltaSince(const std::string& consumer, uint32_t* since) const;
  void ForgetConsumer(const std::string& consumer);
  // For a table that is a copy of another one: what it holds, and the delta
  // from what that held before to now, which it holds, begun for a consumer.
  // Nobody else may know the table, nor have followed it.
  Status Snapshot(TableSnapshot* snapshot) const;
  Status FollowSince(const std::string& consumer, const TableSnapshot& before,
                     const TableSnapshot& now);

  // Removes and sets the rows of a delta, which must hold slots of the table's
  // rule. Rows change one by one, each whole, beside lookups and updates.
  // Applied twice it changes nothing more. Prepare checks all of it and changes
  // nothing; where Apply fails, for memory, some rows are set: apply it again.
  Status PrepareDelta(CheckpointParts parts, const RestoreOptions& options,
                      Executor* executor, PreparedDelta* prepared) const;
  Status ApplyDelta(const PreparedDelta& prepared, Executor* executor,
                    DeltaReport* report);

 private:
  friend class CheckpointWriter;

  EmbeddingTable(TableOptions options,
                 std::shared_ptr<const Initializer> initializer,
                 std::unique_ptr<Admission> admission);

  // Calls body(group, scratch) for groups of shards that are locked together
  // and hold all of the keys; it gives whether there was memory. A thread makes
  // one Scratch for all of its groups. found: as PartitionByShard.
  class ShareGroup;
  template <class Scratch, class Body>
  Status ForEachGroup(const int64_t* keys, int64_t n,
                      const FoundRows::Batch* found, Executor* executor,
                      const Body& body);
  // Calls body(shard, share) for every shard that has keys, its lock held by a
  // writer. body may throw std::bad_alloc; others have their turn all the same.
  template <class Body>
  Status ForEachShare(const int64_t* keys, int64_t n, Executor* executor,
                      const Body& body);

  // The share of one shard in Apply.
  struct Update;
  class ShareUpdate;
  class GroupUpdate;

  // What a key without a row reads.
  void FillAbsent(int64_t key, float* out) const;
  int ShardOf(uint64_t hash) const {
    return static_cast<int>(ShardOfHash(hash, log2_shards_));
  }
  // A key that gets a row by another way than training, or is removed, is no
  // candidate any more. With the shard's lock.
  void ForgetCandidate(uint64_t hash, int64_t key) const {
    if (admission_ != nullptr) admission_->Forget(ShardOf(hash), hash, key);
  }
  // Of a checkpoint's records, about; since: of a delta's, 0 for all.
  int64_t SaveBytes(uint32_t since) const;
  // All but the numbers of blocks, parts and rows.
  void DescribeTo(CheckpointFooter* footer) const;
  // Import's share of one shard; with_slots: else initial ones.
  void ImportShare(const ConstRowColumns& rows, const BatchShare& share,
                   bool with_slots, Shard* shard,
                   ShareEviction* eviction) const;
  Status ReplaceRows(const RuleInfo* rule, const TableShape& shape,
                     const ConstRowColumns& rows, Executor* executor);
  class ShardRun;
  void ApplyDeltaBlock(const ParsedBlock& block, const RestoreOptions& options,
                       DeltaReport* report);
  struct Restoring;
  // kind: which of the footer's.
  Status RestoreBlock(Restoring* restoring, size_t part, int64_t number,
                      size_t kind) const;
  Status RestoreRows(Restoring* restoring, size_t part,
                     const BlockHeader& header, const char* records,
                     const std::string& what) const;
  Status RestoreCandidates(Restoring* restoring, size_t part,
                           const BlockHeader& header, const char* records,
                           const std::string& what) const;
  Status RestoreBloom(Restoring* restoring, size_t part,
                      const BlockHeader& header, const char* records,
                      const std::string& what) const;
  Status RestoreRange(Restoring* restoring, int64_t task, int log2_tasks) const;
  void ReserveForRange(Restoring* restoring, int64_t task,
                       int log2_tasks) const;

  bool with_recency() const {
    return eviction_ != nullptr && eviction_->keeps_recency();
  }
  Status Sweep(EvictWhen when, const EvictionMoment& moment, int64_t* evicted,
               Executor* executor);

  // The methods below need layout_lock_ as stated.
  void AttachEviction();  // writer
  // Throws std::bad_alloc, with nothing changed.
  void SwapContent(TableContent* content);  // writer
  void StartLogs(const std::vector<std::unique_ptr<Shard>>& shards,
                 uint32_t mark);                        // writer
  void KeepOtherRows(PreparedRestore* prepared) const;  // writer
  Status ChangeRule(const RuleInfo* rule, const float* initial_vector_slots,
                    const float* initial_scalar_slots, int64_t* rows_reset);
  void ClearLocked();          // writer
  int64_t SizeLocked() const;  // reader
  TableShape ShapeLocked() const;
  TableView ViewLocked() const;
  void InitSlots(float* record) const;
  // Of keys[0..n-1], which are those from begin on of a lookup that keeps what
  // it finds; found is null for one that does not.
  void LookupRange(const int64_t* keys, int64_t n, float* out,
                   int64_t out_stride, FoundRows::Batch* found,
                   int64_t begin) const;
  // False where there is no memory for scratch.
  bool PoolBags(const PooledRequest& request, int64_t from, int64_t to,
                FoundRows::Batch* found) const;

  const int dim_;
  const int log2_shards_;
  const int64_t reserve_;
  const std::unique_ptr<Eviction> eviction_;  // null if nothing is evicted

  // What a lookup writes, in a line of its own: one to fetch from the processor
  // that had it last.
  alignas(kCacheLine) mutable SharedSpinLock layout_lock_;
  mutable ReadGate read_gate_;
  struct Lookups {
    std::atomic<int64_t> keys{0};
    std::atomic<int64_t> hits{0};
  };
  mutable Lookups lookups_;
  // Held by batches that change rows as readers, by Export as the writer. The
  // former are read_gate_'s writers too.
  alignas(kCacheLine) mutable SharedSpinLock update_lock_;
  // Guarded by layout_lock_.
  const RuleInfo* rule_ = nullptr;
  RowLayout layout_;
  float initial_vector_slots_[kMaxVectorSlots] = {};
  float initial_scalar_slots_[kMaxScalarSlots] = {};
  std::unique_ptr<TableMemory> memory_;  // outlives the shards
  std::shared_ptr<const Initializer> initializer_;
  std::unique_ptr<Admission> admission_;  // null: every key earns a row
  struct Consumer {
    uint32_t base = 0;     // the epoch of its last finished delta
    uint32_t started = 0;  // of the one under way
    uint32_t since = 0;
  };
  std::map<std::string, Consumer> consumers_;

  ChangeClock clock_;
  const std::unique_ptr<SharedSpinLock[]> shard_locks_;
  std::vector<std::unique_ptr<Shard>> shards_;
  // What Lookup reads of each shard, side by side; guarded by the shard's lock.
  std::vector<ShardView> views_;
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_TABLE_H_
