// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// What a table says of itself: counts, memory, its foremost keys, and how its
// rows are distributed.
//
// Counts of rows are kept by each shard under its lock, those of lookups by the
// table in two relaxed atomics, one addition a chunk of keys; nothing else is
// counted while a table works. All the rest is computed when it is asked for,
// one shard at a time, under its lock as a reader: TableStats looks at the
// index's sizes and a bounded sample of its buckets, TopKeys and Histogram at
// every row once. Beside updates the shards are not of one moment.

#ifndef TF_EMBEDDING_CC_CORE_STATS_H_
#define TF_EMBEDDING_CC_CORE_STATS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "cc/core/status.h"

namespace tf_embedding {

// Of a shard since the table was made, whatever replaced its content since.
struct ShardCounters {
  int64_t inserted = 0;  // rows born, but those of restores and imports
  int64_t admitted = 0;  // keys that earned their row by a filter
  int64_t refused = 0;   // occurrences dropped because the key had not
  int64_t evicted = 0;
  int64_t removed = 0;   // by remove and clear
  int64_t examined = 0;  // keys looked at in the queue of a bound
};

struct TableStats {
  int64_t size = 0;
  int64_t index_bytes = 0;
  int64_t row_bytes = 0;        // records and metas, used or not
  int64_t row_used_bytes = 0;   // those of rows with a key
  int64_t candidates = 0;       // keys without a row that a filter counts
  int64_t candidate_bytes = 0;  // of a filter: candidates, or its counters
  int64_t eviction_bytes = 0;   // queues, and evicted rows that are kept
  int64_t fixed_bytes = 0;      // shards, initializer matrix, FoundRows
  ShardCounters counters;
  // Occurrences of keys in lookups, and those that had a row.
  int64_t lookups = 0;
  int64_t lookup_hits = 0;
  int64_t index_slots = 0;
  // Of a sample of the keys: buckets read to find each, in all and at most.
  int64_t sampled_keys = 0;
  int64_t sampled_probes = 0;
  int64_t max_probe = 0;
  // Of a table of two tiers (cc/cuda/tier_functors.h), all of them in
  // row_bytes: records in the host's memory, and what the device has for those
  // in use.
  int64_t host_bytes = 0;
  int64_t cache_bytes = 0;
  // Occurrences of keys in updates whose record was in the cache, or was not.
  int64_t cache_hits = 0;
  int64_t cache_misses = 0;
};

// By what rows are put in order or counted.
enum class RowMeasure {
  kFrequency,
  kVersion,
  kAge,   // steps since the last update
  kNorm,  // L2, of the vector
};

// "frequency", "version", "age" or "norm".
Status ParseRowMeasure(const std::string& name, RowMeasure* measure);

// Keys by a measure, highest first, then by key.
struct TopKeys {
  std::vector<int64_t> keys;
  std::vector<double> values;
};

// counts[i]: rows whose measure is in [edges[i], edges[i + 1]). The edges are
// the same for every table: 0, then powers of two up to 2^32 (of norms: of the
// square root of two, from 2^-20 to 2^12); the last bin takes all above, and
// what is not a number.
struct Histogram {
  std::vector<double> edges;
  std::vector<int64_t> counts;
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_STATS_H_
