// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// TensorFlow's tensor bundle, the files of a checkpoint, as far as tables need
// it: the index, and where tensors lie in the data files.
//
// The elements of a table are a variant tensor, in the data file one after the
// other, each of them
//
//   length: varint of 64 bits | VariantTensorDataProto of so many bytes
//   | checksum: u32
//
// where the checksum, masked as TensorFlow masks, is the CRC-32C of all before
// it in the tensor, with each length as 8 bytes. That is what BundleWriter
// writes and BundleReader reads. They go by whole tensors and whole buffers;
// here elements go to and from the file one by one.

#ifndef TF_EMBEDDING_CC_KERNELS_BUNDLE_H_
#define TF_EMBEDDING_CC_KERNELS_BUNDLE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cc/kernels/resource.h"
#include "tensorflow/core/protobuf/tensor_bundle.pb.h"
#include "tensorflow/core/util/tensor_bundle/naming.h"
#include "tensorflow/core/util/tensor_bundle/tensor_bundle.h"

namespace tf_embedding {

constexpr size_t kMaxVarintBytes = 10;
constexpr size_t kElementChecksumBytes = 4;

// An error that says where it was; TensorFlow's own do not always.
inline absl::Status Named(const absl::Status& status, const std::string& name) {
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrCat(name, ": ", std::string(status.message())));
}

// A varint at the beginning of some bytes: how many bytes it takes, 0 where it
// does not end in them.
inline size_t ParseVarint(const std::string& bytes, uint64_t* value) {
  *value = 0;
  for (size_t i = 0; i < bytes.size() && i < kMaxVarintBytes; ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    *value |= static_cast<uint64_t>(byte & 127) << (7 * i);
    if (byte < 128) return i + 1;
  }
  return 0;
}

inline void AppendVarint(uint64_t value, std::string* bytes) {
  for (; value >= 128; value >>= 7) {
    bytes->push_back(static_cast<char>(value | 128));
  }
  bytes->push_back(static_cast<char>(value));
}

// A bundle's index.
class Bundle {
 public:
  Bundle(tensorflow::Env* env, const std::string& prefix)
      : env_(env), prefix_(prefix), reader_(env, prefix) {}

  absl::Status Open() {
    TF_RETURN_IF_ERROR(Named(reader_.status(), prefix_));
    reader_.Seek(tensorflow::kHeaderEntryKey);
    tensorflow::BundleHeaderProto header;
    if (!reader_.Valid() || !Parse(&header)) return Damaged("its header");
    num_shards_ = header.num_shards();
    for (reader_.Next(); reader_.Valid(); reader_.Next()) {
      tensorflow::BundleEntryProto entry;
      const std::string key(reader_.key());
      if (!Parse(&entry)) return Damaged(key);
      entries_.emplace_back(key, std::move(entry));
    }
    return absl::OkStatus();
  }

  const std::string& prefix() const { return prefix_; }
  const std::vector<std::pair<std::string, tensorflow::BundleEntryProto>>&
  entries() const {
    return entries_;
  }
  // Null where there is none of the name.
  const tensorflow::BundleEntryProto* Find(const std::string& key) const {
    for (const auto& [name, entry] : entries_) {
      if (name == key) return &entry;
    }
    return nullptr;
  }
  std::string DataFile(const tensorflow::BundleEntryProto& entry) const {
    return tensorflow::DataFilename(prefix_, entry.shard_id(), num_shards_);
  }
  absl::Status Read(const std::string& key,
                    const tensorflow::BundleEntryProto& entry,
                    tensorflow::Tensor* tensor) {
    *tensor = tensorflow::Tensor(entry.dtype(),
                                 tensorflow::TensorShape(entry.shape()));
    return Named(reader_.Lookup(key, tensor),
                 absl::StrCat(DataFile(entry), ", tensor ", key));
  }
  tensorflow::Env* env() const { return env_; }

 private:
  template <class Proto>
  bool Parse(Proto* proto) {
    const auto value = reader_.value();
    return proto->ParseFromArray(value.data(), static_cast<int>(value.size()));
  }
  absl::Status Damaged(const std::string& what) const {
    return absl::DataLossError(
        absl::StrCat(prefix_, ".index is damaged: ", what, " cannot be read"));
  }

  tensorflow::Env* const env_;
  const std::string prefix_;
  tensorflow::BundleReader reader_;
  int num_shards_ = 1;
  std::vector<std::pair<std::string, tensorflow::BundleEntryProto>> entries_;
};

// The bytes of one tensor in a bundle's data file. Errors say which file, which
// tensor and what is wrong.
class TensorBytes {
 public:
  absl::Status Open(const Bundle& bundle, const std::string& name,
                    const tensorflow::BundleEntryProto& entry) {
    const std::string path = bundle.DataFile(entry);
    where_ = absl::StrCat(path, ", tensor ", name);
    tensorflow::uint64 file_size = 0;
    TF_RETURN_IF_ERROR(
        Named(bundle.env()->GetFileSize(path, &file_size), where_));
    TF_RETURN_IF_ERROR(
        Named(bundle.env()->NewRandomAccessFile(path, &file_), where_));
    begin_ = static_cast<uint64_t>(entry.offset());
    end_ = begin_ + static_cast<uint64_t>(entry.size());
    if (end_ < begin_ || end_ > file_size) {
      return Damaged("it is cut short: it has ", file_size, " bytes of ", end_);
    }
    return absl::OkStatus();
  }

  // The file and the tensor, for errors.
  const std::string& where() const { return where_; }
  // In the file.
  uint64_t begin() const { return begin_; }
  uint64_t end() const { return end_; }

  // As many bytes from an offset of the file on as bytes has.
  absl::Status Read(uint64_t offset, std::string* bytes) const {
    absl::string_view read;
    const absl::Status status =
        file_->Read(offset, bytes->size(), &read, bytes->data());
    if (status.ok() && read.size() == bytes->size()) {
      if (read.data() != bytes->data()) bytes->assign(read.data(), read.size());
      return absl::OkStatus();
    }
    if (!status.ok() && !absl::IsOutOfRange(status)) {
      return Named(status, where_);
    }
    return Damaged("it is cut short at ", offset + read.size());
  }

  template <class... Parts>
  absl::Status Damaged(const Parts&... what) const {
    return absl::DataLossError(
        absl::StrCat(where_, " is damaged: ", what...,
                     "; restore another checkpoint, or copy the file anew"));
  }

 private:
  std::string where_;
  std::unique_ptr<tensorflow::RandomAccessFile> file_;
  uint64_t begin_ = 0;
  uint64_t end_ = 0;
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_KERNELS_BUNDLE_H_
