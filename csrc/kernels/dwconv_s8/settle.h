// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/simd/x86.h"

// What keeps the sums of a sliding window in registers.
namespace octavo {
namespace {

// Before a loop: GCC 12 would keep the weights that the code before the loop has read on the stack,
// and copy them there again after every store of the loop.
inline void forget_loads() { asm volatile("" ::: "memory"); }

// Computes v here. GCC 12 otherwise reorders and reassociates until the registers do not suffice.
inline void settle(__m256i& v) { asm("" : "+x"(v)); }

}  // namespace
}  // namespace octavo
