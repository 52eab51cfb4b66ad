// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Every rule against its formula, written again here in double.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cc/core/rule.h"
#include "cc/core/table.h"
#include "tests/cc/random.h"
#include "tests/cc/table_util.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

// A row in double: w[c], slots[k][c], scalar slots.
struct WideRow {
  std::vector<double> w;
  std::vector<std::vector<double>> slots;
  std::vector<double> scalars;
};

// The gradient, the learning rate, the 0-based step, the row.
using Step =
    std::function<void(const std::vector<double>&, double, double, WideRow*)>;

struct Case {
  const char* rule;
  std::vector<float> hyper;
  std::vector<double> initial_slots;  // vector slots, then scalar ones
  Step step;
};

// Calls body(g, w, c) for each column.
template <class Body>
void Columns(const std::vector<double>& g, WideRow* row, const Body& body) {
  for (size_t c = 0; c < g.size(); ++c) body(g[c], row->w[c], c);
}

Step Momentum(double mu, bool nesterov, bool keras) {
  return [=](const auto& gradient, double lr, double, WideRow* row) {
    Columns(gradient, row, [&](double g, double& w, size_t c) {
      double& m = row->slots[0][c];
      if (keras) {
        m = mu * m - lr * g;
        w += nesterov ? mu * m - lr * g : m;
      } else {
        m = mu * m + g;
        w -= nesterov ? lr * (g + mu * m) : lr * m;
      }
    });
  };
}

Step Adagrad(double eps_in, double eps_out) {
  return [=](const auto& gradient, double lr, double, WideRow* row) {
    Columns(gradient, row, [&](double g, double& w, size_t c) {
      double& a = row->slots[0][c];
      a += g * g;
      w -= lr * g / (std::sqrt(a + eps_in) + eps_out);
    });
  };
}

Step RowwiseAdagrad(double epsilon) {
  return [=](const auto& gradient, double lr, double, WideRow* row) {
    double squares = 0;
    for (double g : gradient) squares += g * g;
    row->scalars[0] += squares / static_cast<double>(gradient.size());
    Columns(gradient, row, [&](double g, double& w, size_t) {
      w -= lr * g / (std::sqrt(row->scalars[0]) + epsilon);
    });
  };
}

Step RmsProp(double rho, double mu, double epsilon, bool centered) {
  return [=](const auto& gradient, double lr, double, WideRow* row) {
    Columns(gradient, row, [&](double g, double& w, size_t c) {
      double& s = row->slots[0][c];
      s = rho * s + (1 - rho) * g * g;
      double variance = s;
      if (centered) {
        double& mean = row->slots[1][c];
        mean = rho * mean + (1 - rho) * g;
        variance -= mean * mean;
      }
      double u = lr * g / std::sqrt(variance + epsilon);
      if (mu > 0) {
        double& m = row->slots[centered ? 2 : 1][c];
        m = mu * m + u;
        u = m;
      }
      w -= u;
    });
  };
}

Step Adam(double beta_1, double beta_2, double epsilon, double decay) {
  return [=](const auto& gradient, double lr, double step, WideRow* row) {
    const double alpha = lr * std::sqrt(1 - std::pow(beta_2, step + 1)) /
                         (1 - std::pow(beta_1, step + 1));
    Columns(gradient, row, [&](double g, double& w, size_t c) {
      double& m = row->slots[0][c];
      double& v = row->slots[1][c];
      w -= lr * decay * w;
      m = beta_1 * m + (1 - beta_1) * g;
      v = beta_2 * v + (1 - beta_2) * g * g;
      w -= alpha * m / (std::sqrt(v) + epsilon);
    });
  };
}

struct FtrlHyper {
  double power, l1, l2, shrinkage, beta;
};

Step Ftrl(const FtrlHyper& h, bool group) {
  return [=](const auto& gradient, double lr, double, WideRow* row) {
    double norm = 0;
    std::vector<double> quadratic(gradient.size());
    Columns(gradient, row, [&](double g, double& w, size_t c) {
      double& n = row->slots[0][c];
      double& z = row->slots[1][c];
      const double before = std::pow(n, -h.power);
      n += g * g;
      const double after = std::pow(n, -h.power);
      z += g + 2 * h.shrinkage * w - (after - before) / lr * w;
      quadratic[c] = after / lr + 2 * (h.l2 + h.beta / (2 * lr));
      norm += z * z;
    });
    norm = std::sqrt(norm);
    Columns(gradient, row, [&](double, double& w, size_t c) {
      const double z = row->slots[1][c];
      if (group) {
        w = norm > h.l1 ? (h.l1 - norm) / (quadratic[c] * norm) * z : 0;
      } else {
        w = std::fabs(z) > h.l1 ? (std::copysign(h.l1, z) - z) / quadratic[c]
                                : 0;
      }
    });
  };
}

Step AdagradDecay(double baseline, double decay_steps, double rate) {
  return [=](const auto& gradient, double lr, double step, WideRow* row) {
    const double period = std::floor(step / decay_steps);
    const double missed = period - row->scalars[0];
    row->scalars[0] = std::max(row->scalars[0], period);
    Columns(gradient, row, [&](double g, double& w, size_t c) {
      double& a = row->slots[0][c];
      if (missed > 0) a = std::max(a * std::pow(rate, missed), baseline);
      a += g * g;
      w -= lr * g / std::sqrt(a);
    });
  };
}

std::vector<Case> Cases() {
  std::vector<Case> cases = {
      {"sgd",
       {},
       {},
       [](const auto& gradient, double lr, double, WideRow* row) {
         Columns(gradient, row,
                 [&](double g, double& w, size_t) { w -= lr * g; });
       }},
      {"momentum", {0.9f, 0}, {0}, Momentum(0.9f, false, false)},
      {"momentum", {0.9f, 1}, {0}, Momentum(0.9f, true, false)},
      {"keras_momentum", {0.9f, 0}, {0}, Momentum(0.9f, false, true)},
      {"keras_momentum", {0.9f, 1}, {0}, Momentum(0.9f, true, true)},
      {"adagrad", {0.1f, 0, 0}, {0.1f}, Adagrad(0, 0)},
      {"adagrad", {0, 1e-3f, 0}, {0}, Adagrad(0, 1e-3f)},
      {"adagrad", {0.1f, 1e-3f, 1}, {0.1f}, Adagrad(1e-3f, 0)},
      {"rowwise_adagrad", {0.1f, 1e-4f}, {0.1f}, RowwiseAdagrad(1e-4f)},
      {"rmsprop", {0.9f, 1e-3f, 0}, {0}, RmsProp(0.9f, 0, 1e-3f, false)},
      {"rmsprop_momentum",
       {0.9f, 0.5f, 1e-3f, 1},
       {1, 0},
       RmsProp(0.9f, 0.5f, 1e-3f, false)},
      {"rmsprop_centered",
       {0.9f, 1e-3f, 1},
       {1, 0},
       RmsProp(0.9f, 0, 1e-3f, true)},
      {"rmsprop_centered_momentum",
       {0.9f, 0.5f, 1e-3f, 0},
       {0, 0, 0},
       RmsProp(0.9f, 0.5f, 1e-3f, true)},
      {"adam", {0.9f, 0.999f, 1e-7f}, {0, 0}, Adam(0.9f, 0.999f, 1e-7f, 0)},
      {"adamw",
       {0.8f, 0.99f, 1e-3f, 0.1f},
       {0, 0},
       Adam(0.8f, 0.99f, 1e-3f, 0.1f)},
      {"adagrad_decay",
       {0.25f, 10, 0.5f},
       {0.25f, 0},
       AdagradDecay(0.25f, 10, 0.5f)},
      {"adagrad_decay", {0.1f, 3, 1}, {0.1f, 0}, AdagradDecay(0.1f, 3, 1)},
  };
  // learning_rate_power, initial_accumulator_value, l1, l2, shrinkage, beta.
  for (const std::vector<float>& h :
       {std::vector<float>{-0.5f, 0.1f, 0, 0, 0, 0},
        std::vector<float>{-0.5f, 0.1f, 0.3f, 0.1f, 0.05f, 0.5f},
        std::vector<float>{-0.7f, 0.2f, 0.3f, 0.1f, 0.05f, 0.5f},
        std::vector<float>{0, 0.2f, 0.1f, 0.1f, 0, 0}}) {
    const FtrlHyper hyper{h[0], h[2], h[3], h[4], h[5]};
    cases.push_back({"ftrl", h, {h[1], 0}, Ftrl(hyper, false)});
    const FtrlHyper no_shrinkage{h[0], h[2], h[3], 0, h[5]};
    cases.push_back({"group_ftrl",
                     {h[0], h[1], h[2], h[3], h[5]},
                     {h[1], 0},
                     Ftrl(no_shrinkage, true)});
  }
  return cases;
}

WideRow Widen(const std::vector<float>& values, const std::vector<float>& slots,
              int num_vector_slots) {
  const size_t dim = values.size();
  WideRow row;
  row.w.assign(values.begin(), values.end());
  for (int k = 0; k < num_vector_slots; ++k) {
    row.slots.emplace_back(slots.begin() + k * dim,
                           slots.begin() + (k + 1) * dim);
  }
  row.scalars.assign(slots.begin() + num_vector_slots * dim, slots.end());
  return row;
}

void ExpectClose(const testing::Row& actual, const WideRow& expected,
                 double tolerance) {
  const size_t dim = expected.w.size();
  const auto near = [tolerance](float value, double wanted) {
    EXPECT_NEAR(value, wanted, tolerance * std::max(1.0, std::fabs(wanted)));
  };
  for (size_t c = 0; c < dim; ++c) near(actual.values[c], expected.w[c]);
  size_t at = 0;
  for (const std::vector<double>& slot : expected.slots) {
    for (double value : slot) near(actual.slots[at++], value);
  }
  for (double value : expected.scalars) near(actual.slots[at++], value);
  EXPECT_EQ(at, actual.slots.size());
}

// 120 steps of changing keys with duplicates and a changing learning rate.
// one_step: each update is compared from the float row that it started with,
// else the double rows are left to themselves.
void Train(const Case& test, int dim, bool one_step) {
  const testing::Trace trace("rule ", test.rule, ", dim ", dim, ", one_step ",
                             one_step);
  constexpr int kSteps = 120;
  const int num_vector_slots =
      static_cast<int>(FindRule(test.rule)->vector_slots.size());
  SerialExecutor executor;
  const auto table = testing::MakeTable(dim, 2);
  testing::Rng rng(12);
  std::map<int64_t, WideRow> oracle;
  for (int step = 0; step < kSteps; ++step) {
    const testing::Trace at("step ", step);
    const float lr = 0.05f / (1 + step / 40.0f);
    std::vector<int64_t> keys;
    for (int i = 0; i < 12; ++i) keys.push_back(rng.Below(6) + step / 20);
    const std::vector<float> gradients =
        rng.Units(static_cast<int64_t>(keys.size()) * dim);
    std::map<int64_t, std::vector<double>> sums;
    for (size_t i = 0; i < keys.size(); ++i) {
      auto& sum = sums.try_emplace(keys[i], dim, 0.0).first->second;
      for (int c = 0; c < dim; ++c) sum[c] += gradients[i * dim + c];
    }
    const testing::Contents before = testing::ExportAll(*table);
    for (const auto& [key, sum] : sums) {
      const auto found = before.rows.find(key);
      if (found == before.rows.end()) {
        std::vector<float> born(dim);
        table->initializer()->Fill(key, born.data());
        WideRow row;
        row.w.assign(born.begin(), born.end());
        for (int k = 0; k < num_vector_slots; ++k) {
          row.slots.emplace_back(dim, test.initial_slots[k]);
        }
        row.scalars.assign(test.initial_slots.begin() + num_vector_slots,
                           test.initial_slots.end());
        // A row that is born knows the present period.
        if (std::string(test.rule) == "adagrad_decay") {
          row.scalars[0] = std::floor(step / test.hyper[1]);
        }
        oracle[key] = row;
      } else if (one_step) {
        oracle[key] =
            Widen(found->second.values, found->second.slots, num_vector_slots);
      }
      test.step(sum, lr, step, &oracle[key]);
    }
    int64_t rows_reset;
    EXPECT_OK(table->Apply(testing::Bind(test.rule, lr, step, test.hyper),
                           keys.data(), gradients.data(), nullptr,
                           static_cast<int64_t>(keys.size()), step, &executor,
                           &rows_reset));
    const testing::Contents after = testing::ExportAll(*table);
    for (const auto& [key, row] : after.rows) {
      if (sums.count(key) == 0) {
        EXPECT_TRUE(row == before.rows.at(key));  // lazy: not in the batch
      } else {
        ExpectClose(row, oracle[key], one_step ? 4e-6 : 1e-4);
      }
    }
  }
}

TEST(EachUpdateIsTheFormula) {
  for (const Case& test : Cases()) {
    for (int dim : {1, 5, 16, 35}) Train(test, dim, /*one_step=*/true);
  }
}

TEST(LongRunsFollowTheFormula) {
  for (const Case& test : Cases()) {
    // Where a threshold is crossed, a rounding error is not small for long.
    for (int dim : {3, 16}) Train(test, dim, /*one_step=*/false);
  }
}

TEST(EveryRuleIsTested) {
  const std::vector<Case> cases = Cases();
  for (const RuleInfo& info : AllRules()) {
    EXPECT_TRUE(std::any_of(cases.begin(), cases.end(), [&](const Case& test) {
      return std::string(test.rule) == info.name;
    }));
  }
}

TEST(InitialSlotsAreBound) {
  for (const Case& test : Cases()) {
    const testing::Trace trace("rule ", test.rule);
    const BoundRule rule = testing::Bind(test.rule, 0.1f, 0, test.hyper);
    const size_t vectors = rule.info->vector_slots.size();
    EXPECT_EQ(vectors + rule.info->scalar_slots.size(),
              test.initial_slots.size());
    for (size_t i = 0; i < test.initial_slots.size(); ++i) {
      EXPECT_EQ(i < vectors ? rule.initial_vector_slots[i]
                            : rule.initial_scalar_slots[i - vectors],
                static_cast<float>(test.initial_slots[i]));
    }
  }
}

TEST(StrongL1MakesRowsZero) {
  SerialExecutor executor;
  for (const char* name : {"ftrl", "group_ftrl"}) {
    const auto table = testing::MakeTable(8, 0);
    std::vector<float> hyper = {-0.5f, 0.1f, 1000, 0, 0};
    if (std::string(name) == "ftrl") hyper.push_back(0);
    const int64_t key = 1;
    const std::vector<float> gradient(8, 0.1f);
    int64_t rows_reset;
    EXPECT_OK(table->Apply(testing::Bind(name, 0.1f, 0, hyper), &key,
                           gradient.data(), nullptr, 1, 0, &executor,
                           &rows_reset));
    const testing::Contents all = testing::ExportAll(*table);
    for (float value : all.rows.at(1).values) EXPECT_EQ(value, 0.0f);
  }
}

}  // namespace
}  // namespace tf_embedding
