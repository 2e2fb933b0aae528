// SPDX-License-Identifier: Apache-2.0
#include "kernels/dwconv_s8/avx512_block.h"

// Walks the columns of the five rows once. Rows 0 to 3 of a column are one quad of taps, row 4 of
// four columns another: 25 taps are 7 quads. 14 shuffles, 28 vpdpbusd and 22 instructions of
// epilogue per 64 outputs of stride 1.
namespace octavo {
namespace {

template <class V>
class Columns {
 public:
  using Vector = typename V::Vector;

  Columns(const DwconvS8Args& args, int c) : stride_(args.in_pixel_stride) {
    for (int i = 0; i < 5; ++i) row_[i] = args.in_rows[i] + c;
  }

  // `rows03` holds rows 0..3 of the new column, `row4` row 4 of it and the three before; what comes
  // before the first column is 0.
  void next() {
    interleave<V>(V::load(row_[0]), V::load(row_[1]), V::load(row_[2]), V::load(row_[3]), rows03);
    const Vector r4 = V::load(row_[4]);
    const Vector lo = V::unpacklo_u8(left_, r4), hi = V::unpackhi_u8(left_, r4);
    row4[0] = V::unpacklo_u16(lo_[1], lo);
    row4[1] = V::unpackhi_u16(lo_[1], lo);
    row4[2] = V::unpacklo_u16(hi_[1], hi);
    row4[3] = V::unpackhi_u16(hi_[1], hi);
    lo_[1] = lo_[0], hi_[1] = hi_[0];
    lo_[0] = lo, hi_[0] = hi;
    left_ = r4;
    for (int i = 0; i < 5; ++i) row_[i] += stride_;
  }

  Vector rows03[4], row4[4];

 private:
  const uint8_t* row_[5];
  ptrdiff_t stride_;
  // Row 4 of the column before; the pairs of row 4 made one and two columns ago.
  Vector left_ = V::zero(), lo_[2] = {V::zero(), V::zero()}, hi_[2] = {V::zero(), V::zero()};
};

template <class V>
inline void copy(typename V::Vector (&to)[4], const typename V::Vector (&from)[4]) {
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) to[q] = from[q];
}

// Columns 0..4 of rows 0..3, then row 4's columns 0..3, then its column 4.
template <class V>
inline const int8_t* group(const Block& b, int index) {
  return b.weights + index * 4 * V::kCount;
}

// A column as column kColumn of the output whose sum is acc.
template <class V, int kColumn>
inline void add(typename V::Vector (&acc)[4], const Columns<V>& columns, const Block& b) {
  multiply_add<V>(acc, columns.rows03, group<V>(b, kColumn));
  if constexpr (kColumn >= 3) multiply_add<V>(acc, columns.row4, group<V>(b, kColumn + 2));
}

template <class V>
struct Sums {  // sK holds columns 0..K of an output
  typename V::Vector s0[4], s1[4], s2[4], s3[4];
};

// Every column is one of five outputs; kSeen columns came before it. The output that it
// completes has taken s3 already.
template <class V, int kSeen>
inline void slide1(Sums<V>& s, const Columns<V>& columns, const Block& b) {
  if constexpr (kSeen >= 3) {
    copy<V>(s.s3, s.s2);
    add<V, 3>(s.s3, columns, b);
  }
  if constexpr (kSeen >= 2) {
    copy<V>(s.s2, s.s1);
    add<V, 2>(s.s2, columns, b);
  }
  if constexpr (kSeen >= 1) {
    copy<V>(s.s1, s.s0);
    add<V, 1>(s.s1, columns, b);
  }
  load_bias<V>(s.s0, b);
  add<V, 0>(s.s0, columns, b);
}

template <class V, class Epilogue>
inline void stride1(const DwconvS8Args& args, const Block& b, const Epilogue& epilogue) {
  Columns<V> columns(args, b.c);
  Sums<V> sums;
  columns.next();
  slide1<V, 0>(sums, columns, b);
  columns.next();
  slide1<V, 1>(sums, columns, b);
  columns.next();
  slide1<V, 2>(sums, columns, b);
  columns.next();
  slide1<V, 3>(sums, columns, b);
  uint8_t* out = args.out + b.c;
  for (int x = 0; x < args.out_w; ++x, out += args.out_pixel_stride) {
    columns.next();
    add<V, 4>(sums.s3, columns, b);
    V::store(epilogue, sums.s3, b.scale, out, b.n);
    slide1<V, 3>(sums, columns, b);
  }
}

// Even columns are columns 4, 2, 0 of three outputs, odd ones columns 3, 1 of two.
template <class V, class Epilogue>
inline void stride2(const DwconvS8Args& args, const Block& b, const Epilogue& epilogue) {
  Columns<V> columns(args, b.c);
  typename V::Vector even0[4], even2[4];  // sums of columns 0 and 0..2
  load_bias<V>(even2, b);
  columns.next();
  add<V, 0>(even2, columns, b);
  columns.next();
  add<V, 1>(even2, columns, b);
  columns.next();
  add<V, 2>(even2, columns, b);
  load_bias<V>(even0, b);
  add<V, 0>(even0, columns, b);
  uint8_t* out = args.out + b.c;
  for (int x = 0; x < args.out_w; ++x, out += args.out_pixel_stride) {
    columns.next();
    add<V, 3>(even2, columns, b);
    add<V, 1>(even0, columns, b);
    columns.next();
    add<V, 4>(even2, columns, b);
    V::store(epilogue, even2, b.scale, out, b.n);
    copy<V>(even2, even0);
    add<V, 2>(even2, columns, b);
    load_bias<V>(even0, b);
    add<V, 0>(even0, columns, b);
  }
}

template <int kStride, class Epilogue>
void run(const DwconvS8Args& args) {
  const Epilogue epilogue(args.requant);
  for_each_block(args, 7, [&](auto width, const Block& b) {
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

void dwconv_s8_5x5s1_x64_avx512vnni(const DwconvS8Args& args) { dispatch<1>(args); }
void dwconv_s8_5x5s2_x64_avx512vnni(const DwconvS8Args& args) { dispatch<2>(args); }

}  // namespace octavo
