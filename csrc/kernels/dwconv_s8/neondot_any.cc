// SPDX-License-Identifier: Apache-2.0
#include "kernels/dwconv_s8/neondot_block.h"
#include "kernels/dwconv_s8/tap_walk.h"

// Any kernel size, stride and dilation: four output pixels share the walk over the taps and the
// weights.
namespace octavo {
namespace {

constexpr int kPixels = 4;

// Four taps of a pixel.
inline Quads load_taps(const uint8_t* (&tap)[4]) {
  const int8x8_t r0 = load_s8(tap[0]), r1 = load_s8(tap[1]);
  const int8x8_t r2 = load_s8(tap[2]), r3 = load_s8(tap[3]);
  return interleave(interleave(r0, r1), interleave(r2, r3));
}

template <int PX, class Out>
inline void tile(const DwconvS8Args& args, const Block& b, int x, Out& out) {
  const ptrdiff_t pixel = args.in_pixel_stride * args.stride_x;
  Sums acc[PX];
#pragma GCC unroll 4
  for (int i = 0; i < PX; ++i) acc[i] = load_bias(b);

  const int8_t* w = b.weights;
  for (TapWalk walk(args, x * pixel + b.c); walk.left() > 0; w += 32) {
    const uint8_t* tap[4] = {walk.next()};
    for (int t = 1; t < 4; ++t) tap[t] = walk.next_or(tap[0]);
    const Quads weights = load_quads(w);
#pragma GCC unroll 4
    for (int i = 0; i < PX; ++i) {
      acc[i] = dot(acc[i], load_taps(tap), weights);
#pragma GCC unroll 4
      for (const uint8_t*& p : tap) p += pixel;
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

void dwconv_s8_any_x8_neondot(const DwconvS8Args& args) {
  const int groups = (args.kh * args.kw + 3) / 4;
  run_blocks(args, groups * 32, [&](auto out, const Block& b) {
    int x = 0;
    for (; x + kPixels <= args.out_w; x += kPixels) tile<kPixels>(args, b, x, out);
    for (; x < args.out_w; ++x) tile<1>(args, b, x, out);
  });
}

}  // namespace octavo
