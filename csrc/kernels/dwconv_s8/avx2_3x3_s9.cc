// SPDX-License-Identifier: Apache-2.0
#include "kernels/dwconv_s8/avx2_block.h"

// For weights beyond int8, which the 32-channel rows cannot hold.
// Walks the columns of the three rows once. A column is interleaved once, 7 shuffles, for all the
// outputs that use it: rows 0 and 1 with each other, row 2 with its left neighbour, which makes
// 9 taps 5 pairs instead of 6: 10 vpmaddwd and 10 vpaddd per 16 outputs.
namespace octavo {
namespace {

struct Block {
  const int16_t* weights;
  const int32_t* bias;
  const float* scale;
  int n;  // channels, 1..16

  // Pairs as pack.h orders them.
  const int16_t* rows01(int column) const { return weights + column * kPairWeights; }
  const int16_t* row2_left() const { return weights + 3 * kPairWeights; }   // taps 20 21
  const int16_t* row2_right() const { return weights + 4 * kPairWeights; }  // taps -  22
};

class Columns {
 public:
  Columns(const DwconvS8Args& args, int c)
      : row0_(args.in_rows[0] + c),
        row1_(args.in_rows[1] + c),
        row2_(args.in_rows[2] + c),
        stride_(args.in_pixel_stride) {}

  void next() {
    const __m256i row2_s16x16 = widen_u8x16(row2_);
    rows01 = interleave(widen_u8x16(row0_), widen_u8x16(row1_));
    row2 = interleave(previous_, row2_s16x16);
    previous_ = row2_s16x16;
    row0_ += stride_;
    row1_ += stride_;
    row2_ += stride_;
  }

  Vec2 rows01, row2;

 private:
  const uint8_t *row0_, *row1_, *row2_;
  ptrdiff_t stride_;
  __m256i previous_ = _mm256_setzero_si256();
};

// Every column is the right one of output x, the middle one of x + 1, the left one of x + 2.
template <class Epilogue>
inline void stride1(const DwconvS8Args& args, const Block& b, int c, const Epilogue& epilogue) {
  Columns columns(args, c);
  Vec2 acc = load_bias(b.bias), acc_next = acc;
  columns.next();
  multiply_add(acc, columns.rows01, b.rows01(0));
  columns.next();
  multiply_add(acc, columns.rows01, b.rows01(1));
  multiply_add(acc, columns.row2, b.row2_left());
  multiply_add(acc_next, columns.rows01, b.rows01(0));
  uint8_t* out = args.out + c;
  for (int x = 0; x < args.out_w; ++x, out += args.out_pixel_stride) {
    columns.next();
    multiply_add(acc, columns.rows01, b.rows01(2));
    multiply_add(acc, columns.row2, b.row2_right());
    finish(epilogue, acc, b.scale, out, b.n);
    acc = acc_next;
    multiply_add(acc, columns.rows01, b.rows01(1));
    multiply_add(acc, columns.row2, b.row2_left());
    acc_next = load_bias(b.bias);
    multiply_add(acc_next, columns.rows01, b.rows01(0));
  }
}

// The right column of an output is the left one of the next.
template <class Epilogue>
inline void stride2(const DwconvS8Args& args, const Block& b, int c, const Epilogue& epilogue) {
  Columns columns(args, c);
  Vec2 acc = load_bias(b.bias);
  columns.next();
  multiply_add(acc, columns.rows01, b.rows01(0));
  uint8_t* out = args.out + c;
  for (int x = 0; x < args.out_w; ++x, out += args.out_pixel_stride) {
    columns.next();
    multiply_add(acc, columns.rows01, b.rows01(1));
    multiply_add(acc, columns.row2, b.row2_left());
    columns.next();
    multiply_add(acc, columns.rows01, b.rows01(2));
    multiply_add(acc, columns.row2, b.row2_right());
    finish(epilogue, acc, b.scale, out, b.n);
    acc = load_bias(b.bias);
    multiply_add(acc, columns.rows01, b.rows01(0));
  }
}

template <int kStride, class Epilogue>
void run(const DwconvS8Args& args) {
  const Epilogue epilogue(args.requant);
  Block b{static_cast<const int16_t*>(args.packed.weights), args.packed.bias, args.packed.scale,
          kBlock};
  for (int c = 0; c < args.channels; c += kBlock) {
    if (args.channels - c < kBlock) b.n = args.channels - c;
    if constexpr (kStride == 1) {
      stride1(args, b, c, epilogue);
    } else {
      stride2(args, b, c, epilogue);
    }
    b.weights += 5 * kPairWeights;
    b.bias += kBlock;
    b.scale += kBlock;
  }
}

template <int kStride>
void dispatch(const DwconvS8Args& args) {
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run<kStride, FloatRneAvx2>(args);
  }
}

}  // namespace

void dwconv_s8_3x3s1_x16_avx2(const DwconvS8Args& args) { dispatch<1>(args); }
void dwconv_s8_3x3s2_x16_avx2(const DwconvS8Args& args) { dispatch<2>(args); }

}  // namespace octavo
