// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

#include "ops/step.h"

namespace octavo {

// x * gain[c] + shift[c] along the dense last dimension of a step's output: two float32 operations,
// each rounded. What a model input's channels go through on their way to 8 bits.
class ChannelAffine {
 public:
  static constexpr int64_t kBlock = 256;  // values that `run` takes at once, at most

  ChannelAffine() = default;
  // The step's constants 0 and 1: gain and shift, f32[c] each.
  explicit ChannelAffine(const StepView& step);

  bool empty() const { return channels_ == 0; }
  int64_t channels() const { return channels_; }
  float of(float x, int64_t channel) const {
    const float scaled = x * gain_[static_cast<size_t>(channel)];
    return scaled + shift_[static_cast<size_t>(channel)];
  }

  // `count` values that lie `in_stride` bytes apart and go to the bytes `out_offset`, `out_offset`
  // + `out_stride`, ... of the output: their offsets tell their channels.
  void run(const uint8_t* in, int64_t in_stride, int64_t out_offset, int64_t out_stride,
           int64_t count, float* out) const noexcept;

 private:
  int64_t channels_ = 0;
  std::vector<float> gain_, shift_;  // repeated, so that a block may begin at any channel
};

}  // namespace octavo
