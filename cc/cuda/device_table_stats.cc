// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// DeviceTable: what cc/core/stats.h speaks of.

#include <algorithm>
#include <iterator>
#include <numeric>
#include <vector>

#include "cc/cuda/device_table_internal.h"

namespace tf_embedding {
namespace {

// Buckets that probe lengths are told by.
constexpr uint32_t kSampledBuckets = 1 << 16;

}  // namespace

Status DeviceTable::ReadTallies(void* stream, TableTallies* tallies) {
  TFE_CHECK_DEVICE(
      launchers_->copy(tallies, tallies_, sizeof(*tallies), stream));
  return Check(launchers_->synchronize(stream));
}

Status DeviceTable::Stats(void* stream, TableStats* stats) {
  const Turn turn(this, stream);
  TableTallies tallies;
  TFE_RETURN_IF_ERROR(ReadTallies(stream, &tallies));
  TFE_RETURN_IF_ERROR(ReadCounters(&content_, stream));
  stats->size = content_.known.size;
  stats->counters.inserted = static_cast<int64_t>(tallies.inserted);
  stats->counters.admitted = static_cast<int64_t>(tallies.admitted);
  stats->counters.refused = static_cast<int64_t>(tallies.refused);
  stats->counters.evicted = static_cast<int64_t>(tallies.evicted);
  stats->counters.removed = static_cast<int64_t>(tallies.removed) + cleared_;
  const uint64_t misses = std::accumulate(
      std::begin(tallies.misses), std::end(tallies.misses), uint64_t{0});
  stats->lookups = lookups_;
  stats->lookup_hits = lookups_ - static_cast<int64_t>(misses);
  stats->candidates = static_cast<int64_t>(content_.known.candidates);
  stats->candidate_bytes = int64_t{content_.candidates.num_buckets} *
                               static_cast<int64_t>(sizeof(IndexBucket)) +
                           bloom_.bytes();
  stats->index_bytes = int64_t{content_.view.index.num_buckets} *
                       static_cast<int64_t>(sizeof(IndexBucket));
  stats->index_slots =
      int64_t{content_.view.index.num_buckets} * kSlotsPerBucket;
  TFE_RETURN_IF_ERROR(SampleProbes(stream, stats));
  const int64_t row_bytes = SlabBytesOfRow(content_.view.rows);
  stats->row_bytes =
      content_.row_capacity * row_bytes +
      content_.free_capacity * static_cast<int64_t>(sizeof(uint32_t));
  stats->row_used_bytes = stats->size * row_bytes;
  stats->eviction_bytes = ring_bytes_ + sweep_bytes_;
  stats->fixed_bytes =
      static_cast<int64_t>(sizeof(*this)) + workspace_bytes_ +
      initial_.matrix_rows * options_.dim * int64_t{sizeof(float)};
  return TierStats(stream, stats);
}

Status DeviceTable::SampleProbes(void* stream, TableStats* stats) {
  const IndexView& index = content_.view.index;
  std::vector<IndexBucket> buckets(
      std::min(index.num_buckets, kSampledBuckets));
  TFE_CHECK_DEVICE(launchers_->copy(
      buckets.data(), index.buckets,
      static_cast<int64_t>(buckets.size() * sizeof(IndexBucket)), stream));
  TFE_CHECK_DEVICE(launchers_->synchronize(stream));
  for (size_t b = 0; b < buckets.size(); ++b) {
    for (int s = 0; s < kSlotsPerBucket; ++s) {
      if ((buckets[b].control >> s & 1) == 0) continue;
      const int64_t home =
          BucketOfHash(MixKey(buckets[b].keys[s]), index.num_buckets);
      const int64_t away =
          (static_cast<int64_t>(b) - home + index.num_buckets) %
          index.num_buckets;
      ++stats->sampled_keys;
      stats->sampled_probes += away + 1;
      stats->max_probe = std::max(stats->max_probe, away + 1);
    }
  }
  return Status();
}

}  // namespace tf_embedding
