// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernel of CompactCheckpoints (cc/ops/delta_ops.cc).
//
// TensorFlow's reader of bundles reads a tensor whole. Here a table's elements
// are read one by one, where they lie in the data file; what is known of a
// bundle beyond that, its index, is read by TensorFlow. An element in the file
// is its length, a VariantTensorDataProto of that many bytes, and 4 bytes more.

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cc/core/checkpoint_merger.h"
#include "cc/core/crc32c.h"
#include "cc/kernels/block.h"
#include "cc/kernels/bundle.h"
#include "cc/kernels/resource.h"
#include "tensorflow/core/framework/tensor.pb.h"

namespace tf_embedding {
namespace {

using ::tensorflow::BundleEntryProto;
using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::tstring;
using ::tensorflow::Variant;

// The elements of one table in a bundle.
class BundleElements : public ElementSource {
 public:
  // Finds out where they are; reads the lengths and the footers' beginnings.
  absl::Status Open(const Bundle& bundle, const std::string& key,
                    const BundleEntryProto& entry) {
    TF_RETURN_IF_ERROR(bytes_.Open(bundle, key, entry));
    const int64_t n = tensorflow::TensorShape(entry.shape()).num_elements();
    uint64_t offset = bytes_.begin();
    const uint64_t end = bytes_.end();
    bool open = false;
    for (int64_t i = 0; i < n; ++i) {
      Place place;
      size_t varint_bytes = 0;
      TF_RETURN_IF_ERROR(ReadLength(offset, end, &place.size, &varint_bytes));
      place.offset = offset + varint_bytes;
      if (place.size > end - place.offset ||
          end - place.offset - place.size < kElementChecksumBytes) {
        return Damaged(i);
      }
      offset = place.offset + place.size + kElementChecksumBytes;
      if (!open) parts_.emplace_back();
      parts_.back().push_back(place);
      bool is_footer;
      TF_RETURN_IF_ERROR(IsFooter(place, &is_footer));
      open = !is_footer;
    }
    if (open || offset != end || parts_.empty()) return Damaged(n);
    return absl::OkStatus();
  }

  std::string name() const override { return bytes_.where(); }
  int64_t num_parts() const override {
    return static_cast<int64_t>(parts_.size());
  }
  int64_t num_elements(int64_t part) const override {
    return static_cast<int64_t>(parts_[part].size());
  }
  Status Read(int64_t part, int64_t element, std::string* bytes) override {
    const Place& place = parts_[part][element];
    std::string stored(place.size, '\0');
    const absl::Status status = bytes_.Read(place.offset, &stored);
    if (!status.ok()) {
      return DataLoss(std::string(status.message()));
    }
    tensorflow::VariantTensorDataProto proto;
    if (!proto.ParseFromString(stored)) {
      return DataLoss(name(), ": element ", element, " of part ", part,
                      " is damaged");
    }
    *bytes = std::move(*proto.mutable_metadata());
    return Status();
  }

 private:
  struct Place {
    uint64_t offset;
    uint64_t size;
  };

  absl::Status Damaged(int64_t element) const {
    return bytes_.Damaged("the length of element ", element,
                          " cannot be, or it is not followed by a footer");
  }
  absl::Status ReadLength(uint64_t offset, uint64_t end, uint64_t* length,
                          size_t* varint_bytes) const {
    std::string head(std::min<uint64_t>(kMaxVarintBytes, end - offset), '\0');
    TF_RETURN_IF_ERROR(bytes_.Read(offset, &head));
    *varint_bytes = ParseVarint(head, length);
    if (*varint_bytes > 0) return absl::OkStatus();
    return bytes_.Damaged("the length of an element cannot be");
  }
  absl::Status IsFooter(const Place& place, bool* is_footer) const {
    // The type's name, the length and the magic of the element.
    std::string head(std::min<uint64_t>(64, place.size), '\0');
    TF_RETURN_IF_ERROR(bytes_.Read(place.offset, &head));
    *is_footer = head.find("TFEFOOTR") != std::string::npos;
    return absl::OkStatus();
  }

  TensorBytes bytes_;
  std::vector<std::vector<Place>> parts_;
};

// A merger that keeps what went wrong, as the writer cannot be told.
class Merge : public Elements {
 public:
  explicit Merge(std::unique_ptr<CheckpointMerger> merger)
      : merger_(std::move(merger)), checksums_(merger_->num_elements(), 0) {}
  Status Encode(int64_t element, std::string* bytes) override {
    if (status_.ok()) status_ = merger_->Encode(element, bytes);
    if (status_.ok()) checksums_[element] = FrameChecksum(*bytes);
    return Status();
  }
  uint32_t Checksum(int64_t element) override { return checksums_[element]; }
  const Status& status() const { return status_; }
  const CheckpointMerger& merger() const { return *merger_; }
  int64_t checksum() const { return Over(checksums_); }
  static int64_t Over(const std::vector<uint32_t>& each) {
    return Crc32c(reinterpret_cast<const char*>(each.data()),
                  each.size() * sizeof(uint32_t));
  }

 private:
  const std::unique_ptr<CheckpointMerger> merger_;
  std::vector<uint32_t> checksums_;
  Status status_;
};

class CompactCheckpointsOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, CheckVector(context->input(0), "prefixes"));
    OP_REQUIRES_OK(context, CheckScalar(context->input(1), "output"));
    const auto prefixes = context->input(0).vec<tstring>();
    OP_REQUIRES(context, prefixes.size() > 0,
                absl::InvalidArgumentError(
                    "prefixes is empty; give a full checkpoint at least"));
    std::vector<std::unique_ptr<Bundle>> bundles;
    for (int64_t i = 0; i < prefixes.size(); ++i) {
      bundles.push_back(
          std::make_unique<Bundle>(context->env(), std::string(prefixes(i))));
      OP_REQUIRES_OK(context, bundles.back()->Open());
      OP_REQUIRES_OK(context, CheckNoSlices(*bundles.back()));
    }
    const std::string output = context->input(1).scalar<tstring>()();
    tensorflow::BundleWriter writer(context->env(), output);
    OP_REQUIRES_OK(context, Named(writer.status(), output));
    std::vector<int64_t> written;
    std::vector<std::vector<int64_t>> read(bundles.size());
    for (const auto& [key, entry] : bundles.back()->entries()) {
      if (entry.dtype() != tensorflow::DT_VARIANT) {
        Tensor tensor;
        OP_REQUIRES_OK(context, bundles.back()->Read(key, entry, &tensor));
        OP_REQUIRES_OK(context, Named(writer.Add(key, tensor), output));
        continue;
      }
      OP_REQUIRES_OK(
          context, MergeTable(bundles, key, output, &writer, &written, &read));
    }
    OP_REQUIRES_OK(context, Named(writer.Finish(), output));
    const auto n = static_cast<int64_t>(written.size());
    const auto num_bundles = static_cast<int64_t>(bundles.size());
    Tensor *checksums, *sources;
    OP_REQUIRES_OK(context, context->allocate_output(0, {n}, &checksums));
    OP_REQUIRES_OK(context,
                   context->allocate_output(1, {num_bundles, n}, &sources));
    for (int64_t t = 0; t < n; ++t) {
      checksums->vec<int64_t>()(t) = written[t];
      for (int64_t b = 0; b < num_bundles; ++b) {
        sources->matrix<int64_t>()(b, t) = read[b][t];
      }
    }
  }

 private:
  static absl::Status CheckNoSlices(const Bundle& bundle) {
    for (const auto& [key, entry] : bundle.entries()) {
      if (entry.slices_size() > 0) {
        return absl::InvalidArgumentError(
            absl::StrCat(bundle.prefix(), ": ", key,
                         " is in slices; only checkpoints that "
                         "te.DeltaCheckpoint wrote can be compacted"));
      }
    }
    return absl::OkStatus();
  }

  static absl::Status MergeTable(
      const std::vector<std::unique_ptr<Bundle>>& bundles,
      const std::string& key, const std::string& output,
      tensorflow::BundleWriter* writer, std::vector<int64_t>* written,
      std::vector<std::vector<int64_t>>* read) {
    std::vector<std::unique_ptr<BundleElements>> elements;
    std::vector<ElementSource*> sources;
    for (const auto& bundle : bundles) {
      const BundleEntryProto* const entry = bundle->Find(key);
      if (entry == nullptr) {
        return absl::InvalidArgumentError(absl::StrCat(
            bundle->prefix(), " has no ", key, ", which ",
            bundles.back()->prefix(), " has; they are not of one chain"));
      }
      elements.push_back(std::make_unique<BundleElements>());
      TF_RETURN_IF_ERROR(elements.back()->Open(*bundle, key, *entry));
      sources.push_back(elements.back().get());
    }
    std::unique_ptr<CheckpointMerger> merger;
    TF_RETURN_IF_ERROR(
        ToTensorFlow(CheckpointMerger::Create(std::move(sources), &merger)));
    const auto merge = std::make_shared<Merge>(std::move(merger));
    const int64_t n = merge->merger().num_elements();
    Tensor blocks(tensorflow::DT_VARIANT, tensorflow::TensorShape({n}));
    for (int64_t i = 0; i < n; ++i) {
      blocks.vec<Variant>()(i) = Block(merge, i);
    }
    TF_RETURN_IF_ERROR(Named(writer->Add(key, blocks), output));
    TF_RETURN_IF_ERROR(ToTensorFlow(merge->status()));
    written->push_back(merge->checksum());
    for (size_t b = 0; b < bundles.size(); ++b) {
      (*read)[b].push_back(Merge::Over(merge->merger().SourceChecksums(b)));
    }
    return absl::OkStatus();
  }
};

REGISTER_KERNEL_BUILDER(
    Name("TfEmbedding>CompactCheckpoints").Device(DEVICE_CPU),
    CompactCheckpointsOp);

}  // namespace
}  // namespace tf_embedding
