// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// All functors, and which one each driver runs.

#ifndef TF_EMBEDDING_CC_CORE_RULE_FUNCTORS_H_
#define TF_EMBEDDING_CC_CORE_RULE_FUNCTORS_H_

#include "cc/core/rule.h"
#include "cc/core/rules/adagrad.h"
#include "cc/core/rules/adam.h"
#include "cc/core/rules/ftrl.h"
#include "cc/core/rules/rmsprop.h"
#include "cc/core/rules/sgd.h"

namespace tf_embedding {

template <class Real>
using RmsPropPlain = RmsPropRule<Real, false, false>;
template <class Real>
using RmsPropMomentum = RmsPropRule<Real, false, true>;
template <class Real>
using RmsPropCentered = RmsPropRule<Real, true, false>;
template <class Real>
using RmsPropCenteredMomentum = RmsPropRule<Real, true, true>;
template <class Real>
using LazyAdam = AdamRule<Real, false>;
template <class Real>
using LazyAdamW = AdamRule<Real, true>;
template <class Real>
using FtrlSqrt = FtrlRule<Real, true>;
template <class Real>
using FtrlPower = FtrlRule<Real, false>;

// TFE_FOR_EACH_DRIVER(visit) expands to visit(driver, functor template) for
// each driver, in the order of RuleDriver.
#define TFE_FOR_EACH_DRIVER(visit)                                             \
  visit(kSgd, SgdRule) visit(kMomentum, MomentumRule) visit(                   \
      kKerasMomentum, KerasMomentumRule) visit(kAdagrad, AdagradRule)          \
      visit(kRowwiseAdagrad, RowwiseAdagradRule) visit(kRmsProp, RmsPropPlain) \
          visit(kRmsPropMomentum, RmsPropMomentum)                             \
              visit(kRmsPropCentered, RmsPropCentered)                         \
                  visit(kRmsPropCenteredMomentum, RmsPropCenteredMomentum)     \
                      visit(kAdam, LazyAdam) visit(kAdamW, LazyAdamW)          \
                          visit(kFtrlSqrt, FtrlSqrt)                           \
                              visit(kFtrlPower, FtrlPower)                     \
                                  visit(kGroupFtrl, GroupFtrlRule)             \
                                      visit(kAdagradDecay, AdagradDecayRule)

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_RULE_FUNCTORS_H_
