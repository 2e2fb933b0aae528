// SPDX-License-Identifier: Apache-2.0
#include "kernels/dwconv_s8/avx2_block.h"
#include "kernels/dwconv_s8/tap_walk.h"

// Any kernel size, stride and dilation: four output pixels share the walk over the taps and the
// weights. 8 instructions per pair of taps and 16 outputs.
namespace octavo {
namespace {

constexpr int kPixels = 4;

struct Block {
  const int16_t* weights;
  const int32_t* bias;
  const float* scale;
  int c, n;  // first channel; channels, 1..16
};

template <int PX, class Epilogue>
inline void tile(const DwconvS8Args& args, const Block& b, int x, const Epilogue& epilogue) {
  const ptrdiff_t pixel = args.in_pixel_stride * args.stride_x;
  Vec2 acc[PX];
#pragma GCC unroll 4
  for (int i = 0; i < PX; ++i) acc[i] = load_bias(b.bias);

  const int16_t* w = b.weights;
  for (TapWalk walk(args, x * pixel + b.c); walk.left() > 0; w += kPairWeights) {
    const uint8_t* tap0 = walk.next();
    const uint8_t* tap1 = walk.next_or(tap0);
#pragma GCC unroll 4
    for (int i = 0; i < PX; ++i) {
      multiply_add(acc[i], interleave(widen_u8x16(tap0), widen_u8x16(tap1)), w);
      tap0 += pixel;
      tap1 += pixel;
    }
  }

  uint8_t* out = args.out + x * args.out_pixel_stride + b.c;
#pragma GCC unroll 4
  for (int i = 0; i < PX; ++i, out += args.out_pixel_stride) {
    finish(epilogue, acc[i], b.scale, out, b.n);
  }
}

template <class Epilogue>
void run(const DwconvS8Args& args) {
  const Epilogue epilogue(args.requant);
  const int groups = (args.kh * args.kw + 1) / 2;
  Block b{static_cast<const int16_t*>(args.packed.weights), args.packed.bias, args.packed.scale, 0,
          kBlock};
  for (; b.c < args.channels; b.c += kBlock) {
    if (args.channels - b.c < kBlock) b.n = args.channels - b.c;
    int x = 0;
    for (; x + kPixels <= args.out_w; x += kPixels) tile<kPixels>(args, b, x, epilogue);
    for (; x < args.out_w; ++x) tile<1>(args, b, x, epilogue);
    b.weights += static_cast<ptrdiff_t>(groups) * kPairWeights;
    b.bias += kBlock;
    b.scale += kBlock;
  }
}

}  // namespace

void dwconv_s8_any_x16_avx2(const DwconvS8Args& args) {
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run<FloatRneAvx2>(args);
  }
}

}  // namespace octavo
