// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/crc32/crc32.h"

namespace octavo {
namespace {

constexpr Crc32Kernel kKernels[] = {
#define OCTAVO_CRC32(isa, name) {#name, Isa::isa, name},
#include "kernels/crc32/kernels.inc"
#undef OCTAVO_CRC32
};
constexpr int kCount = static_cast<int>(sizeof(kKernels) / sizeof(kKernels[0]));

const Crc32Kernel& best() {
  for (const Crc32Kernel& kernel : kKernels) {
    if (isa_supported(kernel.isa)) return kernel;
  }
  return kKernels[kCount - 1];  // scalar
}

}  // namespace

const Crc32Kernel* crc32_kernels(int* count) {
  *count = kCount;
  return kKernels;
}

const Crc32Kernel* find_crc32(const char* name) {
  for (const Crc32Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, name) == 0) return &kernel;
  }
  return nullptr;
}

uint32_t fast_crc32(const void* data, size_t size, uint32_t crc) {
  static const Crc32Fn run = best().run;
  return run(data, size, crc);
}

}  // namespace octavo
