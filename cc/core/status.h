// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// The result of a core operation: a code and a sentence.
//
// The core throws nothing to its callers and never aborts. What can fail
// returns a Status; a Status that is not OK says which argument was wrong, its
// value, and what to do, because the sentence travels unchanged to the user of
// the Python face. Codes are a subset of TensorFlow's, so that the kernels map
// them one to one.

#ifndef TF_EMBEDDING_CC_CORE_STATUS_H_
#define TF_EMBEDDING_CC_CORE_STATUS_H_

#include <sstream>
#include <string>
#include <utility>

namespace tf_embedding {

enum class StatusCode {
  kOk,
  kInvalidArgument,
  kResourceExhausted,
  kDataLoss,
  kInternal,
};

class Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message)
      : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

namespace status_internal {

template <class... Parts>
std::string Join(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace status_internal

template <class... Parts>
Status InvalidArgument(const Parts&... parts) {
  return Status(StatusCode::kInvalidArgument, status_internal::Join(parts...));
}

template <class... Parts>
Status ResourceExhausted(const Parts&... parts) {
  return Status(StatusCode::kResourceExhausted,
                status_internal::Join(parts...));
}

template <class... Parts>
Status DataLoss(const Parts&... parts) {
  return Status(StatusCode::kDataLoss, status_internal::Join(parts...));
}

#define TFE_RETURN_IF_ERROR(expression)               \
  do {                                                \
    ::tf_embedding::Status tfe_status = (expression); \
    if (!tfe_status.ok()) return tfe_status;          \
  } while (false)

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_STATUS_H_
