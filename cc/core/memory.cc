// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "cc/core/platform.h"

namespace tf_embedding {
namespace {

constexpr int64_t kPage = 4096;
constexpr int64_t kHugePage = 2 << 20;
// From here on the pages come straight from the system.
constexpr int64_t kMapFrom = 1 << 20;
constexpr int64_t kMaxChunk = 64 << 20;
// From so many owners on a region is kept between them.
constexpr int64_t kMinOwners = 32;

int64_t RoundUp(int64_t value, int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Pages of small size; the range begins on a huge page's boundary.
char* MapAligned(int64_t length) {
  // Over-allocates by one huge page and trims.
  void* const raw = mmap(nullptr, length + kHugePage, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) throw std::bad_alloc();
  char* const begin = static_cast<char*>(raw);
  const int64_t skip = RoundUp(reinterpret_cast<intptr_t>(raw), kHugePage) -
                       reinterpret_cast<intptr_t>(raw);
  if (skip > 0) munmap(begin, skip);
  if (kHugePage - skip > 0) {
    munmap(begin + skip + length, kHugePage - skip);
  }
  return begin + skip;
}

// Advice only: without huge pages the table is slower, not wrong.
void AdviseHugePages(char* begin, int64_t length) {
  madvise(begin, length, MADV_HUGEPAGE);
}

std::atomic<int64_t> bytes_of_all{0};

void* AllocateFromHeap(int64_t bytes) {
  void* const pages = std::aligned_alloc(64, RoundUp(bytes, 64));
  if (pages == nullptr) throw std::bad_alloc();
  std::memset(pages, 0, bytes);
  return pages;
}

}  // namespace

void* AllocatePages(int64_t bytes) {
  if (bytes < kMapFrom) return AllocateFromHeap(bytes);
  const int64_t length = RoundUp(bytes, kPage);
  char* const begin = MapAligned(length);
  AdviseHugePages(begin, length);
  return begin;
}

void FreePages(void* pages, int64_t bytes) {
  if (pages == nullptr) return;
  if (bytes < kMapFrom) {
    std::free(pages);
  } else {
    munmap(pages, RoundUp(bytes, kPage));
  }
}

void* MapPages(int64_t bytes) {
  void* const pages =
      mmap(nullptr, RoundUp(bytes, kPage), PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  // Advice only.
  madvise(pages, RoundUp(bytes, kPage), MADV_NOHUGEPAGE);
  return pages;
}

void UnmapPages(void* pages, int64_t bytes) {
  if (pages != nullptr) munmap(pages, RoundUp(bytes, kPage));
}

void ResetPages(void* pages, int64_t bytes) {
  if (madvise(pages, RoundUp(bytes, kPage), MADV_DONTNEED) != 0) {
    std::memset(pages, 0, bytes);
  }
}

SparePages::SparePages(int64_t num_owners) : keeps_(num_owners >= kMinOwners) {}

SparePages::~SparePages() { Clear(); }

PageRegion SparePages::Take(int64_t bytes) {
  PageRegion region;
  if (bytes < kMapFrom) {
    region.begin = static_cast<char*>(AllocateFromHeap(bytes));
    region.bytes = region.capacity = bytes;
    return region;
  }
  const int64_t length = RoundUp(bytes, kPage);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    taken_ = true;
    if (spare_.capacity >= length) region = std::exchange(spare_, PageRegion());
  }
  if (region.begin != nullptr) {
    if (region.bytes > length) {
      ResetPages(region.begin + length, region.bytes - length);
    }
    std::memset(region.begin, 0, std::min(region.bytes, length));
  } else {
    region.capacity = keeps_ ? 2 * length : length;
    region.begin = MapAligned(region.capacity);
    // A huge page across the end would take memory for what is not needed.
    madvise(region.begin + length, region.capacity - length, MADV_NOHUGEPAGE);
  }
  AdviseHugePages(region.begin, length);
  region.bytes = length;
  return region;
}

void SparePages::Give(PageRegion region) noexcept {
  if (keeps_ && region.capacity >= kMapFrom) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (region.capacity > spare_.capacity) std::swap(region, spare_);
  }
  FreePages(region.begin, region.capacity);
}

void SparePages::EndBatch() noexcept {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (std::exchange(taken_, false)) return;
  }
  Clear();
}

void SparePages::Clear() noexcept {
  PageRegion region;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    std::swap(region, spare_);
  }
  FreePages(region.begin, region.capacity);
}

int64_t SparePages::bytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return spare_.bytes;
}

int64_t SlabArena::BlockBytes(int64_t bytes) {
  return RoundUp(bytes + kCacheLine, 2 * kCacheLine) - kCacheLine;
}

SlabArena::SlabArena(int64_t block_bytes)
    : block_bytes_(BlockBytes(block_bytes)) {}

SlabArena::~SlabArena() {
  bytes_of_all.fetch_sub(blocks_used_ * block_bytes_,
                         std::memory_order_relaxed);
  for (const Chunk& chunk : chunks_) FreePages(chunk.begin, chunk.bytes);
}

int64_t SlabArena::bytes_in_use() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return blocks_used_ * block_bytes_;
}

int64_t SlabArena::BytesOfAll() {
  return bytes_of_all.load(std::memory_order_relaxed);
}

char* SlabArena::Allocate() {
  std::lock_guard<std::mutex> lock(mutex_);
  // The last chunk is the one with room, but for what was given back.
  for (auto chunk = chunks_.rbegin(); chunk != chunks_.rend(); ++chunk) {
    if (chunk->num_used == chunk->num_blocks) continue;
    char* block;
    if (!chunk->free.empty()) {
      block = chunk->free.back();
      chunk->free.pop_back();
    } else {
      block =
          chunk->begin + (chunk->num_blocks - chunk->num_fresh) * block_bytes_;
      --chunk->num_fresh;
    }
    ++chunk->num_used;
    ++blocks_used_;
    bytes_of_all.fetch_add(block_bytes_, std::memory_order_relaxed);
    return block;
  }
  // An eighth of what is used, so that a small table stays small; whole huge
  // pages, because the tail of a chunk would otherwise be small ones.
  const int64_t wanted = std::max(
      block_bytes_,
      std::clamp(blocks_used_ * block_bytes_ / 8, kHugePage, kMaxChunk));
  Chunk chunk{};
  chunk.bytes = RoundUp(wanted, kHugePage);
  const int64_t num_blocks = chunk.bytes / block_bytes_;
  chunk.num_blocks = num_blocks;
  chunk.num_used = 1;
  chunk.num_fresh = num_blocks - 1;
  // So that nothing throws after the next line, nor in Release.
  chunks_.reserve(chunks_.size() + 1);
  chunk.free.reserve(num_blocks);
  chunk.begin = static_cast<char*>(AllocatePages(chunk.bytes));
  char* const block = chunk.begin;
  chunks_.push_back(std::move(chunk));
  ++blocks_used_;
  bytes_of_all.fetch_add(block_bytes_, std::memory_order_relaxed);
  return block;
}

void SlabArena::Release(char* block) noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto chunk = std::find_if(
      chunks_.begin(), chunks_.end(), [block](const Chunk& candidate) {
        return block >= candidate.begin &&
               block < candidate.begin + candidate.bytes;
      });
  --blocks_used_;
  bytes_of_all.fetch_sub(block_bytes_, std::memory_order_relaxed);
  if (--chunk->num_used == 0) {
    FreePages(chunk->begin, chunk->bytes);
    chunks_.erase(chunk);
    return;
  }
  chunk->free.push_back(block);
  // Also leaves the block zeroed for its next use.
  const auto address = reinterpret_cast<intptr_t>(block);
  const int64_t before =
      std::min(block_bytes_, RoundUp(address, kPage) - address);
  const int64_t pages = (block_bytes_ - before) / kPage * kPage;
  std::memset(block, 0, before);
  if (pages > 0) ResetPages(block + before, pages);
  std::memset(block + before + pages, 0, block_bytes_ - before - pages);
}

}  // namespace tf_embedding
