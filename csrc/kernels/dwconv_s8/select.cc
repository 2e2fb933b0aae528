// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/dwconv_s8/dwconv_s8.h"
#include "kernels/dwconv_s8/pack.h"

namespace octavo {
namespace {

constexpr DwconvS8Kernel kKernels[] = {
#define OCTAVO_DWCONV_S8(isa, name, kh, kw, stride_x, dilated, weights, packing) \
  {#name, Isa::isa, name, kh, kw, stride_x, dilated, weights, layout_##packing, pack_##packing},
#include "kernels/dwconv_s8/kernels.inc"
#undef OCTAVO_DWCONV_S8
};
constexpr int kCount = static_cast<int>(sizeof(kKernels) / sizeof(kKernels[0]));

}  // namespace

const DwconvS8Kernel* dwconv_s8_kernels(int* count) {
  *count = kCount;
  return kKernels;
}

const DwconvS8Kernel* find_dwconv_s8(const char* name) {
  for (const DwconvS8Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, name) == 0) return &kernel;
  }
  return nullptr;
}

bool dwconv_s8_takes(const DwconvS8Kernel& kernel, const DwconvS8Shape& shape) {
  return (kernel.kh == 0 || kernel.kh == shape.kh) && (kernel.kw == 0 || kernel.kw == shape.kw) &&
         (kernel.stride_x == 0 || kernel.stride_x == shape.stride_x) &&
         (kernel.dilated || shape.dilation_x == 1) && kernel.weights.holds(shape.weights);
}

// The first row that takes the layer; the scalar row, which is last, takes every layer.
const DwconvS8Kernel& select_dwconv_s8(Isa cap, const DwconvS8Shape& shape) {
  const DwconvS8Kernel* kernel = kKernels;
  while (!isa_usable(cap, kernel->isa) || !dwconv_s8_takes(*kernel, shape)) ++kernel;
  return *kernel;
}

}  // namespace octavo
