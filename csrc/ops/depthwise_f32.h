// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ops/window.h"

namespace octavo {

// conv_f32 with groups == input channels == output channels and w.kh <= kMaxDepthwiseTaps, already
// validated as a convolution.
std::unique_ptr<Op> prepare_depthwise_f32(const StepView& step, const Window2d& w,
                                          const PrepareContext& context);

}  // namespace octavo
