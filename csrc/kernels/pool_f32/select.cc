// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/pool_f32/pool_f32.h"

namespace octavo {
namespace {

constexpr PoolF32Kernel kKernels[] = {
#define OCTAVO_POOL_F32(isa, name, op) {#name, Isa::isa, PoolF32Op::op, name},
#include "kernels/pool_f32/kernels.inc"
#undef OCTAVO_POOL_F32
};
constexpr int kCount = static_cast<int>(sizeof(kKernels) / sizeof(kKernels[0]));

}  // namespace

const PoolF32Kernel* pool_f32_kernels(int* count) {
  *count = kCount;
  return kKernels;
}

const PoolF32Kernel* find_pool_f32(const char* name) {
  for (const PoolF32Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, name) == 0) return &kernel;
  }
  return nullptr;
}

const PoolF32Kernel& select_pool_f32(Isa cap, PoolF32Op op) {
  const PoolF32Kernel* kernel = kKernels;
  while (kernel->op != op || !isa_usable(cap, kernel->isa)) ++kernel;
  return *kernel;
}

}  // namespace octavo
