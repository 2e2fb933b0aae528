// SPDX-License-Identifier: Apache-2.0
#include "kernels/dwconv_s8/avx512_block.h"

// Walks the columns of the three rows once. A column is interleaved once, 8 shuffles, for all the
// outputs that use it; with 12 vpdpbusd, weights from memory, and 22 instructions of epilogue that
// makes 42 per 64 outputs: 21 cycles on Zen 4, which executes two zmm instructions per cycle.
namespace octavo {
namespace {

template <class V>
class Columns {
 public:
  Columns(const DwconvS8Args& args, int c)
      : row0_(args.in_rows[0] + c),
        row1_(args.in_rows[1] + c),
        row2_(args.in_rows[2] + c),
        stride_(args.in_pixel_stride) {}

  void next() {
    interleave<V>(V::load(row0_), V::load(row1_), V::load(row2_), V::zero(), taps);
    row0_ += stride_;
    row1_ += stride_;
    row2_ += stride_;
  }

  typename V::Vector taps[4];

 private:
  const uint8_t *row0_, *row1_, *row2_;
  ptrdiff_t stride_;
};

// Every column is the right one of output x, the middle one of x + 1, the left one of x + 2.
template <class V, class Epilogue>
inline void stride1(const DwconvS8Args& args, const Block& b, const Epilogue& epilogue) {
  const int8_t *left = b.weights, *middle = left + 4 * V::kCount, *right = middle + 4 * V::kCount;
  Columns<V> columns(args, b.c);
  typename V::Vector acc[4], acc_next[4];
  load_bias<V>(acc, b);
  load_bias<V>(acc_next, b);
  columns.next();
  multiply_add<V>(acc, columns.taps, left);
  columns.next();
  multiply_add<V>(acc, columns.taps, middle);
  multiply_add<V>(acc_next, columns.taps, left);
  uint8_t* out = args.out + b.c;
  for (int x = 0; x < args.out_w; ++x, out += args.out_pixel_stride) {
    columns.next();
    multiply_add<V>(acc, columns.taps, right);
    V::store(epilogue, acc, b.scale, out, b.n);
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q) acc[q] = acc_next[q];
    multiply_add<V>(acc, columns.taps, middle);
    load_bias<V>(acc_next, b);
    multiply_add<V>(acc_next, columns.taps, left);
  }
}

// The right column of an output is the left one of the next.
template <class V, class Epilogue>
inline void stride2(const DwconvS8Args& args, const Block& b, const Epilogue& epilogue) {
  const int8_t *left = b.weights, *middle = left + 4 * V::kCount, *right = middle + 4 * V::kCount;
  Columns<V> columns(args, b.c);
  typename V::Vector acc[4];
  load_bias<V>(acc, b);
  columns.next();
  multiply_add<V>(acc, columns.taps, left);
  uint8_t* out = args.out + b.c;
  for (int x = 0; x < args.out_w; ++x, out += args.out_pixel_stride) {
    columns.next();
    multiply_add<V>(acc, columns.taps, middle);
    columns.next();
    multiply_add<V>(acc, columns.taps, right);
    V::store(epilogue, acc, b.scale, out, b.n);
    load_bias<V>(acc, b);
    multiply_add<V>(acc, columns.taps, left);
  }
}

template <int kStride, class Epilogue>
void run(const DwconvS8Args& args) {
  const Epilogue epilogue(args.requant);
  for_each_block(args, 3, [&](auto width, const Block& b) {
    if constexpr (kStride == 1) {
      stride1<decltype(width)>(args, b, epilogue);
    } else {
      stride2<decltype(width)>(args, b, epilogue);
    }
  });
}

template <int kStride>
void dispatch(const DwconvS8Args& args) {
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run<kStride, FloatRneBothWidths>(args);
  }
}

}  // namespace

void dwconv_s8_3x3s1_x64_avx512vnni(const DwconvS8Args& args) { dispatch<1>(args); }
void dwconv_s8_3x3s2_x64_avx512vnni(const DwconvS8Args& args) { dispatch<2>(args); }

}  // namespace octavo
