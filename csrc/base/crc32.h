// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

namespace octavo {

// CRC-32 as in zlib (reflected polynomial 0xedb88320, initial and final complement).
// `crc` continues an earlier value: crc32(b, crc32(a)) == crc32(a + b).
uint32_t crc32(const void* data, size_t size, uint32_t crc = 0);

}  // namespace octavo
