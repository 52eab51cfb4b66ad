// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// RMSProp (Hinton 2012), plain or centered (Graves 2013), with momentum or not:
//
//   s <- s + (1 - rho)(g^2 - s)
//   c <- c + (1 - rho)(g - c)                  centered only
//   u  = lr g / sqrt(s - c^2 + eps)            c = 0 where not centered
//   m <- mu m + u;  w <- w - m                 without momentum: w <- w - u
//
// TensorFlow's kernels and Keras agree on this; they differ in the initial s
// (1 in TensorFlow v1, 0 in Keras), which is a hyper-parameter here.

#ifndef TF_EMBEDDING_CC_CORE_RULES_RMSPROP_H_
#define TF_EMBEDDING_CC_CORE_RULES_RMSPROP_H_

#include <cmath>

#include "cc/core/platform.h"

namespace tf_embedding {

template <class Real, bool kCentered, bool kMomentum>
struct RmsPropRule {
  static constexpr int kVectorSlots = 1 + kCentered + kMomentum;  // s, c, m
  static constexpr int kScalarSlots = 0;
  static constexpr bool kReduces = false;
  Real lr, one_minus_rho, momentum, epsilon;

  TFE_HOST_DEVICE Real Row(Real, int, Real*) const { return 0; }
  TFE_HOST_DEVICE void Column(Real g, Real, Real& w, Real* slots) const {
    const Real s = slots[0] + (g * g - slots[0]) * one_minus_rho;
    slots[0] = s;
    Real variance = s;
    if constexpr (kCentered) {
      const Real c = slots[1] + (g - slots[1]) * one_minus_rho;
      slots[1] = c;
      variance = s - c * c;
    }
    Real u = lr * g / std::sqrt(variance + epsilon);
    if constexpr (kMomentum) {
      u = slots[1 + kCentered] * momentum + u;
      slots[1 + kCentered] = u;
    }
    w -= u;
  }
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_RULES_RMSPROP_H_
