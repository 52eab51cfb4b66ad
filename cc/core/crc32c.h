// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// CRC-32C (Castagnoli, 1993; RFC 3720, appendix B.4): the checksum of
// checkpoint frames.
//
// Finds every burst of up to 32 bits and all but 2^-32 of other damage. On
// x86-64-v2, the baseline of the build, it is the processor's own instruction,
// on three runs of bytes side by side: about 8 bytes in a cycle. Elsewhere a
// table of 256 entries does a byte at a time.
//
// Checksums of runs of bytes add up to that of the whole, so bytes that were
// checksummed once need not be read again for a checksum that covers more.
//
// Thread safety: pure functions.

#ifndef TF_EMBEDDING_CC_CORE_CRC32C_H_
#define TF_EMBEDDING_CC_CORE_CRC32C_H_

#include <cstddef>
#include <cstdint>

namespace tf_embedding {

// "123456789" gives 0xE3069283.
uint32_t Crc32c(const char* data, size_t size);

// That of some bytes whose checksum is crc, and these behind them.
uint32_t ExtendCrc32c(uint32_t crc, const char* data, size_t size);

// That of some bytes whose checksum is crc, and of size more behind them whose
// own is next. Takes about a microsecond, whatever the size.
uint32_t CombineCrc32c(uint32_t crc, uint32_t next, size_t size);

namespace crc32c_internal {

// ExtendCrc32c without the instruction. For tests.
uint32_t Portable(uint32_t crc, const char* data, size_t size);

}  // namespace crc32c_internal
}  // namespace tf_embedding

#endif  // TF_EMBEDDING_CC_CORE_CRC32C_H_
