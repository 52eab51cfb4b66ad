// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// SGD and momentum.
//
// Momentum, as TensorFlow's ApplyMomentum (Polyak 1964; Sutskever et al. 2013):
//   m <- mu m + g;   w <- w - lr m,              Nesterov: w - lr (g + mu m)
// As Keras, the learning rate inside the momentum:
//   m <- mu m - lr g;  w <- w + m,               Nesterov: w + mu m - lr g
// The two differ when the learning rate changes.

#ifndef TF_EMBEDDING_CC_CORE_RULES_SGD_H_
#define TF_EMBEDDING_CC_CORE_RULES_SGD_H_

#include "cc/core/platform.h"

namespace tf_embedding {

template <class Real>
struct SgdRule {
  static constexpr int kVectorSlots = 0;
  static constexpr int kScalarSlots = 0;
  static constexpr bool kReduces = false;
  Real lr;

  TFE_HOST_DEVICE Real Row(Real, int, Real*) const { return 0; }
  TFE_HOST_DEVICE void Column(Real g, Real, Real& w, Real*) const {
    w -= lr * g;
  }
};

template <class Real>
struct MomentumRule {
  static constexpr int kVectorSlots = 1;  // m
  static constexpr int kScalarSlots = 0;
  static constexpr bool kReduces = false;
  Real lr, momentum;
  bool nesterov;

  TFE_HOST_DEVICE Real Row(Real, int, Real*) const { return 0; }
  TFE_HOST_DEVICE void Column(Real g, Real, Real& w, Real* slots) const {
    const Real m = slots[0] * momentum + g;
    slots[0] = m;
    w -= nesterov ? g * lr + m * momentum * lr : m * lr;
  }
};

template <class Real>
struct KerasMomentumRule {
  static constexpr int kVectorSlots = 1;  // m
  static constexpr int kScalarSlots = 0;
  static constexpr bool kReduces = false;
  Real lr, momentum;
  bool nesterov;

  TFE_HOST_DEVICE Real Row(Real, int, Real*) const { return 0; }
  TFE_HOST_DEVICE void Column(Real g, Real, Real& w, Real* slots) const {
    const Real m = slots[0] * momentum - g * lr;
    slots[0] = m;
    w += nesterov ? m * momentum - g * lr : m;
  }
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_RULES_SGD_H_
