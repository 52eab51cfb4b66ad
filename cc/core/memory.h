// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Memory for indexes and rows: pages that start at zero and go back whole.
//
// Small pieces come from the heap, large ones from mmap with huge pages
// advised, because random rows of a table of gigabytes would otherwise miss the
// TLB at every access. All memory is zero when handed out.
//
// SlabArena hands out blocks of one size, cut from chunks that grow with the
// table, so that a table of many shards does not leave a half-used huge page in
// each of them. A block given back returns its pages to the system at once, all
// but those that its neighbours have a part in, and its address range to the
// arena; a chunk goes when its last block does.
//
// A block is an odd number of cache lines long. Were it a power of two, or
// whole pages, records of 128 bytes would have their vectors in even lines and
// their slots in odd ones, in all blocks; lookups, which read vectors only,
// would have half the sets of each cache to themselves and leave the others
// idle. So the same record of two blocks side by side lies an odd number of
// lines apart.
//
// SparePages keeps the last large region that an index grew out of for the next
// index that grows: fresh pages cost the system more than all else that growing
// does, and in a table of many shards one grows at a time (phase in index.h).
// A region has twice the addresses that it needs, and as many pages as were
// ever touched, so the spare of a smaller shard serves a larger one. It goes
// back to the system when a batch needed none.
//
// Thread safety: the functions, SlabArena and SparePages may be called from any
// thread.
// Failure: std::bad_alloc, caught at the table's boundary.

#ifndef TF_EMBEDDING_CC_CORE_MEMORY_H_
#define TF_EMBEDDING_CC_CORE_MEMORY_H_

#include <cstdint>
#include <mutex>
#include <vector>

namespace tf_embedding {

// Zeroed, aligned to 64 bytes at least. bytes > 0; throws std::bad_alloc.
void* AllocatePages(int64_t bytes);
// bytes as it was allocated; a null pointer is fine.
void FreePages(void* pages, int64_t bytes);

// For what may long stay untouched: zero pages of the smallest size, each of
// which takes memory when it is first written. bytes > 0; throws
// std::bad_alloc.
void* MapPages(int64_t bytes);
// bytes as it was mapped; a null pointer is fine.
void UnmapPages(void* pages, int64_t bytes);
// Zero again; the memory goes back to the system.
void ResetPages(void* pages, int64_t bytes);

// Memory of one owner, which may be larger than what it asked for.
struct PageRegion {
  char* begin = nullptr;
  int64_t bytes = 0;     // that may have been touched, from the beginning
  int64_t capacity = 0;  // bytes of the range of addresses
};

class SparePages {
 public:
  // Keeps a region only where there are so many owners that it is little
  // beside what they have.
  explicit SparePages(int64_t num_owners);
  ~SparePages();
  SparePages(const SparePages&) = delete;
  SparePages& operator=(const SparePages&) = delete;

  // Zeroed, aligned to 64 bytes at least. bytes > 0; throws std::bad_alloc.
  PageRegion Take(int64_t bytes);
  // Of Take, or empty.
  void Give(PageRegion region) noexcept;

  // After a batch: gives back what is kept if none was taken since the last.
  void EndBatch() noexcept;
  // Gives it back.
  void Clear() noexcept;
  // Bytes of it.
  int64_t bytes() const;

 private:
  const bool keeps_;
  mutable std::mutex mutex_;
  PageRegion spare_;
  bool taken_ = false;  // since the end of a batch
};

class SlabArena {
 public:
  // block_bytes: as for BlockBytes.
  explicit SlabArena(int64_t block_bytes);
  ~SlabArena();
  SlabArena(const SlabArena&) = delete;
  SlabArena& operator=(const SlabArena&) = delete;

  // Of a block that has room for so many.
  static int64_t BlockBytes(int64_t bytes);
  int64_t block_bytes() const { return block_bytes_; }
  // Bytes of the blocks that are handed out.
  int64_t bytes_in_use() const;
  // The same of all arenas of the process.
  static int64_t BytesOfAll();

  char* Allocate();
  void Release(char* block) noexcept;

 private:
  struct Chunk {
    char* begin;
    int64_t bytes;
    int64_t num_blocks;
    int64_t num_used;
    int64_t num_fresh;  // blocks at the end that were never handed out
    std::vector<char*> free;
  };

  const int64_t block_bytes_;
  mutable std::mutex mutex_;
  std::vector<Chunk> chunks_;
  int64_t blocks_used_ = 0;
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_MEMORY_H_
