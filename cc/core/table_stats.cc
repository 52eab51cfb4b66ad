// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// EmbeddingTable: what stats.h speaks of.

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "cc/core/stats.h"
#include "cc/core/table_internal.h"

namespace tf_embedding {
namespace {

// Of all shards together, to tell probe lengths by.
constexpr int64_t kSampledBuckets = 1 << 16;

constexpr int kNormBinsPerOctave = 2;
constexpr int kMinLog2Norm = -20;
constexpr int kMaxLog2Norm = 12;

double Norm(const float* vector, int dim) {
  double sum = 0;
  for (int c = 0; c < dim; ++c)
    sum += static_cast<double>(vector[c]) * vector[c];
  return std::sqrt(sum);
}

// step: the present, which ages are told from.
double Measure(RowMeasure measure, const RowMeta& meta, const float* record,
               int dim, int64_t step) {
  switch (measure) {
    case RowMeasure::kFrequency:
      return meta.frequency;
    case RowMeasure::kVersion:
      return meta.version;
    case RowMeasure::kAge:
      return static_cast<double>(std::max<int64_t>(0, step - meta.version));
    case RowMeasure::kNorm:
      return Norm(record, dim);
  }
  return 0;
}

std::vector<double> Edges(RowMeasure measure) {
  std::vector<double> edges = {0};
  if (measure == RowMeasure::kNorm) {
    const int octaves = kMaxLog2Norm - kMinLog2Norm;
    for (int i = 0; i <= octaves * kNormBinsPerOctave; ++i) {
      edges.push_back(std::exp2(kMinLog2Norm +
                                static_cast<double>(i) / kNormBinsPerOctave));
    }
  } else {
    for (int i = 0; i <= 32; ++i) edges.push_back(std::exp2(i));
  }
  return edges;
}

struct Ranked {
  double value;
  int64_t key;
};

bool Before(const Ranked& a, const Ranked& b) {
  // A norm that is not a number comes first: whoever asks should see it.
  if (std::isnan(a.value) != std::isnan(b.value)) return std::isnan(a.value);
  if (a.value > b.value) return true;
  if (a.value < b.value) return false;
  return a.key < b.key;
}

// The first n of what is offered, as a heap with the last of them on top.
class Foremost {
 public:
  explicit Foremost(int64_t n) : n_(n) {}
  void Offer(const Ranked& candidate) {
    if (static_cast<int64_t>(heap_.size()) < n_) {
      heap_.push_back(candidate);
    } else if (n_ > 0 && Before(candidate, heap_.front())) {
      std::pop_heap(heap_.begin(), heap_.end(), Before);
      heap_.back() = candidate;
    } else {
      return;
    }
    std::push_heap(heap_.begin(), heap_.end(), Before);
  }
  const std::vector<Ranked>& heap() const { return heap_; }
  std::vector<Ranked> Sorted() && {
    std::sort(heap_.begin(), heap_.end(), Before);
    return std::move(heap_);
  }

 private:
  const int64_t n_;
  std::vector<Ranked> heap_;
};

}  // namespace

Status ParseRowMeasure(const std::string& name, RowMeasure* measure) {
  if (name == "frequency") {
    *measure = RowMeasure::kFrequency;
  } else if (name == "version") {
    *measure = RowMeasure::kVersion;
  } else if (name == "age") {
    *measure = RowMeasure::kAge;
  } else if (name == "norm") {
    *measure = RowMeasure::kNorm;
  } else {
    return InvalidArgument("measure is \"", name,
                           "\"; use frequency, version, age or norm");
  }
  return Status();
}

TableStats EmbeddingTable::stats() const {
  ReaderLock lock(&layout_lock_);
  TableStats stats;
  stats.index_bytes = memory_->index.bytes();
  const int64_t row_bytes = layout_.row_bytes();
  const auto buckets_of_shard = static_cast<uint32_t>(
      kSampledBuckets / static_cast<int64_t>(shards_.size()));
  for (int s = 0; s < static_cast<int>(shards_.size()); ++s) {
    const auto& shard = shards_[s];
    ReaderLock shard_lock(shard->lock());
    if (admission_ != nullptr) {
      stats.candidates += admission_->num_candidates(s);
      stats.candidate_bytes += admission_->candidate_bytes(s);
    }
    const ShardIndex& index = shard->index();
    const auto size = static_cast<int64_t>(index.size());
    stats.size += size;
    stats.index_bytes += index.bytes();
    stats.row_bytes += shard->rows().bytes();
    if (shard->changes() != nullptr) {
      stats.row_bytes += shard->changes()->bytes();
    }
    stats.row_used_bytes += size * row_bytes;
    stats.index_slots += int64_t{index.num_buckets()} * kSlotsPerBucket;
    const ShardIndex::Probes probes = index.SampleProbes(buckets_of_shard);
    stats.sampled_keys += probes.keys;
    stats.sampled_probes += probes.total;
    stats.max_probe = std::max(stats.max_probe, probes.max);
    if (shard->eviction() != nullptr) {
      stats.eviction_bytes += shard->eviction()->bytes();
    }
    const ShardCounters& counters = shard->counters();
    stats.counters.inserted += counters.inserted;
    stats.counters.admitted += counters.admitted;
    stats.counters.refused += counters.refused;
    stats.counters.evicted += counters.evicted;
    stats.counters.removed += counters.removed;
    stats.counters.examined += counters.examined;
  }
  stats.lookups = lookups_.keys.load(std::memory_order_relaxed);
  stats.lookup_hits = lookups_.hits.load(std::memory_order_relaxed);
  stats.fixed_bytes = static_cast<int64_t>(
      sizeof(*this) + shards_.size() * (sizeof(Shard) + sizeof(ShardView)) +
      initializer_->spec().matrix.size() * sizeof(float));
  stats.fixed_bytes += memory_->found.bytes();
  if (admission_ != nullptr) stats.candidate_bytes += admission_->fixed_bytes();
  return stats;
}

Status EmbeddingTable::Top(RowMeasure measure, int64_t n, Executor* executor,
                           TopKeys* top) const {
  if (n < 0) return InvalidArgument("n is ", n, "; it must be 0 or more");
  return CatchOutOfMemory(*this, [&] {
    ReaderLock lock(&layout_lock_);
    const auto num_shards = static_cast<int64_t>(shards_.size());
    std::vector<Foremost> of_shards(num_shards, Foremost(n));
    std::atomic<bool> out_of_memory{false};
    executor->ParallelFor(num_shards, 100000, [&](int64_t from, int64_t to) {
      for (int64_t s = from; s < to; ++s) {
        try {
          const Shard& shard = *shards_[s];
          ReaderLock shard_lock(shard.lock());
          shard.index().ForEach([&](int64_t key, const uint32_t* row) {
            of_shards[s].Offer({Measure(measure, *shard.rows().meta(*row),
                                        shard.rows().record(*row), dim_, 0),
                                key});
          });
        } catch (const std::bad_alloc&) {
          out_of_memory.store(true, std::memory_order_relaxed);
        }
      }
    });
    if (out_of_memory.load()) throw std::bad_alloc();
    Foremost all(n);
    for (const Foremost& of_shard : of_shards) {
      for (const Ranked& ranked : of_shard.heap()) all.Offer(ranked);
    }
    for (const Ranked& ranked : std::move(all).Sorted()) {
      top->keys.push_back(ranked.key);
      top->values.push_back(ranked.value);
    }
    return Status();
  });
}

Status EmbeddingTable::Count(RowMeasure measure, int64_t step,
                             Executor* executor, Histogram* histogram) const {
  return CatchOutOfMemory(*this, [&] {
    ReaderLock lock(&layout_lock_);
    histogram->edges = Edges(measure);
    const std::vector<double>& edges = histogram->edges;
    const size_t num_bins = edges.size() - 1;
    const auto num_shards = static_cast<int64_t>(shards_.size());
    std::vector<std::vector<int64_t>> of_shards(num_shards,
                                                std::vector<int64_t>(num_bins));
    executor->ParallelFor(num_shards, 100000, [&](int64_t from, int64_t to) {
      for (int64_t s = from; s < to; ++s) {
        const Shard& shard = *shards_[s];
        std::vector<int64_t>& counts = of_shards[s];
        ReaderLock shard_lock(shard.lock());
        shard.index().ForEach([&](int64_t /*key*/, const uint32_t* row) {
          const double value = Measure(measure, *shard.rows().meta(*row),
                                       shard.rows().record(*row), dim_, step);
          const auto above =
              std::upper_bound(edges.begin(), edges.end(), value);
          ++counts[std::clamp<int64_t>(above - edges.begin() - 1, 0,
                                       num_bins - 1)];
        });
      }
    });
    histogram->counts.assign(num_bins, 0);
    for (const std::vector<int64_t>& counts : of_shards) {
      for (size_t b = 0; b < num_bins; ++b) histogram->counts[b] += counts[b];
    }
    return Status();
  });
}

}  // namespace tf_embedding
