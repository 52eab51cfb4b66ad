// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/cuda/device_table.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cc/core/table_internal.h"
#include "cc/cuda/device_table_internal.h"

namespace tf_embedding {
namespace {

class LaunchersAllocator final : public DeviceAllocator {
 public:
  explicit LaunchersAllocator(const DeviceLaunchers* launchers)
      : launchers_(launchers) {}
  void* Allocate(int64_t bytes) override { return launchers_->allocate(bytes); }
  void Release(void* memory) override { launchers_->release(memory); }

 private:
  const DeviceLaunchers* const launchers_;
};

RuleBytes ToBytes(const BoundRule& rule) {
  RuleBytes bytes;
  static_assert(sizeof(bytes.functor) == sizeof(rule.functor), "same bytes");
  std::memcpy(bytes.functor, rule.functor, sizeof(bytes.functor));
  bytes.driver = rule.driver;
  return bytes;
}

}  // namespace

std::unique_ptr<DeviceAllocator> MakeDeviceAllocator(
    const DeviceLaunchers* launchers) {
  return std::make_unique<LaunchersAllocator>(launchers);
}

DeviceTable::DeviceTable(DeviceTableOptions options, const BloomShape& bloom,
                         const DeviceLaunchers* launchers,
                         std::unique_ptr<DeviceAllocator> allocator)
    : options_(std::move(options)),
      bloom_(bloom),
      launchers_(launchers),
      allocator_(std::move(allocator)),
      eviction_(options_.eviction.any()
                    ? std::make_unique<Eviction>(options_.eviction, 0)
                    : nullptr) {}

DeviceTable::~DeviceTable() {
  ReleaseTier();
  // The device may be about to write the counters.
  if (content_.copying) launchers_->wait(event_);
  ReleaseContent(&content_);
  allocator_->Release(workspace_);
  allocator_->Release(tallies_);
  ReleaseEviction();
  allocator_->Release(const_cast<float*>(initial_.matrix));
  if (event_ != nullptr) launchers_->destroy_event(event_);
  launchers_->release_pinned(pinned_);
}

Status DeviceTable::Create(DeviceTableOptions options,
                           const DeviceLaunchers* launchers,
                           std::unique_ptr<DeviceAllocator> allocator,
                           void* stream, std::unique_ptr<DeviceTable>* table) {
  if (options.dim < 1 || options.dim > kMaxDim) {
    return InvalidArgument("dim is ", options.dim, "; it must be in [1, ",
                           kMaxDim, "]");
  }
  if (options.reserve < 0 || options.reserve > kMaxRows) {
    return InvalidArgument("init_capacity is ", options.reserve,
                           "; it must be in [0, ", kMaxRows, "]");
  }
  BloomShape bloom;
  TFE_RETURN_IF_ERROR(Admission::Check(options.admission, &bloom));
  TFE_RETURN_IF_ERROR(options.eviction.Check());
  std::shared_ptr<const Initializer> initializer;
  TFE_RETURN_IF_ERROR(
      Initializer::Create(options.initializer, options.dim, &initializer));
  // The initializer has the matrix from here on.
  options.initializer = InitializerSpec();
  std::unique_ptr<DeviceTable> made(new DeviceTable(
      std::move(options), bloom, launchers, std::move(allocator)));
  TFE_RETURN_IF_ERROR(made->Init(stream));
  TFE_RETURN_IF_ERROR(made->SetInitializer(std::move(initializer), stream));
  *table = std::move(made);
  return Status();
}

Status DeviceTable::Init(void* stream) {
  pinned_ = static_cast<TableCounters*>(
      launchers_->allocate_pinned(sizeof(TableCounters)));
  if (pinned_ == nullptr) {
    return ResourceExhausted("out of pinned host memory for embedding table ",
                             options_.name);
  }
  TFE_CHECK_DEVICE(launchers_->create_event(&event_));
  TFE_RETURN_IF_ERROR(AllocateArray(content_, 1, &tallies_));
  TFE_CHECK_DEVICE(
      launchers_->set_zero(tallies_, sizeof(TableTallies), stream));
  TFE_RETURN_IF_ERROR(MakeCache(stream));
  TFE_RETURN_IF_ERROR(MakeContent(nullptr, nullptr, stream, &content_));
  TFE_RETURN_IF_ERROR(AttachCache(&content_, stream));
  content_.view.tallies = tallies_;
  TFE_RETURN_IF_ERROR(
      GrowIndex(content_, options_.reserve, &content_.view.index, stream));
  return GrowRows(&content_, options_.reserve, stream);
}

Status DeviceTable::Check(int error) const {
  if (error == 0) return Status();
  return Status(StatusCode::kInternal, "the device failed in embedding table " +
                                           options_.name + ": " +
                                           launchers_->describe(error));
}

Status DeviceTable::OutOfMemory(const Content& content, int64_t bytes) const {
  return ResourceExhausted(
      "out of device memory in embedding table ", options_.name, " of dim ",
      options_.dim, " with up to ", content.MaxSize(), " rows: ", bytes,
      " more bytes are not to be had; remove keys, use a smaller batch, place "
      "the variable on the CPU, or spread it over more devices");
}

Status DeviceTable::AllocateBytes(const Content& content, int64_t bytes,
                                  void** memory) {
  *memory = allocator_->Allocate(bytes);
  return *memory == nullptr ? OutOfMemory(content, bytes) : Status();
}

std::string DeviceTable::rule() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return content_.rule == nullptr ? "" : content_.rule->name;
}

std::shared_ptr<const Initializer> DeviceTable::initializer() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return initializer_;
}

Status DeviceTable::set_initializer(
    std::shared_ptr<const Initializer> initializer, void* stream) {
  const Turn turn(this, stream);
  return SetInitializer(std::move(initializer), stream);
}

Status DeviceTable::SetInitializer(
    std::shared_ptr<const Initializer> initializer, void* stream) {
  const InitializerSpec& spec = initializer->spec();
  InitialView view;
  view.kind = spec.kind;
  view.a = spec.a;
  view.b = spec.b;
  view.range = spec.b - spec.a;
  view.most = std::nextafter(spec.b, spec.a);
  view.seed = spec.seed;
  if (!spec.matrix.empty()) {
    const auto n = static_cast<int64_t>(spec.matrix.size());
    float* matrix;
    TFE_RETURN_IF_ERROR(AllocateArray(content_, n, &matrix));
    int error =
        launchers_->copy(matrix, spec.matrix.data(),
                         n * static_cast<int64_t>(sizeof(float)), stream);
    if (error == 0) error = launchers_->synchronize(stream);
    if (error != 0) {
      allocator_->Release(matrix);
      return Check(error);
    }
    view.matrix = matrix;
    view.matrix_rows = n / options_.dim;
  }
  allocator_->Release(const_cast<float*>(initial_.matrix));
  initial_ = view;
  content_.view.initial = view;
  content_.view.rows.seed = view.seed;
  initializer_ = std::move(initializer);
  return Status();
}

TableShape DeviceTable::shape() const {
  std::lock_guard<std::mutex> lock(mutex_);
  TableShape shape;
  if (content_.rule == nullptr) return shape;
  const RowsView& rows = content_.view.rows;
  shape.rule = content_.rule->name;
  shape.slot_width = rows.slot_width();
  shape.initial_slots.assign(rows.initial_vector_slots,
                             rows.initial_vector_slots + rows.vector_slots);
  shape.initial_slots.insert(shape.initial_slots.end(),
                             rows.initial_scalar_slots,
                             rows.initial_scalar_slots + rows.scalar_slots);
  return shape;
}

Status DeviceTable::GetSpace(const Content& content, int64_t n, bool sums,
                             BatchSpace* space) {
  space->scratch_slots = int64_t{1} << BitWidth(static_cast<uint64_t>(n) * 2);
  const int64_t temporary =
      std::max(launchers_->sort_bytes(n), launchers_->sum_bytes(n));
  Carver measure(nullptr);
  space->Carve(n, options_.dim, sums, filtered(), temporary, &measure);
  if (measure.used() > workspace_bytes_) {
    void* memory;
    TFE_RETURN_IF_ERROR(AllocateBytes(content, measure.used(), &memory));
    allocator_->Release(workspace_);
    workspace_ = static_cast<char*>(memory);
    workspace_bytes_ = measure.used();
  }
  Carver carver(workspace_);
  space->Carve(n, options_.dim, sums, filtered(), temporary, &carver);
  return Status();
}

Status DeviceTable::Leaders(const int64_t* keys, int64_t n, bool found,
                            const BatchSpace& space, void* stream) {
  const uint32_t* const wanted = found ? nullptr : space.flags;
  TFE_CHECK_DEVICE(launchers_->clear_scratch(
      ClearScratch{space.scratch, wanted}, space.scratch_slots, stream));
  TFE_CHECK_DEVICE(launchers_->claim_leaders(
      ClaimLeaders{keys, space.rows, found, space.scratch,
                   static_cast<uint64_t>(space.scratch_slots) - 1,
                   space.slot_of, wanted},
      n, stream));
  TFE_CHECK_DEVICE(launchers_->mark_leaders(
      MarkLeaders{space.rows, found, space.scratch, space.slot_of,
                  space.leaders, wanted},
      n, stream));
  return Check(launchers_->prefix_sum(space.leaders, space.ranks, n, space.temp,
                                      space.temp_bytes, stream));
}

Status DeviceTable::FindOrInsert(Content* content, const int64_t* keys,
                                 int64_t n, uint32_t version,
                                 const Gradients* asks, const BatchSpace& space,
                                 void* stream) {
  const DeviceView& view = content->view;
  uint32_t* const missing = space.flags;
  content->since_known += n;
  content->since_copy += n;
  TFE_CHECK_DEVICE(
      launchers_->set_zero(space.flags, 2 * sizeof(uint32_t), stream));
  TFE_CHECK_DEVICE(launchers_->find_rows(
      FindRows{view.index, keys, space.rows, space.positions, missing}, n,
      stream));
  TFE_RETURN_IF_ERROR(Leaders(keys, n, /*found=*/false, space, stream));
  if (asks != nullptr && filtered()) {
    TFE_RETURN_IF_ERROR(
        AskFilter(*content, keys, n, version, *asks, space, stream));
  } else {
    TFE_RETURN_IF_ERROR(Forget(*content, keys, n, space.leaders, stream));
  }
  const int64_t* const frequency =
      asks != nullptr && filtered() ? space.occurrences : nullptr;
  TFE_CHECK_DEVICE(launchers_->insert_rows(
      InsertRows{view, keys, space.leaders, space.ranks, version, frequency,
                 space.rows, missing},
      n, stream));
  TFE_CHECK_DEVICE(launchers_->share_rows(
      ShareRows{space.scratch, space.slot_of, space.rows, missing}, n, stream));
  TFE_CHECK_DEVICE(launchers_->count_leaders(
      CountLeaders{space.leaders, space.ranks, n, /*removed=*/false,
                   view.counters, view.tallies, /*total=*/nullptr},
      1, stream));
  TFE_RETURN_IF_ERROR(
      Promote(*content, space.rows, n, /*writes=*/true, stream));
  return SortByRow(*content, n, space, stream);
}

Status DeviceTable::SortByRow(const Content& content, int64_t n,
                              const BatchSpace& space, void* stream) {
  const int bits =
      std::max(1, BitWidth(static_cast<uint64_t>(content.row_capacity)));
  return Check(launchers_->sort(space.rows, space.sorted_rows, space.positions,
                                space.sorted_positions, n, std::min(bits, 32),
                                space.temp, space.temp_bytes, stream));
}

Status DeviceTable::Size(void* stream, int64_t* size) {
  const Turn turn(this, stream);
  TFE_RETURN_IF_ERROR(ReadCounters(&content_, stream));
  *size = content_.known.size;
  return Status();
}

Status DeviceTable::Lookup(const int64_t* keys, int64_t n, float* out,
                           void* stream, int64_t out_stride) {
  const Turn turn(this, stream);
  const DeviceView& view = content_.view;
  lookups_ += n;
  return Check(launchers_->lookup(
      tf_embedding::Lookup{view.index, view.rows, Absent(), keys, out,
                           out_stride == 0 ? options_.dim : out_stride,
                           view.tallies},
      n, stream));
}

Status DeviceTable::LookupPooled(const DevicePooledRequest& request,
                                 void* stream) {
  const Turn turn(this, stream);
  const DeviceView& view = content_.view;
  const PoolSpec& pool = request.pool;
  lookups_ += request.num_keys;
  if (request.rows == nullptr && pool.max_norm == 0) {
    return Check(launchers_->lookup_bags(
        LookupBags{view.index, view.rows, Absent(), request.keys, pool.combiner,
                   request.splits, request.num_keys, request.weights,
                   request.out, view.tallies},
        request.num_bags, stream));
  }
  // Clipping needs whole vectors first.
  float* vectors = request.rows;
  void* temporary = nullptr;
  if (vectors == nullptr && request.num_keys > 0) {
    TFE_RETURN_IF_ERROR(AllocateBytes(
        content_, request.num_keys * options_.dim * int64_t{sizeof(float)},
        &temporary));
    vectors = static_cast<float*>(temporary);
  }
  int error = launchers_->lookup(
      tf_embedding::Lookup{view.index, view.rows, Absent(), request.keys,
                           vectors, options_.dim, view.tallies},
      request.num_keys, stream);
  if (error == 0) {
    error = launchers_->pool_bags(
        PoolBags{pool, options_.dim, vectors, request.splits, request.num_keys,
                 request.weights, request.out},
        request.num_bags, stream);
  }
  allocator_->Release(temporary);
  return Check(error);
}

Status DeviceTable::Find(const int64_t* keys, int64_t n,
                         const AllocateColumns& allocate, void* stream) {
  const Turn turn(this, stream);
  DeviceColumns out = {};
  TFE_RETURN_IF_ERROR(allocate(content_.view.rows.slot_width(), &out));
  DeviceView view = content_.view;
  view.initial = Absent();
  TFE_CHECK_DEVICE(
      launchers_->find_whole_rows(FindWholeRows{view, keys, out}, n, stream));
  if (!counts_candidates() && content_.bloom == nullptr) return Status();
  return Check(launchers_->count_absent(
      CountAbsent{content_.candidates, bloom_, content_.bloom, keys, out.found,
                  out.frequency},
      n, stream));
}

Status DeviceTable::Apply(const BoundRule& rule, const int64_t* keys,
                          const float* gradients, const int64_t* counts,
                          int64_t n, int64_t step, void* stream,
                          int64_t* rows_reset, int64_t gradient_stride) {
  *rows_reset = 0;
  TFE_RETURN_IF_ERROR(CheckBatchSize(n));
  TFE_RETURN_IF_ERROR(CheckStep(step));
  if (n == 0) return Status();
  const Turn turn(this, stream);
  TFE_RETURN_IF_ERROR(Adopt(rule, stream, rows_reset));
  TFE_RETURN_IF_ERROR(EnsureRoom(&content_, n, stream));
  TFE_RETURN_IF_ERROR(EnsureEvictionSpace(&content_, stream));
  const EvictionMoment moment =
      eviction_ == nullptr ? EvictionMoment() : eviction_->Begin(step);
  ++content_.view.batch;
  BatchSpace space;
  TFE_RETURN_IF_ERROR(GetSpace(content_, n, /*sums=*/true, &space));
  const auto version = static_cast<uint32_t>(step);
  const Gradients values{gradients, counts, options_.dim,
                         gradient_stride == 0 ? options_.dim : gradient_stride};
  TFE_RETURN_IF_ERROR(
      FindOrInsert(&content_, keys, n, version, &values, space, stream));
  uint32_t* const num_pieces = space.flags + 1;
  const SortedBatch batch{keys, space.sorted_rows, space.sorted_positions, n};
  if (n > kPiece) {
    TFE_CHECK_DEVICE(launchers_->cut_pieces(
        CutPieces{batch, space.cut, space.pieces, num_pieces}, n, stream));
    TFE_CHECK_DEVICE(launchers_->sum_pieces(
        SumPieces{space.sorted_positions, space.pieces, num_pieces, values,
                  space.sums, space.sum_counts},
        MaxPieces(n), stream));
  }
  TFE_CHECK_DEVICE(launchers_->apply_rows(ToBytes(rule), content_.view.rows,
                                          batch, values, space.cut, space.sums,
                                          space.sum_counts, version, stream));
  TFE_RETURN_IF_ERROR(EndBatch(&content_, moment, space, n, stream));
  return CopyCounters(&content_, stream);
}

Status DeviceTable::AdoptRule(const BoundRule& rule, int64_t step, void* stream,
                              int64_t* rows_reset) {
  *rows_reset = 0;
  TFE_RETURN_IF_ERROR(CheckStep(step));
  const Turn turn(this, stream);
  if (eviction_ != nullptr) eviction_->Begin(step);
  return Adopt(rule, stream, rows_reset);
}

Status DeviceTable::Adopt(const BoundRule& rule, void* stream,
                          int64_t* rows_reset) {
  if (content_.rule == rule.info) return Status();
  float initial_slots[kMaxVectorSlots + kMaxScalarSlots] = {};
  float* const scalars = std::copy_n(
      rule.initial_vector_slots, rule.info->vector_slots.size(), initial_slots);
  std::copy_n(rule.initial_scalar_slots, rule.info->scalar_slots.size(),
              scalars);
  return ChangeRule(rule.info, initial_slots, &content_, stream, rows_reset);
}

Status DeviceTable::Upsert(const int64_t* keys, const float* values, int64_t n,
                           int64_t step, void* stream) {
  TFE_RETURN_IF_ERROR(CheckBatchSize(n));
  TFE_RETURN_IF_ERROR(CheckStep(step));
  if (n == 0) return Status();
  const Turn turn(this, stream);
  TFE_RETURN_IF_ERROR(EnsureRoom(&content_, n, stream));
  TFE_RETURN_IF_ERROR(EnsureEvictionSpace(&content_, stream));
  const EvictionMoment moment = eviction_ == nullptr
                                    ? EvictionMoment()
                                    : eviction_->Now(Eviction::kLastStep);
  ++content_.view.batch;
  BatchSpace space;
  TFE_RETURN_IF_ERROR(GetSpace(content_, n, /*sums=*/false, &space));
  const auto version = static_cast<uint32_t>(step);
  TFE_RETURN_IF_ERROR(FindOrInsert(&content_, keys, n, version,
                                   /*asks=*/nullptr, space, stream));
  TFE_CHECK_DEVICE(launchers_->set_vectors(
      SetVectors{content_.view.rows, space.sorted_rows, space.sorted_positions,
                 n, values, version},
      n, stream));
  TFE_RETURN_IF_ERROR(EndBatch(&content_, moment, space, n, stream));
  return CopyCounters(&content_, stream);
}

Status DeviceTable::Remove(const int64_t* keys, int64_t n, void* stream,
                           int64_t* removed) {
  *removed = 0;
  TFE_RETURN_IF_ERROR(CheckBatchSize(n));
  if (n == 0) return Status();
  const Turn turn(this, stream);
  TFE_RETURN_IF_ERROR(ReadCounters(&content_, stream));
  TFE_RETURN_IF_ERROR(EnsureFreeList(&content_, content_.known.end, stream));
  BatchSpace space;
  TFE_RETURN_IF_ERROR(GetSpace(content_, n, /*sums=*/false, &space));
  const DeviceView& view = content_.view;
  TFE_CHECK_DEVICE(
      launchers_->set_zero(space.flags, 2 * sizeof(uint32_t), stream));
  TFE_CHECK_DEVICE(launchers_->find_rows(
      FindRows{view.index, keys, space.rows, space.positions, space.flags}, n,
      stream));
  TFE_RETURN_IF_ERROR(Leaders(keys, n, /*found=*/true, space, stream));
  TFE_RETURN_IF_ERROR(Forget(content_, keys, n, /*leaders=*/nullptr, stream));
  TFE_CHECK_DEVICE(launchers_->remove_rows(
      RemoveRows{view, keys, space.rows, space.leaders, space.ranks}, n,
      stream));
  TFE_CHECK_DEVICE(launchers_->count_leaders(
      CountLeaders{space.leaders, space.ranks, n, /*removed=*/true,
                   view.counters, view.tallies, space.total},
      1, stream));
  TFE_CHECK_DEVICE(
      launchers_->copy(removed, space.total, sizeof(*removed), stream));
  return ReadCounters(&content_, stream);
}

Status DeviceTable::Clear(void* stream) {
  const Turn turn(this, stream);
  TFE_RETURN_IF_ERROR(ReadCounters(&content_, stream));
  const RowsView& rows = content_.view.rows;
  float initial_slots[kMaxVectorSlots + kMaxScalarSlots] = {};
  float* const scalars =
      std::copy_n(rows.initial_vector_slots, rows.vector_slots, initial_slots);
  std::copy_n(rows.initial_scalar_slots, rows.scalar_slots, scalars);
  Content empty;
  const Status status =
      MakeContent(content_.rule, initial_slots, stream, &empty);
  if (!status.ok()) {
    ReleaseContent(&empty);
    return status;
  }
  cleared_ += content_.known.size;
  Replace(empty);
  return AttachCache(&content_, stream);
}

}  // namespace tf_embedding
