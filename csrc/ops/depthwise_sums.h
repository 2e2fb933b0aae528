// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <vector>

#include "kernels/stored.h"
#include "ops/staged_input.h"

namespace octavo {

// Exact int32 sums of a depthwise convolution (as many output as input channels, each from its own)
// over a staged input: plain loops over channels, which any compiler turns into vectors. For the
// precisions without a dwconv kernel of their own.
class DepthwiseSums {
 public:
  static constexpr int kPixels = 16, kChannels = 64;

  // Some pixels of a row times channels [channel, channel + n); pixel i begins at c_rows[i].
  struct Tile {
    const int32_t* sums;  // [pixels][kChannels]
    uint8_t* const* c_rows;
    int32_t pixels, channel, n;
  };

  // weights [C][taps], of magnitude up to 255.
  DepthwiseSums(const Tensor& y, const StagedInput& staged, const Window2d& w,
                const std::vector<int16_t>& weights)
      : window_(w), staged_(staged.tensor), out_(y), channels_(y.dims[3]) {
    const int64_t taps = int64_t{w.kh} * w.kw;
    weights_.resize(weights.size());
    for (int64_t c = 0; c < channels_; ++c) {
      for (int64_t t = 0; t < taps; ++t) weights_[t * channels_ + c] = weights[c * taps + t];
    }
  }

  int64_t rows() const { return int64_t{out_.dims[0]} * out_.dims[1]; }
  int64_t image_of(int64_t row) const { return row / out_.dims[1]; }

  // Calls take(Tile) for all of output row `row`. T: uint8_t as stored, or int16_t; the padding is
  // there already.
  template <class T, class Take>
  void run_row(const uint8_t* staged, uint8_t* out, int64_t row, int32_t zero_point,
               Take&& take) const noexcept {
    const int64_t image = row / out_.dims[1], y = row % out_.dims[1];
    const uint8_t* in =
        staged + image * staged_.strides[0] + y * window_.stride_h * staged_.strides[1];
    uint8_t* line = out + image * out_.strides[0] + y * out_.strides[1];
    int32_t sums[kPixels * kChannels];
    uint8_t* c_rows[kPixels];
    for (int32_t x = 0; x < out_.dims[2]; x += kPixels) {
      const int32_t pixels = std::min(kPixels, out_.dims[2] - x);
      for (int32_t i = 0; i < pixels; ++i) c_rows[i] = line + (x + i) * out_.strides[2];
      for (int32_t c = 0; c < channels_; c += kChannels) {
        const int32_t n = std::min(kChannels, channels_ - c);
        for (int32_t i = 0; i < pixels; ++i) {
          const int64_t first = int64_t{x + i} * window_.stride_w * staged_.strides[2];
          pixel<T>(in + first + c * int64_t{sizeof(T)}, c, n, static_cast<int16_t>(zero_point),
                   sums + i * kChannels);
        }
        take(Tile{sums, c_rows, pixels, c, n});
      }
    }
  }

 private:
  static int16_t number(uint8_t stored) { return static_cast<int16_t>(value_of(stored)); }
  static int16_t number(int16_t value) { return value; }

  template <class T>
  void pixel(const uint8_t* in, int32_t channel, int32_t n, int16_t zero_point,
             int32_t* sums) const noexcept {
    std::fill_n(sums, kChannels, 0);
    const int16_t* w = weights_.data() + channel;
    for (int32_t i = 0; i < window_.kh; ++i) {
      for (int32_t j = 0; j < window_.kw; ++j, w += channels_) {
        const T* x = reinterpret_cast<const T*>(in + i * window_.dilation_h * staged_.strides[1] +
                                                j * window_.dilation_w * staged_.strides[2]);
        for (int32_t c = 0; c < n; ++c) {
          sums[c] += static_cast<int16_t>(number(x[c]) - zero_point) * w[c];
        }
      }
    }
  }

  Window2d window_;
  Tensor staged_, out_;
  int32_t channels_;
  std::vector<int16_t> weights_;  // [taps][C]
};

inline bool is_depthwise(const Tensor& x, const Tensor& y, int32_t groups) {
  return groups > 1 && groups == x.dims[3] && groups == y.dims[3];
}

}  // namespace octavo
