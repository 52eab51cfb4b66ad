// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/found_rows.h"

#include <algorithm>
#include <iterator>
#include <new>
#include <utility>

namespace tf_embedding {
namespace {

constexpr int64_t kSample = 16;

// Whether some of the keys, spread over the batch, are the same.
bool LooksLike(const FoundRows::Batch& batch, const int64_t* keys, int64_t n) {
  if (batch.n != n) return false;
  for (int64_t s = 0; s < kSample; ++s) {
    const int64_t i = s * (n - 1) / (kSample - 1);
    if (batch.keys[i] != keys[i]) return false;
  }
  return true;
}

}  // namespace

std::unique_ptr<FoundRows::Batch> FoundRows::Start(int64_t n) noexcept {
  if (allowed_.load(std::memory_order_relaxed) <= 0) return nullptr;
  if (n <= 0 || n > kMaxKeys) return nullptr;
  allowed_.fetch_sub(1, std::memory_order_relaxed);
  std::unique_ptr<Batch> batch;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_.empty()) {
      batch = std::move(idle_.back());
      idle_.pop_back();
    } else if (kept_.size() == kMaxBatches) {
      batch = std::move(kept_.front());
      kept_.erase(kept_.begin());
    }
  }
  if (batch == nullptr) {
    batch.reset(new (std::nothrow) Batch);
    if (batch == nullptr) return nullptr;
  }
  if (batch->capacity < n) {
    batch->capacity = 0;
    batch->keys.reset(new (std::nothrow) int64_t[n]);
    batch->rows.reset(new (std::nothrow) uint32_t[n]);
    if (batch->keys == nullptr || batch->rows == nullptr) return nullptr;
    batch->capacity = n;
  }
  batch->n = n;
  batch->moment = now_.fetch_add(1) + 1;
  return batch;
}

void FoundRows::Keep(std::unique_ptr<Batch> batch) noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  if (kept_.size() + idle_.size() == kMaxBatches) {
    if (idle_.empty()) {
      kept_.erase(kept_.begin());
    } else {
      idle_.pop_back();
    }
  }
  kept_.push_back(std::move(batch));
}

std::unique_ptr<FoundRows::Batch> FoundRows::Take(const int64_t* keys,
                                                  int64_t n) noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = std::find_if(
      kept_.rbegin(), kept_.rend(),
      [keys, n](const auto& batch) { return LooksLike(*batch, keys, n); });
  if (found != kept_.rend()) {
    std::unique_ptr<Batch> batch = std::move(*found);
    kept_.erase(std::next(found).base());
    in_vain_ = 0;
    allowed_.store(kAllowed, std::memory_order_relaxed);
    return batch;
  }
  ++in_vain_;
  if (in_vain_ <= kTries || in_vain_ % kPatience == 0) {
    allowed_.store(kAllowed, std::memory_order_relaxed);
  }
  return nullptr;
}

void FoundRows::GiveBack(std::unique_ptr<Batch> batch) noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  if (kept_.size() + idle_.size() == kMaxBatches) return;
  idle_.push_back(std::move(batch));
}

int64_t FoundRows::bytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  int64_t keys = 0;
  for (const auto& batch : kept_) keys += batch->capacity;
  for (const auto& batch : idle_) keys += batch->capacity;
  return keys * static_cast<int64_t>(sizeof(int64_t) + sizeof(uint32_t));
}

}  // namespace tf_embedding
