// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/dwconv_s8/dwconv_s8.h"
#include "kernels/dwconv_s8/quads32.h"
#include "kernels/dwconv_s8/settle.h"
#include "kernels/simd/partial_u8.h"
#include "kernels/simd/requant_avx2.h"

// 3x3 depthwise rows of 256-bit vectors. Walks the columns of the three rows once; a column is
// interleaved once, 8 shuffles for 32 lanes, for all the outputs that use it. `Dot` multiplies a
// vector of quads: a row's own instruction sequence.
namespace octavo {
namespace {

// Where the parts of a row start, relative to its first pixel. Parts are of equal width and overlap
// when the row is no multiple of them.
template <int kParts>
struct Parts {
  ptrdiff_t in[kParts], out[kParts];
  int out_w;

  explicit Parts(const DwconvS8Args& args) : out_w((args.out_w + kParts - 1) / kParts) {
    for (int i = 0; i < kParts; ++i) {
      const int first = i * out_w < args.out_w - out_w ? i * out_w : args.out_w - out_w;
      in[i] = first * args.stride_x * args.in_pixel_stride;
      out[i] = first * args.out_pixel_stride;
    }
  }

  __m256i load(const uint8_t* p) const {
    if constexpr (kParts == 1) {
      return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    } else if constexpr (kParts == 2) {
      return _mm256_inserti128_si256(_mm256_castsi128_si256(load_u8x16(p + in[0], 16)),
                                     load_u8x16(p + in[1], 16), 1);
    } else {
      return _mm256_inserti128_si256(_mm256_castsi128_si256(two_parts(p + in[0], p + in[1])),
                                     two_parts(p + in[2], p + in[3]), 1);
    }
  }

  void store(uint8_t* p, __m256i y_u8x32, int n) const {
    const __m128i lo = _mm256_castsi256_si128(y_u8x32);
    if constexpr (kParts == 1) {
      if (n == kLanes3x3) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), y_u8x32);
      } else {
        store_u8x16(p, lo, 16);
        store_u8x16(p + 16, _mm256_extracti128_si256(y_u8x32, 1), n - 16);
      }
    } else {
      const __m128i hi = _mm256_extracti128_si256(y_u8x32, 1);
      store_u8x16(p + out[0], lo, n);
      if constexpr (kParts == 2) {
        store_u8x16(p + out[1], hi, n);
      } else {
        store_u8x16(p + out[1], _mm_unpackhi_epi64(lo, lo), n);
        store_u8x16(p + out[2], hi, n);
        store_u8x16(p + out[3], _mm_unpackhi_epi64(hi, hi), n);
      }
    }
  }

 private:
  static __m128i two_parts(const uint8_t* a, const uint8_t* b) {
    return _mm_unpacklo_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(a)),
                              _mm_loadl_epi64(reinterpret_cast<const __m128i*>(b)));
  }
};

// What is known of a block of lanes before its row is walked.
struct Block3x3 {
  const Quads3x3* weights;
  const int32_t* bias;
  const float* scale;
  int c, n;  // first channel; channels, 1..kLanes3x3
};

// One of the four vectors of a block: sums of 8 lanes. In plain variables, not arrays or structs:
// GCC 12 would keep those on the stack.
template <class Dot, bool kRest, int kVector>
struct Lanes {
  static __m256i bias(const Block3x3& b) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(b.bias + 8 * kVector));
  }

  template <int kColumn>
  static __m256i multiply_add(const Block3x3& b, __m256i acc, __m256i taps) {
    acc = Dot::run(acc, taps, b.weights->taps[kColumn][kVector]);
    if (kRest && b.weights->has_rest(kColumn, kVector)) {
      acc = Dot::run(acc, taps, b.weights->rest[kColumn][kVector]);
    }
    return acc;
  }

  template <class Epilogue>
  static __m256i finish(const Block3x3& b, const Epilogue& epilogue, __m256i acc) {
    return epilogue.to_s32(acc, _mm256_load_ps(b.scale + 8 * kVector));
  }

  // The right column of one output, the middle one of the next, the left one of the one after it.
  template <class Epilogue>
  static __m256i slide(const Block3x3& b, const Epilogue& epilogue, __m256i taps, __m256i& acc,
                       __m256i& next) {
    const __m256i y_s32 = finish(b, epilogue, multiply_add<2>(b, acc, taps));
    acc = multiply_add<1>(b, next, taps);
    next = multiply_add<0>(b, bias(b), taps);
    return y_s32;
  }

  // The right column of one output, the left one of the next.
  template <class Epilogue>
  static __m256i slide(const Block3x3& b, const Epilogue& epilogue, __m256i taps, __m256i& acc) {
    const __m256i y_s32 = finish(b, epilogue, multiply_add<2>(b, acc, taps));
    acc = multiply_add<0>(b, bias(b), taps);
    return y_s32;
  }
};

// A column of three rows, its bytes interleaved by twos: rows 0 and 1, rows 2 and 1.
struct Column {
  __m256i lo01, hi01, lo21, hi21;

  Column(__m256i r0, __m256i r1, __m256i r2)
      : lo01(_mm256_unpacklo_epi8(r0, r1)),
        hi01(_mm256_unpackhi_epi8(r0, r1)),
        lo21(_mm256_unpacklo_epi8(r2, r1)),
        hi21(_mm256_unpackhi_epi8(r2, r1)) {}

  // Quads of the four vectors. Made where they are used: AVX2 has 16 registers.
  __m256i taps0() const { return _mm256_unpacklo_epi16(lo01, lo21); }
  __m256i taps1() const { return _mm256_unpackhi_epi16(lo01, lo21); }
  __m256i taps2() const { return _mm256_unpacklo_epi16(hi01, hi21); }
  __m256i taps3() const { return _mm256_unpackhi_epi16(hi01, hi21); }
};

template <int kParts>
struct Columns {
  const uint8_t *row0, *row1, *row2;
  ptrdiff_t stride;

  Columns(const DwconvS8Args& args, int c)
      : row0(args.in_rows[0] + c),
        row1(args.in_rows[1] + c),
        row2(args.in_rows[2] + c),
        stride(args.in_pixel_stride) {}

  Column next(const Parts<kParts>& parts) {
    const Column column(parts.load(row0), parts.load(row1), parts.load(row2));
    row0 += stride;
    row1 += stride;
    row2 += stride;
    return column;
  }
};

template <class Dot, bool kRest, int kParts, class Epilogue>
[[gnu::noinline]] void stride1(const DwconvS8Args& args, const Block3x3& b,
                               const Epilogue& epilogue) {
  using L0 = Lanes<Dot, kRest, 0>;
  using L1 = Lanes<Dot, kRest, 1>;
  using L2 = Lanes<Dot, kRest, 2>;
  using L3 = Lanes<Dot, kRest, 3>;
  const Parts<kParts> parts(args);
  Columns<kParts> columns(args, b.c);
  const Column left = columns.next(parts);
  __m256i acc0 = L0::template multiply_add<0>(b, L0::bias(b), left.taps0());
  __m256i acc1 = L1::template multiply_add<0>(b, L1::bias(b), left.taps1());
  __m256i acc2 = L2::template multiply_add<0>(b, L2::bias(b), left.taps2());
  __m256i acc3 = L3::template multiply_add<0>(b, L3::bias(b), left.taps3());
  const Column middle = columns.next(parts);
  acc0 = L0::template multiply_add<1>(b, acc0, middle.taps0());
  acc1 = L1::template multiply_add<1>(b, acc1, middle.taps1());
  acc2 = L2::template multiply_add<1>(b, acc2, middle.taps2());
  acc3 = L3::template multiply_add<1>(b, acc3, middle.taps3());
  __m256i next0 = L0::template multiply_add<0>(b, L0::bias(b), middle.taps0());
  __m256i next1 = L1::template multiply_add<0>(b, L1::bias(b), middle.taps1());
  __m256i next2 = L2::template multiply_add<0>(b, L2::bias(b), middle.taps2());
  __m256i next3 = L3::template multiply_add<0>(b, L3::bias(b), middle.taps3());
  uint8_t* out = args.out + b.c;
  forget_loads();
  for (int x = parts.out_w; x > 0; --x, out += args.out_pixel_stride) {
    const Column column = columns.next(parts);
    const __m256i y0 = L0::slide(b, epilogue, column.taps0(), acc0, next0);
    const __m256i y1 = L1::slide(b, epilogue, column.taps1(), acc1, next1);
    const __m256i lo = epilogue.to_s16(y0, y1);
    const __m256i y2 = L2::slide(b, epilogue, column.taps2(), acc2, next2);
    const __m256i y3 = L3::slide(b, epilogue, column.taps3(), acc3, next3);
    parts.store(out, epilogue.to_u8(lo, epilogue.to_s16(y2, y3)), b.n);
  }
}

template <class Dot, bool kRest, int kParts, class Epilogue>
[[gnu::noinline]] void stride2(const DwconvS8Args& args, const Block3x3& b,
                               const Epilogue& epilogue) {
  using L0 = Lanes<Dot, kRest, 0>;
  using L1 = Lanes<Dot, kRest, 1>;
  using L2 = Lanes<Dot, kRest, 2>;
  using L3 = Lanes<Dot, kRest, 3>;
  const Parts<kParts> parts(args);
  Columns<kParts> columns(args, b.c);
  const Column left = columns.next(parts);
  __m256i acc0 = L0::template multiply_add<0>(b, L0::bias(b), left.taps0());
  __m256i acc1 = L1::template multiply_add<0>(b, L1::bias(b), left.taps1());
  __m256i acc2 = L2::template multiply_add<0>(b, L2::bias(b), left.taps2());
  __m256i acc3 = L3::template multiply_add<0>(b, L3::bias(b), left.taps3());
  uint8_t* out = args.out + b.c;
  forget_loads();
  for (int x = parts.out_w; x > 0; --x, out += args.out_pixel_stride) {
    const Column middle = columns.next(parts);
    acc0 = L0::template multiply_add<1>(b, acc0, middle.taps0());
    acc1 = L1::template multiply_add<1>(b, acc1, middle.taps1());
    acc2 = L2::template multiply_add<1>(b, acc2, middle.taps2());
    acc3 = L3::template multiply_add<1>(b, acc3, middle.taps3());
    settle(acc0), settle(acc1), settle(acc2), settle(acc3);
    const Column right = columns.next(parts);
    const __m256i y0 = L0::slide(b, epilogue, right.taps0(), acc0);
    const __m256i y1 = L1::slide(b, epilogue, right.taps1(), acc1);
    const __m256i lo = epilogue.to_s16(y0, y1);
    const __m256i y2 = L2::slide(b, epilogue, right.taps2(), acc2);
    const __m256i y3 = L3::slide(b, epilogue, right.taps3(), acc3);
    parts.store(out, epilogue.to_u8(lo, epilogue.to_s16(y2, y3)), b.n);
  }
}

template <class Dot, int kStride, int kParts, bool kRest, class Epilogue>
void run_block(const DwconvS8Args& args, const Block3x3& b) {
  const Epilogue epilogue(args.requant);
  if constexpr (kStride == 1) {
    stride1<Dot, kRest, kParts>(args, b, epilogue);
  } else {
    stride2<Dot, kRest, kParts>(args, b, epilogue);
  }
}

// The usual block needs no clamp: products are small and the activation keeps the range of u8.
template <class Dot, int kStride, int kParts>
void run_parts(const DwconvS8Args& args, const Block3x3& b) {
  const bool whole_range = args.requant.qmin == 0 && args.requant.qmax == 255;
  // Four parts take the tests for rests anyway: GCC 12 spills in their loop without.
  const bool rest = Dot::kSaturates && (kParts == 4 || b.weights->rest_vectors != 0);
  if (b.weights->bounded == 0 || !whole_range) {
    run_block<Dot, kStride, kParts, Dot::kSaturates, ClampedRneAvx2>(args, b);
  } else if (rest) {
    run_block<Dot, kStride, kParts, Dot::kSaturates, WholeRangeRneAvx2>(args, b);
  } else {
    run_block<Dot, kStride, kParts, false, WholeRangeRneAvx2>(args, b);
  }
}

template <class Dot, int kStride>
void run_3x3(const DwconvS8Args& args) {
  Block3x3 b{static_cast<const Quads3x3*>(args.packed.weights), args.packed.bias, args.packed.scale,
             0, kLanes3x3};
  for (; b.c < args.channels; b.c += kLanes3x3) {
    if (args.channels - b.c < kLanes3x3) b.n = args.channels - b.c;
    switch (row_parts3x3(b.n)) {
      case 1: run_parts<Dot, kStride, 1>(args, b); break;
      case 2: run_parts<Dot, kStride, 2>(args, b); break;
      default: run_parts<Dot, kStride, 4>(args, b); break;
    }
    ++b.weights;
    b.bias += kLanes3x3;
    b.scale += kLanes3x3;
  }
}

}  // namespace
}  // namespace octavo
