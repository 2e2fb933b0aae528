// SPDX-License-Identifier: Apache-2.0
#include "ops/channel_affine.h"

namespace octavo {

ChannelAffine::ChannelAffine(const StepView& step) {
  const Tensor& y = step.output(0);
  if (y.rank == 0 || y.item_size() != 1 || y.strides[y.rank - 1] != 1) {
    step.fail(ErrorCode::kFormat, "factors per channel need 8-bit outputs with a dense last axis");
  }
  channels_ = y.dims[y.rank - 1];
  for (int d = 0; d < y.rank - 1; ++d) {
    // offsets tell channels, so none may be negative
    if (y.dims[d] > 1 && (y.strides[d] < 0 || y.strides[d] % channels_ != 0)) {
      step.fail(ErrorCode::kFormat, "stride %lld of axis %d does not go over whole channels",
                static_cast<long long>(y.strides[d]), d);
    }
  }
  gain_ = step.constant_values<float>(0, DType::kF32, channels_, "gain");
  shift_ = step.constant_values<float>(1, DType::kF32, channels_, "shift");
  for (std::vector<float>* values : {&gain_, &shift_}) {
    values->reserve(static_cast<size_t>(channels_ + kBlock));
    for (int64_t i = 0; i < kBlock; ++i) values->push_back((*values)[static_cast<size_t>(i)]);
  }
}

void ChannelAffine::run(const uint8_t* in, int64_t in_stride, int64_t out_offset,
                        int64_t out_stride, int64_t count, float* out) const noexcept {
  int64_t channel = out_offset % channels_;
  if (out_stride == 1 && in_stride == 4) {
    const float* x = reinterpret_cast<const float*>(in);
    const float *gain = &gain_[static_cast<size_t>(channel)],
                *shift = &shift_[static_cast<size_t>(channel)];
    for (int64_t i = 0; i < count; ++i) out[i] = x[i] * gain[i] + shift[i];
    return;
  }
  const int64_t step = out_stride % channels_;
  for (int64_t i = 0; i < count; ++i) {
    out[i] = of(*reinterpret_cast<const float*>(in + i * in_stride), channel);
    channel += step;
    if (channel >= channels_) channel -= channels_;
  }
}

}  // namespace octavo
