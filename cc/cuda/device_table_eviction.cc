// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// DeviceTable: eviction (eviction_functors.h).

#include <algorithm>
#include <functional>
#include <limits>
#include <new>

#include "cc/core/table_internal.h"
#include "cc/cuda/device_table_internal.h"

namespace tf_embedding {
namespace {

// Rows that a slice of a sweep looks at for each key of a batch.
constexpr int64_t kSweptPerKey = 2;
// Rows of a piece: so many, or this part of the table's.
constexpr int64_t kPieceRows = int64_t{1} << 20;
constexpr int64_t kPieces = 8;
// A table beyond its bound goes back by this part of it, so that not every
// batch has to select; but not where selecting costs nothing.
constexpr int64_t kSlack = 64;
constexpr int64_t kLeastSlackened = 4096;
// Bytes of the index and of the free list for a key, at the highest load.
constexpr int64_t kIndexBytesPerKey = 22;

}  // namespace

int64_t DeviceTable::MaxRows(const RowsView& rows) const {
  const EvictionOptions& options = options_.eviction;
  int64_t max_rows = std::numeric_limits<int64_t>::max();
  if (options.max_keys > 0) max_rows = options.max_keys;
  if (options.max_bytes > 0) {
    max_rows = std::min(
        max_rows, options.max_bytes / (rows.row_bytes() + kIndexBytesPerKey));
  }
  return std::max<int64_t>(1, max_rows);
}

void DeviceTable::ReleaseEviction() {
  allocator_->Release(selection_);
  allocator_->Release(sweep_space_);
  allocator_->Release(ring_space_);
}

Status DeviceTable::EnsureEvictionSpace(Content* content, void* stream) {
  if (eviction_ == nullptr) return Status();
  TFE_RETURN_IF_ERROR(EnsureFreeList(content, content->row_capacity, stream));
  if (selection_ == nullptr) {
    TFE_RETURN_IF_ERROR(AllocateArray(*content, 1, &selection_));
  }
  if (ring_width_ < 0) {
    TFE_RETURN_IF_ERROR(ResizeRing(content->view.rows.slot_width(), stream));
  }
  const int64_t rows =
      std::min(content->row_capacity,
               std::max(kPieceRows, content->row_capacity / kPieces));
  if (rows <= sweep_rows_) return Status();
  const int64_t sum_bytes = launchers_->sum_bytes(rows);
  SweepSpace space = {};
  Carver measure(nullptr);
  space.Carve(rows, sum_bytes, &measure);
  void* memory;
  TFE_RETURN_IF_ERROR(AllocateBytes(*content, measure.used(), &memory));
  allocator_->Release(sweep_space_);
  sweep_space_ = static_cast<char*>(memory);
  sweep_bytes_ = measure.used();
  sweep_rows_ = rows;
  return Status();
}

Status DeviceTable::EndBatch(Content* content, const EvictionMoment& moment,
                             const BatchSpace& space, int64_t n, void* stream) {
  if (eviction_ == nullptr) return Status();
  TFE_CHECK_DEVICE(launchers_->touch_rows(
      TouchRows{content->view, SortedBatch{/*keys=*/nullptr, space.sorted_rows,
                                           space.sorted_positions, n}},
      n, stream));
  TFE_RETURN_IF_ERROR(SweepSlice(*content, moment, n * kSweptPerKey, stream));
  return bounded() ? EvictToBound(*content, stream) : Status();
}

RuleBounds DeviceTable::BoundsOf(const EvictionOptions::Rules& rules,
                                 const EvictionMoment& moment,
                                 bool spares) const {
  const EvictionOptions& options = options_.eviction;
  return RuleBounds{rules,
                    moment,
                    options.steps_to_live,
                    options.l2_threshold,
                    options.min_frequency,
                    options.decay,
                    spares};
}

Status DeviceTable::SweepSlice(const Content& content,
                               const EvictionMoment& moment, int64_t num_rows,
                               void* stream) {
  EvictionOptions::Rules rules = options_.eviction.RulesOf(EvictWhen::kApply);
  if (!rules.any()) return Status();
  if (rules.frequency && cursor_ == 0) {
    const int64_t every = options_.eviction.every_steps;
    decays_ = next_decay_ >= 0 && moment.step >= next_decay_;
    if (decays_ || next_decay_ < 0) {
      next_decay_ = moment.step - moment.step % every + every;
    }
  }
  rules.frequency &= decays_;
  if (!rules.any()) return Status();
  const int64_t end = content.MaxEnd();
  const int64_t begin = cursor_;
  const int64_t to = std::min(begin + num_rows, end);
  cursor_ = to == end ? 0 : to;
  return SweepRange(content, BoundsOf(rules, moment, /*spares=*/true), begin,
                    to, stream);
}

Status DeviceTable::SweepRange(const Content& content, const RuleBounds& by,
                               int64_t begin, int64_t end, void* stream) {
  return EvictMarked(
      content, begin, end,
      [&](int64_t first, int64_t n, uint32_t* taken) {
        if (by.rules.l2) {
          return launchers_->mark_by_norm(
              MarkByRules<true>{content.view, by, first, taken}, n, stream);
        }
        return launchers_->mark_by_rules(
            MarkByRules<false>{content.view, by, first, taken}, n, stream);
      },
      stream);
}

Status DeviceTable::EvictMarked(
    const Content& content, int64_t begin, int64_t end,
    const std::function<int(int64_t, int64_t, uint32_t*)>& mark, void* stream) {
  SweepSpace space = {};
  const int64_t sum_bytes = launchers_->sum_bytes(sweep_rows_);
  Carver carver(sweep_space_);
  space.Carve(sweep_rows_, sum_bytes, &carver);
  const DeviceView& view = content.view;
  for (int64_t first = begin; first < end; first += sweep_rows_) {
    const int64_t n = std::min(sweep_rows_, end - first);
    TFE_CHECK_DEVICE(mark(first, n, space.taken));
    TFE_CHECK_DEVICE(launchers_->prefix_sum(space.taken, space.ranks, n,
                                            space.temp, sum_bytes, stream));
    TFE_CHECK_DEVICE(launchers_->evict_rows(
        EvictRows{view, first, n, space.taken, space.ranks, ring_}, n, stream));
    TFE_CHECK_DEVICE(launchers_->count_evicted(
        CountEvicted{n, space.taken, space.ranks, view.counters, view.tallies},
        1, stream));
  }
  return Status();
}

Status DeviceTable::EvictToBound(const Content& content, void* stream) {
  const DeviceView& view = content.view;
  const int64_t max_rows = MaxRows(view.rows);
  if (content.MaxSize() <= max_rows) return Status();
  const int64_t low_rows =
      max_rows - (max_rows < kLeastSlackened ? 0 : max_rows / kSlack);
  const EvictOrder order = options_.eviction.order;
  TFE_CHECK_DEVICE(launchers_->begin_selection(
      BeginSelection{view.counters, max_rows, low_rows, selection_}, 1,
      stream));
  int bits[EvictRank::kWords] = {0, 32, 64};
  if (order == EvictOrder::kLru) bits[0] = BitWidth(view.batch);
  if (order == EvictOrder::kLfu) bits[0] = 32;
  const int64_t end = content.MaxEnd();
  const int64_t items = std::min(end, kDigitItems);
  for (int word = 0; word < EvictRank::kWords; ++word) {
    const int digits = (bits[word] + kDigitBits - 1) / kDigitBits;
    for (int digit = digits - 1; digit >= 0; --digit) {
      const int shift = digit * kDigitBits;
      TFE_CHECK_DEVICE(launchers_->count_digits(
          CountDigits{view, order, word, shift, items, selection_}, items,
          stream));
      TFE_CHECK_DEVICE(launchers_->pick_digit(
          PickDigit{word, shift, selection_}, 1, stream));
    }
  }
  return EvictMarked(
      content, 0, end,
      [&](int64_t first, int64_t n, uint32_t* taken) {
        return launchers_->mark_selected(
            MarkSelected{view, order, selection_, first, taken}, n, stream);
      },
      stream);
}

Status DeviceTable::Sweep(const EvictionMoment& moment, EvictWhen when,
                          void* stream, int64_t* evicted) {
  const EvictionOptions::Rules rules = options_.eviction.RulesOf(when);
  *evicted = 0;
  if (!rules.any()) return Status();
  TFE_RETURN_IF_ERROR(ReadCounters(&content_, stream));
  if (content_.known.size == 0) return Status();
  TFE_RETURN_IF_ERROR(EnsureEvictionSpace(&content_, stream));
  const int64_t before = content_.known.size;
  TFE_RETURN_IF_ERROR(SweepRange(content_,
                                 BoundsOf(rules, moment, /*spares=*/false), 0,
                                 content_.known.end, stream));
  TFE_RETURN_IF_ERROR(ReadCounters(&content_, stream));
  *evicted = before - content_.known.size;
  return Status();
}

Status DeviceTable::Evict(int64_t step, void* stream, int64_t* evicted) {
  *evicted = 0;
  if (step != Eviction::kLastStep) TFE_RETURN_IF_ERROR(CheckStep(step));
  if (eviction_ == nullptr) return Status();
  const Turn turn(this, stream);
  return Sweep(eviction_->Now(step), EvictWhen::kRequest, stream, evicted);
}

Status DeviceTable::EvictForSave(void* stream) {
  if (eviction_ == nullptr) return Status();
  const Turn turn(this, stream);
  int64_t evicted;
  return Sweep(eviction_->Now(Eviction::kLastStep), EvictWhen::kSave, stream,
               &evicted);
}

Status DeviceTable::ResizeRing(int slot_width, void* stream) {
  if (eviction_ == nullptr || slot_width == ring_width_) return Status();
  const int64_t room = options_.eviction.collect;
  if (room > 0) {
    const int64_t dim = options_.dim;
    DeviceColumns columns = {};
    const auto carve = [&](char* base) {
      Carver carver(base);
      carver.Take(room, &columns.keys);
      carver.Take(room * dim, &columns.values);
      carver.Take(room * slot_width, &columns.slots);
      carver.Take(room, &columns.frequency);
      carver.Take(room, &columns.version);
      return carver.used();
    };
    const int64_t bytes = carve(nullptr);
    void* memory;
    TFE_RETURN_IF_ERROR(AllocateBytes(content_, bytes, &memory));
    carve(static_cast<char*>(memory));
    if (ring_width_ >= 0) {
      // What was kept has another width: it is dropped.
      TableTallies tallies;
      TFE_RETURN_IF_ERROR(ReadTallies(stream, &tallies));
      const auto total = static_cast<int64_t>(tallies.evicted);
      dropped_ += total - told_evicted_;
      told_evicted_ = total;
    }
    allocator_->Release(ring_space_);
    ring_space_ = static_cast<char*>(memory);
    ring_bytes_ = bytes;
    ring_ = EvictedRing{room, columns};
  }
  ring_width_ = slot_width;
  return Status();
}

Status DeviceTable::TakeEvicted(void* stream, RowChunk* rows,
                                int64_t* dropped) {
  *dropped = 0;
  const Turn turn(this, stream);
  rows->dim = options_.dim;
  rows->slot_width = content_.view.rows.slot_width();
  if (ring_.room == 0) return Status();
  TableTallies tallies;
  TFE_RETURN_IF_ERROR(ReadTallies(stream, &tallies));
  const auto total = static_cast<int64_t>(tallies.evicted);
  const int64_t n = std::min(total - told_evicted_, ring_.room);
  try {
    // The oldest is where the next would be written, once the ring is full.
    const int64_t oldest = (total - n) % ring_.room;
    const int64_t first = std::min(n, ring_.room - oldest);
    const auto fetch = [&](auto* to, const auto* from, int64_t width) {
      to->resize(n * width);
      const auto bytes = width * static_cast<int64_t>(sizeof(*from));
      const int error = launchers_->copy(to->data(), from + oldest * width,
                                         first * bytes, stream);
      if (error != 0) return error;
      return launchers_->copy(to->data() + first * width, from,
                              (n - first) * bytes, stream);
    };
    const DeviceColumns& columns = ring_.columns;
    TFE_CHECK_DEVICE(fetch(&rows->keys, columns.keys, 1));
    TFE_CHECK_DEVICE(fetch(&rows->values, columns.values, rows->dim));
    TFE_CHECK_DEVICE(fetch(&rows->slots, columns.slots, rows->slot_width));
    TFE_CHECK_DEVICE(fetch(&rows->frequency, columns.frequency, 1));
    TFE_CHECK_DEVICE(fetch(&rows->version, columns.version, 1));
    TFE_CHECK_DEVICE(launchers_->synchronize(stream));
  } catch (const std::bad_alloc&) {
    return ResourceExhausted(
        "out of host memory for the evicted rows of embedding table ",
        options_.name, "; lower collect_evicted, or ask more often");
  }
  *dropped = total - told_evicted_ - n + dropped_;
  told_evicted_ = total;
  dropped_ = 0;
  return Status();
}

}  // namespace tf_embedding
