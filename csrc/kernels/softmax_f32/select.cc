// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/softmax_f32/softmax_f32.h"

namespace octavo {
namespace {

constexpr SoftmaxF32Kernel kKernels[] = {
#define OCTAVO_SOFTMAX_F32(isa, name) {#name, Isa::isa, name},
#include "kernels/softmax_f32/kernels.inc"
#undef OCTAVO_SOFTMAX_F32
};
constexpr int kCount = static_cast<int>(sizeof(kKernels) / sizeof(kKernels[0]));

}  // namespace

const SoftmaxF32Kernel* softmax_f32_kernels(int* count) {
  *count = kCount;
  return kKernels;
}

const SoftmaxF32Kernel* find_softmax_f32(const char* name) {
  for (const SoftmaxF32Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, name) == 0) return &kernel;
  }
  return nullptr;
}

const SoftmaxF32Kernel& select_softmax_f32(Isa cap) {
  const SoftmaxF32Kernel* kernel = kKernels;
  while (!isa_usable(cap, kernel->isa)) ++kernel;  // the scalar row is always usable
  return *kernel;
}

}  // namespace octavo
