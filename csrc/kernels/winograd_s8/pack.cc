// SPDX-License-Identifier: Apache-2.0
#include "kernels/winograd_s8/pack.h"

#include <algorithm>
#include <vector>

#include "base/checked.h"
#include "kernels/stored.h"

namespace octavo {
namespace {

constexpr int kTaps = 9;
constexpr int64_t kBound = int64_t{1} << 25;
constexpr int32_t kScale = 576;  // of Y

// G of three values. T is int32 to see how large U becomes, int16 (modulo 2^16) to compute it.
template <class T>
inline void transform_1d(int g0, int g1, int g2, T* u, int step) {
  const int outer = g0 + g2, steep = g0 + 4 * g2;
  u[0] = static_cast<T>(6 * g0);
  u[step] = static_cast<T>(-4 * (outer + g1));
  u[2 * step] = static_cast<T>(-4 * (outer - g1));
  u[3 * step] = static_cast<T>(steep + 2 * g1);
  u[4 * step] = static_cast<T>(steep - 2 * g1);
  u[5 * step] = static_cast<T>(6 * g2);
}

bool fits_s8(const WinogradS8Weights& w) {
  const int64_t count = int64_t{w.n} * kTaps * w.channels;
  uint16_t seen = 0;  // v + 128 is in 0..255 unless a higher bit is set
  for (int64_t i = 0; i < count; ++i) seen = static_cast<uint16_t>(seen | (w.weights[i] + 128));
  return seen <= 255;
}

bool u_fits_s16(const WinogradS8Weights& w) {
  if (fits_s8(w)) return true;  // |U| <= 12 * 12 * 128
  const int64_t step = w.channels;
  for (int64_t i = 0; i < int64_t{w.n} * w.channels; ++i) {
    const int16_t* g = w.weights + i / step * kTaps * step + i % step;
    int32_t rows[18], u[kWinogradPoints];
    for (int c = 0; c < 3; ++c) {
      transform_1d(g[c * step], g[(3 + c) * step], g[(6 + c) * step], rows + c, 3);
    }
    for (int r = 0; r < 6; ++r) {
      transform_1d(rows[3 * r], rows[3 * r + 1], rows[3 * r + 2], u + 6 * r, 1);
    }
    for (const int32_t value : u) {
      if (value < INT16_MIN || value > INT16_MAX) return false;
    }
  }
  return true;
}

// Both ends of bias + sum (x - z_a) * w over all bytes x.
bool sums_fit(const WinogradS8Weights& w, int32_t c) {
  const int64_t k = int64_t{kTaps} * w.channels;
  int64_t positive = 0, negative = 0;
  for (int64_t i = 0; i < k; ++i) {
    const int32_t value = w.weights[c * k + i];
    positive += std::max(value, 0);
    negative -= std::min(value, 0);
  }
  const int64_t za = w.a_zero_point;
  const int64_t high = w.bias[c] + (255 - za) * positive + za * negative;
  const int64_t low = w.bias[c] - (255 - za) * negative - za * positive;
  return low > -kBound && high < kBound;
}

// Pairs of input channels of one block at a time, a lane for each channel and column in the order
// of the packed weights, so that everything after the gathering is loops over neighbours.
class Packer {
 public:
  Packer(const WinogradS8Kernel& kernel, const WinogradS8Weights& w)
      : kernel_(kernel),
        w_(w),
        lanes_(2 * kernel.nr),
        taps_(static_cast<size_t>(kTaps * lanes_)),
        rows_(static_cast<size_t>(18 * lanes_)) {}

  // [36][steps][nr][2] of block j.
  void block(int32_t j, int32_t steps, int16_t* out) {
    const ptrdiff_t plane = ptrdiff_t{steps} * lanes_;
    for (int32_t s = 0; 2 * s < w_.channels; ++s) {
      gather(j, 2 * s);
      for (int c = 0; c < 3; ++c) {
        lanes_1d(&taps_[c * lanes_], 3 * lanes_, &rows_[c * lanes_], 3 * lanes_);
      }
      for (int r = 0; r < 6; ++r) {
        lanes_1d(&rows_[3 * r * lanes_], lanes_, out + 6 * r * plane + ptrdiff_t{s} * lanes_,
                 plane);
      }
    }
  }

 private:
  // Of channel i of the pair and column p.
  int lane(int p, int i) const { return kernel_.group == 2 ? 2 * p + i : i * kernel_.nr + p; }

  // Missing channels are 0.
  void gather(int32_t j, int32_t channel) {
    const bool pair = channel + 1 < w_.channels;
    std::fill(taps_.begin(), taps_.end(), int16_t{0});
    for (int p = 0; p < kernel_.nr; ++p) {
      const int64_t n = int64_t{j} * kernel_.nr + kernel_.column(p);
      if (n >= w_.n) continue;
      const int16_t* from = w_.weights + n * kTaps * w_.channels + channel;
      for (int t = 0; t < kTaps; ++t, from += w_.channels) {
        int16_t* to = &taps_[t * lanes_];
        to[lane(p, 0)] = from[0];
        if (pair) to[lane(p, 1)] = from[1];
      }
    }
  }

  void lanes_1d(const int16_t* g, ptrdiff_t g_step, int16_t* u, ptrdiff_t u_step) const {
    const int16_t *g0 = g, *g1 = g + g_step, *g2 = g + 2 * g_step;
    int16_t *u0 = u, *u1 = u + u_step, *u2 = u1 + u_step, *u3 = u2 + u_step;
    int16_t *u4 = u3 + u_step, *u5 = u4 + u_step;
    const int lanes = lanes_;
#pragma GCC ivdep
    for (int i = 0; i < lanes; ++i) {
      const int outer = g0[i] + g2[i], steep = g0[i] + 4 * g2[i];
      u0[i] = static_cast<int16_t>(6 * g0[i]);
      u1[i] = static_cast<int16_t>(-4 * (outer + g1[i]));
      u2[i] = static_cast<int16_t>(-4 * (outer - g1[i]));
      u3[i] = static_cast<int16_t>(steep + 2 * g1[i]);
      u4[i] = static_cast<int16_t>(steep - 2 * g1[i]);
      u5[i] = static_cast<int16_t>(6 * g2[i]);
    }
  }

  const WinogradS8Kernel& kernel_;
  const WinogradS8Weights& w_;
  int lanes_;
  std::vector<int16_t> taps_, rows_;  // [9][lanes], [6][3][lanes]
};

// 576 * (bias - z_a * sum(w)), modulo 2^32 like everything that it is added to.
int32_t scaled_bias(const WinogradS8Weights& w, int64_t c) {
  const int64_t k = int64_t{kTaps} * w.channels;
  uint32_t sum = 0;
  for (int64_t i = 0; i < k; ++i) sum += static_cast<uint32_t>(w.weights[c * k + i]);
  const uint32_t bias = static_cast<uint32_t>(w.bias[c]) -
                        static_cast<uint32_t>(w.a_zero_point - kStoredOffset) * sum;
  return static_cast<int32_t>(kScale * bias);
}

struct Layout {
  Layout(const WinogradS8Kernel& kernel, const WinogradS8Weights& w)
      : blocks(winograd_s8_blocks(kernel, w.n)), steps((w.channels + 3) / 4 * 2) {
    block_elements = checked_mul(int64_t{steps} * kernel.nr * 2, kWinogradPoints);
    const int64_t columns = int64_t{blocks} * kernel.nr;
    const int64_t weight_bytes = checked_mul(checked_mul(block_elements, blocks), 2);
    bias = static_cast<size_t>(checked_round_up(weight_bytes, 64));
    const int64_t bias_end = checked_add(static_cast<int64_t>(bias), columns * 4);
    scale = static_cast<size_t>(checked_round_up(bias_end, 64));
    bytes = static_cast<size_t>(checked_add(static_cast<int64_t>(scale), columns * 4));
  }

  int32_t blocks, steps;
  int64_t block_elements;
  size_t bias, scale, bytes;  // weights come first
};

}  // namespace

bool winograd_s8_exact(const WinogradS8Weights& weights) {
  for (int32_t c = 0; c < weights.n; ++c) {
    if (!sums_fit(weights, c)) return false;
  }
  return u_fits_s16(weights);
}

AlignedBuffer pack_winograd_s8_bytes(const WinogradS8Kernel& kernel, const WinogradS8Weights& w) {
  const Layout layout(kernel, w);
  AlignedBuffer storage(layout.bytes);
  int32_t* bias = storage.as<int32_t>(layout.bias);
  float* scale = storage.as<float>(layout.scale);
  Packer packer(kernel, w);
  for (int32_t j = 0; j < layout.blocks; ++j) {
    packer.block(j, layout.steps, storage.as<int16_t>() + j * layout.block_elements);
    for (int p = 0; p < kernel.nr; ++p) {
      const int64_t at = int64_t{j} * kernel.nr;
      const int64_t c = at + kernel.column(p);
      if (c >= w.n) continue;
      bias[at + p] = scaled_bias(w, c);
      // Exact; where it is not, below 2^-120, every product rounds to 0 anyway.
      scale[at + p] = w.multiplier[c] / 64.0f;
    }
  }
  return storage;
}

bool view_winograd_s8(const WinogradS8Kernel& kernel, const WinogradS8Weights& weights,
                      ByteSpan bytes, WinogradS8Packed* packed) {
  const Layout layout(kernel, weights);
  if (bytes.size != layout.bytes) return false;
  packed->weights = reinterpret_cast<const int16_t*>(bytes.data);
  packed->bias = reinterpret_cast<const int32_t*>(bytes.data + layout.bias);
  packed->scale = reinterpret_cast<const float*>(bytes.data + layout.scale);
  packed->steps = layout.steps;
  return true;
}

PackedWinogradS8 pack_winograd_s8(const WinogradS8Kernel& kernel,
                                  const WinogradS8Weights& weights) {
  PackedWinogradS8 result{FixedBytes(pack_winograd_s8_bytes(kernel, weights)), {}};
  view_winograd_s8(kernel, weights, result.bytes.span(), &result.packed);
  return result;
}

}  // namespace octavo
