// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// Serves a SavedModel through TensorFlow's C API, as a C++ server would.
//
//   serve LIBRARY MODEL INPUT OUTPUT KEYS ANSWER THREADS RELOADS
//
// LIBRARY is the op library, or "-" for none. INPUT and OUTPUT are the names of
// tensors, without ":0": int64 [n] and float [n, ...]. KEYS is a file of int64;
// the answer for them is written to ANSWER. THREADS threads ask the same ten
// times, and all answers must be equal. Then the model is loaded RELOADS times
// more, asked and closed; the resident memory after each, in bytes, goes to
// stdout, a line each.

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "tensorflow/c/c_api.h"

namespace {

TF_Status* g_status = nullptr;

void Check(TF_Status* status, const char* what) {
  if (TF_GetCode(status) == TF_OK) return;
  std::fprintf(stderr, "%s: %s\n", what, TF_Message(status));
  std::exit(1);
}

class Server {
 public:
  Server(const char* model, const char* input, const char* output) {
    graph_ = TF_NewGraph();
    TF_SessionOptions* options = TF_NewSessionOptions();
    const char* tags[] = {"serve"};
    session_ = TF_LoadSessionFromSavedModel(options, nullptr, model, tags, 1,
                                            graph_, nullptr, g_status);
    Check(g_status, "load");
    TF_DeleteSessionOptions(options);
    input_ = {TF_GraphOperationByName(graph_, input), 0};
    output_ = {TF_GraphOperationByName(graph_, output), 0};
    if (input_.oper == nullptr || output_.oper == nullptr) {
      std::fprintf(stderr, "no tensor %s or %s\n", input, output);
      std::exit(1);
    }
  }

  ~Server() {
    TF_CloseSession(session_, g_status);
    Check(g_status, "close");
    TF_DeleteSession(session_, g_status);
    Check(g_status, "delete");
    TF_DeleteGraph(graph_);
  }

  std::string Answer(const std::vector<int64_t>& keys) const {
    TF_Status* const status = TF_NewStatus();
    const auto n = static_cast<int64_t>(keys.size());
    TF_Tensor* const in =
        TF_AllocateTensor(TF_INT64, &n, 1, keys.size() * sizeof(int64_t));
    std::memcpy(TF_TensorData(in), keys.data(), TF_TensorByteSize(in));
    TF_Tensor* out = nullptr;
    TF_SessionRun(session_, nullptr, &input_, &in, 1, &output_, &out, 1,
                  nullptr, 0, nullptr, status);
    Check(status, "run");
    std::string answer(static_cast<const char*>(TF_TensorData(out)),
                       TF_TensorByteSize(out));
    TF_DeleteTensor(in);
    TF_DeleteTensor(out);
    TF_DeleteStatus(status);
    return answer;
  }

 private:
  TF_Graph* graph_;
  TF_Session* session_;
  TF_Output input_;
  TF_Output output_;
};

int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t pages, resident;
  statm >> pages >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 9) {
    std::fprintf(stderr, "see the head of this file for the arguments\n");
    return 2;
  }
  g_status = TF_NewStatus();
  if (std::strcmp(argv[1], "-") != 0) {
    TF_LoadLibrary(argv[1], g_status);
    Check(g_status, "library");
  }
  std::ifstream file(argv[5], std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::vector<int64_t> keys(bytes.size() / sizeof(int64_t));
  std::memcpy(keys.data(), bytes.data(), keys.size() * sizeof(int64_t));

  std::string answer;
  {
    const Server server(argv[2], argv[3], argv[4]);
    answer = server.Answer(keys);
    std::vector<int> different(std::atoi(argv[7]), 0);
    std::vector<std::thread> threads;
    for (int& mine : different) {
      threads.emplace_back([&] {
        for (int i = 0; i < 10; ++i) mine += server.Answer(keys) != answer;
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const int mine : different) {
      if (mine != 0) {
        std::fprintf(stderr, "answers differ between threads\n");
        return 1;
      }
    }
  }
  std::ofstream(argv[6], std::ios::binary) << answer;
  for (int i = 0; i < std::atoi(argv[8]); ++i) {
    const Server server(argv[2], argv[3], argv[4]);
    if (server.Answer(keys) != answer) {
      std::fprintf(stderr, "reload %d answers otherwise\n", i);
      return 1;
    }
    std::printf("%lld\n", static_cast<long long>(ResidentBytes()));
  }
  TF_DeleteStatus(g_status);
  return 0;
}
