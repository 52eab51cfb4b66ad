// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

#include "cc/core/crc32c.h"

#include <string>

#include "tests/cc/random.h"
#include "tests/cc/testing.h"

namespace tf_embedding {
namespace {

// RFC 3720, appendix B.4, and the check value of the catalogues.
TEST(KnownValues) {
  EXPECT_EQ(Crc32c("123456789", 9), 0xE3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0').data(), 32), 0x8A9136AAu);
  EXPECT_EQ(Crc32c(std::string(32, '\xFF').data(), 32), 0x62A8AB43u);
  EXPECT_EQ(Crc32c("", 0), 0u);
}

TEST(BothWaysAgree) {
  testing::Rng rng(1);
  std::string bytes;
  for (int size = 0; size < 100; ++size) {
    for (size_t offset = 0; offset < 9 && offset <= bytes.size(); ++offset) {
      EXPECT_EQ(Crc32c(bytes.data() + offset, bytes.size() - offset),
                crc32c_internal::Portable(0, bytes.data() + offset,
                                          bytes.size() - offset));
    }
    bytes.push_back(static_cast<char>(rng.Next()));
  }
}

// Long enough for several runs of bytes side by side, once and again.
TEST(BothWaysAgreeOnLongBytes) {
  testing::Rng rng(2);
  std::string bytes(5000, '\0');
  for (char& byte : bytes) byte = static_cast<char>(rng.Next());
  for (size_t size = 1500; size <= 4800; size += size < 1600 ? 1 : 97) {
    const size_t offset = size % 9;
    const auto before = static_cast<uint32_t>(rng.Next());
    EXPECT_EQ(ExtendCrc32c(before, bytes.data() + offset, size),
              crc32c_internal::Portable(before, bytes.data() + offset, size));
  }
}

TEST(ItGoesOnWhereItStopped) {
  const std::string bytes = "a checksum of two halves is that of the whole";
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    const size_t rest = bytes.size() - cut;
    EXPECT_EQ(ExtendCrc32c(Crc32c(bytes.data(), cut), bytes.data() + cut, rest),
              Crc32c(bytes.data(), bytes.size()));
  }
}

TEST(ChecksumsAddUp) {
  testing::Rng rng(3);
  std::string bytes(20000, '\0');
  for (char& byte : bytes) byte = static_cast<char>(rng.Next());
  for (size_t cut = 0; cut <= bytes.size(); cut += cut < 40 ? 1 : 499) {
    const size_t rest = bytes.size() - cut;
    EXPECT_EQ(CombineCrc32c(Crc32c(bytes.data(), cut),
                            Crc32c(bytes.data() + cut, rest), rest),
              Crc32c(bytes.data(), bytes.size()));
    const auto before = static_cast<uint32_t>(rng.Next());
    EXPECT_EQ(CombineCrc32c(before, Crc32c(bytes.data(), cut), cut),
              crc32c_internal::Portable(before, bytes.data(), cut));
  }
}

}  // namespace
}  // namespace tf_embedding
