// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// FTRL-proximal (McMahan et al., "Ad click prediction: a view from the
// trenches", 2013), as TensorFlow's ApplyFtrlV2 with Keras' beta, and with the
// penalty on whole rows (group lasso; Ni et al. 2019, as in DeepRec).
//
//   n' = n + g^2
//   z <- z + (g + 2 l2_shrinkage w) - (n'^-p - n^-p) / lr * w
//   q  = n'^-p / lr + 2 (l2 + beta / (2 lr))
//   w <- (sign(z) l1 - z) / q   where |z| > l1, else 0
//
// p is learning_rate_power, -0.5 by default, where the power is a square root.
// Group:  w <- (l1 - |z|_2) / (q |z|_2) z   where |z|_2 > l1, else 0, with the
// norm over the row, and without shrinkage: rows of useless keys become zero as
// a whole.

#ifndef TF_EMBEDDING_CC_CORE_RULES_FTRL_H_
#define TF_EMBEDDING_CC_CORE_RULES_FTRL_H_

#include <cmath>

#include "cc/core/platform.h"

namespace tf_embedding {

template <class Real, bool kSqrt>
struct FtrlRule {
  static constexpr int kVectorSlots = 2;  // n, z
  static constexpr int kScalarSlots = 0;
  static constexpr bool kReduces = false;
  Real lr, minus_power, l1, two_l2, two_shrinkage;

  TFE_HOST_DEVICE Real Power(Real n) const {
    return kSqrt ? std::sqrt(n) : std::pow(n, minus_power);
  }
  TFE_HOST_DEVICE Real Row(Real, int, Real*) const { return 0; }
  TFE_HOST_DEVICE void Column(Real g, Real, Real& w, Real* slots) const {
    const Real n = slots[0] + g * g;
    const Real power = Power(n);
    const Real sigma = (power - Power(slots[0])) / lr;
    const Real z = slots[1] + (g + two_shrinkage * w) - sigma * w;
    const Real quadratic = power / lr + two_l2;
    const Real clipped = z < -l1 ? -l1 : (z > l1 ? l1 : z);
    slots[0] = n;
    slots[1] = z;
    // Not 0 / 0 for a row that never had a gradient.
    w = clipped == z ? Real(0) : (clipped - z) / quadratic;
  }
};

template <class Real>
struct GroupFtrlRule {
  static constexpr int kVectorSlots = 2;  // n, z
  static constexpr int kScalarSlots = 0;
  static constexpr bool kReduces = true;
  Real lr, minus_power, l1, two_l2;

  TFE_HOST_DEVICE Real Power(Real n) const {
    return minus_power == Real(0.5) ? std::sqrt(n) : std::pow(n, minus_power);
  }
  TFE_HOST_DEVICE Real Term(Real g, Real w, Real* slots) const {
    const Real n = slots[0] + g * g;
    const Real z = slots[1] + g - (Power(n) - Power(slots[0])) / lr * w;
    slots[0] = n;
    slots[1] = z;
    return z * z;
  }
  TFE_HOST_DEVICE Real Row(Real sum, int, Real*) const {
    const Real norm = std::sqrt(sum);
    return norm > l1 ? (l1 - norm) / norm : 0;
  }
  TFE_HOST_DEVICE void Column(Real, Real scale, Real& w, Real* slots) const {
    w = scale * slots[1] / (Power(slots[0]) / lr + two_l2);
  }
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_RULES_FTRL_H_
