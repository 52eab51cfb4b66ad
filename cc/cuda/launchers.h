// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Launchers: what a device does for a table, as plain functions.
//
// DeviceLaunchers is the whole interface between the table (device_table.h),
// which a C++ compiler compiles, and a device. There are two:
//
//   tfe_cuda_launchers()  CUDA; launchers.cu, compiled by nvcc
//   tfe_host_launchers()  the same kernels on this processor; launchers_host.cc
//
// Both are made of one text, launchers.inc. Each function starts kernels on the
// stream, a cudaStream_t, and returns at once, except where said. Pointers are
// to the device's memory unless said. The result is 0, or an error code that
// describe() explains; a kernel that fails may report through a later call.
// With n = 0 nothing is started.

#ifndef TF_EMBEDDING_CC_CUDA_LAUNCHERS_H_
#define TF_EMBEDDING_CC_CUDA_LAUNCHERS_H_

#include <cstddef>
#include <cstdint>

#include "cc/core/pooling.h"
#include "cc/core/rule.h"
#include "cc/cuda/admission_functors.h"
#include "cc/cuda/apply_functors.h"
#include "cc/cuda/eviction_functors.h"
#include "cc/cuda/pooling_functors.h"
#include "cc/cuda/table_functors.h"
#include "cc/cuda/tier_functors.h"

namespace tf_embedding {

// A BoundRule without what only a host can read.
struct RuleBytes {
  alignas(16) std::byte functor[64];
  RuleDriver driver;
};

struct DeviceLaunchers {
  const char* (*describe)(int error);
  // How many devices there are; 0 where there is no driver. Never fails.
  int (*device_count)();

  // Memory. allocate gives null where there is none left. release waits for
  // the device, of both kinds. The pinned kind is the host's; kernels can use
  // it, and it can be copied to without waiting.
  void* (*allocate)(int64_t bytes);
  void (*release)(void* memory);
  void* (*allocate_pinned)(int64_t bytes);
  void (*release_pinned)(void* memory);

  // Copies between host and device, in stream order. The host's side must be
  // pinned, or stay as it is until synchronize.
  int (*copy)(void* to, const void* from, int64_t bytes, void* stream);
  int (*set_zero)(void* memory, int64_t bytes, void* stream);
  // Waits for all that the stream was given.
  int (*synchronize)(void* stream);
  // A stream of the caller's own, besides the one that it was given. Destroying
  // it waits for what it was given.
  int (*create_stream)(void** stream);
  void (*destroy_stream)(void* stream);
  // Events: a place in a stream. done: whether the stream
  // has passed it; wait: until it has. wait_in: what the stream is given from
  // now on waits for the event as it was last recorded; the host does not.
  int (*create_event)(void** event);
  void (*destroy_event)(void* event);
  int (*record_event)(void* event, void* stream);
  int (*done)(void* event, bool* done);
  int (*wait)(void* event);
  int (*wait_in)(void* event, void* stream);

  // Primitives. workspace: as many bytes as *_bytes(n) says.
  int64_t (*sort_bytes)(int64_t n);
  // Sorts (key, value) pairs by the low end_bit bits of the key, stably.
  int (*sort)(const uint32_t* keys, uint32_t* sorted_keys,
              const uint32_t* values, uint32_t* sorted_values, int64_t n,
              int end_bit, void* workspace, int64_t workspace_bytes,
              void* stream);
  int64_t (*sum_bytes)(int64_t n);
  // sums[i] = values[0] + ... + values[i - 1]. values may not be sums.
  int (*prefix_sum)(const uint32_t* values, uint32_t* sums, int64_t n,
                    void* workspace, int64_t workspace_bytes, void* stream);

  // Kernels of table_functors.h, over n items.
  int (*find_rows)(const FindRows& kernel, int64_t n, void* stream);
  int (*clear_scratch)(const ClearScratch& kernel, int64_t n, void* stream);
  int (*claim_leaders)(const ClaimLeaders& kernel, int64_t n, void* stream);
  int (*mark_leaders)(const MarkLeaders& kernel, int64_t n, void* stream);
  int (*insert_rows)(const InsertRows& kernel, int64_t n, void* stream);
  int (*share_rows)(const ShareRows& kernel, int64_t n, void* stream);
  int (*count_leaders)(const CountLeaders& kernel, int64_t n, void* stream);
  int (*remove_rows)(const RemoveRows& kernel, int64_t n, void* stream);
  int (*lookup)(const Lookup& kernel, int64_t n, void* stream);
  int (*find_whole_rows)(const FindWholeRows& kernel, int64_t n, void* stream);
  int (*set_vectors)(const SetVectors& kernel, int64_t n, void* stream);
  int (*set_rows)(const SetRows& kernel, int64_t n, void* stream);
  int (*move_keys)(const MoveKeys& kernel, int64_t n, void* stream);
  int (*convert_rows)(const ConvertRows& kernel, int64_t n, void* stream);
  int (*tell_rows)(const TellRows& kernel, int64_t n, void* stream);
  int (*export_rows)(const ExportRows& kernel, int64_t n, void* stream);
  // Of admission_functors.h.
  int (*count_occurrences)(const CountOccurrences& kernel, int64_t n,
                           void* stream);
  int (*ask_counter)(const AskCounter& kernel, int64_t n, void* stream);
  int (*drop_promoted)(const DropPromoted& kernel, int64_t n, void* stream);
  int (*add_candidates)(const AddCandidates& kernel, int64_t n, void* stream);
  int (*ask_draws)(const AskDraws& kernel, int64_t n, void* stream);
  int (*find_segments)(const FindSegments& kernel, int64_t n, void* stream);
  int (*ask_bloom)(const AskBloom& kernel, int64_t n, void* stream);
  int (*tally_decisions)(const TallyDecisions& kernel, int64_t n, void* stream);
  int (*forget_candidates)(const ForgetCandidates& kernel, int64_t n,
                           void* stream);
  int (*count_absent)(const CountAbsent& kernel, int64_t n, void* stream);
  // Of eviction_functors.h.
  int (*touch_rows)(const TouchRows& kernel, int64_t n, void* stream);
  int (*begin_selection)(const BeginSelection& kernel, int64_t n, void* stream);
  int (*count_digits)(const CountDigits& kernel, int64_t n, void* stream);
  int (*pick_digit)(const PickDigit& kernel, int64_t n, void* stream);
  int (*mark_selected)(const MarkSelected& kernel, int64_t n, void* stream);
  int (*mark_by_rules)(const MarkByRules<false>& kernel, int64_t n,
                       void* stream);
  int (*mark_by_norm)(const MarkByRules<true>& kernel, int64_t n, void* stream);
  int (*evict_rows)(const EvictRows& kernel, int64_t n, void* stream);
  int (*count_evicted)(const CountEvicted& kernel, int64_t n, void* stream);
  // Of tier_functors.h.
  int (*touch_cached)(const TouchCached& kernel, int64_t n, void* stream);
  int (*promote_rows)(const PromoteRows& kernel, int64_t n, void* stream);
  // Of apply_functors.h.
  int (*cut_pieces)(const CutPieces& kernel, int64_t n, void* stream);
  int (*sum_pieces)(const SumPieces& kernel, int64_t n, void* stream);
  int (*apply_rows)(const RuleBytes& rule, const RowsView& rows,
                    const SortedBatch& batch, const Gradients& gradients,
                    const CutRow* cut, const float* sums,
                    const int64_t* sum_counts, uint32_t version, void* stream);
  // Of pooling_functors.h.
  int (*lookup_bags)(const LookupBags& kernel, int64_t n, void* stream);
  int (*pool_bags)(const PoolBags& kernel, int64_t n, void* stream);
  int (*pool_gradients)(const PoolGradients& kernel, int64_t n, void* stream);
  int (*find_splits)(const FindSplits& kernel, int64_t n, void* stream);
};

extern "C" const DeviceLaunchers* tfe_cuda_launchers();
extern "C" const DeviceLaunchers* tfe_host_launchers();

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CUDA_LAUNCHERS_H_
