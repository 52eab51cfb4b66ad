// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// DeviceTable: admission (admission_functors.h).

#include <algorithm>
#include <vector>

#include "cc/cuda/device_table_internal.h"

namespace tf_embedding {

Status DeviceTable::MakeFilter(Content* content, void* stream) {
  if (options_.admission.kind != AdmissionKind::kBloom) return Status();
  TFE_RETURN_IF_ERROR(AllocateBytes(*content, bloom_.bytes(), &content->bloom));
  return Check(launchers_->set_zero(content->bloom, bloom_.bytes(), stream));
}

void DeviceTable::ReleaseFilter(Content* content) {
  allocator_->Release(content->candidates.buckets);
  allocator_->Release(content->bloom);
}

Status DeviceTable::AskFilter(const Content& content, const int64_t* keys,
                              int64_t n, uint32_t step, const Gradients& asks,
                              const BatchSpace& space, void* stream) {
  const AdmissionSpec& spec = options_.admission;
  const uint32_t* const missing = space.flags;
  TFE_CHECK_DEVICE(launchers_->set_zero(space.occurrences,
                                        n * int64_t{sizeof(uint64_t)}, stream));
  TFE_CHECK_DEVICE(launchers_->count_occurrences(
      CountOccurrences{space.rows, space.scratch, space.slot_of, asks,
                       reinterpret_cast<uint64_t*>(space.occurrences), missing},
      n, stream));
  const Decisions out{space.leaders, space.occurrences, space.decisions};
  if (spec.kind == AdmissionKind::kCounter) {
    TFE_CHECK_DEVICE(launchers_->ask_counter(
        AskCounter{content.candidates, keys, spec.filter_freq, out, missing}, n,
        stream));
    TFE_CHECK_DEVICE(launchers_->drop_promoted(
        DropPromoted{content.candidates, keys, space.decisions, missing}, n,
        stream));
    TFE_CHECK_DEVICE(launchers_->add_candidates(
        AddCandidates{content.candidates, keys, space.occurrences,
                      space.decisions, missing},
        n, stream));
  } else if (spec.kind == AdmissionKind::kProbabilistic) {
    TFE_CHECK_DEVICE(
        launchers_->ask_draws(AskDraws{keys, DrawSeed(spec.seed, step),
                                       spec.probability, out, missing},
                              n, stream));
  } else {
    uint32_t* const segments = space.ranks;  // which are not needed yet
    TFE_CHECK_DEVICE(launchers_->find_segments(
        FindSegments{keys, space.leaders, segments, space.decisions}, n,
        stream));
    TFE_CHECK_DEVICE(launchers_->sort(
        segments, space.sorted_rows, space.positions, space.sorted_positions, n,
        kLog2Segments + 1, space.temp, space.temp_bytes, stream));
    TFE_CHECK_DEVICE(launchers_->ask_bloom(
        AskBloom{bloom_, content.bloom, keys, space.sorted_rows,
                 space.sorted_positions, n, spec.filter_freq, out, missing},
        kNumSegments, stream));
  }
  const int64_t tally_items = std::min(n, kTallyItems);
  TFE_CHECK_DEVICE(launchers_->tally_decisions(
      TallyDecisions{space.occurrences, space.decisions, n, tally_items,
                     content.view.counters, tallies_, missing},
      tally_items, stream));
  return Check(launchers_->prefix_sum(space.leaders, space.ranks, n, space.temp,
                                      space.temp_bytes, stream));
}

Status DeviceTable::Forget(const Content& content, const int64_t* keys,
                           int64_t n, const uint32_t* leaders, void* stream) {
  if (content.candidates.num_buckets == 0) return Status();
  return Check(launchers_->forget_candidates(
      ForgetCandidates{content.candidates, keys, leaders,
                       content.view.counters},
      n, stream));
}

InitialView DeviceTable::Absent() const {
  if (!filtered() || !options_.admission.no_permission) return initial_;
  InitialView absent;
  absent.a = *options_.admission.no_permission;
  return absent;
}

Status DeviceTable::CountsToHost(const EmbeddingTable& table, void* stream) {
  const Turn turn(this, stream);
  return table.VisitFilter([&](Admission* filter) -> Status {
    if (content_.bloom != nullptr) {
      TFE_CHECK_DEVICE(launchers_->copy(filter->counters(), content_.bloom,
                                        bloom_.bytes(), stream));
    }
    std::vector<IndexBucket> buckets(content_.candidates.num_buckets);
    TFE_CHECK_DEVICE(launchers_->copy(
        buckets.data(), content_.candidates.buckets,
        static_cast<int64_t>(buckets.size() * sizeof(IndexBucket)), stream));
    TFE_CHECK_DEVICE(launchers_->synchronize(stream));
    for (const IndexBucket& bucket : buckets) {
      for (int s = 0; s < kSlotsPerBucket; ++s) {
        if ((bucket.control >> s & 1) == 0) continue;
        const uint64_t hash = MixKey(bucket.keys[s]);
        const auto shard =
            static_cast<int>(ShardOfHash(hash, filter->log2_shards()));
        filter->AddCandidate(shard, hash, bucket.keys[s], bucket.rows[s]);
      }
    }
    return Status();
  });
}

Status DeviceTable::CountsFromHost(const EmbeddingTable& table, void* stream) {
  const Turn turn(this, stream);
  return table.VisitFilter([&](Admission* filter) -> Status {
    if (content_.bloom != nullptr) {
      TFE_CHECK_DEVICE(launchers_->copy(content_.bloom, filter->counters(),
                                        bloom_.bytes(), stream));
      return Check(launchers_->synchronize(stream));
    }
    std::vector<int64_t> keys, counts;
    for (int s = 0; s < 1 << filter->log2_shards(); ++s) {
      filter->ForEachCandidate(s, [&](int64_t key, uint32_t count) {
        keys.push_back(key);
        counts.push_back(count);
      });
    }
    if (keys.empty()) return Status();
    const auto n = static_cast<int64_t>(keys.size());
    TFE_RETURN_IF_ERROR(ReadCounters(&content_, stream));
    TFE_RETURN_IF_ERROR(GrowIndex(content_, n, &content_.candidates, stream));
    // All of them at once are told as a batch of refused leaders is.
    std::vector<Decision> decisions(keys.size(), Decision::kCandidate);
    int64_t *device_keys, *device_counts;
    Decision* device_decisions;
    const auto carve = [&](char* base) {
      Carver carver(base);
      carver.Take(n, &device_keys);
      carver.Take(n, &device_counts);
      carver.Take(n, &device_decisions);
      return carver.used();
    };
    void* memory;
    TFE_RETURN_IF_ERROR(AllocateBytes(content_, carve(nullptr), &memory));
    carve(static_cast<char*>(memory));
    const auto send = [&](auto* to, const auto& from) {
      return launchers_->copy(to, from.data(), n * int64_t{sizeof(*to)},
                              stream);
    };
    const auto add = [&]() -> Status {
      TFE_CHECK_DEVICE(send(device_keys, keys));
      TFE_CHECK_DEVICE(send(device_counts, counts));
      TFE_CHECK_DEVICE(send(device_decisions, decisions));
      TFE_CHECK_DEVICE(launchers_->add_candidates(
          AddCandidates{content_.candidates, device_keys, device_counts,
                        device_decisions, /*wanted=*/nullptr},
          n, stream));
      const auto total = static_cast<uint64_t>(n);
      TFE_CHECK_DEVICE(launchers_->copy(&content_.view.counters->candidates,
                                        &total, sizeof(total), stream));
      return ReadCounters(&content_, stream);
    };
    const Status status = add();
    allocator_->Release(memory);
    return status;
  });
}

}  // namespace tf_embedding
