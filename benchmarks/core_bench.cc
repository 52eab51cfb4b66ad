// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// The table alone, without TensorFlow: what the core does and what it costs.
//
//   python benchmarks/native.py core_bench --keys=1e6 --dim=16 --threads=2
//
// Prints one line for each work: the median rate of its turns in millions of
// rows a second, and the slowest and fastest turn. Works:
//
//   lookup   Lookup of a batch into a buffer that stays
//   apply    Apply of a batch whose gradients stay
//   step     Lookup, gradients = 2 x the rows, Apply
//   pooled   LookupPooled, bags of --bag keys, summed
//   insert   Apply of new keys only, from an empty table to --keys; the turns
//            are its batches, and the longest is compared with the median one
//
// The first four run on one table that holds all keys. Keys are random 64-bit
// numbers; a batch draws from them uniformly, or by Zipf's law. A turn is as
// many batches as fill --turn seconds.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cc/core/table.h"
#include "tests/cc/executors.h"
#include "tests/cc/random.h"

namespace tf_embedding {
namespace {

constexpr int kBatches = 8;

struct Flags {
  int64_t keys = 1000000;
  int64_t dim = 16;
  int64_t batch = 65536;
  int64_t threads = 1;
  int64_t bag = 16;
  int64_t turns = 9;
  int64_t log2_shards = TableOptions().log2_shards;
  double turn = 0.1;
  double zipf = 0;  // exponent; 0 is uniform
  std::string rule = "adagrad";
  std::vector<std::string> works;
};

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "core_bench: %s\n", why.c_str());
  std::exit(1);
}

void Check(const Status& status) {
  if (!status.ok()) Die(status.message());
}

Flags Parse(int argc, char** argv) {
  Flags flags;
  const std::map<std::string, int64_t*> integers = {
      {"keys", &flags.keys},
      {"dim", &flags.dim},
      {"batch", &flags.batch},
      {"threads", &flags.threads},
      {"bag", &flags.bag},
      {"turns", &flags.turns},
      {"log2_shards", &flags.log2_shards}};
  const std::map<std::string, double*> reals = {{"turn", &flags.turn},
                                                {"zipf", &flags.zipf}};
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.compare(0, 2, "--") != 0) {
      flags.works.push_back(argument);
      continue;
    }
    const size_t equal = argument.find('=');
    if (equal == std::string::npos) Die(argument + " has no value");
    const std::string name = argument.substr(2, equal - 2);
    const std::string value = argument.substr(equal + 1);
    if (const auto it = integers.find(name); it != integers.end()) {
      *it->second = static_cast<int64_t>(std::atof(value.c_str()));
      if (*it->second < (name == "log2_shards" ? 0 : 1)) {
        Die(argument + " is too small");
      }
    } else if (const auto it = reals.find(name); it != reals.end()) {
      *it->second = std::atof(value.c_str());
    } else if (name == "rule") {
      flags.rule = value;
    } else {
      Die("no flag " + argument);
    }
  }
  if (flags.works.empty()) flags.works = {"lookup", "apply", "step", "insert"};
  return flags;
}

BoundRule Bind(const std::string& name, int64_t step) {
  const std::map<std::string, std::vector<float>> hypers = {
      {"sgd", {}},
      {"adagrad", {0.1f, 0, 0}},
      {"rowwise_adagrad", {0, 1e-8f}},
      {"adam", {0.9f, 0.999f, 1e-7f}},
      {"ftrl", {-0.5f, 0.1f, 0, 0, 0, 0}}};
  const auto it = hypers.find(name);
  if (it == hypers.end()) Die("no rule " + name);
  BoundRule rule;
  Check(BindRule(name, 0.01f, step, it->second.data(),
                 static_cast<int>(it->second.size()), &rule));
  return rule;
}

// The caller and threads - 1 of a pool, which stay: as in TensorFlow.
class Threads final : public Executor {
 public:
  explicit Threads(int64_t threads) : pool_(static_cast<int>(threads) - 1) {}
  int num_threads() const override { return pool_.num_threads() + 1; }
  void ParallelFor(int64_t n, int64_t nanoseconds,
                   const std::function<void(int64_t, int64_t)>& body) override {
    pool_.ParallelFor(n, nanoseconds, body);
  }

 private:
  testing::PoolExecutor pool_;
};

double Now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void Report(const std::string& work, std::vector<double> rates) {
  std::sort(rates.begin(), rates.end());
  std::printf("%-8s %7.1f M rows/s  (%.1f to %.1f)\n", work.c_str(),
              rates[rates.size() / 2] / 1e6, rates.front() / 1e6,
              rates.back() / 1e6);
  std::fflush(stdout);
}

class Bench {
 public:
  explicit Bench(const Flags& flags) : flags_(flags), threads_(flags.threads) {
    testing::Rng rng(1);
    keys_.resize(flags.keys);
    for (int64_t& key : keys_) key = static_cast<int64_t>(rng.Next());
    std::vector<double> weights;
    if (flags.zipf > 0) {
      double sum = 0;
      for (int64_t i = 1; i <= flags.keys; ++i) {
        weights.push_back(sum += std::pow(static_cast<double>(i), -flags.zipf));
      }
    }
    for (std::vector<int64_t>& batch : batches_) {
      for (int64_t i = 0; i < flags.batch; ++i) {
        int64_t rank = rng.Below(flags.keys);
        if (flags.zipf > 0) {
          const double at = (rng.Unit() + 1) / 2 * weights.back();
          rank = std::upper_bound(weights.begin(), weights.end(), at) -
                 weights.begin();
        }
        batch.push_back(keys_[std::min(rank, flags.keys - 1)]);
      }
    }
    out_.resize(flags.batch * flags.dim);
    gradients_ = rng.Units(flags.batch * flags.dim);
  }

  void Run(const std::string& work) {
    if (work == "insert") return Insert();
    if (table_ == nullptr) table_ = Fill(nullptr);
    if (work == "lookup") {
      Turns(work, [&](const int64_t* keys) { Lookup(keys); });
    } else if (work == "apply") {
      Turns(work, [&](const int64_t* keys) {
        Apply(table_.get(), keys, gradients_.data(), flags_.batch);
      });
    } else if (work == "step") {
      Turns(work, [&](const int64_t* keys) {
        Lookup(keys);
        threads_.ParallelFor(
            flags_.batch, flags_.dim, [&](int64_t begin, int64_t end) {
              for (int64_t i = begin * flags_.dim; i < end * flags_.dim; ++i) {
                out_[i] *= 2;
              }
            });
        Apply(table_.get(), keys, out_.data(), flags_.batch);
      });
    } else if (work == "pooled") {
      std::vector<int64_t> splits;
      for (int64_t i = 0; i < flags_.batch; i += flags_.bag) {
        splits.push_back(i);
      }
      splits.push_back(flags_.batch);
      Turns(work, [&](const int64_t* keys) {
        PooledRequest request;
        request.table = table_.get();
        request.keys = keys;
        request.splits = splits.data();
        request.num_bags = static_cast<int64_t>(splits.size()) - 1;
        request.out = out_.data();
        Check(EmbeddingTable::LookupPooled(&request, 1, &threads_));
      });
    } else {
      Die("no work " + work);
    }
  }

 private:
  void Lookup(const int64_t* keys) {
    Check(table_->Lookup(keys, flags_.batch, out_.data(), &threads_));
  }

  void Apply(EmbeddingTable* table, const int64_t* keys, const float* gradients,
             int64_t n) {
    int64_t rows_reset;
    Check(table->Apply(Bind(flags_.rule, step_), keys, gradients, nullptr, n,
                       step_, &threads_, &rows_reset));
    ++step_;
  }

  // A table with all keys; adds the seconds of each full batch to seconds.
  std::unique_ptr<EmbeddingTable> Fill(std::vector<double>* seconds) {
    TableOptions options;
    options.dim = static_cast<int>(flags_.dim);
    options.log2_shards = static_cast<int>(flags_.log2_shards);
    options.initializer.kind = InitializerKind::kUniform;
    options.initializer.a = -0.05f;
    options.initializer.b = 0.05f;
    std::unique_ptr<EmbeddingTable> table;
    Check(EmbeddingTable::Create(options, &table));
    for (int64_t i = 0; i < flags_.keys; i += flags_.batch) {
      const int64_t n = std::min(flags_.batch, flags_.keys - i);
      const double start = Now();
      Apply(table.get(), keys_.data() + i, gradients_.data(), n);
      if (seconds != nullptr && n == flags_.batch) {
        seconds->push_back(Now() - start);
      }
    }
    return table;
  }

  void Turns(const std::string& work,
             const std::function<void(const int64_t*)>& run) {
    std::vector<double> rates;
    for (int64_t turn = 0; turn <= flags_.turns; ++turn) {
      const double start = Now();
      double elapsed = 0;
      int64_t rows = 0;
      // Each turn draws on all batches equally.
      for (int i = 0; elapsed < flags_.turn || i % kBatches != 0; ++i) {
        run(batches_[i % kBatches].data());
        rows += flags_.batch;
        elapsed = Now() - start;
      }
      if (turn > 0) rates.push_back(rows / elapsed);  // the first warms up
    }
    Report(work, rates);
  }

  void Insert() {
    std::vector<double> seconds;
    const double start = Now();
    const std::unique_ptr<EmbeddingTable> table = Fill(&seconds);
    const double elapsed = Now() - start;
    const TableStats stats = table->stats();
    std::printf("%-8s %7.1f M rows/s", "insert",
                static_cast<double>(flags_.keys) / elapsed / 1e6);
    if (!seconds.empty()) {
      std::sort(seconds.begin(), seconds.end());
      const double median = seconds[seconds.size() / 2];
      std::printf("  batch: median %.2f ms, longest %.2f ms, %.1fx",
                  median * 1e3, seconds.back() * 1e3, seconds.back() / median);
    }
    const double size = static_cast<double>(stats.size);
    std::printf("  bytes a key: index %.1f, rows %.1f (used %.1f)\n",
                static_cast<double>(stats.index_bytes) / size,
                static_cast<double>(stats.row_bytes) / size,
                static_cast<double>(stats.row_used_bytes) / size);
    std::fflush(stdout);
  }

  const Flags flags_;
  Threads threads_;
  std::vector<int64_t> keys_;
  std::vector<int64_t> batches_[kBatches];
  std::vector<float> out_;
  std::vector<float> gradients_;
  std::unique_ptr<EmbeddingTable> table_;
  int64_t step_ = 0;
};

}  // namespace
}  // namespace tf_embedding

int main(int argc, char** argv) {
  const tf_embedding::Flags flags = tf_embedding::Parse(argc, argv);
  std::printf(
      "keys %lld, dim %lld, batch %lld, zipf %g, rule %s, threads %lld, "
      "2^%lld shards\n",
      static_cast<long long>(flags.keys), static_cast<long long>(flags.dim),
      static_cast<long long>(flags.batch), flags.zipf, flags.rule.c_str(),
      static_cast<long long>(flags.threads),
      static_cast<long long>(flags.log2_shards));
  tf_embedding::Bench bench(flags);
  for (const std::string& work : flags.works) bench.Run(work);
}
