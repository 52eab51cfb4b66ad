// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// DeviceTable's rows from and to the host.

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cc/core/table_internal.h"
#include "cc/cuda/device_table_internal.h"

namespace tf_embedding {
namespace {

// Rows of a piece of Export and Import.
constexpr int64_t kCopyBytes = int64_t{32} << 20;

}  // namespace

Status DeviceTable::Export(const EmbeddingTable::Allocate& allocate,
                           void* stream) {
  TableShape host_shape = shape();
  const Turn turn(this, stream);
  TFE_RETURN_IF_ERROR(ReadCounters(&content_, stream));
  host_shape.size = content_.known.size;
  RowColumns out;
  TFE_RETURN_IF_ERROR(allocate(host_shape, &out));
  const int64_t end = content_.known.end;
  if (end == 0) return Status();

  const DeviceView& view = content_.view;
  const int64_t dim = options_.dim;
  const int64_t width = view.rows.slot_width();
  const int64_t row_bytes = 4 * (dim + width) + 24;
  const int64_t piece = std::clamp<int64_t>(kCopyBytes / row_bytes, 1, end);
  int64_t* key_of_row;
  uint32_t *used, *ranks;
  char* temp;
  DeviceColumns columns = {};
  const int64_t sum_bytes = launchers_->sum_bytes(end);
  const auto carve = [&](char* base) {
    Carver carver(base);
    carver.Take(end, &key_of_row);
    carver.Take(end, &used);
    carver.Take(end, &ranks);
    carver.Take(sum_bytes, &temp);
    carver.Take(piece, &columns.keys);
    carver.Take(piece * dim, &columns.values);
    carver.Take(piece * width, &columns.slots);
    carver.Take(piece, &columns.frequency);
    carver.Take(piece, &columns.version);
    return carver.used();
  };
  void* memory;
  TFE_RETURN_IF_ERROR(AllocateBytes(content_, carve(nullptr), &memory));
  carve(static_cast<char*>(memory));
  const auto write = [&]() -> Status {
    TFE_CHECK_DEVICE(launchers_->set_zero(used, end * 4, stream));
    TFE_CHECK_DEVICE(
        launchers_->tell_rows(TellRows{view.index, key_of_row, used},
                              view.index.num_buckets, stream));
    TFE_CHECK_DEVICE(
        launchers_->prefix_sum(used, ranks, end, temp, sum_bytes, stream));
    int64_t done = 0;
    for (int64_t from = 0; from < end; from += piece) {
      const int64_t rows = std::min(piece, end - from);
      TFE_CHECK_DEVICE(launchers_->export_rows(
          ExportRows{view.rows, key_of_row, used, ranks, from, columns}, rows,
          stream));
      uint32_t last_rank, last_used;
      TFE_CHECK_DEVICE(
          launchers_->copy(&last_rank, ranks + from + rows - 1, 4, stream));
      TFE_CHECK_DEVICE(
          launchers_->copy(&last_used, used + from + rows - 1, 4, stream));
      TFE_CHECK_DEVICE(launchers_->synchronize(stream));
      const int64_t n = int64_t{last_rank} + last_used - done;
      const auto fetch = [&](auto* to, const auto* from_device,
                             int64_t width_of_row) {
        if (to == nullptr) return 0;
        return launchers_->copy(
            to + done * width_of_row, from_device,
            n * width_of_row * static_cast<int64_t>(sizeof(*to)), stream);
      };
      TFE_CHECK_DEVICE(fetch(out.keys, columns.keys, 1));
      TFE_CHECK_DEVICE(fetch(out.values, columns.values, dim));
      TFE_CHECK_DEVICE(fetch(out.slots, columns.slots, width));
      TFE_CHECK_DEVICE(fetch(out.frequency, columns.frequency, 1));
      TFE_CHECK_DEVICE(fetch(out.version, columns.version, 1));
      TFE_CHECK_DEVICE(launchers_->synchronize(stream));
      done += n;
    }
    return Status();
  };
  const Status status = write();
  allocator_->Release(memory);
  return status;
}

Status DeviceTable::Import(const TableShape& shape, const ConstRowColumns& rows,
                           bool replace, void* stream) {
  const RuleInfo* rule;
  TFE_RETURN_IF_ERROR(CheckImport(shape, rows, options_.dim, &rule));
  std::vector<float> initial_slots = shape.initial_slots;
  initial_slots.resize(kMaxVectorSlots + kMaxScalarSlots);
  const Turn turn(this, stream);
  ++content_.view.batch;
  if (!replace) {
    if (rule != content_.rule) {
      TFE_RETURN_IF_ERROR(ReadCounters(&content_, stream));
      if (content_.known.size > 0) {
        return InvalidArgument(
            "rule is \"", shape.rule,
            "\", but the table's rows hold slots of \"",
            content_.rule == nullptr ? "" : content_.rule->name,
            "\"; import with replace, or export from the same rule");
      }
      int64_t rows_reset;
      TFE_RETURN_IF_ERROR(ChangeRule(rule, initial_slots.data(), &content_,
                                     stream, &rows_reset));
    }
    return ImportPieces(rows, shape.size, shape.slot_width, &content_, stream);
  }
  // The counters' copy may belong to what is replaced.
  TFE_RETURN_IF_ERROR(ReadCounters(&content_, stream));
  Content fresh;
  Status status = MakeContent(rule, initial_slots.data(), stream, &fresh);
  if (status.ok()) {
    status = ImportPieces(rows, shape.size, shape.slot_width, &fresh, stream);
  }
  if (status.ok()) status = ResizeRing(shape.slot_width, stream);
  if (!status.ok()) {
    ReleaseContent(&fresh);
    return status;
  }
  Replace(fresh);
  if (eviction_ != nullptr) eviction_->ForgetSteps();
  return AttachCache(&content_, stream);
}

Status DeviceTable::ImportPieces(const ConstRowColumns& rows, int64_t n,
                                 int slot_width, Content* content,
                                 void* stream) {
  if (n == 0) return Status();
  // Beside other rows it is a batch; a content of its own waits for the next.
  const bool live = content == &content_ && eviction_ != nullptr;
  const EvictionMoment moment =
      live ? eviction_->Now(Eviction::kLastStep) : EvictionMoment();
  const int64_t dim = options_.dim;
  const int64_t width = slot_width;
  const int64_t row_bytes = 4 * (dim + width) + 24;
  const int64_t piece = std::clamp<int64_t>(kCopyBytes / row_bytes, 1, n);
  int64_t *keys, *frequency, *version;
  float *values, *slots;
  const auto carve = [&](char* base) {
    Carver carver(base);
    carver.Take(piece, &keys);
    carver.Take(piece * dim, &values);
    carver.Take(piece * width, &slots);
    carver.Take(piece, &frequency);
    carver.Take(piece, &version);
    return carver.used();
  };
  void* memory;
  TFE_RETURN_IF_ERROR(AllocateBytes(*content, carve(nullptr), &memory));
  carve(static_cast<char*>(memory));
  const auto read = [&]() -> Status {
    for (int64_t from = 0; from < n; from += piece) {
      const int64_t count = std::min(piece, n - from);
      const auto send = [&](auto* to, const auto* from_host,
                            int64_t width_of_row) {
        return launchers_->copy(
            to, from_host + from * width_of_row,
            count * width_of_row * static_cast<int64_t>(sizeof(*to)), stream);
      };
      TFE_CHECK_DEVICE(send(keys, rows.keys, 1));
      TFE_CHECK_DEVICE(send(values, rows.values, dim));
      if (width > 0) TFE_CHECK_DEVICE(send(slots, rows.slots, width));
      TFE_CHECK_DEVICE(send(frequency, rows.frequency, 1));
      TFE_CHECK_DEVICE(send(version, rows.version, 1));
      TFE_RETURN_IF_ERROR(EnsureRoom(content, count, stream));
      if (live) TFE_RETURN_IF_ERROR(EnsureEvictionSpace(content, stream));
      BatchSpace space;
      TFE_RETURN_IF_ERROR(GetSpace(*content, count, /*sums=*/false, &space));
      TFE_RETURN_IF_ERROR(FindOrInsert(content, keys, count, /*version=*/0,
                                       /*asks=*/nullptr, space, stream));
      TFE_CHECK_DEVICE(launchers_->set_rows(
          SetRows{content->view.rows, space.sorted_rows, space.sorted_positions,
                  count, values, slots, frequency, version},
          count, stream));
      if (live) {
        TFE_RETURN_IF_ERROR(EndBatch(content, moment, space, count, stream));
      }
      // The next piece goes into the same memory, from memory of the caller's.
      TFE_RETURN_IF_ERROR(ReadCounters(content, stream));
    }
    return Status();
  };
  const Status status = read();
  allocator_->Release(memory);
  return status;
}

namespace {

// Rows of the host, column by column.
struct HostRows {
  EmbeddingTable::Allocate Allocate(int dim) {
    return [this, dim](const TableShape& wanted, RowColumns* out) {
      shape = wanted;
      keys.resize(shape.size);
      values.resize(shape.size * dim);
      slots.resize(shape.size * shape.slot_width);
      frequency.resize(shape.size);
      version.resize(shape.size);
      out->keys = keys.data();
      out->values = values.data();
      out->slots = slots.data();
      out->frequency = frequency.data();
      out->version = version.data();
      return Status();
    };
  }
  ConstRowColumns view() const {
    return ConstRowColumns{keys.data(), values.data(), slots.data(),
                           frequency.data(), version.data()};
  }

  TableShape shape;
  std::vector<int64_t> keys;
  std::vector<float> values;
  std::vector<float> slots;
  std::vector<int64_t> frequency;
  std::vector<int64_t> version;
};

Status OutOfHostMemory(const std::string& name) {
  return ResourceExhausted(
      "out of host memory for the rows of embedding table ", name,
      ", which are copied from or to the device");
}

}  // namespace

Status DeviceTable::ToHost(void* stream, Executor* executor,
                           std::unique_ptr<EmbeddingTable>* table) {
  try {
    TableOptions options;
    options.dim = options_.dim;
    options.initializer = initializer()->spec();
    options.admission = options_.admission;
    TFE_RETURN_IF_ERROR(EmbeddingTable::Create(std::move(options), table));
    HostRows rows;
    TFE_RETURN_IF_ERROR(Export(rows.Allocate(options_.dim), stream));
    TFE_RETURN_IF_ERROR((*table)->Import(rows.shape, rows.view(),
                                         /*replace=*/true, executor));
    return CountsToHost(**table, stream);
  } catch (const std::bad_alloc&) {
    return OutOfHostMemory(options_.name);
  }
}

Status DeviceTable::FromHost(const EmbeddingTable& table, void* stream,
                             Executor* executor) {
  try {
    HostRows rows;
    TFE_RETURN_IF_ERROR(table.Export(rows.Allocate(options_.dim), executor));
    TFE_RETURN_IF_ERROR(
        Import(rows.shape, rows.view(), /*replace=*/true, stream));
    TFE_RETURN_IF_ERROR(CountsFromHost(table, stream));
    return set_initializer(table.initializer(), stream);
  } catch (const std::bad_alloc&) {
    return OutOfHostMemory(options_.name);
  }
}

}  // namespace tf_embedding
