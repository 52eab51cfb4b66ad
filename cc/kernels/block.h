// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// An element of a saved table as TensorFlow holds it: in a variant.

#ifndef TF_EMBEDDING_CC_KERNELS_BLOCK_H_
#define TF_EMBEDDING_CC_KERNELS_BLOCK_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>

#include "cc/core/checkpoint_format.h"
#include "cc/core/status.h"
#include "tensorflow/core/framework/variant.h"
#include "tensorflow/core/framework/variant_encode_decode.h"
#include "tensorflow/core/framework/variant_tensor_data.h"

namespace tf_embedding {

// What makes elements when they are asked for.
class Elements {
 public:
  virtual ~Elements() = default;
  virtual Status Encode(int64_t element, std::string* bytes) = 0;
  // Of the frame that was made last; 0 before.
  virtual uint32_t Checksum(int64_t element) = 0;
  // What Encode gave and is needed no longer, for what it gives next.
  virtual void Reuse(std::string /*bytes*/) {}
};

// One element. Copies share what they stand for.
class Block {
 public:
  Block() : Block(std::string()) {}
  explicit Block(std::string bytes) : state_(std::make_shared<State>()) {
    state_->bytes = std::move(bytes);
  }
  Block(std::shared_ptr<Elements> source, int64_t element)
      : state_(std::make_shared<State>()) {
    state_->source = std::move(source);
    state_->element = element;
  }

  Status Bytes(std::string* bytes) const {
    if (is_promise()) {
      return state_->source->Encode(state_->element, bytes);
    }
    std::lock_guard<std::mutex> lock(state_->mutex);
    if (state_->taken) {
      return InvalidArgument(
          "the blocks were loaded before and are empty; read them again");
    }
    *bytes = state_->bytes;
    return Status();
  }

  // The same, and leaves the element empty.
  Status Take(std::string* bytes) const {
    if (is_promise()) return Bytes(bytes);
    std::lock_guard<std::mutex> lock(state_->mutex);
    if (state_->taken) {
      return InvalidArgument(
          "the blocks were loaded before and are empty; read them again");
    }
    *bytes = std::move(state_->bytes);
    state_->bytes.clear();
    state_->bytes.shrink_to_fit();
    state_->taken = true;
    return Status();
  }

  // Gives back what Bytes gave.
  void Reuse(std::string bytes) const {
    if (is_promise()) state_->source->Reuse(std::move(bytes));
  }

  // Whether its bytes are made when they are asked for.
  bool is_promise() const { return state_->source != nullptr; }

  // Of the element's frame; that of a promise, as it was kept last.
  uint32_t Checksum() const {
    if (is_promise()) {
      return state_->source->Checksum(state_->element);
    }
    std::lock_guard<std::mutex> lock(state_->mutex);
    return FrameChecksum(state_->bytes);
  }

  // What variants need.
  std::string TypeName() const { return "tf_embedding::Block"; }
  std::string DebugString() const { return "tf_embedding block"; }
  void Encode(tensorflow::VariantTensorData* data) const {
    // TensorFlow takes no error here. Better no process than a checkpoint that
    // says it is whole.
    if (!Bytes(&data->metadata_).ok()) throw std::bad_alloc();
  }
  bool Decode(tensorflow::VariantTensorData data) {
    *this = Block(std::move(data.metadata_));
    return true;
  }

 private:
  struct State {
    std::shared_ptr<Elements> source;
    int64_t element = 0;
    std::mutex mutex;
    std::string bytes;  // where source is null
    bool taken = false;
  };
  std::shared_ptr<State> state_;
};

inline absl::Status GetBlock(const tensorflow::Variant& variant, int64_t index,
                             const Block** block) {
  *block = variant.get<Block>();
  if (*block != nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("element ", index, " is ", variant.DebugString(),
                   "; it must be a block that SaveBlocks made"));
}

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_KERNELS_BLOCK_H_
