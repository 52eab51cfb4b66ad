// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// EvictionQueue: keys by priority, lowest first, and first in first out among
// equals.
//
// A calendar queue: an ordered map from priority to a list of chunks of seven
// keys, one cache line each, out of one pool. A small table, by the low bits of
// the priority, remembers where in the map the latest ones are. Pushing and
// dropping cost a write to a chunk, and a search of the map where the table
// does not know the priority; reading the front is sequential. 9 bytes a key in
// long lists; a list of one key costs about 140; the table 2 KiB a queue.
//
// It does not know rows: a key may be in it that has no row any more, and the
// priority under which a key stands may be lower than its row's is by now.
// Whoever takes keys from the front looks (eviction.h).
//
// Thread safety: none. Failure: std::bad_alloc with the queue unchanged.

#ifndef TF_EMBEDDING_CC_CORE_EVICTION_QUEUE_H_
#define TF_EMBEDDING_CC_CORE_EVICTION_QUEUE_H_

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "cc/core/platform.h"

namespace tf_embedding {

class EvictionQueue {
 public:
  EvictionQueue() = default;
  EvictionQueue(const EvictionQueue&) = delete;
  EvictionQueue& operator=(const EvictionQueue&) = delete;

  bool empty() const { return size_ == 0; }
  uint64_t size() const { return size_; }
  int64_t bytes() const;

  void Push(uint32_t priority, int64_t key);
  // Asks for the memory that it will write.
  void PrefetchPush(uint32_t priority) const {
    if (recent_ == nullptr) return;
    const Lists::value_type* const list = recent_[priority % kRecent];
    if (list != nullptr && list->first == priority) {
      TFE_PREFETCH_WRITE(&chunk(list->second.tail));
    }
  }

  // The lowest priority; the queue must not be empty.
  uint32_t front() const { return lists_.begin()->first; }
  // The first keys of that priority, max at most; returns how many.
  int Peek(int64_t* keys, int max) const;
  // Takes the first n of them away.
  void Drop(int n);

  // Keys of each priority get lower(priority) instead: no higher than it, and
  // in the same order or equal; then those of the lower one come first.
  template <class Lower>
  void Relabel(const Lower& lower);

  void Clear();

 private:
  static constexpr int kKeysPerChunk = 7;
  static constexpr uint32_t kChunksPerBlock = 64;
  static constexpr uint32_t kNoChunk = 0xFFFFFFFFu;
  static constexpr uint32_t kRecent = 256;

  struct alignas(kCacheLine) Chunk {
    int64_t keys[kKeysPerChunk];
    uint32_t next;
    uint16_t begin, end;  // keys[begin .. end - 1] are in the list
  };
  static_assert(sizeof(Chunk) == kCacheLine, "one line a chunk");
  struct List {
    uint32_t head, tail;
  };
  using Lists = std::map<uint32_t, List>;

  Chunk& chunk(uint32_t number) const {
    return blocks_[number / kChunksPerBlock][number % kChunksPerBlock];
  }
  List* FindList(uint32_t priority);
  void Erase(Lists::iterator list);
  void ReserveChunk();
  uint32_t TakeChunk();

  std::vector<std::unique_ptr<Chunk[]>> blocks_;
  uint32_t num_chunks_ = 0;  // that were ever taken
  uint32_t free_ = kNoChunk;
  Lists lists_;  // none is empty
  // By the low bits of the priority; null where none is known.
  std::unique_ptr<Lists::value_type*[]> recent_;
  uint64_t size_ = 0;
};

template <class Lower>
void EvictionQueue::Relabel(const Lower& lower) {
  // In ascending order a node's new place is free, or its predecessor's. Nodes
  // are moved, so nothing is allocated.
  if (recent_ != nullptr) std::fill_n(recent_.get(), kRecent, nullptr);
  auto next = lists_.begin();
  while (next != lists_.end()) {
    const auto list = next++;
    const uint32_t priority = lower(list->first);
    if (list != lists_.begin()) {
      const auto before = std::prev(list);
      if (before->first == priority) {
        chunk(before->second.tail).next = list->second.head;
        before->second.tail = list->second.tail;
        lists_.erase(list);
        continue;
      }
    }
    auto node = lists_.extract(list);
    node.key() = priority;
    lists_.insert(next, std::move(node));
  }
}

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_EVICTION_QUEUE_H_
