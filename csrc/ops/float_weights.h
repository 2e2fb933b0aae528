// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

#include "ops/op.h"

namespace octavo {

// The weights [n][k] of a float32 layer, constant 0: f32, or 8-bit numbers q with a scale per row
// (constant 2) and perhaps a zero point (constant 3), of which float32(q - z) * s is the weight.
std::vector<float> read_float_weights(const StepView& step, int64_t n, int64_t k);

// What session.kernels() calls such a layer: weights of 8 bits in the file are worth telling.
Precision float_layer_precision(const StepView& step);

}  // namespace octavo
