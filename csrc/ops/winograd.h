// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/winograd_s8/winograd_s8.h"
#include "ops/quant_args.h"
#include "ops/window.h"

namespace octavo {

// The kernel of F(4x4, 3x3) that can run the convolution here, with the same bytes as the direct
// path. nullptr unless it is 3x3 of stride 1 without dilation or groups and its weights pass
// winograd_s8_exact.
const WinogradS8Kernel* winograd_kernel(const StepView& step, const Window2d& w, int32_t groups,
                                        const QuantWeights& weights, const PrepareContext& context);

// Does it take fewer cycles than the direct path under `cap`?
bool winograd_pays(const StepView& step, const WinogradS8Kernel& kernel, Isa cap);

// conv_s8, already validated as a convolution that the kernel can run.
std::unique_ptr<Op> prepare_winograd(const StepView& step, const Window2d& w,
                                     const QuantWeights& weights, const WinogradS8Kernel& kernel,
                                     const PrepareContext& context);

}  // namespace octavo
