// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ops/window.h"

namespace octavo {

// Kernel height up to which conv_s8 takes the depthwise path: its row addresses live on the stack.
inline constexpr int32_t kMaxDepthwiseTaps = 64;

// conv_s8 with groups == input channels == output channels, already validated as a convolution.
std::unique_ptr<Op> prepare_depthwise(const StepView& step, const Window2d& w,
                                      const PrepareContext& context);

// Kernels that can run it, the cost model's choice first.
KernelNames depthwise_kernels(const StepView& step, const Window2d& w,
                              const PrepareContext& context);

}  // namespace octavo
