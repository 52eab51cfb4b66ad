// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// What a save and a restore do with the counts of filters.

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "cc/core/admission.h"
#include "cc/core/checkpoint_format.h"
#include "cc/core/checkpoint_writer.h"
#include "cc/core/crc32c.h"
#include "cc/core/table.h"
#include "tests/cc/admission_util.h"
#include "tests/cc/executors.h"
#include "tests/cc/random.h"
#include "tests/cc/table_util.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

using testing::Bloom;
using testing::Contents;
using testing::Counter;
using testing::ExportAll;
using testing::Filtered;
using testing::Frequencies;
using testing::kDim;
using testing::Load;
using testing::Probabilistic;
using testing::Save;
using testing::Train;

TEST(EveryBlockOfABloomFilterHasItsOwnBytes) {
  for (int64_t segment_counters : {1, 5, 63, 1000, 65537}) {
    const BloomShape shape{3, segment_counters, 4};
    for (int log2_blocks = 0; log2_blocks <= kLog2Buckets; ++log2_blocks) {
      const int64_t num_blocks = int64_t{1} << log2_blocks;
      int64_t end = 0;
      for (int64_t b = 0; b < num_blocks; ++b) {
        EXPECT_EQ(shape.Offset(b, log2_blocks), end);
        end = shape.Offset(b + 1, log2_blocks);
        EXPECT_TRUE(end >= shape.Offset(b, log2_blocks) && end % 4 == 0);
        // A block of a segment stays in it.
        if (log2_blocks >= kLog2Segments) {
          const int64_t segment = b >> (log2_blocks - kLog2Segments);
          EXPECT_TRUE(end <= (segment + 1) * segment_counters * 4);
        }
      }
      EXPECT_EQ(end, shape.bytes());
    }
  }
}

// Fewer blocks than shards, and more, on both sides; training goes on as if
// nothing had been.
TEST(CountsSurviveASaveAndARestore) {
  const std::vector<int64_t> universe = testing::MixedKeys(30000);
  for (const AdmissionSpec& spec :
       {Counter(4), Bloom(4, 10000, 0.01, 16), Probabilistic(0.1, 2)}) {
    for (int64_t n : {0, 300, 30000}) {
      for (int from : {0, 7}) {
        for (int to : {0, 5}) {
          testing::Trace trace("filter ", AdmissionKindName(spec.kind),
                               ", keys ", n, ", log2_shards ", from, " to ",
                               to);
          const auto table = Filtered(spec, from);
          const auto keys =
              std::vector<int64_t>(universe.begin(), universe.begin() + n);
          Train(table.get(), keys);
          Train(table.get(),
                std::vector<int64_t>(keys.begin() + n / 2, keys.end()), 1);
          const auto other = Filtered(spec, to);
          Train(other.get(), {1, 2, 77777});
          const RestoreReport report =
              Load({Save(*table)}, RestoreOptions(), other.get());
          EXPECT_EQ(report.counts_dropped, false);
          EXPECT_EQ(report.rows, table->size());
          EXPECT_TRUE(ExportAll(*other) == ExportAll(*table));
          EXPECT_TRUE(Frequencies(*other, universe) ==
                      Frequencies(*table, universe));
          if (spec.kind == AdmissionKind::kCounter) {
            EXPECT_EQ(Frequencies(*other, {77777})[0], 0);
          }
          for (EmbeddingTable* each : {table.get(), other.get()}) {
            Train(each, keys, 2);
            Train(each, keys, 3);
          }
          EXPECT_TRUE(ExportAll(*other) == ExportAll(*table));
          if (spec.kind == AdmissionKind::kCounter) {
            EXPECT_EQ(table->size(), n - n / 2);
          }
        }
      }
    }
  }
}

TEST(CandidatesOfPartsIntoParts) {
  constexpr int64_t kKeys = 20000;
  const std::vector<int64_t> keys = testing::MixedKeys(kKeys);
  const auto whole = Filtered(Counter(3));
  Train(whole.get(), keys);
  Train(whole.get(), std::vector<int64_t>(keys.begin() + 5000, keys.end()));
  Train(whole.get(), std::vector<int64_t>(keys.begin() + 12000, keys.end()));
  const std::vector<int64_t> want = Frequencies(*whole, keys);
  const auto split = [](const CheckpointParts& saved, int num_parts) {
    std::vector<std::unique_ptr<EmbeddingTable>> parts;
    for (int part = 0; part < num_parts; ++part) {
      parts.push_back(Filtered(Counter(3), 2));
      RestoreOptions options;
      options.part = part;
      options.num_parts = num_parts;
      const RestoreReport report = Load(saved, options, parts.back().get());
      EXPECT_EQ(report.counts_dropped, false);
    }
    return parts;
  };
  for (int from : {1, 3}) {
    CheckpointParts saved;
    const auto first = split({Save(*whole)}, from);
    for (int part = 0; part < from; ++part) {
      saved.push_back(Save(*first[part], part, from));
    }
    for (int to : {1, 2, 5}) {
      std::vector<int64_t> got(kKeys, 0);
      int64_t candidates = 0;
      for (const auto& part : split(saved, to)) {
        const std::vector<int64_t> of_part = Frequencies(*part, keys);
        for (int64_t i = 0; i < kKeys; ++i) got[i] += of_part[i];
        candidates += part->stats().candidates;
      }
      EXPECT_TRUE(got == want);
      EXPECT_EQ(candidates, 12000);
    }
  }
}

TEST(AnotherFilterDropsCountsAndKeepsRows) {
  const AdmissionSpec none;
  const std::vector<AdmissionSpec> specs = {
      none, Counter(3), Bloom(3, 100, 0.01, 16), Probabilistic(0.5, 1)};
  const std::vector<int64_t> keys = testing::MixedKeys(50);
  for (const AdmissionSpec& from : specs) {
    for (const AdmissionSpec& to : specs) {
      testing::Trace trace("filter \"", AdmissionKindName(from.kind),
                           "\" to \"", AdmissionKindName(to.kind), "\"");
      const auto table = Filtered(from);
      Train(table.get(), keys);
      const int64_t key = 1234;
      const std::vector<float> value(kDim, 1.0f);
      SerialExecutor executor;
      EXPECT_OK(table->Upsert(&key, value.data(), 1, 0, &executor));
      const auto other = Filtered(to);
      Train(other.get(), keys);
      const RestoreReport report =
          Load({Save(*table)}, RestoreOptions(), other.get());
      const bool counts = from.kind == AdmissionKind::kCounter ||
                          from.kind == AdmissionKind::kBloom;
      EXPECT_EQ(report.counts_dropped, counts && to.kind != from.kind);
      EXPECT_TRUE(ExportAll(*other) == ExportAll(*table));
      const int64_t sum = counts && to.kind == from.kind ? 1 : 0;
      if (counts) EXPECT_EQ(Frequencies(*other, {keys[9]})[0], sum);
    }
  }
  // A lower bar: rows stay, counts count on.
  const auto table = Filtered(Counter(10));
  for (int step = 0; step < 6; ++step) Train(table.get(), {1});
  for (int step = 0; step < 12; ++step) Train(table.get(), {2});
  for (int64_t filter_freq : {2, 8, 1000}) {
    const auto other = Filtered(Counter(filter_freq));
    Load({Save(*table)}, RestoreOptions(), other.get());
    EXPECT_TRUE(Frequencies(*other, {1, 2}) == (std::vector<int64_t>{6, 12}));
    Train(other.get(), {1, 2});
    EXPECT_EQ(other->size(), filter_freq == 2 ? 2 : 1);
  }
  // Bloom filters of another shape.
  const auto bloom = Filtered(Bloom(3, 100, 0.01, 16));
  Train(bloom.get(), {1});
  for (const AdmissionSpec& spec :
       {Bloom(3, 90000, 0.01, 16), Bloom(3, 100, 0.001, 16),
        Bloom(3, 100, 0.01, 32)}) {
    const auto other = Filtered(spec);
    EXPECT_EQ(
        Load({Save(*bloom)}, RestoreOptions(), other.get()).counts_dropped,
        true);
    EXPECT_EQ(Frequencies(*other, {1})[0], 0);
  }
}

TEST(APartialRestoreKeepsWhatTheCheckpointLacks) {
  for (const AdmissionSpec& spec : {Counter(3), Bloom(3, 100, 0.001, 16)}) {
    const auto saved = Filtered(spec);
    Train(saved.get(), {1, 2, 2, 3, 3, 3});
    const auto table = Filtered(spec);
    Train(table.get(), {1, 1, 2, 2, 2, 3, 4, 5, 5, 5});
    RestoreOptions options;
    options.partial = true;
    Load({Save(*saved)}, options, table.get());
    EXPECT_EQ(table->size(), 3);
    const int64_t of_both = spec.kind == AdmissionKind::kCounter ? 1 : 2;
    EXPECT_TRUE(Frequencies(*table, {1, 2, 3, 4, 5}) ==
                (std::vector<int64_t>{of_both, 3, 3, 1, 3}));
    if (spec.kind == AdmissionKind::kCounter) {
      EXPECT_EQ(table->stats().candidates, 2);
    }
    EXPECT_EQ(table->stats().counters.admitted, 2);
  }
}

TEST(KeysOfADeltaAreNoCandidates) {
  SerialExecutor executor;
  const auto table = Filtered(Counter(2));
  const auto copy = Filtered(Counter(2));
  uint32_t since;
  const auto save = [&] {
    EXPECT_OK(table->StartDelta("copy", &since));
    CheckpointWriter writer(table.get(), 0, 1, since);
    std::vector<std::string> elements(writer.num_elements());
    for (int64_t i = 0; i < writer.num_elements(); ++i) {
      EXPECT_OK(writer.Encode(i, &elements[i]));
    }
    EXPECT_OK(table->FinishDelta("copy"));
    return elements;
  };
  Train(table.get(), {1, 2, 3, 4, 4});
  Load({save()}, RestoreOptions(), copy.get());
  EXPECT_EQ(since, 0u);
  int64_t removed;
  const int64_t gone = 4;
  EXPECT_OK(table->Remove(&gone, 1, &removed, &executor));
  Train(table.get(), {1, 2, 5});
  Train(copy.get(), {2});
  PreparedDelta delta;
  DeltaReport report;
  EXPECT_OK(copy->PrepareDelta({save()}, RestoreOptions(), &executor, &delta));
  EXPECT_TRUE(since > 0);
  EXPECT_OK(copy->ApplyDelta(delta, &executor, &report));
  EXPECT_TRUE(ExportAll(*copy) == ExportAll(*table));
  // It holds no counts: that of 3 is the base's, and 5 has none.
  EXPECT_TRUE(Frequencies(*copy, {1, 2, 3, 4, 5}) ==
              (std::vector<int64_t>{2, 2, 1, 0, 0}));
  EXPECT_EQ(copy->stats().candidates, 1);
}

TEST(DamagedCountsAreRefused) {
  for (const AdmissionSpec& spec : {Counter(3), Bloom(3, 1, 0.5, 8)}) {
    const auto saved = Filtered(spec, 1);
    Train(saved.get(), {1, 2, 2, 3, 3, 3, -9});
    const std::vector<std::string> good = Save(*saved);
    EXPECT_EQ(good.size(), 3u);
    const auto table = Filtered(spec, 1);
    Train(table.get(), {8, 8, 8, 7});
    const Contents before = ExportAll(*table);
    const auto status_of = [&](const std::vector<std::string>& elements) {
      SerialExecutor executor;
      RestoreReport report;
      return table->Restore({elements}, RestoreOptions(), &executor, &report);
    };
    for (size_t size = 0; size < good[1].size(); ++size) {
      std::vector<std::string> bad = good;
      bad[1].resize(size);
      EXPECT_TRUE(!status_of(bad).ok());
      bad[1] = good[1];
      bad[1][size] ^= 4;
      EXPECT_TRUE(!status_of(bad).ok());
    }
    std::vector<std::string> bad = good;
    std::swap(bad[0], bad[1]);
    EXPECT_ERROR(status_of(bad), StatusCode::kDataLoss,
                 "block 0 of 1 belongs to another checkpoint");
    // Nonsense under a right checksum does no harm.
    testing::Rng rng(6);
    for (int round = 0; round < 4000; ++round) {
      bad = good;
      std::string& bytes = bad[1 + round % 2];
      const size_t at = 8 + rng.Next() % (bytes.size() - 12);
      if (round % 3 == 0) {
        const uint64_t word = ~0ull << rng.Next() % 64;
        std::memcpy(&bytes[at], &word,
                    std::min<size_t>(8, bytes.size() - 4 - at));
      } else {
        bytes[at] ^= static_cast<char>(1 << rng.Next() % 8);
      }
      const uint32_t checksum = Crc32c(bytes.data(), bytes.size() - 4);
      std::memcpy(&bytes[bytes.size() - 4], &checksum, 4);
      const auto other = Filtered(spec, 1);
      SerialExecutor executor;
      RestoreReport report;
      if (!other->Restore({bad}, RestoreOptions(), &executor, &report).ok()) {
        EXPECT_EQ(other->size(), 0);
      }
    }
    EXPECT_TRUE(ExportAll(*table) == before);
    EXPECT_EQ(Frequencies(*table, {7})[0], 1);
  }
}

}  // namespace
}  // namespace tf_embedding
