// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/convert/convert.h"

namespace octavo {
namespace {

constexpr ConvertKernels kKernels[] = {
#define OCTAVO_CONVERT(isa, suffix)                                             \
  {"convert_" #suffix,  Isa::isa,     quantize_##suffix, quantize_chw_##suffix, \
   dequantize_##suffix, flip_##suffix},
#include "kernels/convert/kernels.inc"
#undef OCTAVO_CONVERT
};
constexpr int kCount = static_cast<int>(sizeof(kKernels) / sizeof(kKernels[0]));

}  // namespace

const ConvertKernels* convert_kernels(int* count) {
  *count = kCount;
  return kKernels;
}

const ConvertKernels* find_convert(const char* name) {
  for (const ConvertKernels& kernel : kKernels) {
    if (std::strcmp(kernel.name, name) == 0) return &kernel;
  }
  return nullptr;
}

const ConvertKernels& select_convert(Isa cap) {
  for (const ConvertKernels& kernel : kKernels) {
    if (isa_usable(cap, kernel.isa)) return kernel;
  }
  return kKernels[kCount - 1];  // scalar
}

}  // namespace octavo
