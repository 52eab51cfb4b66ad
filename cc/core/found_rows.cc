// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/found_rows.h"

#include <algorithm>
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

int64_t BytesOf(const FoundRows::Batch& batch) {
  return batch.capacity *
         static_cast<int64_t>(sizeof(int64_t) + sizeof(uint32_t));
}

}  // namespace

std::unique_ptr<FoundRows::Batch> FoundRows::Start(int64_t n) noexcept {
  const int allowed = allowed_.load(std::memory_order_relaxed);
  if (allowed <= -kUnfollowed) return nullptr;
  if (allowed <= 0) {
    if (allowed_.fetch_sub(1, std::memory_order_relaxed) == 1 - kUnfollowed) {
      std::lock_guard<std::mutex> lock(mutex_);
      kept_.clear();
      spare_.reset();
    }
    return nullptr;
  }
  if (n <= 0 || n > kMaxKeys) return nullptr;
  allowed_.fetch_sub(1, std::memory_order_relaxed);
  std::unique_ptr<Batch> batch;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    batch = std::move(spare_);
  }
  if (batch == nullptr) batch.reset(new (std::nothrow) Batch);
  if (batch == nullptr) return nullptr;
  if (batch->capacity < n) {
    batch->capacity = n;
    batch->keys.reset(new (std::nothrow) int64_t[n]);
    batch->rows.reset(new (std::nothrow) uint32_t[n]);
    if (batch->keys == nullptr || batch->rows == nullptr) return nullptr;
  }
  batch->n = n;
  batch->moment = now_.fetch_add(1) + 1;
  return batch;
}

void FoundRows::Keep(std::unique_ptr<Batch> batch) noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  if (kept_.size() == kMaxBatches) kept_.erase(kept_.begin());
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
    kept_.erase(kept_.begin(), found.base());
    in_vain_ = 0;
    allowed_.store(kAllowed, std::memory_order_relaxed);
    return batch;
  }
  ++in_vain_;
  if (in_vain_ <= kTries || in_vain_ % kPatience == 0) {
    allowed_.store(kAllowed, std::memory_order_relaxed);
  } else {
    kept_.clear();
    spare_.reset();
  }
  return nullptr;
}

void FoundRows::GiveBack(std::unique_ptr<Batch> batch,
                         int64_t bytes_of_rows) noexcept {
  if (BytesOf(*batch) > bytes_of_rows / kPartOfRows) return;
  std::lock_guard<std::mutex> lock(mutex_);
  std::swap(spare_, batch);
}

int64_t FoundRows::bytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  int64_t bytes = spare_ == nullptr ? 0 : BytesOf(*spare_);
  for (const auto& batch : kept_) bytes += BytesOf(*batch);
  return bytes;
}

}  // namespace tf_embedding
