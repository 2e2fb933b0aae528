// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"

// crc32: the CRC-32 of zlib (base/crc32.h) at memory speed. A model is checked before anything in
// it is believed, and the table walk (1.5 bytes per ns) was most of the time it takes to load one.
namespace octavo {

// `crc` continues an earlier value, as in octavo::crc32.
using Crc32Fn = uint32_t (*)(const void* data, size_t size, uint32_t crc);

struct Crc32Kernel {
  const char* name;
  Isa isa;
  Crc32Fn run;
};

const Crc32Kernel* crc32_kernels(int* count);
const Crc32Kernel* find_crc32(const char* name);

// With the best row of this CPU.
uint32_t fast_crc32(const void* data, size_t size, uint32_t crc = 0);

#define OCTAVO_CRC32(isa, name) uint32_t name(const void* data, size_t size, uint32_t crc);
#include "kernels/crc32/kernels.inc"
#undef OCTAVO_CRC32

}  // namespace octavo
