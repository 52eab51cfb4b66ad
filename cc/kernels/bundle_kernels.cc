// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Kernels of WriteBlocks and ReadBlocks (cc/ops/checkpoint_ops.cc): tables to
// and from the files of a tensor bundle (bundle.h).
//
// SaveV2 and RestoreV2 do the same for any tensor, and the files are the same
// byte for byte. For a table they copy each element three times and checksum it
// twice, and their errors do not always name the file. Here an element goes
// from the table's block into the file, and from the file into the block that
// is loaded. Its own checksum, which is made with it, is a part of the file's.

#include <algorithm>
#include <map>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cc/core/crc32c.h"
#include "cc/kernels/block.h"
#include "cc/kernels/bundle.h"
#include "cc/kernels/resource.h"
#include "tensorflow/core/framework/tensor_shape.pb.h"
#include "tensorflow/core/framework/versions.pb.h"
#include "tensorflow/core/lib/hash/crc32c.h"
#include "tensorflow/core/lib/io/path.h"
#include "tensorflow/core/lib/io/table_builder.h"
#include "tensorflow/core/lib/random/random.h"
#include "tensorflow/core/platform/env.h"

namespace tf_embedding {
namespace {

using ::tensorflow::BundleEntryProto;
using ::tensorflow::BundleHeaderProto;
using ::tensorflow::DEVICE_CPU;
using ::tensorflow::Env;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::tstring;
using ::tensorflow::Variant;

// Fields of VariantTensorDataProto that a block has: type_name and metadata.
constexpr char kTypeNameTag = 0x0A;
constexpr char kMetadataTag = 0x12;

// What stands before the bytes of an element in its VariantTensorDataProto.
std::string ProtoHead(size_t size) {
  const std::string type_name = Block().TypeName();
  std::string head(1, kTypeNameTag);
  AppendVarint(type_name.size(), &head);
  head += type_name;
  if (size == 0) return head;
  head.push_back(kMetadataTag);
  AppendVarint(size, &head);
  return head;
}

// How long that is of an element of `length` bytes, where it is in head from
// `at` on; 0 where it is of something else.
size_t ProtoHeadBytes(const std::string& head, size_t at, uint64_t length) {
  const std::string begin = ProtoHead(0);
  if (head.compare(at, begin.size(), begin) != 0) return 0;
  if (length == begin.size()) return begin.size();
  at += begin.size();
  if (at == head.size() || head[at] != kMetadataTag) return 0;
  uint64_t size = 0;
  const size_t bytes =
      begin.size() + 1 + ParseVarint(head.substr(at + 1), &size);
  return bytes + size == length ? bytes : 0;
}

uint32_t ExtendByWord(uint32_t crc, uint64_t word) {
  return ExtendCrc32c(crc, reinterpret_cast<const char*>(&word), sizeof(word));
}

std::string Bytes(uint32_t word) {
  return std::string(reinterpret_cast<const char*>(&word), sizeof(word));
}

template <class Act>
void CatchOutOfMemory(OpKernelContext* context, const Act& act) {
  try {
    act();
  } catch (const std::bad_alloc&) {
    context->CtxFailure(absl::ResourceExhaustedError(
        "out of memory beside the tables; free some, and try again"));
  }
}

// The inputs of both ops: a prefix, and a name for each of n tables.
absl::Status CheckNames(OpKernelContext* context, int64_t n) {
  TF_RETURN_IF_ERROR(CheckScalar(context->input(0), "prefix"));
  TF_RETURN_IF_ERROR(CheckVector(context->input(1), "tensor_names"));
  const int64_t names = context->input(1).NumElements();
  if (names == n) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("tensor_names has ", names,
                                                 " entries; it must have ", n,
                                                 ", one for each table"));
}

// A file that has its name once it is whole, where the file system can do that.
class NewFile {
 public:
  NewFile(Env* env, std::string path) : env_(env), path_(std::move(path)) {}
  ~NewFile() {
    if (file_ == nullptr) return;
    file_.reset();
    env_->DeleteFile(written_).IgnoreError();
  }

  absl::Status Open() {
    bool rename = false;
    TF_RETURN_IF_ERROR(Explain(env_->HasAtomicMove(path_, &rename)));
    written_ =
        rename ? absl::StrCat(path_, ".tempstate", tensorflow::random::New64())
               : path_;
    return Explain(env_->NewWritableFile(written_, &file_));
  }
  absl::Status Append(const std::string& bytes) {
    return Explain(file_->Append(bytes));
  }
  // For what writes by itself.
  tensorflow::WritableFile* file() { return file_.get(); }
  absl::Status Finish() {
    TF_RETURN_IF_ERROR(Explain(file_->Close()));
    if (written_ != path_) {
      TF_RETURN_IF_ERROR(Explain(env_->RenameFile(written_, path_)));
    }
    file_ = nullptr;
    return absl::OkStatus();
  }
  absl::Status Explain(const absl::Status& status) const {
    if (status.ok()) return status;
    return absl::Status(
        status.code(),
        absl::StrCat("cannot write ", path_, ": ",
                     std::string(status.message()),
                     "; make room or give leave there, and save again"));
  }

 private:
  Env* const env_;
  const std::string path_;
  std::string written_;
  std::unique_ptr<tensorflow::WritableFile> file_;
};

// Writes tables as a bundle of one data file.
class TableWriter {
 public:
  TableWriter(Env* env, const std::string& prefix)
      : env_(env),
        prefix_(prefix),
        data_(env, tensorflow::DataFilename(prefix, 0, 1)) {}

  absl::Status Open() {
    const absl::Status made =
        env_->CreateDir(std::string(tensorflow::io::Dirname(prefix_)));
    if (!made.ok() && !absl::IsAlreadyExists(made)) return data_.Explain(made);
    return data_.Open();
  }

  absl::Status Add(const std::string& name, const Tensor& blocks) {
    uint32_t crc = 0;
    const int64_t offset = size_;
    for (int64_t i = 0; i < blocks.NumElements(); ++i) {
      const Block* block;
      TF_RETURN_IF_ERROR(GetBlock(blocks.vec<Variant>()(i), i, &block));
      std::string bytes;
      TF_RETURN_IF_ERROR(ToTensorFlow(block->Bytes(&bytes)));
      const std::string proto = ProtoHead(bytes.size());
      crc = ExtendByWord(crc, proto.size() + bytes.size());
      crc = ExtendCrc32c(crc, proto.data(), proto.size());
      crc = Extend(crc, *block, bytes);
      std::string head = std::move(tail_);
      AppendVarint(proto.size() + bytes.size(), &head);
      head += proto;
      TF_RETURN_IF_ERROR(data_.Append(head));
      TF_RETURN_IF_ERROR(data_.Append(bytes));
      tail_ = Bytes(tensorflow::crc32c::Mask(crc));
      crc = ExtendCrc32c(crc, tail_.data(), tail_.size());
      size_ += static_cast<int64_t>(head.size() + bytes.size());
      block->Reuse(std::move(bytes));
    }
    TF_RETURN_IF_ERROR(data_.Append(tail_));
    size_ += static_cast<int64_t>(tail_.size());
    tail_.clear();
    BundleEntryProto* const entry = &entries_[name];
    entry->set_dtype(tensorflow::DT_VARIANT);
    blocks.shape().AsProto(entry->mutable_shape());
    entry->set_offset(offset);
    entry->set_size(size_ - offset);
    entry->set_crc32c(tensorflow::crc32c::Mask(crc));
    return absl::OkStatus();
  }

  absl::Status Finish() {
    TF_RETURN_IF_ERROR(data_.Finish());
    NewFile index(env_, tensorflow::MetaFilename(prefix_));
    TF_RETURN_IF_ERROR(index.Open());
    tensorflow::table::Options options;
    options.compression = tensorflow::table::kNoCompression;
    tensorflow::table::TableBuilder builder(options, index.file());
    BundleHeaderProto header;
    header.set_num_shards(1);
    header.mutable_version()->set_producer(tensorflow::kTensorBundleVersion);
    header.mutable_version()->set_min_consumer(
        tensorflow::kTensorBundleMinConsumer);
    builder.Add(tensorflow::kHeaderEntryKey, header.SerializeAsString());
    for (const auto& [name, entry] : entries_) {
      builder.Add(name, entry.SerializeAsString());
    }
    TF_RETURN_IF_ERROR(index.Explain(builder.Finish()));
    return index.Finish();
  }

 private:
  // By an element. The checksum at its end is of all before it.
  static uint32_t Extend(uint32_t crc, const Block& block,
                         const std::string& bytes) {
    if (!block.is_promise() || bytes.size() < kElementChecksumBytes) {
      return ExtendCrc32c(crc, bytes.data(), bytes.size());
    }
    const size_t size = bytes.size() - kElementChecksumBytes;
    crc = CombineCrc32c(crc, FrameChecksum(bytes), size);
    return ExtendCrc32c(crc, bytes.data() + size, kElementChecksumBytes);
  }

  Env* const env_;
  const std::string prefix_;
  NewFile data_;
  int64_t size_ = 0;
  std::string tail_;  // of the element before, not yet in the file
  std::map<std::string, BundleEntryProto> entries_;
};

class WriteBlocksOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    CatchOutOfMemory(context, [&] { Write(context); });
  }

 private:
  static void Write(OpKernelContext* context) {
    const int64_t n = context->num_inputs() - 2;
    OP_REQUIRES_OK(context, CheckNames(context, n));
    const std::string prefix = context->input(0).scalar<tstring>()();
    const auto names = context->input(1).vec<tstring>();
    std::set<std::string> unique;
    for (int64_t i = 0; i < n; ++i) {
      OP_REQUIRES_OK(context, CheckVector(context->input(i + 2), "blocks"));
      const std::string name = names(i);
      OP_REQUIRES(context, !name.empty() && unique.insert(name).second,
                  absl::InvalidArgumentError(absl::StrCat(
                      "tensor_names has \"", name, "\" at ", i,
                      "; names must not be empty, nor two the same")));
    }
    TableWriter writer(context->env(), prefix);
    OP_REQUIRES_OK(context, writer.Open());
    for (int64_t i = 0; i < n; ++i) {
      OP_REQUIRES_OK(context, writer.Add(names(i), context->input(i + 2)));
    }
    OP_REQUIRES_OK(context, writer.Finish());
    context->set_output(0, context->input(0));
  }
};

// The elements of one table, read in order.
class TableReader {
 public:
  absl::Status Open(const Bundle& bundle, const std::string& name) {
    const BundleEntryProto* const entry = bundle.Find(name);
    if (entry == nullptr) {
      return absl::NotFoundError(absl::StrCat(
          bundle.prefix(), ".index has no tensor ", name,
          "; restore a checkpoint that was written of such a table"));
    }
    if (!tensorflow::TensorShape::IsValid(entry->shape())) {
      return absl::DataLossError(
          absl::StrCat(bundle.prefix(), ".index is damaged: tensor ", name,
                       " has a shape that cannot be"));
    }
    const tensorflow::TensorShape shape(entry->shape());
    if (entry->dtype() != tensorflow::DT_VARIANT || shape.dims() != 1 ||
        entry->slices_size() > 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(bundle.DataFile(*entry), ", tensor ", name, " is a ",
                       tensorflow::DataTypeString(entry->dtype()), " of ",
                       shape.DebugString(), ", not a table of tf_embedding"));
    }
    TF_RETURN_IF_ERROR(bytes_.Open(bundle, name, *entry));
    at_ = bytes_.begin();
    num_elements_ = shape.num_elements();
    // Before there is memory for as many.
    if (static_cast<uint64_t>(num_elements_) >
        left() / (1 + kElementChecksumBytes)) {
      return bytes_.Damaged("its ", left(), " bytes do not do for ",
                            num_elements_, " elements");
    }
    return absl::OkStatus();
  }

  int64_t num_elements() const { return num_elements_; }

  absl::Status Read(int64_t element, std::string* bytes) {
    std::string head(std::min<uint64_t>(kHeadBytes, left()), '\0');
    TF_RETURN_IF_ERROR(bytes_.Read(at_, &head));
    uint64_t length = 0;
    const size_t varint_bytes = ParseVarint(head, &length);
    if (varint_bytes == 0 || length > left() - varint_bytes ||
        left() - varint_bytes - length < kElementChecksumBytes) {
      return bytes_.Damaged("element ", element, " would be ", length,
                            " bytes long, and there are ", left());
    }
    at_ += varint_bytes;
    const std::string proto =
        head.substr(varint_bytes, ProtoHeadBytes(head, varint_bytes, length));
    const bool known = !proto.empty();
    crc_ = ExtendByWord(crc_, length);
    crc_ = ExtendCrc32c(crc_, proto.data(), proto.size());
    std::string rest(length - proto.size(), '\0');
    TF_RETURN_IF_ERROR(bytes_.Read(at_ + length - rest.size(), &rest));
    crc_ = ExtendCrc32c(crc_, rest.data(), rest.size());
    at_ += length;
    std::string checksum(kElementChecksumBytes, '\0');
    TF_RETURN_IF_ERROR(bytes_.Read(at_, &checksum));
    at_ += checksum.size();
    if (Bytes(tensorflow::crc32c::Mask(crc_)) != checksum) {
      return bytes_.Damaged("the checksum of element ", element,
                            " does not match");
    }
    crc_ = ExtendCrc32c(crc_, checksum.data(), checksum.size());
    if (!known) {
      return absl::InvalidArgumentError(
          absl::StrCat(bytes_.where(), ": element ", element,
                       " is of another kind, not of a table of tf_embedding"));
    }
    if (element == num_elements_ - 1 && left() > 0) {
      return bytes_.Damaged(left(), " bytes follow its last element");
    }
    *bytes = std::move(rest);
    return absl::OkStatus();
  }

 private:
  // The length and what is before the bytes of an element; more than both take.
  static constexpr uint64_t kHeadBytes = 64;

  uint64_t left() const { return bytes_.end() - at_; }

  TensorBytes bytes_;
  uint64_t at_ = 0;  // where the next element begins
  int64_t num_elements_ = 0;
  uint32_t crc_ = 0;
};

class ReadBlocksOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    CatchOutOfMemory(context, [&] { Read(context); });
  }

 private:
  static void Read(OpKernelContext* context) {
    const int64_t n = context->num_outputs();
    OP_REQUIRES_OK(context, CheckNames(context, n));
    const std::string prefix = context->input(0).scalar<tstring>()();
    const auto names = context->input(1).vec<tstring>();
    Bundle bundle(context->env(), prefix);
    OP_REQUIRES_OK(context, bundle.Open());
    for (int64_t i = 0; i < n; ++i) {
      TableReader reader;
      OP_REQUIRES_OK(context, reader.Open(bundle, std::string(names(i))));
      Tensor* blocks;
      OP_REQUIRES_OK(context, context->allocate_output(
                                  i, {reader.num_elements()}, &blocks));
      for (int64_t e = 0; e < reader.num_elements(); ++e) {
        std::string bytes;
        OP_REQUIRES_OK(context, reader.Read(e, &bytes));
        blocks->vec<Variant>()(e) = Block(std::move(bytes));
      }
    }
  }
};

REGISTER_KERNEL_BUILDER(Name("TfEmbedding>WriteBlocks").Device(DEVICE_CPU),
                        WriteBlocksOp);
REGISTER_KERNEL_BUILDER(Name("TfEmbedding>ReadBlocks").Device(DEVICE_CPU),
                        ReadBlocksOp);

}  // namespace
}  // namespace tf_embedding
