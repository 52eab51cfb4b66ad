// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/admission.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <new>

#include "cc/core/hash.h"
#include "cc/core/memory.h"

namespace tf_embedding {
namespace {

constexpr int64_t kMaxFilterFreq = std::numeric_limits<uint32_t>::max();
// 50 hashes, which no one needs.
constexpr double kLeastProbability = 1e-15;
// No address space holds more.
constexpr double kMaxBloomBytes = 1e14;

struct KindName {
  AdmissionKind kind;
  const char* name;
};
constexpr KindName kKindNames[] = {
    {AdmissionKind::kAll, ""},
    {AdmissionKind::kCounter, "counter"},
    {AdmissionKind::kBloom, "bloom"},
    {AdmissionKind::kProbabilistic, "probabilistic"},
};

Status ShapeBloom(const AdmissionSpec& spec, BloomShape* shape) {
  if (spec.max_elements < 1) {
    return InvalidArgument("max_element_size is ", spec.max_elements,
                           "; it must be 1 or more");
  }
  if (!(spec.probability >= kLeastProbability && spec.probability < 1)) {
    return InvalidArgument("false_positive_probability is ", spec.probability,
                           "; it must be in [1e-15, 1)");
  }
  const int bits = spec.counter_bits;
  if (bits != 8 && bits != 16 && bits != 32 && bits != 64) {
    return InvalidArgument("counter_bits is ", bits,
                           "; it must be 8, 16, 32 or 64");
  }
  if (bits < 32 && spec.filter_freq >= int64_t{1} << bits) {
    return InvalidArgument("filter_freq is ", spec.filter_freq,
                           "; a counter of ", bits, " bits holds at most ",
                           (int64_t{1} << bits) - 1);
  }
  const double ln2 = std::log(2.0);
  const double keys =
      std::ldexp(static_cast<double>(spec.max_elements), -kLog2Segments);
  const double counters = std::ceil(-std::log(spec.probability) / (ln2 * ln2) *
                                    (keys + std::sqrt(keys) + 2));
  shape->num_hashes = static_cast<int>(std::ceil(-std::log2(spec.probability)));
  shape->counter_bytes = bits / 8;
  if (std::ldexp(counters, kLog2Segments) * shape->counter_bytes >
      kMaxBloomBytes) {
    return InvalidArgument("max_element_size is ", spec.max_elements,
                           ", whose filter has more than ", kMaxBloomBytes,
                           " bytes; make it less, or the counters narrower");
  }
  shape->segment_counters = static_cast<int64_t>(counters);
  return Status();
}

}  // namespace

Status ParseAdmissionKind(const std::string& name, AdmissionKind* kind) {
  for (const KindName& known : kKindNames) {
    if (name == known.name) {
      *kind = known.kind;
      return Status();
    }
  }
  return InvalidArgument("filter is \"", name,
                         "\"; it must be counter, bloom or probabilistic, or "
                         "empty for none");
}

const char* AdmissionKindName(AdmissionKind kind) {
  for (const KindName& known : kKindNames) {
    if (kind == known.kind) return known.name;
  }
  return "";
}

int64_t BloomShape::Offset(int64_t block, int log2_blocks) const {
  if (log2_blocks <= kLog2Segments) {
    return (block << (kLog2Segments - log2_blocks)) * segment_counters *
           counter_bytes;
  }
  const int shift = log2_blocks - kLog2Segments;
  const int64_t rest = block & ((int64_t{1} << shift) - 1);
  return ((block >> shift) * segment_counters +
          (segment_counters * rest >> shift)) *
         counter_bytes;
}

Status Admission::Check(const AdmissionSpec& spec, BloomShape* bloom) {
  *bloom = BloomShape();
  switch (spec.kind) {
    case AdmissionKind::kAll:
      return Status();
    case AdmissionKind::kCounter:
    case AdmissionKind::kBloom:
      if (spec.filter_freq < 1 || spec.filter_freq > kMaxFilterFreq) {
        return InvalidArgument("filter_freq is ", spec.filter_freq,
                               "; it must be in [1, ", kMaxFilterFreq, "]");
      }
      if (spec.kind == AdmissionKind::kBloom) {
        TFE_RETURN_IF_ERROR(ShapeBloom(spec, bloom));
      }
      break;
    case AdmissionKind::kProbabilistic:
      if (!(spec.probability > 0 && spec.probability <= 1)) {
        return InvalidArgument("probability is ", spec.probability,
                               "; it must be in (0, 1]");
      }
      break;
  }
  if (spec.no_permission && !std::isfinite(*spec.no_permission)) {
    return InvalidArgument("default_value_no_permission is ",
                           *spec.no_permission, "; it must be finite");
  }
  return Status();
}

Status Admission::Create(const AdmissionSpec& spec, int log2_shards,
                         std::unique_ptr<Admission>* admission) {
  admission->reset();
  BloomShape bloom;
  TFE_RETURN_IF_ERROR(Check(spec, &bloom));
  if (spec.kind != AdmissionKind::kAll) {
    admission->reset(new Admission(spec, bloom, log2_shards));
  }
  return Status();
}

Admission::Admission(const AdmissionSpec& spec, const BloomShape& bloom,
                     int log2_shards)
    : spec_(spec), bloom_(bloom), log2_shards_(log2_shards) {
  const int num_shards = 1 << log2_shards;
  per_shard_.reserve(num_shards);
  for (int s = 0; s < num_shards; ++s) {
    per_shard_.push_back(
        std::make_unique<PerShard>(static_cast<double>(s) / num_shards));
  }
  if (spec.kind == AdmissionKind::kBloom) {
    counters_ = static_cast<char*>(MapPages(bloom_.bytes()));
  }
}

Admission::~Admission() { UnmapPages(counters_, bloom_.bytes()); }

int Admission::Admit(int shard, const int64_t* keys, const uint64_t* hashes,
                     const int64_t* counts, int n, int64_t step,
                     int64_t* totals) {
  // What the total must reach; of a draw, 1.
  int64_t least = spec_.filter_freq;
  if (spec_.kind == AdmissionKind::kCounter) {
    CountCandidates(keys, hashes, counts, n, totals,
                    &per_shard_[shard]->candidates);
  } else if (spec_.kind == AdmissionKind::kBloom) {
    CountInBloom(hashes, counts, n, totals);
  } else {
    Draw(hashes, counts, n, step, totals);
    least = 1;
  }
  int admitted = 0;
  for (int i = 0; i < n; ++i) {
    if (totals[i] < least) {
      totals[i] = 0;
    } else {
      ++admitted;
    }
  }
  return admitted;
}

void Admission::CountCandidates(const int64_t* keys, const uint64_t* hashes,
                                const int64_t* counts, int n, int64_t* totals,
                                ShardIndex* candidates) const {
  candidates->Reserve(n);  // nothing throws from here on
  for (int i = 0; i < n; ++i) {
    TFE_PREFETCH_READ(candidates->buckets() +
                      BucketOfHash(hashes[i], candidates->num_buckets()));
  }
  for (int i = 0; i < n; ++i) {
    uint32_t* const count = candidates->Find(hashes[i], keys[i]);
    totals[i] = counts[i] + (count == nullptr ? 0 : *count);
    const auto kept =
        static_cast<uint32_t>(std::min<int64_t>(totals[i], kMaxCandidateCount));
    if (count != nullptr) {
      *count = kept;
    } else if (totals[i] < spec_.filter_freq) {
      candidates->Insert(hashes[i], keys[i], kept);
    }
  }
}

void Admission::CountInBloom(const uint64_t* hashes, const int64_t* counts,
                             int n, int64_t* totals) {
  WithCounters(counters_, bloom_.counter_bytes, [&](auto* counters) {
    for (int i = 0; i < n; ++i) {
      if (i + 1 < n) {
        // Those of the next key are on their way from memory.
        BloomPlaces next(bloom_, hashes[i + 1]);
        for (int h = 0; h < bloom_.num_hashes; ++h) {
          TFE_PREFETCH_WRITE(counters + next.Next());
        }
      }
      totals[i] =
          CountToInt64(BloomRaise(counters, bloom_, hashes[i], counts[i]));
    }
    return 0;
  });
}

void Admission::Draw(const uint64_t* hashes, const int64_t* counts, int n,
                     int64_t step, int64_t* totals) const {
  const uint64_t seed = DrawSeed(spec_.seed, step);
  for (int i = 0; i < n; ++i) {
    totals[i] = DrawAdmits(seed, hashes[i], spec_.probability, counts[i])
                    ? counts[i]
                    : 0;
  }
}

void Admission::Trim(int shard) {
  try {
    per_shard_[shard]->candidates.Shrink();
  } catch (const std::bad_alloc&) {
    // It stays as large as it is.
  }
}

void Admission::Clear() {
  for (const auto& here : per_shard_) here->candidates.Clear();
  if (counters_ != nullptr) ResetPages(counters_, bloom_.bytes());
}

int64_t Admission::Count(int shard, uint64_t hash, int64_t key) const {
  if (spec_.kind == AdmissionKind::kCounter) {
    const uint32_t count = per_shard_[shard]->candidates.FindRow(hash, key);
    return count == kNoRow ? 0 : count;
  }
  if (spec_.kind != AdmissionKind::kBloom) return 0;
  return CountToInt64(
      WithCounters(counters_, bloom_.counter_bytes, [&](const auto* counters) {
        return BloomCount(counters, bloom_, hash);
      }));
}

int64_t Admission::fixed_bytes() const {
  return bloom_.bytes() +
         static_cast<int64_t>(sizeof(*this) +
                              per_shard_.size() * sizeof(PerShard));
}

bool Admission::AddCandidate(int shard, uint64_t hash, int64_t key,
                             uint32_t count) {
  ShardIndex& candidates = per_shard_[shard]->candidates;
  if (candidates.FindRow(hash, key) != kNoRow) return false;
  candidates.Reserve(1);
  candidates.Insert(hash, key, std::min(count, kMaxCandidateCount));
  return true;
}

void Admission::KeepCounters(const Admission& old) {
  if (counters_ == nullptr) return;
  WithCounters(counters_, bloom_.counter_bytes, [&](auto* counters) {
    const auto* from = reinterpret_cast<decltype(counters)>(old.counters_);
    for (int64_t i = 0; i < bloom_.num_counters(); ++i) {
      // Reading leaves untouched pages untouched.
      if (from[i] > counters[i]) counters[i] = from[i];
    }
    return 0;
  });
}

}  // namespace tf_embedding
