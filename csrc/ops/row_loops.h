// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ops/loop_nest.h"
#include "ops/step.h"

namespace octavo {

// Loops over all dimensions of x and y but the last, which may differ (linear layers, softmax).
LoopNest<2> make_row_loops(const StepView& step, const Tensor& x, const Tensor& y);

}  // namespace octavo
