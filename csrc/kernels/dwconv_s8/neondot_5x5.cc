// SPDX-License-Identifier: Apache-2.0
#include "kernels/dwconv_s8/neondot_block.h"

// Walks the columns of the five rows once. Rows 0 to 3 of a column are one quad of taps, row 4 of
// four columns another: 25 taps are 7 quads, 14 sdot and 7 zips for 8 outputs of stride 1. Two
// columns at a time share the weights, which come from memory: sums take the registers.
namespace octavo {
namespace {

constexpr int kBytes = 7 * 32;  // of a block

struct Column {
  Quads rows03, row4;  // row 4 of this column and the three before
};

class Columns {
 public:
  Columns(const DwconvS8Args& args, int c)
      : row0_(args.in_rows[0] + c),
        row1_(args.in_rows[1] + c),
        row2_(args.in_rows[2] + c),
        row3_(args.in_rows[3] + c),
        row4_(args.in_rows[4] + c),
        stride_(args.in_pixel_stride) {}

  // What comes before the first column is 0.
  Column next() {
    const int8x8_t r0 = load_s8(row0_ + offset_), r1 = load_s8(row1_ + offset_);
    const int8x8_t r2 = load_s8(row2_ + offset_), r3 = load_s8(row3_ + offset_);
    const int8x8_t r4 = load_s8(row4_ + offset_);
    const int8x16_t pair = interleave(left_, r4);
    const Column column{interleave(interleave(r0, r1), interleave(r2, r3)),
                        interleave(older_, pair)};
    older_ = newer_;
    newer_ = pair;
    left_ = r4;
    offset_ += stride_;
    return column;
  }

 private:
  // Rows stay and the offset moves: GCC 12 would move five pointers in vectors on the stack.
  const uint8_t *row0_, *row1_, *row2_, *row3_, *row4_;
  ptrdiff_t stride_, offset_ = 0;
  // Row 4 of the column before; its pairs made two columns and one column ago.
  int8x8_t left_ = vdup_n_s8(0);
  int8x16_t older_ = vdupq_n_s8(0), newer_ = vdupq_n_s8(0);
};

// What a column kColumn is multiplied with. Groups: columns 0..4 of rows 0..3, then row 4's columns
// 0..3, then its column 4.
template <int kColumn>
struct Weights {
  explicit Weights(const Block& b) : rows03(load_quads(b.weights + kColumn * 32)) {
    if constexpr (kColumn >= 3) row4 = load_quads(b.weights + (kColumn + 2) * 32);
  }

  Sums add(const Sums& acc, const Column& column) const {
    const Sums sums = dot(acc, column.rows03, rows03);
    if constexpr (kColumn < 3) return sums;
    return dot(sums, column.row4, row4);
  }

  Quads rows03, row4;
};

struct Sliding {  // sK holds columns 0..K of an output
  Sums s0, s1, s2, s3;
};

// Every column is one of five outputs.
template <class Out>
inline void stride1(const DwconvS8Args& args, const Block& b, Out out) {
  Columns columns(args, b.c);
  Sliding s;
  s.s3 = Weights<0>(b).add(load_bias(b), columns.next());
  Column column = columns.next();
  s.s3 = Weights<1>(b).add(s.s3, column);
  s.s2 = Weights<0>(b).add(load_bias(b), column);
  column = columns.next();
  s.s3 = Weights<2>(b).add(s.s3, column);
  s.s2 = Weights<1>(b).add(s.s2, column);
  s.s1 = Weights<0>(b).add(load_bias(b), column);
  column = columns.next();
  s.s3 = Weights<3>(b).add(s.s3, column);
  s.s2 = Weights<2>(b).add(s.s2, column);
  s.s1 = Weights<1>(b).add(s.s1, column);
  s.s0 = Weights<0>(b).add(load_bias(b), column);
  int x = args.out_w;
  for (; Out::kWhole && x >= 2; x -= 2) {
    forget_loads();
    const Column first = columns.next(), second = columns.next();
    const Weights<4> w4(b);
    const Sums y0 = w4.add(s.s3, first);
    const Weights<3> w3(b);
    const Sums y1 = w4.add(w3.add(s.s2, first), second);
    const Weights<2> w2(b);
    s.s3 = w3.add(w2.add(s.s1, first), second);
    const Weights<1> w1(b);
    s.s2 = w2.add(w1.add(s.s0, first), second);
    const Weights<0> w0(b);
    s.s1 = w1.add(w0.add(load_bias(b), first), second);
    s.s0 = w0.add(load_bias(b), second);
    out.put(y0, y1);
  }
  for (; x > 0; --x) {
    forget_loads();
    column = columns.next();
    const Sums y = Weights<4>(b).add(s.s3, column);
    s.s3 = Weights<3>(b).add(s.s2, column);
    s.s2 = Weights<2>(b).add(s.s1, column);
    s.s1 = Weights<1>(b).add(s.s0, column);
    s.s0 = Weights<0>(b).add(load_bias(b), column);
    out.put(y);
  }
}

// Even columns are columns 4, 2, 0 of three outputs, odd ones columns 3, 1 of two.
struct SlidingBy2 {
  Sums even0, even2;  // of columns 0, and 0..2
};

inline Sums one_output(Columns& columns, const Block& b, SlidingBy2& s) {
  Column column = columns.next();
  const Sums odd3 = Weights<3>(b).add(s.even2, column);
  const Sums odd1 = Weights<1>(b).add(s.even0, column);
  column = columns.next();
  const Sums y = Weights<4>(b).add(odd3, column);
  s.even2 = Weights<2>(b).add(odd1, column);
  s.even0 = Weights<0>(b).add(load_bias(b), column);
  return y;
}

template <class Out>
inline void stride2(const DwconvS8Args& args, const Block& b, Out out) {
  Columns columns(args, b.c);
  SlidingBy2 s;
  s.even2 = Weights<0>(b).add(load_bias(b), columns.next());
  s.even2 = Weights<1>(b).add(s.even2, columns.next());
  const Column column = columns.next();
  s.even2 = Weights<2>(b).add(s.even2, column);
  s.even0 = Weights<0>(b).add(load_bias(b), column);
  int x = args.out_w;
  for (; Out::kWhole && x >= 2; x -= 2) {
    forget_loads();
    const Sums y0 = one_output(columns, b, s), y1 = one_output(columns, b, s);
    out.put(y0, y1);
  }
  for (; x > 0; --x) {
    forget_loads();
    out.put(one_output(columns, b, s));
  }
}

}  // namespace

void dwconv_s8_5x5s1_x8_neondot(const DwconvS8Args& args) {
  run_blocks(args, kBytes, [&](auto out, const Block& b) { stride1(args, b, out); });
}

void dwconv_s8_5x5s2_x8_neondot(const DwconvS8Args& args) {
  run_blocks(args, kBytes, [&](auto out, const Block& b) { stride2(args, b, out); });
}

}  // namespace octavo
