// SPDX-License-Identifier: Apache-2.0
#include "kernels/dwconv_s8/avx2_block.h"
#include "kernels/dwconv_s8/settle.h"

// Walks the columns of the five rows once. Rows 0 and 1, and 2 and 3, are interleaved with each
// other, row 4 with its left neighbour: 25 taps are 13 pairs, and 11 shuffles per column serve all
// the outputs that use it. Sums of the same output move on by one name per column.
namespace octavo {
namespace {

struct Block {
  const int16_t* weights;
  const int32_t* bias;
  const float* scale;
  int c, n;  // first channel; channels, 1..kBlock
};

struct Columns {
  const uint8_t* row[5];
  ptrdiff_t stride;

  Columns(const DwconvS8Args& args, int c) : stride(args.in_pixel_stride) {
    for (int i = 0; i < 5; ++i) row[i] = args.in_rows[i] + c;
  }

  Vec2 rows(int a, int b) const { return interleave(widen_u8x16(row[a]), widen_u8x16(row[b])); }

  // Row 4 and its left neighbour.
  Vec2 row4() const { return interleave(widen_u8x16(row[4] - stride), widen_u8x16(row[4])); }

  // The same in the first column, which has no neighbour, and whose weight for it is 0.
  Vec2 first_row4() const { return interleave(widen_u8x16(row[4]), widen_u8x16(row[4])); }

  void next() {
    for (int i = 0; i < 5; ++i) row[i] += stride;
  }
};

// acc plus the pairs of one group for vector kVector of the block.
template <int kVector>
inline __m256i pair(const Block& b, __m256i acc, __m256i taps, int group) {
  const int16_t* w = b.weights + group * kPairWeights + 16 * kVector;
  const __m256i w_s16x16 = _mm256_load_si256(reinterpret_cast<const __m256i*>(w));
  acc = _mm256_add_epi32(acc, _mm256_madd_epi16(taps, w_s16x16));
  settle(acc);
  return acc;
}

// Sums of 8 channels. sK holds columns 0..K of an output, `done` all five. By name: GCC 12 would
// keep an array on the stack. Groups in the order of pack.cc: rows 0 and 1 of the five columns,
// rows 2 and 3 of them, then row 4 of columns 0 1, 2 3, - 4.
template <int kVector>
struct Sums {
  __m256i s0, s1, s2, s3, done;

  __m256i bias(const Block& b) const { return load_s32(b.bias + 8 * kVector); }

  // Stride 1: every column is one of five outputs. kSeen columns came before it.
  template <int kSeen>
  void rows01(const Block& b, __m256i taps) {
    if constexpr (kSeen >= 4) done = pair<kVector>(b, s3, taps, 4);
    if constexpr (kSeen >= 3) s3 = pair<kVector>(b, s2, taps, 3);
    if constexpr (kSeen >= 2) s2 = pair<kVector>(b, s1, taps, 2);
    if constexpr (kSeen >= 1) s1 = pair<kVector>(b, s0, taps, 1);
    s0 = pair<kVector>(b, bias(b), taps, 0);
  }

  template <int kSeen>
  void rows23(const Block& b, __m256i taps) {
    if constexpr (kSeen >= 4) done = pair<kVector>(b, done, taps, 9);
    if constexpr (kSeen >= 3) s3 = pair<kVector>(b, s3, taps, 8);
    if constexpr (kSeen >= 2) s2 = pair<kVector>(b, s2, taps, 7);
    if constexpr (kSeen >= 1) s1 = pair<kVector>(b, s1, taps, 6);
    s0 = pair<kVector>(b, s0, taps, 5);
  }

  template <int kSeen>
  void row4(const Block& b, __m256i taps) {
    if constexpr (kSeen >= 4) done = pair<kVector>(b, done, taps, 12);
    if constexpr (kSeen >= 3) s3 = pair<kVector>(b, s3, taps, 11);
    if constexpr (kSeen >= 1) s1 = pair<kVector>(b, s1, taps, 10);
  }

  // Stride 2: even columns are columns 4, 2, 0 of three outputs, odd ones columns 3, 1 of two.
  void even01(const Block& b, __m256i taps) {
    done = pair<kVector>(b, s3, taps, 4);
    s2 = pair<kVector>(b, s1, taps, 2);
    s0 = pair<kVector>(b, bias(b), taps, 0);
  }
  void even23(const Block& b, __m256i taps) {
    done = pair<kVector>(b, done, taps, 9);
    s2 = pair<kVector>(b, s2, taps, 7);
    s0 = pair<kVector>(b, s0, taps, 5);
  }
  void odd01(const Block& b, __m256i taps) {
    s3 = pair<kVector>(b, s2, taps, 3);
    s1 = pair<kVector>(b, s0, taps, 1);
  }
  void odd23(const Block& b, __m256i taps) {
    s3 = pair<kVector>(b, s3, taps, 8);
    s1 = pair<kVector>(b, s1, taps, 6);
  }
};

// One column of stride 1.
template <int kSeen>
inline void slide1(const Block& b, Columns& columns, Sums<0>& lo, Sums<1>& hi) {
  const Vec2 rows01 = columns.rows(0, 1);
  lo.rows01<kSeen>(b, rows01.lo);
  hi.rows01<kSeen>(b, rows01.hi);
  const Vec2 rows23 = columns.rows(2, 3);
  lo.rows23<kSeen>(b, rows23.lo);
  hi.rows23<kSeen>(b, rows23.hi);
  const Vec2 row4 = kSeen == 0 ? columns.first_row4() : columns.row4();
  lo.row4<kSeen>(b, row4.lo);
  hi.row4<kSeen>(b, row4.hi);
  columns.next();
}

template <class Epilogue>
[[gnu::noinline]] void stride1(const DwconvS8Args& args, const Block& b, const Epilogue& epilogue) {
  Columns columns(args, b.c);
  Sums<0> lo;
  Sums<1> hi;
  slide1<0>(b, columns, lo, hi);
  slide1<1>(b, columns, lo, hi);
  slide1<2>(b, columns, lo, hi);
  slide1<3>(b, columns, lo, hi);
  uint8_t* out = args.out + b.c;
  forget_loads();
  for (int x = args.out_w; x > 0; --x, out += args.out_pixel_stride) {
    slide1<4>(b, columns, lo, hi);
    finish(epilogue, {lo.done, hi.done}, b.scale, out, b.n);
  }
}

inline void even_column(const Block& b, Columns& columns, bool first, Sums<0>& lo, Sums<1>& hi) {
  const Vec2 rows01 = columns.rows(0, 1), rows23 = columns.rows(2, 3);
  lo.even01(b, rows01.lo), hi.even01(b, rows01.hi);
  lo.even23(b, rows23.lo), hi.even23(b, rows23.hi);
  const Vec2 row4 = first ? columns.first_row4() : columns.row4();
  lo.done = pair<0>(b, lo.done, row4.lo, 12), hi.done = pair<1>(b, hi.done, row4.hi, 12);
  columns.next();
}

inline void odd_column(const Block& b, Columns& columns, Sums<0>& lo, Sums<1>& hi) {
  const Vec2 rows01 = columns.rows(0, 1), rows23 = columns.rows(2, 3), row4 = columns.row4();
  lo.odd01(b, rows01.lo), hi.odd01(b, rows01.hi);
  lo.odd23(b, rows23.lo), hi.odd23(b, rows23.hi);
  lo.s3 = pair<0>(b, lo.s3, row4.lo, 11), hi.s3 = pair<1>(b, hi.s3, row4.hi, 11);
  lo.s1 = pair<0>(b, lo.s1, row4.lo, 10), hi.s1 = pair<1>(b, hi.s1, row4.hi, 10);
  columns.next();
}

template <class Epilogue>
[[gnu::noinline]] void stride2(const DwconvS8Args& args, const Block& b, const Epilogue& epilogue) {
  Columns columns(args, b.c);
  const __m256i zero = _mm256_setzero_si256();
  Sums<0> lo{zero, zero, zero, zero, zero};
  Sums<1> hi{zero, zero, zero, zero, zero};
  even_column(b, columns, true, lo, hi);
  odd_column(b, columns, lo, hi);
  even_column(b, columns, false, lo, hi);
  uint8_t* out = args.out + b.c;
  forget_loads();
  for (int x = args.out_w; x > 0; --x, out += args.out_pixel_stride) {
    odd_column(b, columns, lo, hi);
    even_column(b, columns, false, lo, hi);
    finish(epilogue, {lo.done, hi.done}, b.scale, out, b.n);
  }
}

template <int kStride, class Epilogue>
void run(const DwconvS8Args& args) {
  const Epilogue epilogue(args.requant);
  Block b{static_cast<const int16_t*>(args.packed.weights), args.packed.bias, args.packed.scale, 0,
          kBlock};
  for (; b.c < args.channels; b.c += kBlock) {
    if (args.channels - b.c < kBlock) b.n = args.channels - b.c;
    if constexpr (kStride == 1) {
      stride1(args, b, epilogue);
    } else {
      stride2(args, b, epilogue);
    }
    b.weights += 13 * kPairWeights;
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

void dwconv_s8_5x5s1_x16_avx2(const DwconvS8Args& args) { dispatch<1>(args); }
void dwconv_s8_5x5s2_x16_avx2(const DwconvS8Args& args) { dispatch<2>(args); }

}  // namespace octavo
