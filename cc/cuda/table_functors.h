// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels that find, insert, remove, move and copy rows (device.h says what a
// kernel is, device_table.h in which order they run).
//
// Leaders. Of the positions of a batch that have the same key, the first is its
// leader and acts for all. ClaimLeaders finds them in a scratch hash table of
// positions, in which the lowest position of a key wins; a prefix sum over the
// leaders then numbers them in position order. So which row number a new key
// gets is a function of the batch, not of the race.

#ifndef TF_EMBEDDING_CC_CUDA_TABLE_FUNCTORS_H_
#define TF_EMBEDDING_CC_CUDA_TABLE_FUNCTORS_H_

#include "cc/cuda/table_view.h"

namespace tf_embedding {

constexpr uint32_t kNoPosition = 0xFFFFFFFFu;
constexpr uint32_t kMaxFrequency = 0xFFFFFFFFu;

// rows[i]: of keys[i], or kNoRow. positions[i] = i. *missing, which starts at
// 0, is not 0 if any key has no row.
struct FindRows {
  IndexView index;
  const int64_t* keys;
  uint32_t* rows;
  uint32_t* positions;
  uint32_t* missing;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t i) const {
    const uint32_t row = FindRow(index, keys[i]);
    rows[i] = row;
    positions[i] = static_cast<uint32_t>(i);
    if (row == kNoRow && AtomicLoad(missing) == 0) AtomicOr(missing, 1);
  }
};

// A launch that has nothing to do, because no key is missing, ends at once.
// wanted: null where it always has.
TFE_DEVICE bool Idle(const uint32_t* wanted) {
  return wanted != nullptr && *wanted == 0;
}

struct ClearScratch {
  uint32_t* scratch;
  const uint32_t* wanted;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t i) const {
    if (!Idle(wanted)) scratch[i] = kNoPosition;
  }
};

// Of the keys that have a row (found) or of those that have none: the slot of
// the scratch table where the position of each one's leader will stand.
// mask + 1 slots, a power of two, more than positions.
struct ClaimLeaders {
  const int64_t* keys;
  const uint32_t* rows;
  bool found;
  uint32_t* scratch;
  uint64_t mask;
  uint64_t* slot_of;
  const uint32_t* wanted;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t i) const {
    if (Idle(wanted) || (rows[i] != kNoRow) != found) return;
    const int64_t key = keys[i];
    const auto position = static_cast<uint32_t>(i);
    uint64_t slot = MixKey(key) & mask;
    for (;; slot = (slot + 1) & mask) {
      uint32_t other = AtomicLoad(scratch + slot);
      if (other == kNoPosition) {
        other = AtomicSwapIf(scratch + slot, kNoPosition, position);
        if (other == kNoPosition) break;
      }
      // The slot's position may be lowered meanwhile; its key stays.
      if (keys[other] == key) {
        AtomicMin(scratch + slot, position);
        break;
      }
    }
    slot_of[i] = slot;
  }
};

// leaders[i]: 1 where i is one, else 0.
struct MarkLeaders {
  const uint32_t* rows;
  bool found;
  const uint32_t* scratch;
  const uint64_t* slot_of;
  uint32_t* leaders;
  const uint32_t* wanted;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t i) const {
    const bool leads = !Idle(wanted) && (rows[i] != kNoRow) == found &&
                       scratch[slot_of[i]] == static_cast<uint32_t>(i);
    leaders[i] = leads ? 1 : 0;
  }
};

// Gives leader number r its row: the r-th from the end of the free list, then
// new ones. The row is born with its initial vector and slots.
struct InsertRows {
  DeviceView table;
  const int64_t* keys;
  const uint32_t* leaders;
  const uint32_t* ranks;
  uint32_t version;
  const int64_t* frequency;  // that it is born with; 0 if null
  uint32_t* rows;
  const uint32_t* wanted;

  template <class Group>
  TFE_DEVICE void operator()(const Group& group, int64_t i) const {
    if (Idle(wanted) || leaders[i] == 0) return;
    const uint32_t rank = ranks[i];
    const uint32_t free = table.counters->free;
    const uint32_t row = rank < free ? table.free_rows[free - 1 - rank]
                                     : table.counters->end + (rank - free);
    const int64_t key = keys[i];
    if (group.rank() == 0) {
      InsertKey(table.index, key, row);
      const int64_t born = frequency == nullptr ? 0 : frequency[i];
      *table.rows.Meta(row) = RowMeta{
          born < kMaxFrequency ? static_cast<uint32_t>(born) : kMaxFrequency,
          version};
      if (table.rows.owned) {
        *table.rows.Owner(row) = RowOwner{key, table.batch};
      }
      rows[i] = row;
    }
    float* const record = table.rows.Record(row);
    float* const slots = table.rows.Slots(record);
    const int dim = table.rows.dim;
    const int width = dim + table.rows.slot_width();
    for (int c = group.rank(); c < width; c += group.size()) {
      if (c < dim) {
        table.rows.SetValue(record, c,
                            InitialValue(table.initial, key, dim, c));
      } else {
        slots[c - dim] = InitialSlot(table.rows, c - dim);
      }
    }
  }
};

// The keys that are not leaders take the row of theirs.
struct ShareRows {
  const uint32_t* scratch;
  const uint64_t* slot_of;
  uint32_t* rows;
  const uint32_t* wanted;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t i) const {
    if (Idle(wanted) || rows[i] != kNoRow) return;
    // A leader that has none by now was refused by a filter.
    const uint32_t leader = scratch[slot_of[i]];
    if (leader != static_cast<uint32_t>(i)) rows[i] = rows[leader];
  }
};

// After the insertion (or removal) of as many keys as there are leaders; one
// item.
struct CountLeaders {
  const uint32_t* leaders;
  const uint32_t* ranks;
  int64_t n;
  bool removed;
  TableCounters* counters;
  TableTallies* tallies;  // null: not counted
  int64_t* total;         // how many, unless null

  template <class Group>
  TFE_DEVICE void operator()(const Group& group, int64_t) const {
    if (group.rank() != 0) return;
    const uint32_t count = leaders[n - 1] + ranks[n - 1];
    if (removed) {
      counters->free += count;
      counters->size -= count;
      if (tallies != nullptr) tallies->removed += count;
    } else {
      const uint32_t reused = count < counters->free ? count : counters->free;
      counters->free -= reused;
      counters->end += count - reused;
      counters->size += count;
      if (tallies != nullptr) tallies->inserted += count;
    }
    if (total != nullptr) *total = count;
  }
};

// Removes the leaders' keys; their rows go to the end of the free list.
struct RemoveRows {
  DeviceView table;
  const int64_t* keys;
  const uint32_t* rows;
  const uint32_t* leaders;
  const uint32_t* ranks;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t i) const {
    if (leaders[i] == 0) return;
    RemoveKey(table.index, keys[i]);
    if (table.rows.owned) table.rows.Owner(rows[i])->touched = kFreeRow;
    table.free_rows[table.counters->free + ranks[i]] = rows[i];
    // It leaves the cache before others do.
    if (table.rows.metas != nullptr) table.rows.Meta(rows[i])->frequency = 0;
  }
};

// Copies a column of n values between places that the group's lanes share.
template <class Group>
TFE_DEVICE void CopyValues(const Group& group, const float* from, int n,
                           float* to) {
  for (int c = group.rank(); c < n; c += group.size()) to[c] = from[c];
}

// The vector of a record, or into one.
template <class Group>
TFE_DEVICE void ReadVector(const Group& group, const RowsView& rows,
                           const float* record, float* to) {
  for (int c = group.rank(); c < rows.dim; c += group.size()) {
    to[c] = rows.Value(record, c);
  }
}
template <class Group>
TFE_DEVICE void SetVector(const Group& group, const RowsView& rows,
                          const float* from, float* record) {
  for (int c = group.rank(); c < rows.dim; c += group.size()) {
    rows.SetValue(record, c, from[c]);
  }
}

// What keys without a row read.
template <class Group>
TFE_DEVICE void ReadInitial(const Group& group, const RowsView& rows,
                            const InitialView& initial, int64_t key,
                            float* to) {
  for (int c = group.rank(); c < rows.dim; c += group.size()) {
    to[c] = rows.Rounded(InitialValue(initial, key, rows.dim, c));
  }
}

// The vector of each key, or the one that it would be born with.
struct Lookup {
  IndexView index;
  RowsView rows;
  InitialView initial;
  const int64_t* keys;
  float* out;
  int64_t out_stride;  // values from one vector to the next
  TableTallies* tallies;

  template <class Group>
  TFE_DEVICE void operator()(const Group& group, int64_t i) const {
    const int64_t key = keys[i];
    const uint32_t row = FindRow(index, key);
    float* const to = out + i * out_stride;
    if (row == kNoRow) {
      if (group.rank() == 0) tallies->CountMiss(i);
      ReadInitial(group, rows, initial, key, to);
    } else {
      ReadVector(group, rows, rows.Record(row), to);
    }
  }
};

// The same, four columns at a time: dim, the strides and out allow it.
template <class Value>
struct alignas(4 * sizeof(Value)) Four {
  Value values[4];
};
TFE_DEVICE Four<float> ToFloats(const Four<float>& four) { return four; }
TFE_DEVICE Four<float> ToFloats(const Four<Bfloat16>& four) {
  return {{ToFloat(four.values[0]), ToFloat(four.values[1]),
           ToFloat(four.values[2]), ToFloat(four.values[3])}};
}
template <class Value>
struct LookupFours {
  IndexView index;
  RowsView rows;
  InitialView initial;
  const int64_t* keys;
  float* out;
  int64_t out_stride;
  TableTallies* tallies;

  template <class Group>
  TFE_DEVICE void operator()(const Group& group, int64_t i) const {
    const int64_t key = keys[i];
    const uint32_t row = FindRow(index, key);
    const int dim = rows.dim;
    auto* const to = reinterpret_cast<Four<float>*>(out + i * out_stride);
    if (row != kNoRow) {
      const auto* const from =
          reinterpret_cast<const Four<Value>*>(rows.Record(row));
      for (int f = group.rank(); f < dim / 4; f += group.size()) {
        to[f] = ToFloats(from[f]);
      }
      return;
    }
    if (group.rank() == 0) tallies->CountMiss(i);
    ReadInitial(group, rows, initial, key, out + i * out_stride);
  }
};

// Where whole rows go to; a null column is left out.
struct DeviceColumns {
  int64_t* keys;
  float* values;
  float* slots;
  int64_t* frequency;
  int64_t* version;
  bool* found;
};

template <class Group>
TFE_DEVICE void CopyRow(const Group& group, const RowsView& rows, uint32_t row,
                        int64_t key, int64_t i, const DeviceColumns& out) {
  float* const record = rows.Record(row);
  const int width = rows.slot_width();
  if (out.values != nullptr) {
    ReadVector(group, rows, record, out.values + i * rows.dim);
  }
  if (out.slots != nullptr) {
    CopyValues(group, rows.Slots(record), width, out.slots + i * width);
  }
  if (group.rank() != 0) return;
  const RowMeta meta = *rows.Meta(row);
  if (out.keys != nullptr) out.keys[i] = key;
  if (out.frequency != nullptr) out.frequency[i] = meta.frequency;
  if (out.version != nullptr) out.version[i] = meta.version;
  if (out.found != nullptr) out.found[i] = true;
}

// The whole rows of given keys; of one without a row what it would be born
// with, frequency 0, version -1, found false.
struct FindWholeRows {
  DeviceView table;
  const int64_t* keys;
  DeviceColumns out;

  template <class Group>
  TFE_DEVICE void operator()(const Group& group, int64_t i) const {
    const int64_t key = keys[i];
    const uint32_t row = FindRow(table.index, key);
    if (row != kNoRow) {
      CopyRow(group, table.rows, row, key, i, out);
      return;
    }
    const int width = table.rows.slot_width();
    ReadInitial(group, table.rows, table.initial, key,
                out.values + i * table.rows.dim);
    for (int c = group.rank(); c < width; c += group.size()) {
      out.slots[i * width + c] = InitialSlot(table.rows, c);
    }
    if (group.rank() != 0) return;
    out.frequency[i] = 0;
    out.version[i] = -1;
    out.found[i] = false;
  }
};

// Of a sorted batch, whether place j is the last of its row.
TFE_DEVICE bool IsLast(const uint32_t* sorted_rows, int64_t n, int64_t j) {
  return j + 1 == n || sorted_rows[j + 1] != sorted_rows[j];
}

// Sets vectors; of equal keys the last position wins.
struct SetVectors {
  RowsView rows;
  const uint32_t* sorted_rows;
  const uint32_t* positions;
  int64_t n;
  const float* values;
  uint32_t version;

  template <class Group>
  TFE_DEVICE void operator()(const Group& group, int64_t j) const {
    if (!IsLast(sorted_rows, n, j)) return;
    const uint32_t row = sorted_rows[j];
    SetVector(group, rows, values + int64_t{positions[j]} * rows.dim,
              rows.Record(row));
    if (group.rank() == 0) rows.Meta(row)->version = version;
  }
};

// Sets whole rows, likewise. slots: null keeps what the row has.
struct SetRows {
  RowsView rows;
  const uint32_t* sorted_rows;
  const uint32_t* positions;
  int64_t n;
  const float* values;
  const float* slots;
  const int64_t* frequency;
  const int64_t* version;

  template <class Group>
  TFE_DEVICE void operator()(const Group& group, int64_t j) const {
    if (!IsLast(sorted_rows, n, j)) return;
    const uint32_t row = sorted_rows[j];
    const int64_t i = positions[j];
    float* const record = rows.Record(row);
    const int width = rows.slot_width();
    SetVector(group, rows, values + i * rows.dim, record);
    CopyValues(group, slots + i * width, width, rows.Slots(record));
    if (group.rank() == 0) {
      *rows.Meta(row) = RowMeta{static_cast<uint32_t>(frequency[i]),
                                static_cast<uint32_t>(version[i])};
    }
  }
};

// Item b: moves the keys of bucket b of the old index into the new one.
struct MoveKeys {
  IndexView from;
  IndexView to;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t b) const {
    const IndexBucket& bucket = from.buckets[b];
    for (int s = 0; s < kSlotsPerBucket; ++s) {
      if ((bucket.control >> s & 1) != 0) {
        InsertKey(to, bucket.keys[s], bucket.rows[s]);
      }
    }
  }
};

// Item r: row r with the slots of another rule. Rows on the free list too.
struct ConvertRows {
  RowsView from;
  RowsView to;

  template <class Group>
  TFE_DEVICE void operator()(const Group& group, int64_t r) const {
    const auto row = static_cast<uint32_t>(r);
    float* const record = to.Record(row);
    // The same dim and dtype, so the same bytes, but for what pads them.
    CopyValues(group, from.Record(row), to.vector_floats(), record);
    float* const slots = to.Slots(record);
    const int width = to.slot_width();
    for (int c = group.rank(); c < width; c += group.size()) {
      slots[c] = InitialSlot(to, c);
    }
    if (group.rank() != 0) return;
    *to.Meta(row) = *from.Meta(row);
    if (to.owned) *to.Owner(row) = *from.Owner(row);
  }
};

// Item b: tells each row in bucket b its key. used starts as 0.
struct TellRows {
  IndexView index;
  int64_t* key_of_row;
  uint32_t* used;

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t b) const {
    const IndexBucket& bucket = index.buckets[b];
    for (int s = 0; s < kSlotsPerBucket; ++s) {
      if ((bucket.control >> s & 1) == 0) continue;
      key_of_row[bucket.rows[s]] = bucket.keys[s];
      used[bucket.rows[s]] = 1;
    }
  }
};

// Item i: writes row first + i, in row order, side by side.
struct ExportRows {
  RowsView rows;
  const int64_t* key_of_row;
  const uint32_t* used;
  const uint32_t* ranks;  // of the used ones
  int64_t first;
  DeviceColumns out;

  template <class Group>
  TFE_DEVICE void operator()(const Group& group, int64_t i) const {
    const int64_t r = first + i;
    if (used[r] == 0) return;
    CopyRow(group, rows, static_cast<uint32_t>(r), key_of_row[r],
            ranks[r] - ranks[first], out);
  }
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CUDA_TABLE_FUNCTORS_H_
