// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/dynamic_s8/dynamic_s8.h"

namespace octavo {
namespace {

constexpr DynamicS8Kernels kKernels[] = {
#define OCTAVO_DYNAMIC_S8(isa, suffix) \
  {"dynamic_s8_" #suffix, Isa::isa, range_##suffix, scale_sums_##suffix},
#include "kernels/dynamic_s8/kernels.inc"
#undef OCTAVO_DYNAMIC_S8
};
constexpr int kCount = static_cast<int>(sizeof(kKernels) / sizeof(kKernels[0]));

}  // namespace

const DynamicS8Kernels* dynamic_s8_kernels(int* count) {
  *count = kCount;
  return kKernels;
}

const DynamicS8Kernels* find_dynamic_s8(const char* name) {
  for (const DynamicS8Kernels& kernels : kKernels) {
    if (std::strcmp(kernels.name, name) == 0) return &kernels;
  }
  return nullptr;
}

const DynamicS8Kernels& select_dynamic_s8(Isa cap) {
  for (const DynamicS8Kernels& kernels : kKernels) {
    if (isa_usable(cap, kernels.isa)) return kernels;
  }
  return kKernels[kCount - 1];  // scalar
}

}  // namespace octavo
