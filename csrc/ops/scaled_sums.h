// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <vector>

#include "ops/dynamic_input.h"
#include "ops/packed_gemm.h"

namespace octavo {

// Of layers on 8-bit activations that write float32: constants per output channel.
struct ScaledChannels {
  std::vector<int32_t> weight_sums;
  std::vector<float> scales, bias;

  // For kernels that begin at a channel.
  void set(ScaleSumsArgs* args, int64_t channel) const {
    args->weight_sums = weight_sums.data() + channel;
    args->weight_scales = scales.data() + channel;
    args->bias = bias.data() + channel;
  }
};

// Constants 1 and 2 of the step: bias and weight scales, f32[n]. `k` weights per channel.
ScaledChannels read_scaled_channels(const StepView& step, const QuantWeights& weights, int32_t n,
                                    int64_t k);

// Scales the sums of a tile: every row by the parameters its input was quantized with.
class ScaledSums final : public SumSink {
 public:
  // `scales` of units of `rows_per_unit` rows each.
  ScaledSums(const DynamicS8Kernels& kernels, const ScaledChannels& channels,
             const DynamicScale* scales, int64_t rows_per_unit, float lo, float hi)
      : kernels_(kernels),
        channels_(channels),
        scales_(scales),
        rows_per_unit_(rows_per_unit),
        lo_(lo),
        hi_(hi) {}

  void take(const SumTile& tile) const noexcept override;

 private:
  const DynamicS8Kernels& kernels_;
  const ScaledChannels& channels_;
  const DynamicScale* scales_;
  int64_t rows_per_unit_;
  float lo_, hi_;
};

}  // namespace octavo
