// SPDX-License-Identifier: Apache-2.0
#include "kernels/dwconv_s8/neon_block.h"
#include "kernels/dwconv_s8/tap_walk.h"

// Any kernel size, stride and dilation, and any 9-bit weight: bytes are widened to int16 and
// multiplied to int32, which nothing can overflow. Four output pixels share the walk over the taps
// and the weights.
namespace octavo {
namespace {

constexpr int kPixels = 4;

inline Sums multiply_add(const Sums& sums, int16x8_t taps, int16x8_t weights) {
  return {vmlal_s16(sums.lo, vget_low_s16(taps), vget_low_s16(weights)),
          vmlal_high_s16(sums.hi, taps, weights)};
}

template <int PX, class Out>
inline void tile(const DwconvS8Args& args, const Block& b, int x, Out& out) {
  const ptrdiff_t pixel = args.in_pixel_stride * args.stride_x;
  Sums acc[PX];
#pragma GCC unroll 4
  for (int i = 0; i < PX; ++i) acc[i] = load_bias(b);

  const int16_t* w = reinterpret_cast<const int16_t*>(b.weights);
  for (TapWalk walk(args, x * pixel + b.c); walk.left() > 0; w += kBlock) {
    const uint8_t* tap = walk.next();
    const int16x8_t weights = vld1q_s16(w);
#pragma GCC unroll 4
    for (int i = 0; i < PX; ++i, tap += pixel) {
      acc[i] = multiply_add(acc[i], vmovl_s8(load_s8(tap)), weights);
    }
  }
  if constexpr (PX == 1) {
    out.put(acc[0]);
  } else {
    out.put(acc[0], acc[1]);
    out.put(acc[2], acc[3]);
  }
}

}  // namespace

void dwconv_s8_any_x8_neon(const DwconvS8Args& args) {
  const ptrdiff_t bytes = static_cast<ptrdiff_t>(args.kh) * args.kw * (2 * kBlock);
  run_blocks(args, bytes, [&](auto out, const Block& b) {
    int x = 0;
    for (; x + kPixels <= args.out_w; x += kPixels) tile<kPixels>(args, b, x, out);
    for (; x < args.out_w; ++x) tile<1>(args, b, x, out);
  });
}

}  // namespace octavo
