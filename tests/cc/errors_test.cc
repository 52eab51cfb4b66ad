// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Every argument that a table refuses: the error names it, and the table is as
// it was.

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "cc/core/batch.h"
#include "cc/core/pooling.h"
#include "cc/core/rule.h"
#include "cc/core/table.h"
#include "tests/cc/random.h"
#include "tests/cc/table_util.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

constexpr StatusCode kInvalid = StatusCode::kInvalidArgument;
constexpr int64_t kMaxUint32 = std::numeric_limits<uint32_t>::max();

TEST(Create) {
  std::unique_ptr<EmbeddingTable> table;
  TableOptions options;
  for (int dim : {0, -1, kMaxDim + 1}) {
    options.dim = dim;
    EXPECT_ERROR(EmbeddingTable::Create(options, &table), kInvalid,
                 "dim is " + std::to_string(dim));
  }
  options.dim = kMaxDim;
  for (int log2_shards : {-1, kMaxLog2Shards + 1}) {
    options.log2_shards = log2_shards;
    EXPECT_ERROR(EmbeddingTable::Create(options, &table), kInvalid,
                 "log2_shards is " + std::to_string(log2_shards));
  }
  options.log2_shards = 0;
  options.initializer.kind = InitializerKind::kNormal;
  options.initializer.b = -2;
  EXPECT_ERROR(EmbeddingTable::Create(options, &table), kInvalid,
               "initializer stddev is -2");
  EXPECT_TRUE(table == nullptr);
}

// A table of three rows under Adagrad, and what it holds.
class Errors {
 public:
  Errors() : table_(testing::MakeTable(2, 2)) {
    const int64_t keys[] = {1, 2, 3};
    const float gradients[] = {1, 2, 3, 4, 5, 6};
    int64_t rows_reset;
    EXPECT_OK(table_->Apply(testing::Bind("adagrad", 0.1f, 4, {0.1f, 0, 0}),
                            keys, gradients, nullptr, 3, 4, &executor_,
                            &rows_reset));
    before_ = testing::ExportAll(*table_);
  }
  ~Errors() { EXPECT_TRUE(testing::ExportAll(*table_) == before_); }

  EmbeddingTable* table() { return table_.get(); }
  Executor* executor() { return &executor_; }
  const testing::Contents& before() const { return before_; }

 private:
  SerialExecutor executor_;
  std::unique_ptr<EmbeddingTable> table_;
  testing::Contents before_;
};

TEST(BatchSizes) {
  Errors e;
  int64_t number;
  // Refused before a key is read.
  for (int64_t n : {int64_t{-1}, kMaxBatch + 1}) {
    const std::string said = "keys has " + std::to_string(n) + " elements";
    EXPECT_ERROR(
        e.table()->Apply(testing::Bind("sgd", 1, 0, {}), nullptr, nullptr,
                         nullptr, n, 0, e.executor(), &number),
        kInvalid, said);
    EXPECT_ERROR(e.table()->Upsert(nullptr, nullptr, n, 0, e.executor()),
                 kInvalid, said);
    EXPECT_ERROR(e.table()->Remove(nullptr, n, &number, e.executor()), kInvalid,
                 said);
    EXPECT_EQ(number, 0);
    TableShape shape = e.before().shape;
    shape.size = n;
    EXPECT_ERROR(
        e.table()->Import(shape, ConstRowColumns(), true, e.executor()),
        kInvalid, said);
  }
}

TEST(Counts) {
  Errors e;
  const int64_t keys[] = {1, 9};
  const float gradients[] = {1, 1, 1, 1};
  for (int64_t bad : {int64_t{0}, int64_t{-1}, (int64_t{1} << 31) + 1}) {
    const int64_t counts[] = {1, bad};
    int64_t rows_reset;
    // Another rule, which must not take effect either.
    EXPECT_ERROR(
        e.table()->Apply(testing::Bind("sgd", 1, 0, {}), keys, gradients,
                         counts, 2, 0, e.executor(), &rows_reset),
        kInvalid, "counts[1] is " + std::to_string(bad));
  }
}

TEST(Steps) {
  Errors e;
  const int64_t key = 9;
  const float values[] = {1, 1};
  int64_t rows_reset;
  for (int64_t bad :
       {int64_t{-1}, kMaxUint32, std::numeric_limits<int64_t>::max()}) {
    const std::string said = "step is " + std::to_string(bad);
    EXPECT_ERROR(e.table()->Upsert(&key, values, 1, bad, e.executor()),
                 kInvalid, said);
    EXPECT_ERROR(e.table()->Apply(testing::Bind("sgd", 1, 0, {}), &key, values,
                                  nullptr, 1, bad, e.executor(), &rows_reset),
                 kInvalid, said);
    BoundRule rule;
    EXPECT_ERROR(BindRule("sgd", 1, bad, nullptr, 0, &rule), kInvalid, said);
  }
}

TEST(Imports) {
  Errors e;
  const auto import = [&](const std::function<void(testing::Columns*)>& spoil,
                          const char* said) {
    for (bool replace : {false, true}) {
      testing::Columns rows = testing::ToColumns(e.before());
      spoil(&rows);
      EXPECT_ERROR(
          e.table()->Import(rows.shape, rows.view(), replace, e.executor()),
          kInvalid, said);
    }
  };
  import([](testing::Columns* rows) { rows->shape.rule = "adagard"; },
         "rule is \"adagard\"");
  import([](testing::Columns* rows) { rows->shape.rule = ""; },
         "slots are 2 values a row; rule \"\" at dim 2 has 0");
  import([](testing::Columns* rows) { rows->shape.slot_width = 3; },
         "slots are 3 values a row; rule \"adagrad\" at dim 2 has 2");
  import([](testing::Columns* rows) { rows->shape.initial_slots = {}; },
         "initial_slots has 0 values");
  import([](testing::Columns* rows) { rows->frequency[1] = -1; },
         "frequency of key 2 is -1");
  import([](testing::Columns* rows) { rows->frequency[1] = kMaxUint32 + 1; },
         "frequency of key 2 is 4294967296");
  import([](testing::Columns* rows) { rows->version[2] = -1; },
         "version of key 3 is -1");
  import([](testing::Columns* rows) { rows->version[2] = kMaxUint32; },
         "version of key 3 is 4294967295");
  testing::Contents other;
  other.shape.rule = "sgd";
  EXPECT_ERROR(testing::ImportAll(other, false, e.table(), e.executor()),
               kInvalid, "rule is \"sgd\", but the table's rows hold slots");
}

TEST(Splits) {
  const auto check = [](const std::vector<int64_t>& splits, int64_t num_keys) {
    return CheckSplits(splits.data(), static_cast<int64_t>(splits.size()),
                       num_keys);
  };
  EXPECT_OK(check({0}, 0));
  EXPECT_OK(check({0, 0, 3, 3}, 3));
  EXPECT_ERROR(check({}, 0), kInvalid, "row_splits is empty");
  EXPECT_ERROR(check({1, 3}, 3), kInvalid, "row_splits[0] is 1");
  EXPECT_ERROR(check({0, 3, 2, 3}, 3), kInvalid, "row_splits[2] is 2");
  EXPECT_ERROR(check({0, 2}, 3), kInvalid, "row_splits ends with 2");
  EXPECT_ERROR(check({0, 4}, 3), kInvalid, "row_splits ends with 4");
}

TEST(PoolSpecs) {
  PoolSpec spec;
  EXPECT_ERROR(ParsePoolSpec("max", 0, &spec), kInvalid, "combiner is \"max\"");
  for (float bad : {-1.0f, std::numeric_limits<float>::infinity(),
                    std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_ERROR(ParsePoolSpec("sum", bad, &spec), kInvalid, "max_norm is ");
  }
  EXPECT_OK(ParsePoolSpec("sqrtn", 2, &spec));
  EXPECT_TRUE(spec.combiner == Combiner::kSqrtN && spec.max_norm == 2);
}

// Hyper-parameters that every rule takes.
std::vector<float> GoodHyper(const RuleInfo& info) {
  std::vector<float> values;
  for (const std::string& name : info.hyper) {
    if (name == "learning_rate_power") {
      values.push_back(-0.5f);
    } else if (name == "decay_steps") {
      values.push_back(10);
    } else {
      values.push_back(0.5f);
    }
  }
  return values;
}

TEST(Rules) {
  BoundRule rule;
  EXPECT_ERROR(BindRule("adamax", 1, 0, nullptr, 0, &rule), kInvalid,
               "rule is \"adamax\"; use one of sgd, momentum, ");
  EXPECT_TRUE(FindRule("adamax") == nullptr);
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const RuleInfo& info : AllRules()) {
    const testing::Trace trace("rule ", info.name);
    EXPECT_TRUE(FindRule(info.name) == &info);
    const std::vector<float> good = GoodHyper(info);
    const auto bind = [&](float lr, const std::vector<float>& hyper) {
      return BindRule(info.name, lr, 3, hyper.data(),
                      static_cast<int>(hyper.size()), &rule);
    };
    EXPECT_OK(bind(0.1f, good));
    EXPECT_TRUE(rule.info == &info);
    for (float bad : {infinity, -infinity, nan}) {
      EXPECT_ERROR(bind(bad, good), kInvalid, "learning_rate is ");
    }
    std::vector<float> longer = good;
    longer.push_back(0);
    EXPECT_ERROR(bind(0.1f, longer), kInvalid,
                 "hyper has " + std::to_string(longer.size()) + " values");
    for (size_t i = 0; i < good.size(); ++i) {
      const std::string& name = info.hyper[i];
      // Beyond one end of the range at least.
      const bool negative = name == "learning_rate_power";
      for (float bad : {nan, infinity, -infinity, negative ? 0.1f : -0.1f}) {
        std::vector<float> hyper = good;
        hyper[i] = bad;
        EXPECT_ERROR(bind(0.1f, hyper), kInvalid,
                     "hyper: " + name + " of rule " + info.name + " is ");
      }
      if (name == "beta_1" || name == "beta_2" || name == "rho") {
        std::vector<float> hyper = good;
        hyper[i] = 1;
        EXPECT_ERROR(bind(0.1f, hyper), kInvalid, "hyper: " + name);
      }
    }
  }
  for (const char* name : {"ftrl", "group_ftrl"}) {
    const std::vector<float> good = GoodHyper(*FindRule(name));
    for (float lr : {0.0f, -0.1f}) {
      EXPECT_ERROR(BindRule(name, lr, 0, good.data(),
                            static_cast<int>(good.size()), &rule),
                   kInvalid, "learning_rate is ");
    }
  }
  const float decay[] = {0.1f, 1, 0.9f};
  EXPECT_OK(BindRule("adagrad_decay", 1, 1 << 24, decay, 3, &rule));
  EXPECT_ERROR(BindRule("adagrad_decay", 1, (1 << 24) + 1, decay, 3, &rule),
               kInvalid, "decay_steps of rule adagrad_decay is 1");
}

}  // namespace
}  // namespace tf_embedding
