// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/checked.h"
#include "kernels/dwconv_s8/pack.h"
#include "kernels/dwconv_s8/quads32.h"

namespace octavo {
namespace {

// The pair of weights whose products with any two bytes stay in int16: 255 * 128 <= 32767.
constexpr int kPairLimit = 128;

// How much of `extra` a pair that already holds `weight` can take.
int room_for(int weight, int extra) {
  const bool same_sign = (weight < 0) == (extra < 0);
  const int room = std::min(127, kPairLimit - (same_sign ? std::abs(weight) : 0));
  return std::clamp(extra, -room, room);
}

struct Column {
  int8_t taps[4], rest;
};

// Rows 0, 1, 2 of a column as bytes of rows 0, 1, 2, 1, and what is left of row 1.
Column split_column(int w0, int w1, int w2) {
  const int first = room_for(w0, w1);
  const int second = room_for(w2, w1 - first);
  return {{static_cast<int8_t>(w0), static_cast<int8_t>(first), static_cast<int8_t>(w2),
           static_cast<int8_t>(second)},
          static_cast<int8_t>(w1 - first - second)};
}

int64_t blocks(const DwconvS8Weights& w) {
  return (int64_t{w.channels} + kLanes3x3 - 1) / kLanes3x3;
}

// A bound on |accumulator * multiplier| that leaves the conversion to int32 a factor of two. Sums
// that wrap are bounded too: they stand for a larger one.
bool bounded(const DwconvS8Weights& w, int64_t channel, uint32_t bias) {
  double sum = std::abs(static_cast<double>(static_cast<int32_t>(bias)));
  for (int t = 0; t < 9; ++t) sum += 255.0 * std::abs(w.weights[t * w.channels + channel]);
  return sum * w.multiplier[channel] < 1 << 30;
}

void pack_lane(const DwconvS8Weights& w, int64_t channel, int lane, Quads3x3& block) {
  const int vector = lane / 8, dword = lane % 8;
  for (int j = 0; j < 3; ++j) {
    const int16_t* taps = w.weights + int64_t{j} * w.channels + channel;
    const int64_t row = int64_t{3} * w.channels;
    const Column column = split_column(taps[0], taps[row], taps[2 * row]);
    std::memcpy(&block.taps[j][vector][4 * dword], column.taps, 4);
    block.rest[j][vector][4 * dword + 1] = column.rest;
    if (column.rest != 0) block.rest_vectors |= 1u << (4 * j + vector);
  }
}

}  // namespace

DwconvS8Layout layout_quads_3x3_x32(const DwconvS8Weights& w) {
  const int64_t words = checked_mul(blocks(w), kLanes3x3 * 4);
  return {checked_mul(blocks(w), sizeof(Quads3x3)), words, words};
}

void pack_quads_3x3_x32(const DwconvS8Weights& w, void* weights, int32_t* bias, float* scale) {
  Quads3x3* block = static_cast<Quads3x3*>(weights);
  for (int c = 0; c < w.channels; c += kLanes3x3, ++block, bias += kLanes3x3, scale += kLanes3x3) {
    const int count = std::min(w.channels - c, kLanes3x3);
    const int per_part = kLanes3x3 / row_parts3x3(count);
    block->bounded = 1;
    for (int lane = 0; lane < kLanes3x3; ++lane) {
      // packs and packus bring the lanes of the four vectors into this order.
      const int position = lane % 8 / 4 * 16 + lane / 8 * 4 + lane % 4;
      const int k = position % per_part;
      if (k >= count) continue;
      pack_lane(w, c + k, lane, *block);
      const uint32_t folded = folded_dwconv_s8_bias(w, c + k);
      std::memcpy(bias + lane, &folded, sizeof folded);
      scale[lane] = w.multiplier[c + k];
      if (!bounded(w, c + k, folded)) block->bounded = 0;
    }
  }
}

}  // namespace octavo
