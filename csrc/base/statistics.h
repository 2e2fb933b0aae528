// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

// What calibration keeps of a tensor (octavo/quantization/observers.py). Plain loops with a fixed
// order of additions: the same numbers from every compiler, and from any cut into batches.
namespace octavo {

constexpr int32_t kHistogramHalf = 4096;  // bins on each side of zero

// Least and largest of n > 0 numbers, a zero always as +0. False when one is NaN or infinite.
bool finite_extremes(const float* x, int64_t n, float* low, float* high);

// counts[clamp(floor(x * per_unit) + kHistogramHalf)] += 1; per_unit in bins per unit of x, with
// every |x * per_unit| < 2^31.
void count_bins(const float* x, int64_t n, float per_unit, int64_t* counts);

// Per channel of x [samples][rows][channels]: least and largest value so far, and sums of x and
// x^2, each sample added up on its own first. `scratch` holds 2 * channels numbers.
void channel_moments(const float* x, int64_t samples, int64_t rows, int64_t channels, float* low,
                     float* high, double* sum, double* square, double* scratch);

}  // namespace octavo
