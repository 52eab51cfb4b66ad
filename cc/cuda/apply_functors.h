// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of an update: sum the gradients of equal rows, run the rule.
//
// They see the batch sorted by row, stably, so the positions of a row stand
// side by side and in order. The group at the first place of a row sums its
// gradients, column by column, in position order, in registers, and updates
// the row: record and gradient are read once and the record is written once.
//
// A row that occurs more than kPiece times would keep one group busy while all
// others wait. Its positions are cut into pieces of kPiece, counted from its
// first; a group each sums those (SumPieces), and the sums are added in order.
// The cut depends on the row's occurrences alone, so the bits are the same in
// every run; up to kPiece occurrences they are those of one sum in position
// order, as on the CPU.

#ifndef TF_EMBEDDING_CC_CUDA_APPLY_FUNCTORS_H_
#define TF_EMBEDDING_CC_CUDA_APPLY_FUNCTORS_H_

#include "cc/core/rule_functors.h"
#include "cc/cuda/table_view.h"

namespace tf_embedding {

constexpr int kPiece = 256;
// So many pieces at most: a row that is cut has more than kPiece occurrences,
// hence at most 2 / kPiece pieces for each.
constexpr int64_t MaxPieces(int64_t n) { return n / (kPiece / 2) + 1; }

// Columns of a lane that are summed side by side, so that the loads of several
// are under way at once.
constexpr int kColumnsAtOnce = 4;

struct Piece {
  uint32_t begin;  // places in the sorted batch
  uint32_t end;
};

struct CutRow {
  uint32_t first;  // piece
  uint32_t length;
};

// A batch, sorted by row. Keys that a filter refused have none and stand last.
struct SortedBatch {
  const int64_t* keys;  // as the batch came; only updates read them
  const uint32_t* rows;
  const uint32_t* positions;
  int64_t n;

  TFE_DEVICE bool IsFirst(int64_t j) const {
    return rows[j] != kNoRow && (j == 0 || rows[j - 1] != rows[j]);
  }
  // Of the first place of a row.
  TFE_DEVICE bool IsLong(int64_t j) const {
    return j + kPiece < n && rows[j + kPiece] == rows[j];
  }
};

// Item j: if place j is the first of a row that is to be cut, cuts it.
struct CutPieces {
  SortedBatch batch;
  CutRow* cut;           // of place j
  Piece* pieces;         // MaxPieces(n)
  uint32_t* num_pieces;  // starts at 0

  template <class Group>
  TFE_DEVICE void operator()(const Group&, int64_t j) const {
    if (!batch.IsFirst(j) || !batch.IsLong(j)) return;
    const uint32_t row = batch.rows[j];
    int64_t inside = j + kPiece;  // the last place known to be of the row
    int64_t step = kPiece;
    while (inside + step < batch.n && batch.rows[inside + step] == row) {
      inside += step;
      step *= 2;
    }
    for (; step > 0; step /= 2) {
      if (inside + step < batch.n && batch.rows[inside + step] == row) {
        inside += step;
      }
    }
    const auto length = static_cast<uint32_t>(inside + 1 - j);
    const uint32_t count = (length + kPiece - 1) / kPiece;
    const uint32_t first = AtomicAdd(num_pieces, count);
    cut[j] = CutRow{first, length};
    for (uint32_t p = 0; p < count; ++p) {
      const auto begin = static_cast<uint32_t>(j) + p * kPiece;
      const auto end = static_cast<uint32_t>(j) + length;
      pieces[first + p] =
          Piece{begin, begin + kPiece < end ? begin + kPiece : end};
    }
  }
};

// The gradients that a batch brings, and how many occurrences each stands for
// (one each if counts is null).
struct Gradients {
  const float* values;
  const int64_t* counts;
  int dim;
  int64_t stride;  // values from one gradient to the next

  TFE_DEVICE int64_t Count(uint32_t position) const {
    if (counts == nullptr) return 1;
    const int64_t count = counts[position];
    return count < 1 ? 1 : count;
  }
};

// The sums of kColumns columns, base + rank, + size, ..., of places
// begin..end-1.
template <int kColumns, class Group>
TFE_DEVICE void SumGradients(const Group& group, const Gradients& gradients,
                             const uint32_t* positions, int64_t begin,
                             int64_t end, int base, float* sums) {
  for (int64_t j = begin; j < end; ++j) {
    const float* const gradient =
        gradients.values + int64_t{positions[j]} * gradients.stride;
    for (int u = 0; u < kColumns; ++u) {
      const int c = base + group.rank() + u * group.size();
      if (c >= gradients.dim) continue;
      // Not 0 + g, which would lose the sign of -0.
      sums[u] = j == begin ? gradient[c] : sums[u] + gradient[c];
    }
  }
}

// Item p: sums piece p.
struct SumPieces {
  const uint32_t* positions;  // of the sorted batch
  const Piece* pieces;
  const uint32_t* num_pieces;
  Gradients gradients;
  float* sums;          // dim a piece
  int64_t* sum_counts;  // one a piece

  template <class Group>
  TFE_DEVICE void operator()(const Group& group, int64_t p) const {
    if (p >= *num_pieces) return;
    const Piece piece = pieces[p];
    const int dim = gradients.dim;
    for (int base = 0; base < dim; base += kColumnsAtOnce * group.size()) {
      float column_sums[kColumnsAtOnce] = {};
      SumGradients<kColumnsAtOnce>(group, gradients, positions, piece.begin,
                                   piece.end, base, column_sums);
      for (int u = 0; u < kColumnsAtOnce; ++u) {
        const int c = base + group.rank() + u * group.size();
        if (c < dim) sums[p * dim + c] = column_sums[u];
      }
    }
    if (group.rank() != 0) return;
    int64_t count = 0;
    for (uint32_t j = piece.begin; j < piece.end; ++j) {
      count += gradients.Count(positions[j]);
    }
    sum_counts[p] = count;
  }
};

// Item j: if place j is the first of its row, updates the row.
template <class Rule, class Value>
struct ApplyRows {
  RowsView rows;
  Rule rule;
  SortedBatch batch;
  Gradients gradients;
  const CutRow* cut;
  const float* sums;
  const int64_t* sum_counts;
  uint32_t version;

  template <class Group>
  TFE_DEVICE void operator()(const Group& group, int64_t j) const {
    if (!batch.IsFirst(j)) return;
    const uint32_t row = batch.rows[j];
    Row at = {};
    at.record = rows.Record(row);
    at.begin = j;
    at.end = j + 1;
    if (batch.IsLong(j)) {
      at.cut = cut[j];
    } else {
      while (at.end < batch.n && batch.rows[at.end] == row) ++at.end;
    }
    const int dim = rows.dim;
    auto* const vector = reinterpret_cast<Value*>(at.record);
    float* const vector_slots = at.record + VectorFloats<Value>(dim);
    float* const scalars = vector_slots + Rule::kVectorSlots * dim;
    float sum = 0;
    if constexpr (Rule::kReduces) sum = SumTerms(group, at);
    // Every lane computes the row's part for itself; one keeps what it changed.
    float own_scalars[kMaxScalarSlots] = {};
    for (int k = 0; k < Rule::kScalarSlots; ++k) own_scalars[k] = scalars[k];
    const float for_columns = rule.Row(sum, dim, own_scalars);
    RowMeta* const meta = rows.Meta(row);
    const UpdateRounding<Value> rounding(
        rows.seed, batch.keys[batch.positions[j]], version, meta->frequency);
    group.Sync();
    if (group.rank() == 0) {
      for (int k = 0; k < Rule::kScalarSlots; ++k) scalars[k] = own_scalars[k];
      *meta = RowMeta{AddSaturating(meta->frequency, Count(at)), version};
    }
    // Of a lane of 32, columns share random words (bfloat16.h); those of other
    // lanes would each keep some in registers.
    constexpr int kColumns =
        sizeof(Value) == sizeof(float) || Group::size() == 32 ? kColumnsAtOnce
                                                              : 1;
    for (int base = 0; base < dim; base += kColumns * group.size()) {
      float g[kColumns] = {};
      SumOf<kColumns>(group, at, base, g);
      // A copy, so that no words stay in registers over the loop's end.
      UpdateRounding<Value> rounded = rounding;
      for (int u = 0; u < kColumns; ++u) {
        const int c = base + group.rank() + u * group.size();
        if (c >= dim) continue;
        float slots[Rule::kVectorSlots + 1] = {};
        for (int k = 0; k < Rule::kVectorSlots; ++k) {
          slots[k] = vector_slots[k * dim + c];
        }
        float value = ToFloat(vector[c]);
        rule.Column(g[u], for_columns, value, slots);
        vector[c] = rounded(value, c);
        for (int k = 0; k < Rule::kVectorSlots; ++k) {
          vector_slots[k * dim + c] = slots[k];
        }
      }
    }
  }

 private:
  // A row of the batch: its places, or its pieces where there are any.
  struct Row {
    float* record;
    int64_t begin, end;
    CutRow cut;
  };

  static TFE_DEVICE uint32_t AddSaturating(uint32_t frequency, int64_t count) {
    const uint32_t room = 0xFFFFFFFFu - frequency;
    return count < room ? frequency + static_cast<uint32_t>(count)
                        : 0xFFFFFFFFu;
  }

  TFE_DEVICE int64_t Count(const Row& at) const {
    int64_t count = 0;
    for (uint32_t p = 0; p * kPiece < at.cut.length; ++p) {
      count += sum_counts[at.cut.first + p];
    }
    if (at.cut.length > 0) return count;
    for (int64_t j = at.begin; j < at.end; ++j) {
      count += gradients.Count(batch.positions[j]);
    }
    return count;
  }

  template <int kColumns, class Group>
  TFE_DEVICE void SumOf(const Group& group, const Row& at, int base,
                        float* g) const {
    if (at.cut.length == 0) {
      SumGradients<kColumns>(group, gradients, batch.positions, at.begin,
                             at.end, base, g);
      return;
    }
    const int dim = rows.dim;
    for (uint32_t p = 0; p * kPiece < at.cut.length; ++p) {
      const float* const piece = sums + int64_t{at.cut.first + p} * dim;
      for (int u = 0; u < kColumns; ++u) {
        const int c = base + group.rank() + u * group.size();
        if (c < dim) g[u] = p == 0 ? piece[c] : g[u] + piece[c];
      }
    }
  }

  // Each lane has the columns that it has above, so it reads what it wrote.
  template <class Group>
  TFE_DEVICE float SumTerms(const Group& group, const Row& at) const {
    const int dim = rows.dim;
    auto* const vector = reinterpret_cast<const Value*>(at.record);
    float* const vector_slots = at.record + VectorFloats<Value>(dim);
    return SumColumns(group, dim, [&](int c) {
      float g[1] = {};
      SumOf<1>(group, at, c - group.rank(), g);
      float slots[Rule::kVectorSlots + 1] = {};
      for (int k = 0; k < Rule::kVectorSlots; ++k) {
        slots[k] = vector_slots[k * dim + c];
      }
      const float term = rule.Term(g[0], ToFloat(vector[c]), slots);
      for (int k = 0; k < Rule::kVectorSlots; ++k) {
        vector_slots[k * dim + c] = slots[k];
      }
      return term;
    });
  }
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CUDA_APPLY_FUNCTORS_H_
