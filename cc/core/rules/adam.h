// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019), lazy:
//
//   alpha = lr sqrt(1 - beta_2^t) / (1 - beta_1^t)       t: the global step
//   w <- w - lr decay w                                  AdamW only
//   m <- m + (1 - beta_1)(g - m)
//   v <- v + (1 - beta_2)(g^2 - v)
//   w <- w - alpha m / (sqrt(v) + eps)
//
// Only rows in the batch are touched: a row that is not has its moments neither
// decayed nor applied, and is not shrunk by the decay. The bias correction is
// that of the global step. On a batch that holds every key this is exactly the
// dense algorithm, in the form that Keras and TensorFlow use.

#ifndef TF_EMBEDDING_CC_CORE_RULES_ADAM_H_
#define TF_EMBEDDING_CC_CORE_RULES_ADAM_H_

#include <cmath>

#include "cc/core/platform.h"

namespace tf_embedding {

template <class Real, bool kDecoupledDecay>
struct AdamRule {
  static constexpr int kVectorSlots = 2;  // m, v
  static constexpr int kScalarSlots = 0;
  static constexpr bool kReduces = false;
  Real alpha, one_minus_beta_1, one_minus_beta_2, epsilon;
  Real lr_decay;  // lr times weight_decay

  TFE_HOST_DEVICE Real Row(Real, int, Real*) const { return 0; }
  TFE_HOST_DEVICE void Column(Real g, Real, Real& w, Real* slots) const {
    if constexpr (kDecoupledDecay) w -= w * lr_decay;
    const Real m = slots[0] + (g - slots[0]) * one_minus_beta_1;
    const Real v = slots[1] + (g * g - slots[1]) * one_minus_beta_2;
    slots[0] = m;
    slots[1] = v;
    w -= m * alpha / (std::sqrt(v) + epsilon);
  }
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_RULES_ADAM_H_
