// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/rule.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "cc/core/rule_functors.h"

namespace tf_embedding {
namespace {

constexpr float kMaxFloat = std::numeric_limits<float>::max();

// The hyper-parameters of one call, by name, checked as they are read. The
// first that is out of range is the error.
class HyperReader {
 public:
  HyperReader(const RuleInfo& info, const float* values)
      : info_(info), values_(values) {}

  // In [low, high].
  float Get(const char* name, float low, float high) {
    const float value = Find(name);
    if (!(value >= low && value <= high)) Fail(name, value, low, high);
    return value;
  }
  float NonNegative(const char* name) { return Get(name, 0, kMaxFloat); }
  float Positive(const char* name) {
    return Get(name, std::numeric_limits<float>::min(), kMaxFloat);
  }
  // A decay rate such as beta_1: in [0, 1).
  float Rate(const char* name) {
    return Get(name, 0, std::nextafter(1.0f, 0.0f));
  }
  bool Flag(const char* name) { return Get(name, 0, 1) != 0; }

  const Status& status() const { return status_; }

 private:
  float Find(const char* name) const {
    for (size_t i = 0; i < info_.hyper.size(); ++i) {
      if (info_.hyper[i] == name) return values_[i];
    }
    return std::numeric_limits<float>::quiet_NaN();  // the tables disagree
  }
  void Fail(const char* name, float value, float low, float high) {
    if (!status_.ok()) return;
    status_ = InvalidArgument("hyper: ", name, " of rule ", info_.name, " is ",
                              value, "; it must be in [", low, ", ", high, "]");
  }

  const RuleInfo& info_;
  const float* const values_;
  Status status_;
};

template <class Functor>
void Store(const Functor& functor, RuleDriver driver, BoundRule* rule) {
  static_assert(sizeof(Functor) <= sizeof(rule->functor), "enlarge functor");
  static_assert(std::is_trivially_copyable<Functor>::value, "copied as bytes");
  static_assert(Functor::kVectorSlots <= kMaxVectorSlots &&
                    Functor::kScalarSlots <= kMaxScalarSlots,
                "enlarge the slot arrays");
  std::memcpy(rule->functor, &functor, sizeof(functor));
  rule->driver = driver;
}

void BindRmsProp(float lr, bool centered, bool with_momentum, HyperReader* h,
                 BoundRule* rule) {
  const float one_minus_rho = 1.0f - h->Rate("rho");
  const float momentum = with_momentum ? h->NonNegative("momentum") : 0.0f;
  const float epsilon = h->NonNegative("epsilon");
  rule->initial_vector_slots[0] = h->NonNegative("initial_mean_square");
  if (centered && with_momentum) {
    Store(RmsPropCenteredMomentum<float>{lr, one_minus_rho, momentum, epsilon},
          RuleDriver::kRmsPropCenteredMomentum, rule);
  } else if (centered) {
    Store(RmsPropCentered<float>{lr, one_minus_rho, momentum, epsilon},
          RuleDriver::kRmsPropCentered, rule);
  } else if (with_momentum) {
    Store(RmsPropMomentum<float>{lr, one_minus_rho, momentum, epsilon},
          RuleDriver::kRmsPropMomentum, rule);
  } else {
    Store(RmsPropPlain<float>{lr, one_minus_rho, momentum, epsilon},
          RuleDriver::kRmsProp, rule);
  }
}

// alpha in double: 1 - beta^t loses most of a float's digits for small t.
float AdamAlpha(float lr, float beta_1, float beta_2, int64_t step) {
  const double t = static_cast<double>(step) + 1;
  return static_cast<float>(lr * std::sqrt(1 - std::pow(double{beta_2}, t)) /
                            (1 - std::pow(double{beta_1}, t)));
}

void BindAdam(float lr, int64_t step, bool decoupled, HyperReader* h,
              BoundRule* rule) {
  const float beta_1 = h->Rate("beta_1");
  const float beta_2 = h->Rate("beta_2");
  const float epsilon = h->NonNegative("epsilon");
  const float alpha = AdamAlpha(lr, beta_1, beta_2, step);
  if (decoupled) {
    Store(LazyAdamW<float>{alpha, 1.0f - beta_1, 1.0f - beta_2, epsilon,
                           lr * h->NonNegative("weight_decay")},
          RuleDriver::kAdamW, rule);
  } else {
    Store(LazyAdam<float>{alpha, 1.0f - beta_1, 1.0f - beta_2, epsilon, 0.0f},
          RuleDriver::kAdam, rule);
  }
}

Status BindFtrl(float lr, bool group, HyperReader* h, BoundRule* rule) {
  if (!(lr > 0)) {
    return InvalidArgument("learning_rate is ", lr,
                           "; FTRL divides by it, so it must be above 0");
  }
  const float minus_power = -h->Get("learning_rate_power", -kMaxFloat, 0);
  const float l1 = h->NonNegative("l1");
  const float l2 = h->NonNegative("l2") + h->NonNegative("beta") / (2 * lr);
  rule->initial_vector_slots[0] = h->NonNegative("initial_accumulator_value");
  if (group) {
    Store(GroupFtrlRule<float>{lr, minus_power, l1, 2 * l2},
          RuleDriver::kGroupFtrl, rule);
    return Status();
  }
  const float two_shrinkage = 2 * h->NonNegative("l2_shrinkage");
  if (minus_power == 0.5f) {
    Store(FtrlSqrt<float>{lr, minus_power, l1, 2 * l2, two_shrinkage},
          RuleDriver::kFtrlSqrt, rule);
  } else {
    Store(FtrlPower<float>{lr, minus_power, l1, 2 * l2, two_shrinkage},
          RuleDriver::kFtrlPower, rule);
  }
  return Status();
}

Status BindAdagradDecay(float lr, int64_t step, HyperReader* h,
                        BoundRule* rule) {
  const float steps = h->Get("decay_steps", 1, kMaxFloat);
  const float rate = h->Get("decay_rate", 1e-6f, 1);
  const double period = std::floor(static_cast<double>(step) / steps);
  if (period > (1 << 24)) {
    return InvalidArgument("hyper: decay_steps of rule adagrad_decay is ",
                           steps, " at step ", step,
                           "; a row counts to 2^24 periods: use longer ones");
  }
  const float accumulator = h->Positive("initial_accumulator_value");
  rule->initial_vector_slots[0] = accumulator;
  // A new row has nothing to catch up on.
  rule->initial_scalar_slots[0] = static_cast<float>(period);
  Store(AdagradDecayRule<float>{lr, rate, accumulator,
                                static_cast<float>(period)},
        RuleDriver::kAdagradDecay, rule);
  return Status();
}

}  // namespace

const std::vector<RuleInfo>& AllRules() {
  static const auto* const rules = new std::vector<RuleInfo>{
      {"sgd", {}, {}, {}},
      {"momentum", {"momentum"}, {}, {"momentum", "nesterov"}},
      {"keras_momentum", {"momentum"}, {}, {"momentum", "nesterov"}},
      {"adagrad",
       {"accumulator"},
       {},
       {"initial_accumulator_value", "epsilon", "epsilon_in_sqrt"}},
      {"rowwise_adagrad",
       {},
       {"accumulator"},
       {"initial_accumulator_value", "epsilon"}},
      {"rmsprop",
       {"mean_square"},
       {},
       {"rho", "epsilon", "initial_mean_square"}},
      {"rmsprop_momentum",
       {"mean_square", "momentum"},
       {},
       {"rho", "momentum", "epsilon", "initial_mean_square"}},
      {"rmsprop_centered",
       {"mean_square", "mean"},
       {},
       {"rho", "epsilon", "initial_mean_square"}},
      {"rmsprop_centered_momentum",
       {"mean_square", "mean", "momentum"},
       {},
       {"rho", "momentum", "epsilon", "initial_mean_square"}},
      {"adam", {"m", "v"}, {}, {"beta_1", "beta_2", "epsilon"}},
      {"adamw",
       {"m", "v"},
       {},
       {"beta_1", "beta_2", "epsilon", "weight_decay"}},
      {"ftrl",
       {"accumulator", "linear"},
       {},
       {"learning_rate_power", "initial_accumulator_value", "l1", "l2",
        "l2_shrinkage", "beta"}},
      {"group_ftrl",
       {"accumulator", "linear"},
       {},
       {"learning_rate_power", "initial_accumulator_value", "l1", "l2",
        "beta"}},
      {"adagrad_decay",
       {"accumulator"},
       {"period"},
       {"initial_accumulator_value", "decay_steps", "decay_rate"}},
  };
  return *rules;
}

const RuleInfo* FindRule(const std::string& name) {
  for (const RuleInfo& rule : AllRules()) {
    if (name == rule.name) return &rule;
  }
  return nullptr;
}

std::string RuleNames() {
  std::string names;
  for (const RuleInfo& rule : AllRules()) {
    if (!names.empty()) names += ", ";
    names += rule.name;
  }
  return names;
}

Status BindRule(const std::string& name, float learning_rate, int64_t step,
                const float* hyper, int num_hyper, BoundRule* rule) {
  const RuleInfo* const info = FindRule(name);
  if (info == nullptr) {
    return InvalidArgument("rule is \"", name, "\"; use one of ", RuleNames());
  }
  if (!std::isfinite(learning_rate)) {
    return InvalidArgument("learning_rate is ", learning_rate,
                           "; it must be finite");
  }
  // A row keeps its version in 32 bits.
  if (step < 0 || step >= std::numeric_limits<uint32_t>::max()) {
    return InvalidArgument("step is ", step, "; it must be in [0, 4294967294]");
  }
  const int wanted = static_cast<int>(info->hyper.size());
  if (num_hyper != wanted) {
    return InvalidArgument("hyper has ", num_hyper, " values; rule ", name,
                           " takes ", wanted);
  }
  *rule = BoundRule();
  rule->info = info;
  const float lr = learning_rate;
  HyperReader h(*info, hyper);
  if (name == "sgd") {
    Store(SgdRule<float>{lr}, RuleDriver::kSgd, rule);
  } else if (name == "momentum") {
    Store(
        MomentumRule<float>{lr, h.NonNegative("momentum"), h.Flag("nesterov")},
        RuleDriver::kMomentum, rule);
  } else if (name == "keras_momentum") {
    Store(KerasMomentumRule<float>{lr, h.NonNegative("momentum"),
                                   h.Flag("nesterov")},
          RuleDriver::kKerasMomentum, rule);
  } else if (name == "adagrad") {
    const float epsilon = h.NonNegative("epsilon");
    const bool inside = h.Flag("epsilon_in_sqrt");
    // Without either, a gradient of 0 would divide 0 by 0.
    rule->initial_vector_slots[0] =
        epsilon > 0 ? h.NonNegative("initial_accumulator_value")
                    : h.Positive("initial_accumulator_value");
    Store(AdagradRule<float>{lr, inside ? epsilon : 0.0f,
                             inside ? 0.0f : epsilon},
          RuleDriver::kAdagrad, rule);
  } else if (name == "rowwise_adagrad") {
    rule->initial_scalar_slots[0] = h.NonNegative("initial_accumulator_value");
    Store(RowwiseAdagradRule<float>{lr, h.NonNegative("epsilon")},
          RuleDriver::kRowwiseAdagrad, rule);
  } else if (name == "rmsprop") {
    BindRmsProp(lr, false, false, &h, rule);
  } else if (name == "rmsprop_momentum") {
    BindRmsProp(lr, false, true, &h, rule);
  } else if (name == "rmsprop_centered") {
    BindRmsProp(lr, true, false, &h, rule);
  } else if (name == "rmsprop_centered_momentum") {
    BindRmsProp(lr, true, true, &h, rule);
  } else if (name == "adam") {
    BindAdam(lr, step, /*decoupled=*/false, &h, rule);
  } else if (name == "adamw") {
    BindAdam(lr, step, /*decoupled=*/true, &h, rule);
  } else if (name == "ftrl") {
    TFE_RETURN_IF_ERROR(BindFtrl(lr, /*group=*/false, &h, rule));
  } else if (name == "group_ftrl") {
    TFE_RETURN_IF_ERROR(BindFtrl(lr, /*group=*/true, &h, rule));
  } else if (name == "adagrad_decay") {
    TFE_RETURN_IF_ERROR(BindAdagradDecay(lr, step, &h, rule));
  } else {
    return InvalidArgument("rule \"", name, "\" has no functor");
  }
  return h.status();
}

}  // namespace tf_embedding
