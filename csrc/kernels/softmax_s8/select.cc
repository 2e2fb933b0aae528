// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/softmax_s8/softmax_s8.h"

namespace octavo {
namespace {

constexpr SoftmaxS8Kernel kKernels[] = {
#define OCTAVO_SOFTMAX_S8(isa, name) {#name, Isa::isa, name},
#include "kernels/softmax_s8/kernels.inc"
#undef OCTAVO_SOFTMAX_S8
};
constexpr int kCount = static_cast<int>(sizeof(kKernels) / sizeof(kKernels[0]));

}  // namespace

const SoftmaxS8Kernel* softmax_s8_kernels(int* count) {
  *count = kCount;
  return kKernels;
}

const SoftmaxS8Kernel* find_softmax_s8(const char* name) {
  for (const SoftmaxS8Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, name) == 0) return &kernel;
  }
  return nullptr;
}

const SoftmaxS8Kernel& select_softmax_s8(Isa cap) {
  for (const SoftmaxS8Kernel& kernel : kKernels) {
    if (isa_usable(cap, kernel.isa)) return kernel;
  }
  return kKernels[kCount - 1];  // scalar
}

}  // namespace octavo
