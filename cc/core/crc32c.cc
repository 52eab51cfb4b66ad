// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__) && defined(__SSE4_2__)
#include <nmmintrin.h>
#endif

namespace tf_embedding {
namespace crc32c_internal {
namespace {

constexpr uint32_t kPolynomial = 0x82F63B78u;  // bits reversed

constexpr std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    }
    table[byte] = crc;
  }
  return table;
}

constexpr std::array<uint32_t, 256> kTable = MakeTable();

// Polynomials over two elements modulo the one above, x^0 in the highest bit.
constexpr uint32_t kOne = uint32_t{1} << 31;

constexpr uint32_t Multiply(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (; a != 0; a <<= 1) {
    if ((a & kOne) != 0) product ^= b;
    b = (b >> 1) ^ ((b & 1) != 0 ? kPolynomial : 0);
  }
  return product;
}

// What a register is multiplied by for 2^k bytes of zeros.
constexpr std::array<uint32_t, 64> MakeZeroBytes() {
  std::array<uint32_t, 64> powers{};
  uint32_t power = kOne >> 8;  // x^8
  for (uint32_t& place : powers) {
    place = power;
    power = Multiply(power, power);
  }
  return powers;
}

constexpr std::array<uint32_t, 64> kZeroBytes = MakeZeroBytes();

}  // namespace

uint32_t Portable(uint32_t crc, const char* data, size_t size) {
  crc = ~crc;
  for (size_t i = 0; i < size; ++i) {
    crc = kTable[(crc ^ static_cast<uint8_t>(data[i])) & 0xFF] ^ (crc >> 8);
  }
  return ~crc;
}

}  // namespace crc32c_internal

#if defined(__x86_64__) && defined(__SSE4_2__)
namespace {

// The instruction takes three cycles, and one can begin in each: three runs of
// bytes go side by side.
constexpr size_t kRun = 512;

// What a register becomes by kRun bytes of zeros, for each value of each of its
// bytes; that of a register is the sum of its bytes', as the code is linear.
using ZerosTable = std::array<std::array<uint32_t, 256>, 4>;

constexpr ZerosTable MakeZerosTable() {
  std::array<uint32_t, 32> of_bit{};
  for (uint32_t bit = 0; bit < 32; ++bit) {
    uint32_t crc = uint32_t{1} << bit;
    for (size_t i = 0; i < kRun; ++i) {
      crc = crc32c_internal::kTable[crc & 0xFF] ^ (crc >> 8);
    }
    of_bit[bit] = crc;
  }
  ZerosTable table{};
  for (uint32_t place = 0; place < 4; ++place) {
    for (uint32_t byte = 0; byte < 256; ++byte) {
      uint32_t sum = 0;
      for (uint32_t bit = 0; bit < 8; ++bit) {
        if ((byte >> bit & 1) != 0) sum ^= of_bit[8 * place + bit];
      }
      table[place][byte] = sum;
    }
  }
  return table;
}

constexpr ZerosTable kZeros = MakeZerosTable();

uint64_t AfterZeros(uint64_t crc) {
  return kZeros[0][crc & 0xFF] ^ kZeros[1][crc >> 8 & 0xFF] ^
         kZeros[2][crc >> 16 & 0xFF] ^ kZeros[3][crc >> 24 & 0xFF];
}

uint64_t AddWord(uint64_t crc, const char* data) {
  uint64_t word;
  std::memcpy(&word, data, sizeof(word));
  return _mm_crc32_u64(crc, word);
}

}  // namespace
#endif

uint32_t Crc32c(const char* data, size_t size) {
  return ExtendCrc32c(0, data, size);
}

uint32_t CombineCrc32c(uint32_t crc, uint32_t next, size_t size) {
  for (int k = 0; size != 0; ++k, size >>= 1) {
    if ((size & 1) != 0) {
      crc = crc32c_internal::Multiply(crc32c_internal::kZeroBytes[k], crc);
    }
  }
  return crc ^ next;
}

uint32_t ExtendCrc32c(uint32_t crc, const char* data, size_t size) {
#if defined(__x86_64__) && defined(__SSE4_2__)
  uint64_t wide = ~crc;
  for (; size >= 3 * kRun; size -= 3 * kRun, data += 3 * kRun) {
    uint64_t second = 0;
    uint64_t third = 0;
    for (size_t i = 0; i < kRun; i += 8) {
      wide = AddWord(wide, data + i);
      second = AddWord(second, data + kRun + i);
      third = AddWord(third, data + 2 * kRun + i);
    }
    wide = AfterZeros(AfterZeros(wide) ^ second) ^ third;
  }
  for (; size >= 8; size -= 8, data += 8) wide = AddWord(wide, data);
  auto low = static_cast<uint32_t>(wide);
  for (; size > 0; --size, ++data) {
    low = _mm_crc32_u8(low, static_cast<uint8_t>(*data));
  }
  return ~low;
#else
  return crc32c_internal::Portable(crc, data, size);
#endif
}

}  // namespace tf_embedding
