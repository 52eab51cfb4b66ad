// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// What differs between compilers and devices, behind names that do not.

#ifndef TF_EMBEDDING_CC_CORE_PLATFORM_H_
#define TF_EMBEDDING_CC_CORE_PLATFORM_H_

// Marks what a CUDA kernel may call too. The same text is then compiled for
// both devices, so that a rule or an initial row has one definition.
#if defined(__CUDACC__)
#define TFE_HOST_DEVICE __host__ __device__
#else
#define TFE_HOST_DEVICE
#endif

#define TFE_PREFETCH_READ(address) __builtin_prefetch((address), 0, 3)
// Into the second-level cache only: a processor has room for more such requests
// at a time than for those that are to come as far as the first.
#define TFE_PREFETCH_L2(address) __builtin_prefetch((address), 0, 2)
// To be written. x86 processors of isa_avx2.cc that have no such instruction do
// nothing.
#define TFE_PREFETCH_WRITE(address) __builtin_prefetch((address), 1, 3)
#define TFE_LIKELY(x) __builtin_expect(!!(x), 1)
#define TFE_UNLIKELY(x) __builtin_expect(!!(x), 0)

// In a loop that waits for another thread's write.
#if defined(__x86_64__)
#define TFE_PAUSE() __builtin_ia32_pause()
#else
#define TFE_PAUSE() static_cast<void>(0)
#endif

namespace tf_embedding {

constexpr int kCacheLine = 64;

}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_PLATFORM_H_
