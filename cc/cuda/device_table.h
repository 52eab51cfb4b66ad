// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// DeviceTable: the table of cc/core/table.h, in a device's memory.
//
// Same rows, same rules, same initial values: the functors are the CPU's own
// source. This class runs on the host and decides what to launch; the kernels
// are in *_functors.h, the device behind launchers.h.
//
// An update. Find the row of every position; of the keys that have none find
// the leaders (table_functors.h), number them, give birth to their rows; sort
// (row, position) pairs; sum and apply once a row (apply_functors.h). A lookup
// is one kernel: it finds and copies, and computes initial vectors on the way.
//
// Filters and eviction. What keys earn a row is asked between finding leaders
// and giving birth (admission_functors.h); what rows go, after the update
// (eviction_functors.h).
//
// Nothing waits. The host never looks at what a batch did before it launches
// the next one. How many rows there are it learns from the counters, which are
// copied back behind a batch and looked at when they have come; until then it
// assumes that every key of every batch since was new. Room is made for
// kBatchesAhead batches of all new keys, so that in the steady state an update
// allocates nothing and waits for nothing. Where the assumption runs out of
// room, and whenever a caller wants to know a number (size, Export, Remove,
// another rule), the stream is waited for.
//
// Results. What a batch does to the content is a function of the content and
// the batch. Sums: see apply_functors.h. Row numbers too, and with them the
// order of Export; only the place of a key in its bucket depends on the race.
//
// Memory. Growing the index holds the old and the new one for a moment; growing
// the rows adds a slab and copies nothing. Removed rows are used again; memory
// goes back with Clear. Batches need a workspace of about 50 bytes a key, kept.
// With cache_bytes records lie in pinned memory of the host instead, and a
// cache of that many bytes holds those in use (tier_functors.h): updates bring
// the rows of their batch into it, Prefetch those of a batch to come; what only
// reads takes records where they are. Import and Clear begin with it empty.
//
// Thread safety: any thread may call; a mutex keeps the launches of one call
// together. All calls must use streams that wait for each other, normally one.
// Failure: arguments are checked before anything is launched; memory that runs
// out is kResourceExhausted with the content unchanged; what the device reports
// is kInternal.

#ifndef TF_EMBEDDING_CC_CUDA_DEVICE_TABLE_H_
#define TF_EMBEDDING_CC_CUDA_DEVICE_TABLE_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cc/core/status.h"
#include "cc/core/table.h"
#include "cc/cuda/launchers.h"

namespace tf_embedding {

// Where a table's memory comes from.
class DeviceAllocator {
 public:
  virtual ~DeviceAllocator() = default;
  // Null where there is none. At least 256-byte aligned.
  virtual void* Allocate(int64_t bytes) = 0;
  // What the streams were given before may still use the memory.
  virtual void Release(void* memory) = 0;
};

// The launchers' own.
std::unique_ptr<DeviceAllocator> MakeDeviceAllocator(
    const DeviceLaunchers* launchers);

struct DeviceTableOptions {
  std::string name;  // for errors
  int dim = 0;
  RowDtype row_dtype = RowDtype::kFloat32;  // what vectors lie in memory as
  InitializerSpec initializer;
  int64_t reserve = 0;  // rows for which there is room from the start
  AdmissionSpec admission;
  EvictionOptions eviction;
  // Device memory for records in use, all others being in the host's; 0: all
  // records are in the device's memory.
  int64_t cache_bytes = 0;
  CacheStrategy cache_strategy = CacheStrategy::kLfu;
};

// A lookup of one feature; pointers to device memory, otherwise as
// PooledRequest.
struct DevicePooledRequest {
  const int64_t* keys = nullptr;
  int64_t num_keys = 0;
  const int64_t* splits = nullptr;
  int64_t num_bags = 0;
  const float* weights = nullptr;
  PoolSpec pool;
  float* out = nullptr;
  float* rows = nullptr;
};

class DeviceTable {
 public:
  static Status Create(DeviceTableOptions options,
                       const DeviceLaunchers* launchers,
                       std::unique_ptr<DeviceAllocator> allocator, void* stream,
                       std::unique_ptr<DeviceTable>* table);
  ~DeviceTable();
  DeviceTable(const DeviceTable&) = delete;
  DeviceTable& operator=(const DeviceTable&) = delete;

  int dim() const { return options_.dim; }
  const std::string& name() const { return options_.name; }
  std::string rule() const;
  std::shared_ptr<const Initializer> initializer() const;
  Status set_initializer(std::shared_ptr<const Initializer> initializer,
                         void* stream);
  // Without the size, which the device knows.
  TableShape shape() const;
  // These wait for the stream.
  Status Size(void* stream, int64_t* size);
  Status Stats(void* stream, TableStats* stats);

  // keys, out: device memory, as everything below except where said.
  // Strides as of EmbeddingTable and PooledRequest.
  Status Lookup(const int64_t* keys, int64_t n, float* out, void* stream,
                int64_t out_stride = 0);
  Status LookupPooled(const DevicePooledRequest& request, void* stream);
  // allocate is called once with the width of slots; it gives every column but
  // keys.
  using AllocateColumns =
      std::function<Status(int slot_width, DeviceColumns* out)>;
  Status Find(const int64_t* keys, int64_t n, const AllocateColumns& allocate,
              void* stream);

  // Brings the rows of keys into the cache, as far as it has room; no matter to
  // what the table holds and answers. Without a cache it does nothing.
  Status Prefetch(const int64_t* keys, int64_t n, void* stream);
  Status Apply(const BoundRule& rule, const int64_t* keys,
               const float* gradients, const int64_t* counts, int64_t n,
               int64_t step, void* stream, int64_t* rows_reset,
               int64_t gradient_stride = 0);
  Status AdoptRule(const BoundRule& rule, int64_t step, void* stream,
                   int64_t* rows_reset);
  Status Upsert(const int64_t* keys, const float* values, int64_t n,
                int64_t step, void* stream);
  // Waits for the stream.
  Status Remove(const int64_t* keys, int64_t n, void* stream, int64_t* removed);
  Status Clear(void* stream);

  // As those of EmbeddingTable; they wait. Rows that were collected are in the
  // order in which they went; those of one sweep by row number.
  Status Evict(int64_t step, void* stream, int64_t* evicted);
  Status EvictForSave(void* stream);
  Status TakeEvicted(void* stream, RowChunk* rows, int64_t* dropped);

  // Between the host's memory and the device, a piece at a time; both wait.
  // As those of EmbeddingTable.
  Status Export(const EmbeddingTable::Allocate& allocate, void* stream);
  Status Import(const TableShape& shape, const ConstRowColumns& rows,
                bool replace, void* stream);

  // The whole content as a table of the host, and back, bit for bit.
  Status ToHost(void* stream, Executor* executor,
                std::unique_ptr<EmbeddingTable>* table);
  Status FromHost(const EmbeddingTable& table, void* stream,
                  Executor* executor);

 private:
  // Index, rows and counters.
  struct Content {
    DeviceView view;
    const RuleInfo* rule = nullptr;
    int num_slabs = 0;
    int64_t row_capacity = 0;
    int64_t tier_capacity = 0;  // rows that view.rows.places and metas are for
    int64_t free_capacity = 0;  // of view.free_rows
    // What a filter has counted of keys without rows.
    IndexView candidates;
    void* bloom = nullptr;
    // What the host knows of the counters: as of the last look, how many keys
    // at most were new since, and since the copy that is under way.
    TableCounters known;
    int64_t since_known = 0;
    int64_t since_copy = 0;
    bool copying = false;

    int64_t MaxSize() const { return known.size + since_known; }
    int64_t MaxEnd() const {
      return std::min(int64_t{known.end} + since_known, row_capacity);
    }
    int64_t MaxCandidates() const {
      return static_cast<int64_t>(known.candidates) + since_known;
    }
  };
  struct BatchSpace;
  struct SweepSpace;

  DeviceTable(DeviceTableOptions options, const BloomShape& bloom,
              const DeviceLaunchers* launchers,
              std::unique_ptr<DeviceAllocator> allocator);

  Status Init(void* stream);
  Status Check(int error) const;
  Status OutOfMemory(const Content& content, int64_t bytes) const;
  Status AllocateBytes(const Content& content, int64_t bytes, void** memory);
  template <class T>
  Status AllocateArray(const Content& content, int64_t n, T** memory) {
    void* raw;
    TFE_RETURN_IF_ERROR(
        AllocateBytes(content, n * static_cast<int64_t>(sizeof(T)), &raw));
    *memory = static_cast<T*>(raw);
    return Status();
  }
  Status SetInitializer(std::shared_ptr<const Initializer> initializer,
                        void* stream);

  Status MakeContent(const RuleInfo* rule, const float* initial_slots,
                     void* stream, Content* content);
  void SetLayout(const RuleInfo* rule, const float* initial_slots,
                 RowsView* rows) const;
  void ReleaseRows(Content* content);
  void ReleaseContent(Content* content);
  // The table's content becomes another one.
  void Replace(const Content& fresh);
  // The counters, exactly.
  Status ReadCounters(Content* content, void* stream);
  Status SampleProbes(void* stream, TableStats* stats);
  Status ReadTallies(void* stream, TableTallies* tallies);
  void PollCounters(Content* content);
  // After the launches of a batch.
  Status CopyCounters(Content* content, void* stream);
  // Whether there is room for so many new keys, whatever is under way.
  bool HasRoom(const Content& content, int64_t keys) const;
  Status EnsureRoom(Content* content, int64_t n, void* stream);
  Status GrowIndex(const Content& content, int64_t keys, IndexView* index,
                   void* stream);
  Status GrowRows(Content* content, int64_t rows, void* stream);
  Status EnsureFreeList(Content* content, int64_t rows, void* stream);
  Status Adopt(const BoundRule& rule, void* stream, int64_t* rows_reset);
  Status ChangeRule(const RuleInfo* rule, const float* initial_slots,
                    Content* content, void* stream, int64_t* rows_reset);

  // Of a table of two tiers (device_table_tier.cc).
  class Turn;
  bool tiered() const { return options_.cache_bytes > 0; }
  int64_t CacheSlots(const RowsView& rows) const;
  // Whether the cache can hold a row.
  Status CheckCache(const RuleInfo* rule, const RowsView& rows) const;
  Status MakeCache(void* stream);
  int64_t SlabBytesOfRow(const RowsView& rows) const;
  // Gives the cache, emptied, to a content whose records are all in slabs.
  Status AttachCache(Content* content, void* stream);
  Status AllocateSlab(const Content& content, int64_t bytes, char** slab);
  void ReleaseSlab(char* slab);
  // Room for what each row has in device memory.
  Status GrowTier(Content* content, int64_t rows, void* stream);
  void ReleaseTierRows(RowsView* rows);
  // Brings rows into the cache. writes: the batch is going to write them.
  Status Promote(const Content& content, const uint32_t* rows, int64_t n,
                 bool writes, void* stream);
  Status TierStats(void* stream, TableStats* stats);
  // What the stream is given from now on waits for what Prefetch has begun.
  void AwaitPrefetch(void* stream);
  // After the last work of a call.
  void RecordUse(void* stream);
  void ReleaseTier();

  Status GetSpace(const Content& content, int64_t n, bool sums,
                  BatchSpace* space);
  Status Leaders(const int64_t* keys, int64_t n, bool found,
                 const BatchSpace& space, void* stream);
  // Finds the rows of a batch, those of new keys being born, and sorts them.
  // asks: of an update, the occurrences by which a filter admits new keys; null
  // where every key gets a row.
  Status FindOrInsert(Content* content, const int64_t* keys, int64_t n,
                      uint32_t version, const Gradients* asks,
                      const BatchSpace& space, void* stream);

  // device_table_admission.cc:
  bool filtered() const {
    return options_.admission.kind != AdmissionKind::kAll;
  }
  bool counts_candidates() const {
    return options_.admission.kind == AdmissionKind::kCounter;
  }
  Status MakeFilter(Content* content, void* stream);
  void ReleaseFilter(Content* content);
  // Puts the leaders before the filter: those that it refuses are none any
  // more.
  Status AskFilter(const Content& content, const int64_t* keys, int64_t n,
                   uint32_t step, const Gradients& asks,
                   const BatchSpace& space, void* stream);
  // keys, or those of leaders, are no candidates any more.
  Status Forget(const Content& content, const int64_t* keys, int64_t n,
                const uint32_t* leaders, void* stream);
  // What keys without a row read.
  InitialView Absent() const;

  // device_table_eviction.cc:
  bool bounded() const { return options_.eviction.bounded(); }
  // The most rows that a bound allows, of this layout.
  int64_t MaxRows(const RowsView& rows) const;
  // The memory that eviction needs after a batch.
  Status EnsureEvictionSpace(Content* content, void* stream);
  // Sweeps a slice of n rows, and takes what is beyond the bound.
  Status EndBatch(Content* content, const EvictionMoment& moment,
                  const BatchSpace& space, int64_t n, void* stream);
  Status SweepSlice(const Content& content, const EvictionMoment& moment,
                    int64_t num_rows, void* stream);
  // Of all rows; evicted: how many went, which is waited for.
  Status Sweep(const EvictionMoment& moment, EvictWhen when, void* stream,
               int64_t* evicted);
  Status SweepRange(const Content& content, const RuleBounds& by, int64_t begin,
                    int64_t end, void* stream);
  Status EvictToBound(const Content& content, void* stream);
  RuleBounds BoundsOf(const EvictionOptions::Rules& rules,
                      const EvictionMoment& moment, bool spares) const;
  // Evicts those of rows begin..end-1 that mark(first, n, taken) marks, a piece
  // at a time.
  Status EvictMarked(
      const Content& content, int64_t begin, int64_t end,
      const std::function<int(int64_t, int64_t, uint32_t*)>& mark,
      void* stream);
  // Rows of another width: those that are kept are dropped.
  Status ResizeRing(int slot_width, void* stream);
  void ReleaseEviction();

  Status CountsToHost(const EmbeddingTable& table, void* stream);
  Status CountsFromHost(const EmbeddingTable& table, void* stream);
  Status SortByRow(const Content& content, int64_t n, const BatchSpace& space,
                   void* stream);
  Status ImportPieces(const ConstRowColumns& rows, int64_t n, int slot_width,
                      Content* content, void* stream);

  const DeviceTableOptions options_;
  const BloomShape bloom_;
  const DeviceLaunchers* const launchers_;
  const std::unique_ptr<DeviceAllocator> allocator_;

  mutable std::mutex mutex_;
  // Guarded by mutex_.
  Content content_;
  std::shared_ptr<const Initializer> initializer_;
  InitialView initial_;
  TableCounters* pinned_ = nullptr;  // where the counters are copied to
  TableTallies* tallies_ = nullptr;
  std::unique_ptr<Eviction> eviction_;  // the clock; null: nothing is evicted
  EvictSelection* selection_ = nullptr;
  int64_t cursor_ = 0;       // of the sweep in the background: a row
  bool decays_ = false;      // whether its pass is one of frequencies
  int64_t next_decay_ = -1;  // the step that begins one; -1: not known yet
  char* sweep_space_ = nullptr;
  int64_t sweep_rows_ = 0;  // of a piece
  int64_t sweep_bytes_ = 0;
  EvictedRing ring_;
  int ring_width_ = -1;
  char* ring_space_ = nullptr;
  int64_t ring_bytes_ = 0;
  int64_t told_evicted_ = 0;  // of all rows evicted, those taken or dropped
  int64_t dropped_ = 0;       // with another width
  int64_t lookups_ = 0;       // keys
  int64_t cleared_ = 0;       // rows
  void* event_ = nullptr;
  char* cache_memory_ = nullptr;
  CacheView cache_;
  // Prefetch works in a stream of its own, on a copy of the keys; the event
  // comes after it, the other one before it in the caller's stream.
  void* prefetch_stream_ = nullptr;
  void* prefetched_ = nullptr;
  void* before_prefetch_ = nullptr;
  // After the last call. Slabs are not the allocator's, which knows who uses
  // what it is given back; so whoever destroys the table waits for its work.
  void* used_ = nullptr;
  bool prefetching_ = false;  // and the caller's stream does not wait yet
  char* prefetch_memory_ = nullptr;
  int64_t prefetch_bytes_ = 0;
  uint32_t cache_time_ = kFirstTime;
  char* workspace_ = nullptr;
  int64_t workspace_bytes_ = 0;
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CUDA_DEVICE_TABLE_H_
