// SPDX-License-Identifier: Apache-2.0
// The norm of pool_s8: the other rows equal this file bit by bit.
#include "kernels/pool_s8/pool_s8.h"
#include "kernels/round_scalar.h"
#include "kernels/stored.h"

namespace octavo {
namespace {

constexpr int kBlock = 64;  // channels taken together, so that every pixel is a run of bytes

// body(first channel, channels) for every block.
template <class Body>
void for_each_block(const PoolS8Args& args, const Body& body) {
  for (int c = 0; c < args.channels; c += kBlock) {
    body(c, args.channels - c < kBlock ? args.channels - c : kBlock);
  }
}

// body(first channel of the block) for every pixel of the window.
template <class Body>
void for_each_pixel(const PoolS8Args& args, int c, const Body& body) {
  for (int i = 0; i < args.rows; ++i) {
    const uint8_t* row = args.in + i * args.row_stride + c;
    for (int j = 0; j < args.cols; ++j) body(row + j * args.pixel_stride);
  }
}

}  // namespace

void maxpool_s8_scalar(const PoolS8Args& args) {
  const Requant& rq = args.requant;
  for_each_block(args, [&](int c, int n) {
    int32_t best[kBlock];
    for (int k = 0; k < n; ++k) best[k] = rq.qmin;
    for_each_pixel(args, c, [&](const uint8_t* in) {
      for (int k = 0; k < n; ++k) {
        const int32_t value = value_of(in[k]);
        best[k] = value > best[k] ? value : best[k];
      }
    });
    for (int k = 0; k < n; ++k) args.out[c + k] = stored_of(best[k] < rq.qmax ? best[k] : rq.qmax);
  });
}

void avgpool_s8_scalar(const PoolS8Args& args) {
  const Requant& rq = args.requant;
  for_each_block(args, [&](int c, int n) {
    int32_t sum[kBlock];
    for (int k = 0; k < n; ++k) sum[k] = -args.zero_sum;
    for_each_pixel(args, c, [&](const uint8_t* in) {
      for (int k = 0; k < n; ++k) sum[k] += value_of(in[k]);
    });
    for (int k = 0; k < n; ++k) {
      const float v = static_cast<float>(sum[k]) * args.multiplier;
      args.out[c + k] = stored_of(round_clamped(v, rq.lo, rq.hi) + rq.zero_point);
    }
  });
}

}  // namespace octavo
