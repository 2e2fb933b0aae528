// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/dwconv_f32/dwconv_f32.h"

namespace octavo {
namespace {

constexpr DwconvF32Kernel kKernels[] = {
#define OCTAVO_DWCONV_F32(isa, name, lanes) {#name, Isa::isa, name, lanes},
#include "kernels/dwconv_f32/kernels.inc"
#undef OCTAVO_DWCONV_F32
};
constexpr int kCount = static_cast<int>(sizeof(kKernels) / sizeof(kKernels[0]));

}  // namespace

const DwconvF32Kernel* dwconv_f32_kernels(int* count) {
  *count = kCount;
  return kKernels;
}

const DwconvF32Kernel* find_dwconv_f32(const char* name) {
  for (const DwconvF32Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, name) == 0) return &kernel;
  }
  return nullptr;
}

const DwconvF32Kernel& select_dwconv_f32(Isa cap) {
  const DwconvF32Kernel* kernel = kKernels;
  while (!isa_usable(cap, kernel->isa)) ++kernel;  // the scalar row is always usable
  return *kernel;
}

void pack_dwconv_f32(const DwconvF32Kernel& kernel, const float* w, int32_t channels, int64_t taps,
                     float* out) {
  const int64_t lanes = kernel.lanes;
  for (int64_t first = 0; first < channels; first += lanes) {
    for (int64_t t = 0; t < taps; ++t) {
      for (int64_t c = first; c < first + lanes; ++c) {
        *out++ = c < channels ? w[c * taps + t] : 0.0f;
      }
    }
  }
}

}  // namespace octavo
