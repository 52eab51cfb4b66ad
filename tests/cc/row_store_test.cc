// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Pages, the slab arena, the rows of a shard, and a shard's compaction.

#include "cc/core/row_store.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <set>
#include <unordered_map>
#include <vector>

#include "cc/core/memory.h"
#include "cc/core/shard.h"
#include "tests/cc/random.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

bool IsZero(const char* begin, int64_t n) {
  return std::all_of(begin, begin + n, [](char c) { return c == 0; });
}

TEST(PagesAreZeroedAlignedAndWritable) {
  for (int64_t bytes : {1, 63, 64, 4096, (1 << 20) - 1, 1 << 20, 5 << 20}) {
    const testing::Trace trace(bytes, " bytes");
    // Twice, so that the second finds what the first left behind.
    for (int i = 0; i < 2; ++i) {
      char* const pages = static_cast<char*>(AllocatePages(bytes));
      EXPECT_EQ(reinterpret_cast<uintptr_t>(pages) % 64, 0u);
      EXPECT_TRUE(IsZero(pages, bytes));
      std::memset(pages, 0xAB, bytes);
      FreePages(pages, bytes);
    }
  }
  FreePages(nullptr, 0);
}

TEST(ArenaHandsOutZeroedBlocksOnce) {
  const int64_t of_others = SlabArena::BytesOfAll();
  SlabArena arena(70000);
  EXPECT_EQ(arena.block_bytes(), 1095 * 64);
  testing::Rng rng(1);
  std::vector<char*> blocks;
  // Blocks share pages: what one gives back is not its neighbours'.
  std::unordered_map<char*, char> written;
  for (int step = 0; step < 2000; ++step) {
    if (blocks.empty() || rng.Below(5) < (step < 1000 ? 3 : 2)) {
      char* const block = arena.Allocate();
      EXPECT_TRUE(IsZero(block, arena.block_bytes()));
      for (char* other : blocks) {
        EXPECT_TRUE(block + arena.block_bytes() <= other ||
                    other + arena.block_bytes() <= block);
      }
      written[block] = static_cast<char>(step % 100 + 1);
      std::memset(block, written[block], arena.block_bytes());
      blocks.push_back(block);
    } else {
      std::swap(blocks[rng.Below(static_cast<int64_t>(blocks.size()))],
                blocks.back());
      char* const block = blocks.back();
      char* const end = block + arena.block_bytes();
      EXPECT_EQ(std::count(block, end, written[block]), arena.block_bytes());
      arena.Release(block);
      blocks.pop_back();
    }
    EXPECT_EQ(arena.bytes_in_use(),
              static_cast<int64_t>(blocks.size()) * arena.block_bytes());
    EXPECT_EQ(SlabArena::BytesOfAll(), of_others + arena.bytes_in_use());
  }
  for (char* block : blocks) arena.Release(block);
  EXPECT_EQ(arena.bytes_in_use(), 0);
  {
    SlabArena another(70000);
    another.Allocate();
    another.Allocate();
    EXPECT_EQ(SlabArena::BytesOfAll(), of_others + 2 * another.block_bytes());
  }
  EXPECT_EQ(SlabArena::BytesOfAll(), of_others);
}

TEST(BlocksAreAnOddNumberOfLines) {
  for (int64_t bytes : {1, 63, 64, 65, 128, 192, 4096, 65536, 69632}) {
    const testing::Trace trace(bytes, " bytes");
    const int64_t block = SlabArena::BlockBytes(bytes);
    EXPECT_TRUE(block >= bytes);
    EXPECT_TRUE(block < bytes + 128);
    EXPECT_EQ(block % 128, 64);
    EXPECT_EQ(SlabArena(bytes).block_bytes(), block);
  }
}

TEST(LayoutPacksRecords) {
  const RowLayout narrow(3, 1, 1);
  EXPECT_EQ(narrow.slot_width(), 4);
  EXPECT_EQ(narrow.width(), 7);
  EXPECT_EQ(narrow.stride, 28);
  const RowLayout line(16, 0, 0);
  EXPECT_EQ(line.stride, 64);
  EXPECT_EQ(line.rows_per_slab(), 1024);
  const RowLayout odd(17, 0, 0);
  EXPECT_EQ(odd.stride, 80);
  const RowLayout wide(4096, 3, 1);
  EXPECT_EQ(wide.width(), 4 * 4096 + 1);
  EXPECT_EQ(wide.rows_per_slab(), 1);
  EXPECT_TRUE(wide.slab_bytes() >= wide.stride + 8);
}

// Writes a row so that each place says whose it is.
uint32_t AllocateOne(RowStore* rows) {
  rows->Reserve(1);
  return rows->Allocate();
}

void Mark(const RowLayout& layout, const RowStore& rows, uint32_t row) {
  float* const record = rows.record(row);
  for (int c = 0; c < layout.width(); ++c) {
    record[c] = static_cast<float>(row * 31 + static_cast<uint32_t>(c));
  }
  *rows.meta(row) = RowMeta{row + 1, row * 7};
}

bool IsMarked(const RowLayout& layout, const RowStore& rows, uint32_t row) {
  const float* const record = rows.record(row);
  for (int c = 0; c < layout.width(); ++c) {
    if (record[c] != static_cast<float>(row * 31 + static_cast<uint32_t>(c))) {
      return false;
    }
  }
  return rows.meta(row)->frequency == row + 1 &&
         rows.meta(row)->version == row * 7;
}

TEST(GrowthKeepsContent) {
  for (const RowLayout& layout :
       {RowLayout(1, 0, 0), RowLayout(3, 1, 1), RowLayout(16, 0, 0),
        RowLayout(257, 2, 0), RowLayout(4096, 0, 0), RowLayout(4096, 3, 1)}) {
    const testing::Trace trace("width ", layout.width());
    SlabArena arena(layout.slab_bytes());
    {
      RowStore rows(layout, &arena);
      EXPECT_EQ(rows.bytes(), 0);
      const auto n = static_cast<uint32_t>(
          std::min<int64_t>(layout.rows_per_slab() * 3 + 2, 40000));
      for (uint32_t row = 0; row < n; ++row) {
        EXPECT_EQ(AllocateOne(&rows), row);
        Mark(layout, rows, row);
        // After each doubling of the first slab and each new slab.
        if ((row & (row + 1)) == 0 || row + 1 == n) {
          for (uint32_t r = 0; r <= row; ++r) {
            EXPECT_TRUE(IsMarked(layout, rows, r));
          }
        }
        // Small stores are small: at most twice what they need and a bit.
        EXPECT_TRUE(rows.bytes() <=
                    (row + 4) * 2 * (layout.stride + 8) +
                        2 * arena.block_bytes() *
                            (row >= layout.rows_per_slab() / 2 ||
                             layout.rows_per_slab() <= 4));
      }
      EXPECT_EQ(rows.end(), n);
      EXPECT_EQ(rows.live(), n);
      // Back to the middle of the second slab.
      const auto half = static_cast<uint32_t>(layout.rows_per_slab() + 1);
      const int64_t full = rows.bytes();
      rows.Truncate(half);
      EXPECT_TRUE(rows.bytes() < full);
      EXPECT_EQ(rows.end(), half);
      for (uint32_t r = 0; r < half; ++r) {
        EXPECT_TRUE(IsMarked(layout, rows, r));
      }
      rows.Truncate(0);
      EXPECT_EQ(rows.bytes(), 0);
      EXPECT_EQ(arena.bytes_in_use(), 0);
      for (uint32_t row = 0; row < 9; ++row) {
        EXPECT_EQ(AllocateOne(&rows), row);
        Mark(layout, rows, row);
      }
      for (uint32_t row = 0; row < 9; ++row) {
        EXPECT_TRUE(IsMarked(layout, rows, row));
      }
    }
    EXPECT_EQ(arena.bytes_in_use(), 0);
  }
}

TEST(TheFirstSlabShrinksAgain) {
  const RowLayout layout(16, 1, 1);
  SlabArena arena(layout.slab_bytes());
  RowStore rows(layout, &arena);
  const auto full = static_cast<uint32_t>(layout.rows_per_slab());
  for (uint32_t row = 0; row < full; ++row) {
    EXPECT_EQ(AllocateOne(&rows), row);
    Mark(layout, rows, row);
  }
  for (uint32_t end = full; end > 0; end /= 3) {
    rows.Truncate(end);
    EXPECT_TRUE(rows.bytes() < (end + 4) * 4 * (layout.stride + 8) ||
                end == full);
    for (uint32_t row = 0; row < end; ++row) {
      EXPECT_TRUE(IsMarked(layout, rows, row));
    }
  }
  for (uint32_t row = 1; row < full; ++row) {
    EXPECT_EQ(AllocateOne(&rows), row);
    Mark(layout, rows, row);
  }
  for (uint32_t row = 0; row < full; ++row) {
    EXPECT_TRUE(IsMarked(layout, rows, row));
  }
}

TEST(FreedRowsAreUsedAgain) {
  const RowLayout layout(4, 0, 0);
  SlabArena arena(layout.slab_bytes());
  RowStore rows(layout, &arena);
  for (int i = 0; i < 100; ++i) AllocateOne(&rows);
  for (uint32_t row : {7u, 50u, 99u}) {
    rows.ReserveRelease();
    rows.Release(row);
  }
  EXPECT_EQ(rows.live(), 97u);
  std::set<uint32_t> again;
  for (int i = 0; i < 3; ++i) again.insert(AllocateOne(&rows));
  EXPECT_TRUE(again == (std::set<uint32_t>{7, 50, 99}));
  EXPECT_EQ(AllocateOne(&rows), 100u);
}

// The invariant of shard.h.
void ExpectConsistent(const Shard& shard, const RowLayout& layout,
                      const std::set<int64_t>& keys) {
  EXPECT_EQ(shard.index().size(), keys.size());
  EXPECT_EQ(shard.rows().live(), keys.size());
  std::vector<int> uses(shard.rows().end());
  shard.index().ForEach([&](int64_t key, const uint32_t* row) {
    EXPECT_TRUE(keys.count(key) == 1);
    ++uses[*row];
    const float* const record = shard.rows().record(*row);
    for (int c = 0; c < layout.width(); ++c) {
      EXPECT_EQ(record[c], static_cast<float>(key + c));
    }
    EXPECT_EQ(shard.rows().meta(*row)->version, static_cast<uint32_t>(key));
  });
  for (uint32_t row : shard.rows().free_rows()) ++uses[row];
  for (int use : uses) EXPECT_EQ(use, 1);
}

TEST(SparePagesServeTheNext) {
  constexpr int64_t kMega = 1 << 20;
  SparePages spare(64);
  PageRegion small = spare.Take(1000);
  EXPECT_TRUE(IsZero(small.begin, 1000));
  spare.Give(small);
  EXPECT_EQ(spare.bytes(), 0);

  PageRegion region = spare.Take(3 * kMega + 5);
  char* const begin = region.begin;
  EXPECT_TRUE(IsZero(begin, region.bytes));
  std::memset(begin, 1, region.bytes);
  spare.Give(region);
  EXPECT_TRUE(spare.bytes() >= 3 * kMega + 5);
  // Larger, and then smaller, than what was given; zero each time.
  for (const int64_t bytes : {6 * kMega, 2 * kMega, 5 * kMega}) {
    region = spare.Take(bytes);
    EXPECT_TRUE(region.begin == begin);
    EXPECT_EQ(region.bytes, bytes);
    EXPECT_EQ(spare.bytes(), 0);
    EXPECT_TRUE(IsZero(region.begin, bytes));
    std::memset(region.begin, 1, bytes);
    spare.Give(region);
  }
  // One that does not fit stays; of two, the larger range does.
  PageRegion large = spare.Take(20 * kMega);
  EXPECT_TRUE(large.begin != begin);
  EXPECT_EQ(spare.bytes(), 5 * kMega);
  spare.Give(large);
  EXPECT_EQ(spare.bytes(), 20 * kMega);
  // Kept after the batch that needed one, not after one that did not.
  spare.EndBatch();
  EXPECT_EQ(spare.bytes(), 20 * kMega);
  spare.EndBatch();
  EXPECT_EQ(spare.bytes(), 0);
  spare.Give(spare.Take(4 * kMega));
  EXPECT_EQ(spare.bytes(), 4 * kMega);
  spare.Clear();
  EXPECT_EQ(spare.bytes(), 0);

  SparePages of_few(2);
  of_few.Give(of_few.Take(3 * kMega));
  EXPECT_EQ(of_few.bytes(), 0);
}

TEST(CompactMovesRowsIntoHoles) {
  for (const RowLayout& layout : {RowLayout(64, 1, 0), RowLayout(2048, 1, 1)}) {
    const testing::Trace trace("width ", layout.width());
    TableMemory memory(layout, 1);
    SharedSpinLock lock;
    Shard shard(0, layout, &memory, &lock);
    testing::Rng rng(5);
    std::set<int64_t> keys;
    int64_t most_bytes = 0;
    for (int round = 0; round < 40; ++round) {
      // Grows for some rounds, then declines to nothing.
      for (int i = 0; i < (round < 20 ? 100 : 10); ++i) {
        const int64_t key = rng.Below(3000);
        if (!keys.insert(key).second) continue;
        shard.Reserve(1);
        const uint32_t row = shard.Insert(MixKey(key), key);
        for (int c = 0; c < layout.width(); ++c) {
          shard.rows().record(row)[c] = static_cast<float>(key + c);
        }
        *shard.rows().meta(row) = RowMeta{0, static_cast<uint32_t>(key)};
      }
      const int64_t sixteenths = round < 20 ? 2 : 8;
      for (auto key = keys.begin(); key != keys.end();) {
        if (rng.Below(16) < sixteenths) {
          EXPECT_TRUE(shard.Remove(MixKey(*key), *key));
          EXPECT_TRUE(!shard.Remove(MixKey(*key), *key));
          key = keys.erase(key);
        } else {
          ++key;
        }
      }
      ExpectConsistent(shard, layout, keys);
      shard.Compact(layout);
      ExpectConsistent(shard, layout, keys);
      const auto num_free =
          static_cast<int64_t>(shard.rows().free_rows().size());
      EXPECT_TRUE(num_free <
                  std::max<int64_t>(16, static_cast<int64_t>(keys.size()) / 4));
      most_bytes = std::max(most_bytes, shard.bytes());
    }
    EXPECT_TRUE(shard.bytes() < most_bytes / 4);
    for (int64_t key : keys) shard.Remove(MixKey(key), key);
    shard.Compact(layout);
    EXPECT_EQ(shard.bytes(), 0);
    EXPECT_EQ(memory.rows.bytes_in_use(), 0);
  }
}

TEST(ClearGivesEverythingBack) {
  const RowLayout layout(8, 0, 0);
  TableMemory memory(layout, 1);
  SharedSpinLock lock;
  Shard shard(0.3, layout, &memory, &lock);
  shard.Reserve(10000);
  for (int64_t key = 0; key < 10000; ++key) shard.Insert(MixKey(key), key);
  shard.Clear();
  EXPECT_EQ(shard.bytes(), 0);
  EXPECT_EQ(memory.rows.bytes_in_use(), 0);
  shard.Reserve(1);
  EXPECT_EQ(shard.Insert(MixKey(3), 3), 0u);
}

}  // namespace
}  // namespace tf_embedding
