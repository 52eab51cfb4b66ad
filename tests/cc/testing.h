// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// A test harness of one header: TEST(name) { ... } defines a test, EXPECT_*
// check and go on, and this header's main() runs every test of the program.
//
// Each failed check prints its file, line and values; the program ends with the
// line "N passed, N failed" and exits with 1 if a test failed. An argument on
// the command line runs only the tests whose names contain it. Checks may be
// made on any thread. The header defines main(), so a program includes it in
// one translation unit.

#ifndef TF_EMBEDDING_TESTS_CC_TESTING_H_
#define TF_EMBEDDING_TESTS_CC_TESTING_H_

#include <cmath>
#include <cstdio>
#include <exception>
#include <limits>
#include <mutex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "cc/core/status.h"

namespace tf_embedding {
namespace testing {

// Later failures of a test are counted, not printed.
constexpr int kPrintedFailures = 10;

struct Test {
  const char* name;
  void (*body)();
};

inline std::vector<Test>& Tests() {
  static auto* const tests = new std::vector<Test>;
  return *tests;
}

struct Registration {
  Registration(const char* name, void (*body)()) {
    Tests().push_back({name, body});
  }
};

inline std::mutex& FailureMutex() {
  static auto* const mutex = new std::mutex;
  return *mutex;
}

inline int& FailuresOfTest() {
  static int failures = 0;
  return failures;
}

// What the running thread is about, outermost first.
inline std::vector<std::string>& Context() {
  static thread_local std::vector<std::string> context;
  return context;
}

// Adds its arguments to the failures of its scope.
class Trace {
 public:
  template <class... Parts>
  explicit Trace(const Parts&... parts) {
    Context().push_back(status_internal::Join(parts...));
  }
  ~Trace() { Context().pop_back(); }
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;
};

inline void Fail(const char* file, int line, const std::string& what) {
  std::lock_guard<std::mutex> lock(FailureMutex());
  if (++FailuresOfTest() > kPrintedFailures) return;
  std::printf("%s:%d: %s\n", file, line, what.c_str());
  for (const std::string& part : Context()) {
    std::printf("    with %s\n", part.c_str());
  }
}

template <class Value>
std::string Print(const Value& value) {
  std::ostringstream out;
  out.precision(std::numeric_limits<double>::max_digits10);
  out << value;
  return out.str();
}

template <class Actual, class Expected>
void ExpectEqual(const char* file, int line, const char* text,
                 const Actual& actual, const Expected& expected) {
  if (actual == expected) return;
  Fail(file, line,
       std::string(text) + " is " + Print(actual) + ", not " + Print(expected));
}

inline void ExpectTrue(const char* file, int line, const char* text,
                       bool value) {
  if (!value) Fail(file, line, std::string(text) + " is false");
}

inline void ExpectNear(const char* file, int line, const char* text,
                       double actual, double expected, double tolerance) {
  // Not ">", so that a NaN fails.
  if (std::fabs(actual - expected) <= tolerance) return;
  Fail(file, line,
       std::string(text) + " is " + Print(actual) + ", not within " +
           Print(tolerance) + " of " + Print(expected));
}

inline void ExpectOk(const char* file, int line, const char* text,
                     const Status& status) {
  if (status.ok()) return;
  Fail(file, line, std::string(text) + " says: " + status.message());
}

inline void ExpectError(const char* file, int line, const char* text,
                        const Status& status, StatusCode code,
                        const std::string& part) {
  if (status.code() == code &&
      status.message().find(part) != std::string::npos) {
    return;
  }
  Fail(file, line,
       std::string(text) + " has code " +
           std::to_string(static_cast<int>(status.code())) + " and says \"" +
           status.message() + "\", not \"" + part + "\"");
}

// Runs the tests whose name contains filter; returns how many failed.
inline int RunTests(const std::string& filter) {
  int passed = 0;
  int failed = 0;
  for (const Test& test : Tests()) {
    if (std::string(test.name).find(filter) == std::string::npos) continue;
    FailuresOfTest() = 0;
    try {
      test.body();
    } catch (const std::exception& error) {
      Fail(test.name, 0, std::string("threw ") + error.what());
    }
    const int failures = FailuresOfTest();
    ++(failures == 0 ? passed : failed);
    if (failures != 0) {
      std::printf("FAILED %s: %d checks\n", test.name, failures);
    }
    std::fflush(stdout);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed;
}

}  // namespace testing
}  // namespace tf_embedding

#define TEST(name)                                                   \
  static void Test_##name();                                         \
  static const ::tf_embedding::testing::Registration register_##name \
      [[maybe_unused]] (#name, &Test_##name);                        \
  static void Test_##name()

#define EXPECT_EQ(actual, expected)                                           \
  ::tf_embedding::testing::ExpectEqual(__FILE__, __LINE__, #actual, (actual), \
                                       (expected))
#define EXPECT_TRUE(value) \
  ::tf_embedding::testing::ExpectTrue(__FILE__, __LINE__, #value, (value))
#define EXPECT_NEAR(actual, expected, tolerance)                             \
  ::tf_embedding::testing::ExpectNear(__FILE__, __LINE__, #actual, (actual), \
                                      (expected), (tolerance))
#define EXPECT_OK(status) \
  ::tf_embedding::testing::ExpectOk(__FILE__, __LINE__, #status, (status))
// The status has the code, and its message contains the part.
#define EXPECT_ERROR(status, code, part)                                      \
  ::tf_embedding::testing::ExpectError(__FILE__, __LINE__, #status, (status), \
                                       (code), (part))

int main(int argc, char** argv) {
  return ::tf_embedding::testing::RunTests(argc > 1 ? argv[1] : "") != 0;
}

#endif  // TF_EMBEDDING_TESTS_CC_TESTING_H_
