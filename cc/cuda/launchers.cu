// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// The launchers on CUDA.

#include <cuda_runtime.h>

#include <cstring>
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>

#include "cc/cuda/launchers.h"

namespace tf_embedding {
namespace {

constexpr int kThreads = 256;  // of a block
constexpr int kUnknownRule = cudaErrorInvalidValue;

cudaStream_t ToStream(void* stream) {
  return static_cast<cudaStream_t>(stream);
}

// The argument stays in the constant cache: it is read with an index that is
// not known before (RowsView::slabs).
template <int kLanes, class Functor>
__global__ void __launch_bounds__(kThreads)
    Run(const __grid_constant__ Functor functor, int64_t n) {
  const int64_t thread = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t i = thread / kLanes;
  if (i < n) functor(WarpGroup<kLanes>(), i);
}

template <int kLanes, class Functor>
int Launch(const Functor& functor, int64_t n, void* stream) {
  if (n <= 0) return 0;
  constexpr int kItems = kThreads / kLanes;  // of a block
  const auto blocks = static_cast<unsigned>((n + kItems - 1) / kItems);
  Run<kLanes><<<blocks, kThreads, 0, ToStream(stream)>>>(functor, n);
  return cudaGetLastError();
}

const char* Describe(int error) {
  return cudaGetErrorString(static_cast<cudaError_t>(error));
}

int DeviceCount() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();  // it is not the next call's error
  return 0;
}

void* Allocate(int64_t bytes) {
  void* memory = nullptr;
  if (cudaMalloc(&memory, bytes) == cudaSuccess) return memory;
  cudaGetLastError();
  return nullptr;
}
void Release(void* memory) { cudaFree(memory); }

void* AllocatePinned(int64_t bytes) {
  void* memory = nullptr;
  if (cudaMallocHost(&memory, bytes) == cudaSuccess) return memory;
  cudaGetLastError();
  return nullptr;
}
void ReleasePinned(void* memory) {
  if (memory == nullptr) return;
  cudaDeviceSynchronize();
  cudaFreeHost(memory);
}

int Copy(void* to, const void* from, int64_t bytes, void* stream) {
  if (bytes == 0) return 0;
  return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, ToStream(stream));
}
int SetZero(void* memory, int64_t bytes, void* stream) {
  if (bytes == 0) return 0;
  return cudaMemsetAsync(memory, 0, bytes, ToStream(stream));
}
int Synchronize(void* stream) {
  return cudaStreamSynchronize(ToStream(stream));
}

int CreateStream(void** stream) {
  return cudaStreamCreateWithFlags(reinterpret_cast<cudaStream_t*>(stream),
                                   cudaStreamNonBlocking);
}
void DestroyStream(void* stream) {
  cudaStreamSynchronize(ToStream(stream));
  cudaStreamDestroy(ToStream(stream));
}

int CreateEvent(void** event) {
  return cudaEventCreateWithFlags(reinterpret_cast<cudaEvent_t*>(event),
                                  cudaEventDisableTiming);
}
void DestroyEvent(void* event) {
  cudaEventDestroy(static_cast<cudaEvent_t>(event));
}
int RecordEvent(void* event, void* stream) {
  return cudaEventRecord(static_cast<cudaEvent_t>(event), ToStream(stream));
}
int Done(void* event, bool* done) {
  const cudaError_t result = cudaEventQuery(static_cast<cudaEvent_t>(event));
  *done = result == cudaSuccess;
  if (result != cudaErrorNotReady) return result;
  cudaGetLastError();
  return 0;
}

int Wait(void* event) {
  return cudaEventSynchronize(static_cast<cudaEvent_t>(event));
}
int WaitIn(void* event, void* stream) {
  return cudaStreamWaitEvent(ToStream(stream), static_cast<cudaEvent_t>(event),
                             0);
}

int64_t SortBytes(int64_t n) {
  size_t bytes = 0;
  const uint32_t* const in = nullptr;
  uint32_t* const out = nullptr;
  cub::DeviceRadixSort::SortPairs(nullptr, bytes, in, out, in, out, n);
  return static_cast<int64_t>(bytes);
}
int Sort(const uint32_t* keys, uint32_t* sorted_keys, const uint32_t* values,
         uint32_t* sorted_values, int64_t n, int end_bit, void* workspace,
         int64_t workspace_bytes, void* stream) {
  auto bytes = static_cast<size_t>(workspace_bytes);
  return cub::DeviceRadixSort::SortPairs(workspace, bytes, keys, sorted_keys,
                                         values, sorted_values, n, 0, end_bit,
                                         ToStream(stream));
}

int64_t SumBytes(int64_t n) {
  size_t bytes = 0;
  const uint32_t* const in = nullptr;
  uint32_t* const out = nullptr;
  cub::DeviceScan::ExclusiveSum(nullptr, bytes, in, out, n);
  return static_cast<int64_t>(bytes);
}
int PrefixSum(const uint32_t* values, uint32_t* sums, int64_t n,
              void* workspace, int64_t workspace_bytes, void* stream) {
  auto bytes = static_cast<size_t>(workspace_bytes);
  return cub::DeviceScan::ExclusiveSum(workspace, bytes, values, sums, n,
                                       ToStream(stream));
}

#include "cc/cuda/launchers.inc"

}  // namespace

extern "C" const DeviceLaunchers* tfe_cuda_launchers() {
  static const DeviceLaunchers launchers = MakeLaunchers();
  return &launchers;
}

}  // namespace tf_embedding
