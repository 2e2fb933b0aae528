// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/lut_s8/lut_s8.h"

namespace octavo {
namespace {

constexpr LutS8Kernel kKernels[] = {
#define OCTAVO_LUT_S8(isa, name) {#name, Isa::isa, name},
#include "kernels/lut_s8/kernels.inc"
#undef OCTAVO_LUT_S8
};
constexpr int kCount = static_cast<int>(sizeof(kKernels) / sizeof(kKernels[0]));

}  // namespace

const LutS8Kernel* lut_s8_kernels(int* count) {
  *count = kCount;
  return kKernels;
}

const LutS8Kernel* find_lut_s8(const char* name) {
  for (const LutS8Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, name) == 0) return &kernel;
  }
  return nullptr;
}

const LutS8Kernel& select_lut_s8(Isa cap) {
  for (const LutS8Kernel& kernel : kKernels) {
    if (isa_usable(cap, kernel.isa)) return kernel;
  }
  return kKernels[kCount - 1];  // scalar
}

}  // namespace octavo
