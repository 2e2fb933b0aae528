// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/eltwise_s8/eltwise_s8.h"

namespace octavo {
namespace {

constexpr EltwiseS8Kernel kKernels[] = {
#define OCTAVO_ELTWISE_S8(isa, name, op) {#name, Isa::isa, EltwiseOp::op, name},
#include "kernels/eltwise_s8/kernels.inc"
#undef OCTAVO_ELTWISE_S8
};
constexpr int kCount = static_cast<int>(sizeof(kKernels) / sizeof(kKernels[0]));

}  // namespace

const EltwiseS8Kernel* eltwise_s8_kernels(int* count) {
  *count = kCount;
  return kKernels;
}

const EltwiseS8Kernel* find_eltwise_s8(const char* name) {
  for (const EltwiseS8Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, name) == 0) return &kernel;
  }
  return nullptr;
}

const EltwiseS8Kernel& select_eltwise_s8(Isa cap, EltwiseOp op) {
  const EltwiseS8Kernel* kernel = kKernels;
  while (kernel->op != op || !isa_usable(cap, kernel->isa)) ++kernel;
  return *kernel;  // the scalar row of `op`, always usable, ends the search
}

}  // namespace octavo
