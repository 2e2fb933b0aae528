// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ops/loop_nest.h"
#include "ops/step.h"

namespace octavo {

// Checks that y has the dims of a and b broadcast together (NumPy rules) and returns the loops over
// operands a, b, y. A broadcast dimension has stride 0.
LoopNest<3> broadcast_loops(const StepView& step, const Tensor& a, const Tensor& b,
                            const Tensor& y);

}  // namespace octavo
