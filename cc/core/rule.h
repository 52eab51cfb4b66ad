// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Optimizer rules: what an update does to one row.
//
// A rule is a functor on one row, written once as a template over the real
// type, and marked for host and device. Everything else derives from it: the
// batch drivers of each instruction set (isa_kernels.inc), the record layout,
// the checkpoint's slots, the Python class. A functor is a struct with
//
//   static constexpr int kVectorSlots, kScalarSlots   slots of dim values, of 1
//   static constexpr bool kReduces                    see Term
//   Real Term(Real g, Real w, Real* slots)            kReduces only: column by
//       column, before Column; may change the slots; the terms are summed
//   Real Row(Real sum, int dim, Real* scalars)        once a row; its result is
//       handed to every Column
//   void Column(Real g, Real row, Real& w, Real* slots)
//
// and members that its maker sets from the learning rate, the step and the
// hyper-parameters (rule.cc). The gradient it sees is the sum over the
// duplicates of the key in the batch, in position order.
//
// Sums over columns run in sixteen lanes (column mod 16), which are then added
// pairwise. The order is fixed, so all instruction sets give the same bits.
//
// Thread safety: a BoundRule is immutable once bound.

#ifndef TF_EMBEDDING_CC_CORE_RULE_H_
#define TF_EMBEDDING_CC_CORE_RULE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "cc/core/status.h"

namespace tf_embedding {

constexpr int kMaxVectorSlots = 3;
constexpr int kMaxScalarSlots = 1;
constexpr int kMaxHyper = 8;
constexpr int kReductionLanes = 16;

// The compiled drivers of one functor, by position in the drivers table that
// each instruction set exports. Order is irrelevant outside the core.
enum class RuleDriver : int {
  kSgd,
  kMomentum,
  kKerasMomentum,
  kAdagrad,
  kRowwiseAdagrad,
  kRmsProp,
  kRmsPropMomentum,
  kRmsPropCentered,
  kRmsPropCenteredMomentum,
  kAdam,
  kAdamW,
  kFtrlSqrt,
  kFtrlPower,
  kGroupFtrl,
  kAdagradDecay,
  kCount,
};

// What is known of a rule before any number: its name in the API and in
// checkpoints, its slots and its hyper-parameters, in the order of the hyper
// vector.
struct RuleInfo {
  const char* name;
  std::vector<std::string> vector_slots;
  std::vector<std::string> scalar_slots;
  std::vector<std::string> hyper;
};

const std::vector<RuleInfo>& AllRules();
// Null where there is none of that name.
const RuleInfo* FindRule(const std::string& name);
// "sgd, momentum, ...", for errors.
std::string RuleNames();

// A rule with its numbers: ready to update rows.
struct BoundRule {
  const RuleInfo* info = nullptr;
  RuleDriver driver = RuleDriver::kSgd;
  float initial_vector_slots[kMaxVectorSlots] = {};
  float initial_scalar_slots[kMaxScalarSlots] = {};
  alignas(16) std::byte functor[64] = {};  // the functor over float
};

// step: the 0-based number of the update; Adam's t is step + 1.
// Errors name learning_rate, step, or the hyper-parameter, and its range.
Status BindRule(const std::string& name, float learning_rate, int64_t step,
                const float* hyper, int num_hyper, BoundRule* rule);

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_RULE_H_
