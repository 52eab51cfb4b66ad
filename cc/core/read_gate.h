// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// ReadGate: lookups without the shards' locks while nothing is written.
//
// A lookup of a hundred keys needs the locks of nearly as many shards, and pays
// as much for them as for the keys. So a table counts those that write rows and
// those that read them. A reader that finds no writer goes in and needs no lock
// of a shard; a writer, before it takes its first lock, waits until every such
// reader is out, and readers that come meanwhile take locks as ever. Serving,
// and a training step, whose lookups and updates follow one another, never see
// a lock; a table that is read while it is trained is as it would be without.
//
// Invariant: while a writer is inside, no reader is. Each first says that it is
// there and then looks for the other; both in the one order of sequentially
// consistent operations, so at least one of two that come together sees the
// other, and it is the reader that yields.
//
// Thread safety: every method, from any thread. A reader holds the gate for a
// chunk of keys and waits for nothing inside; a writer waits for that chunk, as
// it would for the locks. Readers cannot starve a writer: once it has said that
// it is there no other gets in.
//
// Cost: one atomic addition to go in, one to come out. Memory order: what a
// writer did happens before what the next reader reads, and the other way
// round. Failure: none.

#ifndef TF_EMBEDDING_CC_CORE_READ_GATE_H_
#define TF_EMBEDDING_CC_CORE_READ_GATE_H_

#include <atomic>
#include <cstdint>

#include "cc/core/spin_lock.h"

namespace tf_embedding {

class ReadGate {
 public:
  ReadGate() = default;
  ReadGate(const ReadGate&) = delete;
  ReadGate& operator=(const ReadGate&) = delete;

  // Whether the reader is in; then it must call LeaveReader.
  bool TryEnterReader() {
    readers_.fetch_add(1, std::memory_order_seq_cst);
    if (TFE_LIKELY(writers_.load(std::memory_order_seq_cst) == 0)) return true;
    LeaveReader();
    return false;
  }
  void LeaveReader() { readers_.fetch_sub(1, std::memory_order_release); }

  // Waits for the readers inside.
  void EnterWriter() {
    writers_.fetch_add(1, std::memory_order_seq_cst);
    for (int spins = 0; readers_.load(std::memory_order_seq_cst) != 0;) {
      SpinWait(&spins);
    }
  }
  void LeaveWriter() { writers_.fetch_sub(1, std::memory_order_release); }

 private:
  std::atomic<uint32_t> readers_{0};
  std::atomic<uint32_t> writers_{0};
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_READ_GATE_H_
