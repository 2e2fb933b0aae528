// SPDX-License-Identifier: Apache-2.0
#include "kernels/dwconv_s8/avx512_block.h"
#include "kernels/dwconv_s8/tap_walk.h"

// Any kernel size, stride and dilation: two output pixels share the walk over the taps and the
// weights. 12 instructions per four taps and 64 outputs.
namespace octavo {
namespace {

constexpr int kPixels = 2;

template <class V, int PX, class Epilogue>
inline void tile(const DwconvS8Args& args, const Block& b, int x, const Epilogue& epilogue) {
  const ptrdiff_t pixel = args.in_pixel_stride * args.stride_x;
  typename V::Vector acc[PX][4];
#pragma GCC unroll 2
  for (int i = 0; i < PX; ++i) load_bias<V>(acc[i], b);

  const int8_t* w = b.weights;
  for (TapWalk walk(args, x * pixel + b.c); walk.left() > 0; w += 4 * V::kCount) {
    const uint8_t* tap0 = walk.next();
    const uint8_t* tap1 = walk.next_or(tap0);
    const uint8_t* tap2 = walk.next_or(tap0);
    const uint8_t* tap3 = walk.next_or(tap0);
#pragma GCC unroll 2
    for (int i = 0; i < PX; ++i) {
      const ptrdiff_t at = i * pixel;
      typename V::Vector taps[4];
      interleave<V>(V::load(tap0 + at), V::load(tap1 + at), V::load(tap2 + at), V::load(tap3 + at),
                    taps);
      multiply_add<V>(acc[i], taps, w);
    }
  }

  uint8_t* out = args.out + x * args.out_pixel_stride + b.c;
#pragma GCC unroll 2
  for (int i = 0; i < PX; ++i, out += args.out_pixel_stride) {
    V::store(epilogue, acc[i], b.scale, out, b.n);
  }
}

template <class Epilogue>
void run(const DwconvS8Args& args) {
  const Epilogue epilogue(args.requant);
  const int groups = (args.kh * args.kw + 3) / 4;
  for_each_block(args, groups, [&](auto width, const Block& b) {
    using V = decltype(width);
    int x = 0;
    for (; x + kPixels <= args.out_w; x += kPixels) tile<V, kPixels>(args, b, x, epilogue);
    if (x < args.out_w) tile<V, 1>(args, b, x, epilogue);
  });
}

}  // namespace

void dwconv_s8_any_x64_avx512vnni(const DwconvS8Args& args) {
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run<FloatRneBothWidths>(args);
  }
}

}  // namespace octavo
