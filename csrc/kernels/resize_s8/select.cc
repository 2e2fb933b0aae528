// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/resize_s8/resize_s8.h"

namespace octavo {
namespace {

constexpr ResizeS8Kernel kKernels[] = {
#define OCTAVO_RESIZE_S8(isa, name) {#name, Isa::isa, name},
#include "kernels/resize_s8/kernels.inc"
#undef OCTAVO_RESIZE_S8
};
constexpr int kCount = static_cast<int>(sizeof(kKernels) / sizeof(kKernels[0]));

}  // namespace

const ResizeS8Kernel* resize_s8_kernels(int* count) {
  *count = kCount;
  return kKernels;
}

const ResizeS8Kernel* find_resize_s8(const char* name) {
  for (const ResizeS8Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, name) == 0) return &kernel;
  }
  return nullptr;
}

const ResizeS8Kernel& select_resize_s8(Isa cap) {
  const ResizeS8Kernel* kernel = kKernels;
  while (!isa_usable(cap, kernel->isa)) ++kernel;
  return *kernel;
}

}  // namespace octavo
