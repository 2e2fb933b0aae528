// SPDX-License-Identifier: Apache-2.0
#include <arm_acle.h>

#include <cstring>

#include "kernels/crc32/crc32.h"

// The CRC-32 instructions, which have zlib's polynomial. They are optional in Armv8.0 and part of
// Armv8.1, so of every CPU with this row: dot products came with Armv8.2. 8 bytes per instruction
// in one chain of a latency of 2 are 4 bytes per cycle, which memory does not exceed.
namespace octavo {
namespace {

template <class T>
inline T read(const uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

}  // namespace

uint32_t crc32_x8_neondot(const void* data, size_t size, uint32_t crc) {
  const uint8_t* p = static_cast<const uint8_t*>(data);
  crc = ~crc;
  for (; size >= 32; p += 32, size -= 32) {  // an in-order core loads ahead
    const uint64_t words[4] = {read<uint64_t>(p), read<uint64_t>(p + 8), read<uint64_t>(p + 16),
                               read<uint64_t>(p + 24)};
    for (const uint64_t word : words) crc = __crc32d(crc, word);
  }
  for (; size >= 8; p += 8, size -= 8) crc = __crc32d(crc, read<uint64_t>(p));
  if (size & 4) {
    crc = __crc32w(crc, read<uint32_t>(p));
    p += 4;
  }
  if (size & 2) {
    crc = __crc32h(crc, read<uint16_t>(p));
    p += 2;
  }
  if (size & 1) crc = __crc32b(crc, *p);
  return ~crc;
}

}  // namespace octavo
