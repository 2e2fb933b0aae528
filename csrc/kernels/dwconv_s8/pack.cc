// SPDX-License-Identifier: Apache-2.0
#include "kernels/dwconv_s8/pack.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/checked.h"
#include "base/error.h"
#include "kernels/stored.h"

namespace octavo {
namespace {

constexpr int kNoTap = -1;
const int kPairs3x3[] = {0, 3, 1, 4, 2, 5, 6, 7, kNoTap, 8};
const int kPairs5x5[] = {0,  5,  1,  6,  2,  7,  3,  8,  4,  9,  10, 15,     11,
                         16, 12, 17, 13, 18, 14, 19, 20, 21, 22, 23, kNoTap, 24};
const int kQuads5x5[] = {0,  5,  10, 15, 1,  6,  11, 16, 2,  7,  12,     17,     3,      8,
                         13, 18, 4,  9,  14, 19, 20, 21, 22, 23, kNoTap, kNoTap, kNoTap, 24};
const int kQuads3x3[] = {0, 3, 6, kNoTap, 1, 4, 7, kNoTap, 2, 5, 8, kNoTap};

int64_t round_up64(int64_t bytes) {
  return checked_round_up(bytes, 64, "packed depthwise weights");
}

// Weights as Scalar, kGroup taps to a lane, kVectors vectors of kLanes lanes to a block.
template <class Scalar, int kGroup, int kVectors, int kLanes>
struct GroupPacking {
  std::vector<int> taps;  // kGroup entries per group

  template <size_t N>
  explicit GroupPacking(const int (&fixed)[N]) : taps(fixed, fixed + N) {}

  explicit GroupPacking(const DwconvS8Weights& w) {
    for (int t = 0; t < w.kh * w.kw; ++t) taps.push_back(t);
    while (taps.size() % kGroup != 0) taps.push_back(kNoTap);
  }

  // Half as many lanes where they hold the rest: only quads have blocks above 32 channels.
  static int lanes_for(int channels) {
    return kLanes == 16 && channels <= kVectors * 8 ? 8 : kLanes;
  }

  static int64_t padded_channels(int32_t channels) {
    constexpr int kBlock = kVectors * kLanes;
    const int64_t full = channels / kBlock * kBlock;
    const int rest = channels % kBlock;
    return rest == 0 ? full : full + kVectors * lanes_for(rest);
  }

  DwconvS8Layout layout(const DwconvS8Weights& w) const {
    const int64_t channels = padded_channels(w.channels);
    const int64_t words = round_up64(channels * 4);
    const int64_t weights =
        checked_mul(channels, static_cast<int64_t>(taps.size() * sizeof(Scalar)));
    return {round_up64(weights), words, words};
  }

  void pack(const DwconvS8Weights& w, Scalar* weights, int32_t* bias, float* scale) const {
    for (int c = 0; c < w.channels;) {
      const int lanes = lanes_for(w.channels - c);
      const int count = kVectors * lanes;
      for (int p = 0; p < count; ++p) {
        const int vector = p / lanes, lane = p % lanes;
        const int channel = c + lane / 4 * (4 * kVectors) + 4 * vector + lane % 4;
        if (channel >= w.channels) continue;
        const uint32_t folded = folded_dwconv_s8_bias(w, channel);
        std::memcpy(bias + p, &folded, sizeof folded);
        scale[p] = w.multiplier[channel];
        for (size_t k = 0; k < taps.size(); ++k) {
          if (taps[k] == kNoTap) continue;
          const int16_t value = w.weights[int64_t{taps[k]} * w.channels + channel];
          const size_t group = k / kGroup;
          weights[(group * static_cast<size_t>(count) + static_cast<size_t>(p)) * kGroup +
                  k % kGroup] = static_cast<Scalar>(value);
        }
      }
      weights += taps.size() * static_cast<size_t>(count);
      bias += count;
      scale += count;
      c += count;
    }
  }
};

using Pairs = GroupPacking<int16_t, 2, 2, 8>;
using Quads = GroupPacking<int8_t, 4, 4, 16>;
using Quads8 = GroupPacking<int8_t, 4, 2, 4>;
using Taps8 = GroupPacking<int8_t, 1, 2, 4>;
using WideTaps8 = GroupPacking<int16_t, 1, 2, 4>;

}  // namespace

uint32_t folded_dwconv_s8_bias(const DwconvS8Weights& w, int64_t c) {
  uint32_t bias = static_cast<uint32_t>(w.bias[c]);
  for (int64_t t = 0; t < int64_t{w.kh} * w.kw; ++t) {
    bias -=
        static_cast<uint32_t>((w.in_zero_point - kStoredOffset) * w.weights[t * w.channels + c]);
  }
  return bias;
}

#define OCTAVO_GROUPED(packing, Type, Scalar, taps)                                           \
  DwconvS8Layout layout_##packing(const DwconvS8Weights& w) { return Type(taps).layout(w); }  \
  void pack_##packing(const DwconvS8Weights& w, void* weights, int32_t* bias, float* scale) { \
    Type(taps).pack(w, static_cast<Scalar*>(weights), bias, scale);                           \
  }
OCTAVO_GROUPED(quads_3x3, Quads, int8_t, kQuads3x3)
OCTAVO_GROUPED(quads_5x5, Quads, int8_t, kQuads5x5)
OCTAVO_GROUPED(quads_any, Quads, int8_t, w)
OCTAVO_GROUPED(quads_3x3_x8, Quads8, int8_t, kQuads3x3)
OCTAVO_GROUPED(quads_5x5_x8, Quads8, int8_t, kQuads5x5)
OCTAVO_GROUPED(quads_any_x8, Quads8, int8_t, w)
OCTAVO_GROUPED(taps_x8, Taps8, int8_t, w)
OCTAVO_GROUPED(wide_taps_x8, WideTaps8, int16_t, w)
OCTAVO_GROUPED(pairs_3x3, Pairs, int16_t, kPairs3x3)
OCTAVO_GROUPED(pairs_5x5, Pairs, int16_t, kPairs5x5)
OCTAVO_GROUPED(pairs_any, Pairs, int16_t, w)
#undef OCTAVO_GROUPED

DwconvS8Layout layout_taps(const DwconvS8Weights& w) {
  const int64_t words = round_up64(int64_t{w.channels} * 4);
  return {round_up64(checked_mul(int64_t{w.kh} * w.kw, int64_t{w.channels} * 2)), words, words};
}

void pack_taps(const DwconvS8Weights& w, void* weights, int32_t* bias, float* scale) {
  std::memcpy(weights, w.weights, static_cast<size_t>(w.kh) * w.kw * w.channels * sizeof(int16_t));
  for (int c = 0; c < w.channels; ++c) {
    const uint32_t folded = folded_dwconv_s8_bias(w, c);
    std::memcpy(bias + c, &folded, sizeof folded);
    scale[c] = w.multiplier[c];
  }
}

WeightRange dwconv_s8_weight_range(const int16_t* weights, int64_t count) {
  WeightRange range{0, 0};
  for (int64_t i = 0; i < count; ++i) {
    range.min = std::min(range.min, weights[i]);
    range.max = std::max(range.max, weights[i]);
  }
  return range;
}

PackedDwconvS8 pack_dwconv_s8(const DwconvS8Kernel& kernel, const DwconvS8Weights& w) {
  if ((kernel.kh != 0 && kernel.kh != w.kh) || (kernel.kw != 0 && kernel.kw != w.kw)) {
    fail(ErrorCode::kInvalidArgument, "%s: does not take a %dx%d kernel", kernel.name, w.kh, w.kw);
  }
  const int64_t count = int64_t{w.kh} * w.kw * w.channels;
  if (!kernel.weights.holds(dwconv_s8_weight_range(w.weights, count))) {
    fail(ErrorCode::kInvalidArgument, "%s: weights minus zero point leave %d..%d", kernel.name,
         kernel.weights.min, kernel.weights.max);
  }
  const DwconvS8Layout layout = kernel.layout(w);
  const size_t bias_at = static_cast<size_t>(layout.weights);
  const size_t scale_at = bias_at + static_cast<size_t>(layout.bias);
  PackedDwconvS8 result;
  result.storage = AlignedBuffer(scale_at + static_cast<size_t>(layout.scale));
  int32_t* bias = result.storage.as<int32_t>(bias_at);
  float* scale = result.storage.as<float>(scale_at);
  kernel.pack(w, result.storage.data(), bias, scale);
  result.packed = {result.storage.data(), bias, scale};
  return result;
}

}  // namespace octavo
