// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Adagrad (Duchi, Hazan, Singer 2011) and two relatives.
//
// Adagrad:  a <- a + g^2;   w <- w - lr g / (sqrt(a + eps_in) + eps_out)
//   eps_in = eps_out = 0 is TensorFlow v1's, eps_out is V2's, eps_in Keras'.
// Row-wise (one accumulator a row, as in FBGEMM):
//   a <- a + mean(g^2);     w <- w - lr g / (sqrt(a) + eps)
// With decay (DeepRec's AdagradDecay): Adagrad, but when a row is touched k
// periods of decay_steps after the period it knows, first
//   a <- max(a rate^k, baseline),   period <- period + k
// so that a key seen rarely is decayed as much as one seen often.

#ifndef TF_EMBEDDING_CC_CORE_RULES_ADAGRAD_H_
#define TF_EMBEDDING_CC_CORE_RULES_ADAGRAD_H_

#include <cmath>

#include "cc/core/platform.h"

namespace tf_embedding {

template <class Real>
struct AdagradRule {
  static constexpr int kVectorSlots = 1;  // a
  static constexpr int kScalarSlots = 0;
  static constexpr bool kReduces = false;
  Real lr, eps_in, eps_out;

  TFE_HOST_DEVICE Real Row(Real, int, Real*) const { return 0; }
  TFE_HOST_DEVICE void Column(Real g, Real, Real& w, Real* slots) const {
    const Real a = slots[0] + g * g;
    slots[0] = a;
    w -= lr * g / (std::sqrt(a + eps_in) + eps_out);
  }
};

template <class Real>
struct RowwiseAdagradRule {
  static constexpr int kVectorSlots = 0;
  static constexpr int kScalarSlots = 1;  // a
  static constexpr bool kReduces = true;
  Real lr, epsilon;

  TFE_HOST_DEVICE Real Term(Real g, Real, Real*) const { return g * g; }
  TFE_HOST_DEVICE Real Row(Real sum, int dim, Real* scalars) const {
    scalars[0] += sum / static_cast<Real>(dim);
    return lr / (std::sqrt(scalars[0]) + epsilon);
  }
  TFE_HOST_DEVICE void Column(Real g, Real rate, Real& w, Real*) const {
    w -= rate * g;
  }
};

template <class Real>
struct AdagradDecayRule {
  static constexpr int kVectorSlots = 1;  // a
  static constexpr int kScalarSlots = 1;  // period
  static constexpr bool kReduces = false;
  Real lr, rate, baseline;
  Real period;  // floor(step / decay_steps)

  // The factor that the accumulator has coming.
  TFE_HOST_DEVICE Real Row(Real, int, Real* scalars) const {
    const Real missed = period - scalars[0];
    if (!(missed > 0)) return 1;
    scalars[0] = period;
    return std::pow(rate, missed);
  }
  TFE_HOST_DEVICE void Column(Real g, Real decay, Real& w, Real* slots) const {
    const Real decayed = slots[0] * decay;
    const Real floored = decayed < baseline ? baseline : decayed;
    const Real a = (decay < 1 ? floored : slots[0]) + g * g;
    slots[0] = a;
    w -= lr * g / std::sqrt(a);
  }
};

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_RULES_ADAGRAD_H_
