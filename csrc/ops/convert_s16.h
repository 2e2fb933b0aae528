// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ops/op.h"

namespace octavo {

// The steps quantize and dequantize where the stored type is s16; `input` is a view of the step's.
std::unique_ptr<Op> make_quantize_s16(const StepView& step, const Tensor& input,
                                      const PrepareContext& context);
std::unique_ptr<Op> make_dequantize_s16(const StepView& step, const PrepareContext& context);

}  // namespace octavo
