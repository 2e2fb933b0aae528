// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/layer_norm_s8/layer_norm_s8.h"

namespace octavo {
namespace {

constexpr LayerNormS8Kernel kKernels[] = {
#define OCTAVO_LAYER_NORM_S8(isa, name) {#name, Isa::isa, name},
#include "kernels/layer_norm_s8/kernels.inc"
#undef OCTAVO_LAYER_NORM_S8
};
constexpr int kCount = static_cast<int>(sizeof(kKernels) / sizeof(kKernels[0]));

}  // namespace

const LayerNormS8Kernel* layer_norm_s8_kernels(int* count) {
  *count = kCount;
  return kKernels;
}

const LayerNormS8Kernel* find_layer_norm_s8(const char* name) {
  for (const LayerNormS8Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, name) == 0) return &kernel;
  }
  return nullptr;
}

const LayerNormS8Kernel& select_layer_norm_s8(Isa cap) {
  for (const LayerNormS8Kernel& kernel : kKernels) {
    if (isa_usable(cap, kernel.isa)) return kernel;
  }
  return kKernels[kCount - 1];  // scalar
}

}  // namespace octavo
