// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// A stream in which keys come and go, for a table with a bound and one without.
//
//   python benchmarks/native.py soak --max_keys=1e6 --operations=1e8 lru lfu
//
// Each batch has a share of keys that were never there (--fresh). The others
// are, by --draw:
//
//   newest  drawn evenly from the newest 0.9 max_keys: what is popular changes
//           all the time. An order by frequency is wrong for that: it keeps
//           what was popular once.
//   fixed   drawn evenly from 0.9 max_keys keys that stay, which are all drawn
//           first; new ones come once.
//   zipf    of the same by Zipf's law with exponent 1.05.
//
// Both tables are given each batch, in turn; the one without a bound grows with
// the stream, unless --bounded=1 leaves it out. A word is an order, or "steps":
// rows that were not updated for as many steps as bring max_keys new keys go,
// swept in the background.
//
// Prints for each word, from the batch on at which the bound is reached, for
// the table with it and the one without: the rate, by the wall clock and by the
// processors' time, which other processes take less part in; batches by both,
// the 99th percentile and the longest, over the median; and births and what
// the bound cost in processor time for each of its births, because a key that
// was taken and comes again is born again: a table that keeps it only updates
// it. Then keys that evictions looked at for each one that they took, and the
// memory of the bounded table at that time and its largest after it, counted by
// the table and resident in the process (with --bounded=1; else it holds both).

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cc/core/table.h"
#include "tests/cc/executors.h"
#include "tests/cc/random.h"

namespace tf_embedding {
namespace {

struct Flags {
  double max_keys = 1e6;
  double operations = 1e8;
  double batch = 65536;
  double fresh = 0.1;
  double dim = 16;
  double threads = 2;
  double bounded = 0;
  std::string draw = "newest";
  std::vector<std::string> words;
};

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "soak: %s\n", why.c_str());
  std::exit(1);
}

void Check(const Status& status) {
  if (!status.ok()) Die(status.message());
}

Flags Parse(int argc, char** argv) {
  Flags flags;
  const std::map<std::string, double*> reals = {
      {"max_keys", &flags.max_keys}, {"operations", &flags.operations},
      {"batch", &flags.batch},       {"fresh", &flags.fresh},
      {"dim", &flags.dim},           {"threads", &flags.threads},
      {"bounded", &flags.bounded}};
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const size_t equal = argument.find('=');
    if (argument.rfind("--", 0) != 0 || equal == std::string::npos) {
      flags.words.push_back(argument);
      continue;
    }
    const std::string name = argument.substr(2, equal - 2);
    if (name == "draw") {
      flags.draw = argument.substr(equal + 1);
      continue;
    }
    const auto it = reals.find(name);
    if (it == reals.end()) Die("no flag " + argument);
    *it->second = std::atof(argument.c_str() + equal + 1);
  }
  if (flags.words.empty()) flags.words = {"lru", "lfu", "version", "steps"};
  if (flags.draw != "newest" && flags.draw != "fixed" && flags.draw != "zipf") {
    Die("draw is " + flags.draw + "; it must be newest, fixed or zipf");
  }
  return flags;
}

// The keys of the stream, batch by batch.
class Stream {
 public:
  explicit Stream(const Flags& flags)
      : flags_(flags),
        window_(static_cast<int64_t>(flags.max_keys * 0.9)),
        is_fixed_(flags.draw != "newest"),
        log_window_(std::log(static_cast<double>(window_))) {}

  int64_t born() const { return born_; }

  void Next(std::vector<int64_t>* keys) {
    for (int64_t& key : *keys) {
      // Spread, so that no table gains by their order.
      key = static_cast<int64_t>(static_cast<uint64_t>(NextId()) *
                                 0x9E3779B97F4A7C1u);
    }
  }

 private:
  int64_t NextId() {
    const bool fresh =
        static_cast<double>(rng_.Below(1000)) < flags_.fresh * 1000;
    if (fresh || born_ == 0 || (is_fixed_ && born_ < window_)) return born_++;
    if (!is_fixed_) return born_ - 1 - rng_.Below(std::min(born_, window_));
    if (flags_.draw == "fixed") return rng_.Below(window_);
    // Its integral inverted, as if ranks were real numbers.
    constexpr double kExponent = 1.05;
    const double u =
        static_cast<double>(rng_.Below(int64_t{1} << 53)) * 0x1p-53;
    const double last = std::exp((1 - kExponent) * log_window_);
    const double rank = std::pow(1 - u * (1 - last), 1 / (1 - kExponent));
    return std::min(window_ - 1, static_cast<int64_t>(rank) - 1);
  }

  const Flags& flags_;
  const int64_t window_;
  const bool is_fixed_;
  const double log_window_;
  testing::Rng rng_{7};
  int64_t born_ = 0;
};

double Now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Of all threads of the process.
double CpuTime() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) +
         static_cast<double>(time.tv_nsec) * 1e-9;
}

// What batches took, by one of the clocks.
struct Times {
  std::vector<double> seconds;

  double Sum() const {
    double sum = 0;
    for (const double s : seconds) sum += s;
    return sum;
  }
  // part in [0, 1]; by the median.
  double Quantile(double part) {
    std::sort(seconds.begin(), seconds.end());
    const auto last = static_cast<double>(seconds.size() - 1);
    return seconds[static_cast<size_t>(part * last)] /
           seconds[seconds.size() / 2];
  }
};

struct Measured {
  Times wall;
  Times cpu;
  ShardCounters before;  // when the bound was reached
};

int64_t Resident() {
  int64_t pages = 0;
  if (std::FILE* const file = std::fopen("/proc/self/statm", "r")) {
    long long size, resident;
    if (std::fscanf(file, "%lld %lld", &size, &resident) == 2) {
      pages = resident;
    }
    std::fclose(file);
  }
  return pages * 4096;
}

std::unique_ptr<EmbeddingTable> Make(const Flags& flags,
                                     const EvictionOptions& eviction) {
  TableOptions options;
  options.dim = static_cast<int>(flags.dim);
  options.initializer.kind = InitializerKind::kUniform;
  options.initializer.a = -0.05f;
  options.initializer.b = 0.05f;
  options.eviction = eviction;
  std::unique_ptr<EmbeddingTable> table;
  Check(EmbeddingTable::Create(options, &table));
  return table;
}

void Run(const Flags& flags, const std::string& word) {
  const auto batch = static_cast<int64_t>(flags.batch);
  const auto max_keys = static_cast<int64_t>(flags.max_keys);
  EvictionOptions eviction;
  if (word == "steps") {
    eviction.steps_to_live =
        static_cast<int64_t>(flags.max_keys / (flags.fresh * flags.batch)) + 1;
  } else {
    eviction.max_keys = max_keys;
    Check(ParseEvictOrder(word, &eviction.order));
  }
  std::unique_ptr<EmbeddingTable> tables[2] = {Make(flags, eviction), nullptr};
  if (flags.bounded == 0) tables[1] = Make(flags, EvictionOptions());

  testing::PoolExecutor threads(
      std::max(1, static_cast<int>(flags.threads) - 1));
  const std::vector<float> gradients =
      testing::Rng(7).Units(static_cast<int64_t>(batch * flags.dim));
  std::vector<int64_t> keys(batch);
  Measured measured[2];
  const float hyper[] = {0.1f, 0, 0};
  BoundRule rule;
  Check(BindRule("adagrad", 0.01f, 0, hyper, 3, &rule));
  Stream stream(flags);
  int64_t settled_bytes = 0;
  int64_t largest_bytes = 0;
  int64_t settled_resident = 0;
  int64_t largest_resident = 0;
  const auto steps = static_cast<int64_t>(flags.operations / flags.batch);
  for (int64_t step = 0; step < steps; ++step) {
    stream.Next(&keys);
    const bool settled = stream.born() > max_keys * 5 / 4;
    for (int t = 0; t < 2; ++t) {
      if (tables[t] == nullptr) continue;
      Measured& m = measured[t];
      if (settled && m.wall.seconds.empty()) {
        m.before = tables[t]->stats().counters;
      }
      const double start = Now();
      const double cpu_start = CpuTime();
      int64_t rows_reset;
      Check(tables[t]->Apply(rule, keys.data(), gradients.data(), nullptr,
                             batch, step, &threads, &rows_reset));
      if (!settled) continue;
      m.cpu.seconds.push_back(CpuTime() - cpu_start);
      m.wall.seconds.push_back(Now() - start);
    }
    if (!settled) continue;
    const TableStats stats = tables[0]->stats();
    const int64_t bytes =
        stats.index_bytes + stats.row_bytes + stats.eviction_bytes;
    const int64_t resident = Resident();
    if (settled_bytes == 0) {
      settled_bytes = bytes;
      settled_resident = resident;
    }
    largest_bytes = std::max(largest_bytes, bytes);
    largest_resident = std::max(largest_resident, resident);
  }
  if (measured[0].wall.seconds.empty()) {
    Die("the bound was never reached; give more --operations");
  }
  const TableStats stats = tables[0]->stats();
  std::printf("%s: rows %lld\n", word.c_str(),
              static_cast<long long>(stats.size));
  const auto num_batches = static_cast<double>(measured[0].wall.seconds.size());
  const double rows = num_batches * flags.batch;
  double births[2] = {0, 0};
  for (int t = 0; t < 2; ++t) {
    if (tables[t] == nullptr) continue;
    Measured& m = measured[t];
    births[t] = static_cast<double>(tables[t]->stats().counters.inserted -
                                    m.before.inserted);
    std::printf(
        "  %-15s M rows/s %.2f, %.2f of processor; batches by the median: p99 "
        "%.1f, longest %.1f; of processor p99 %.1f, longest %.1f; births %.3f "
        "a row\n",
        t == 0 ? "with" : "without", rows / m.wall.Sum() / 1e6,
        rows / m.cpu.Sum() / 1e6, m.wall.Quantile(0.99), m.wall.Quantile(1),
        m.cpu.Quantile(0.99), m.cpu.Quantile(1), births[t] / rows);
  }
  if (tables[1] != nullptr) {
    const double more =
        (measured[0].cpu.Sum() - measured[1].cpu.Sum()) / births[0] * 1e9;
    std::printf(
        "  ratio %.2f, %.2f of processor; %.0f ns more for each birth\n",
        measured[1].wall.Sum() / measured[0].wall.Sum(),
        measured[1].cpu.Sum() / measured[0].cpu.Sum(), more);
  }
  const auto since = [&](int64_t ShardCounters::* counter) {
    return static_cast<double>(stats.counters.*counter -
                               measured[0].before.*counter);
  };
  std::printf("  evicted %.0f, looked at %.1f keys for each",
              since(&ShardCounters::evicted),
              since(&ShardCounters::examined) /
                  std::max(1.0, since(&ShardCounters::evicted)));
  std::printf("; MB %.1f, largest +%.1f %%, queues %.1f B a row",
              static_cast<double>(settled_bytes) / 1e6,
              100.0 * static_cast<double>(largest_bytes - settled_bytes) /
                  static_cast<double>(settled_bytes),
              static_cast<double>(stats.eviction_bytes) /
                  static_cast<double>(stats.size));
  if (tables[1] == nullptr) {
    std::printf("; resident MB %.1f, largest +%.1f %%",
                static_cast<double>(settled_resident) / 1e6,
                100.0 *
                    static_cast<double>(largest_resident - settled_resident) /
                    static_cast<double>(settled_resident));
  }
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace
}  // namespace tf_embedding

int main(int argc, char** argv) {
  const tf_embedding::Flags flags = tf_embedding::Parse(argc, argv);
  std::printf(
      "max_keys %.0f, operations %.0f, batch %.0f, fresh %.2f, draw %s, dim "
      "%.0f, threads %.0f\n",
      flags.max_keys, flags.operations, flags.batch, flags.fresh,
      flags.draw.c_str(), flags.dim, flags.threads);
  for (const std::string& word : flags.words) tf_embedding::Run(flags, word);
}
