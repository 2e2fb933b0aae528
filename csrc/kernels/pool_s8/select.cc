// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/pool_s8/pool_s8.h"

namespace octavo {
namespace {

constexpr PoolS8Kernel kKernels[] = {
#define OCTAVO_POOL_S8(isa, name, op) {#name, Isa::isa, PoolOp::op, name},
#include "kernels/pool_s8/kernels.inc"
#undef OCTAVO_POOL_S8
};
constexpr int kCount = static_cast<int>(sizeof(kKernels) / sizeof(kKernels[0]));

}  // namespace

const PoolS8Kernel* pool_s8_kernels(int* count) {
  *count = kCount;
  return kKernels;
}

const PoolS8Kernel* find_pool_s8(const char* name) {
  for (const PoolS8Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, name) == 0) return &kernel;
  }
  return nullptr;
}

const PoolS8Kernel& select_pool_s8(Isa cap, PoolOp op) {
  const PoolS8Kernel* kernel = kKernels;
  while (kernel->op != op || !isa_usable(cap, kernel->isa)) ++kernel;
  return *kernel;
}

}  // namespace octavo
