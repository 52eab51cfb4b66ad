// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// DeviceConsumers: who follows the changes of a table on a device.
//
// The device keeps no log. A save copies the table to the host, and there it is
// compared with what it held at the consumer's last save (table_snapshot.h):
// that costs 16 bytes of host memory a row for each consumer, and twice that
// while a save runs, but nothing in training.
//
// A delta is of one moment, that of its copy, and so is the base of the next:
// what Save saw, else what Start saw. Content that was replaced as a whole, and
// rows of another rule, need a full save.
//
// Thread safety: any thread; calls wait for each other. Failure: errors with
// the state unchanged.

#ifndef TF_EMBEDDING_CC_KERNELS_DEVICE_CONSUMERS_H_
#define TF_EMBEDDING_CC_KERNELS_DEVICE_CONSUMERS_H_

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "cc/core/status.h"
#include "cc/core/table.h"
#include "cc/core/table_snapshot.h"

namespace tf_embedding {

class DeviceConsumers {
 public:
  // copy: of the table, now. *since: 0 where all rows are needed.
  Status Start(const std::string& consumer, const EmbeddingTable& copy,
               uint32_t* since) {
    std::lock_guard<std::mutex> lock(mutex_);
    Moment now;
    TFE_RETURN_IF_ERROR(Take(copy, &now));
    Consumer* const state = &consumers_[consumer];
    *since = Follows(*state, now.content.rule) ? 1 : 0;
    state->next = std::move(now);
    state->started = true;
    return Status();
  }

  // rule: of the table, now.
  Status Since(const std::string& consumer, const std::string& rule,
               uint32_t* since) {
    std::lock_guard<std::mutex> lock(mutex_);
    Consumer* state;
    TFE_RETURN_IF_ERROR(Started(consumer, &state));
    *since = Follows(*state, rule) ? 1 : 0;
    return Status();
  }

  // copy: what the save is to write. Begins the consumer's delta in it, unless
  // all rows are written, or have to be.
  Status Save(const std::string& consumer, bool all_rows,
              EmbeddingTable* copy) {
    std::lock_guard<std::mutex> lock(mutex_);
    Consumer* state;
    TFE_RETURN_IF_ERROR(Started(consumer, &state));
    Moment now;
    TFE_RETURN_IF_ERROR(Take(*copy, &now));
    if (!all_rows && Follows(*state, now.content.rule)) {
      TFE_RETURN_IF_ERROR(
          copy->FollowSince(consumer, state->base.content, now.content));
    }
    state->next = std::move(now);
    return Status();
  }

  Status Finish(const std::string& consumer) {
    std::lock_guard<std::mutex> lock(mutex_);
    Consumer* state;
    TFE_RETURN_IF_ERROR(Started(consumer, &state));
    state->base = std::exchange(state->next, Moment());
    state->started = false;
    return Status();
  }

  void Forget(const std::string& consumer) {
    std::lock_guard<std::mutex> lock(mutex_);
    consumers_.erase(consumer);
  }

  // As a whole.
  void ContentChanged() {
    std::lock_guard<std::mutex> lock(mutex_);
    ++content_;
  }

 private:
  struct Moment {
    int64_t number = 0;  // of the content; 0: there is none
    TableSnapshot content;
  };
  struct Consumer {
    Moment base;
    Moment next;
    bool started = false;
  };

  Status Take(const EmbeddingTable& copy, Moment* moment) const {
    moment->number = content_;
    return copy.Snapshot(&moment->content);
  }

  bool Follows(const Consumer& consumer, const std::string& rule) const {
    return consumer.base.number == content_ &&
           consumer.base.content.rule == rule;
  }

  Status Started(const std::string& consumer, Consumer** state) {
    const auto found = consumers_.find(consumer);
    if (found == consumers_.end() || !found->second.started) {
      return InvalidArgument("consumer is \"", consumer,
                             "\", which has started no delta; start one first");
    }
    *state = &found->second;
    return Status();
  }

  std::mutex mutex_;
  int64_t content_ = 1;  // its number
  std::map<std::string, Consumer> consumers_;
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_KERNELS_DEVICE_CONSUMERS_H_
