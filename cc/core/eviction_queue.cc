// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/eviction_queue.h"

#include <algorithm>

namespace tf_embedding {
namespace {

// Of the map's nodes, on top of their content.
constexpr int64_t kNodeBytes = 64;

}  // namespace

int64_t EvictionQueue::bytes() const {
  return static_cast<int64_t>(blocks_.size() * kChunksPerBlock *
                              sizeof(Chunk)) +
         (recent_ == nullptr
              ? 0
              : static_cast<int64_t>(kRecent * sizeof(Lists::value_type*))) +
         static_cast<int64_t>(lists_.size()) * kNodeBytes;
}

void EvictionQueue::ReserveChunk() {
  if (free_ != kNoChunk) return;
  if (num_chunks_ < blocks_.size() * kChunksPerBlock) return;
  if (blocks_.size() == blocks_.capacity()) {
    blocks_.reserve(2 * blocks_.size() + 1);
  }
  blocks_.emplace_back(new Chunk[kChunksPerBlock]);
}

uint32_t EvictionQueue::TakeChunk() {
  uint32_t taken = free_;
  if (taken == kNoChunk) {
    taken = num_chunks_++;
  } else {
    free_ = chunk(taken).next;
  }
  chunk(taken).next = kNoChunk;
  chunk(taken).begin = chunk(taken).end = 0;
  return taken;
}

EvictionQueue::List* EvictionQueue::FindList(uint32_t priority) {
  if (recent_ == nullptr) recent_.reset(new Lists::value_type*[kRecent]());
  Lists::value_type*& recent = recent_[priority % kRecent];
  if (recent == nullptr || recent->first != priority) {
    const auto [place, is_new] =
        lists_.try_emplace(priority, List{kNoChunk, kNoChunk});
    recent = &*place;
    if (is_new) place->second.head = place->second.tail = TakeChunk();
  }
  return &recent->second;
}

void EvictionQueue::Erase(Lists::iterator list) {
  Lists::value_type*& recent = recent_[list->first % kRecent];
  if (recent == &*list) recent = nullptr;
  lists_.erase(list);
}

void EvictionQueue::Push(uint32_t priority, int64_t key) {
  ReserveChunk();
  List& list = *FindList(priority);
  if (chunk(list.tail).end == kKeysPerChunk) {
    const uint32_t fresh = TakeChunk();
    chunk(list.tail).next = fresh;
    list.tail = fresh;
  }
  Chunk& tail = chunk(list.tail);
  tail.keys[tail.end++] = key;
  ++size_;
}

int EvictionQueue::Peek(int64_t* keys, int max) const {
  int n = 0;
  for (uint32_t c = lists_.begin()->second.head; c != kNoChunk && n < max;
       c = chunk(c).next) {
    const Chunk& from = chunk(c);
    // Also the one after the last that is read here: of the next Peek.
    if (from.next != kNoChunk) TFE_PREFETCH_READ(&chunk(from.next));
    for (int i = from.begin; i < from.end && n < max; ++i) {
      keys[n++] = from.keys[i];
    }
  }
  return n;
}

void EvictionQueue::Drop(int n) {
  size_ -= static_cast<uint64_t>(n);
  const auto list = lists_.begin();
  while (n > 0) {
    const uint32_t head = list->second.head;
    Chunk& from = chunk(head);
    const int here = std::min<int>(n, from.end - from.begin);
    from.begin = static_cast<uint16_t>(from.begin + here);
    n -= here;
    if (from.begin < from.end) return;
    list->second.head = from.next;
    from.next = free_;
    free_ = head;
    if (list->second.head == kNoChunk) {
      Erase(list);
      return;
    }
  }
}

void EvictionQueue::Clear() {
  lists_.clear();
  recent_.reset();
  blocks_.clear();
  blocks_.shrink_to_fit();
  num_chunks_ = 0;
  free_ = kNoChunk;
  size_ = 0;
}

}  // namespace tf_embedding
