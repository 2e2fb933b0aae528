// SPDX-License-Identifier: Apache-2.0
#include "ops/scaled_sums.h"

#include <algorithm>
#include <cmath>

#include "kernels/stored.h"

namespace octavo {

ScaledChannels read_scaled_channels(const StepView& step, const QuantWeights& weights, int32_t n,
                                    int64_t k) {
  ScaledChannels ch;
  ch.bias = step.constant_values<float>(1, DType::kF32, n, "bias");
  ch.scales = step.constant_values<float>(2, DType::kF32, n, "weight scale");
  for (int32_t c = 0; c < n; ++c) {
    // with an input scale below 2^94 the factor of a sum is finite
    if (!(ch.scales[c] >= 0.0f && ch.scales[c] <= 0x1p24f) || !std::isfinite(ch.bias[c])) {
      step.fail(ErrorCode::kFormat,
                "channel %d has weight scale %g and bias %g; must be in 0..2^24 and finite", c,
                static_cast<double>(ch.scales[c]), static_cast<double>(ch.bias[c]));
    }
    int32_t sum = 0;
    for (int64_t i = 0; i < k; ++i) sum += weights.values[c * k + i];
    ch.weight_sums.push_back(sum);
  }
  return ch;
}

void ScaledSums::take(const SumTile& tile) const noexcept {
  for (int64_t r = 0; r < tile.rows;) {
    const int64_t unit = (tile.row + r) / rows_per_unit_;
    const int64_t end = std::min<int64_t>(tile.rows, (unit + 1) * rows_per_unit_ - tile.row);
    ScaleSumsArgs args{};
    args.sums = tile.sums + r * tile.stride;
    args.sums_stride = tile.stride;
    args.out_rows = reinterpret_cast<float* const*>(tile.c_rows + r);
    args.out_offset = tile.channel;
    args.rows = static_cast<int32_t>(end - r);
    args.n = tile.n;
    args.zero_point = scales_[unit].zero_point - kStoredOffset;
    args.x_scale = scales_[unit].scale;
    channels_.set(&args, tile.channel);
    args.lo = lo_;
    args.hi = hi_;
    kernels_.scale_sums(args);
    r = end;
  }
}

}  // namespace octavo
