// SPDX-License-Identifier: Apache-2.0
#include "kernels/dwconv_s8/neon_products.h"

// Walks the columns of the three rows once. Rows 0 and 1 of a column make one pair of taps, row 2
// one with its left neighbour: 9 taps are 5 pairs, 18 multiplies and 20 additions per 16 outputs.
namespace octavo {
namespace {

struct Column {
  int8x8_t r0, r1, r2;
};

class Columns {
 public:
  Columns(const DwconvS8Args& args, int c)
      : row0_(args.in_rows[0] + c),
        row1_(args.in_rows[1] + c),
        row2_(args.in_rows[2] + c),
        stride_(args.in_pixel_stride) {}

  Column next() {
    const Column column{load_s8(row0_), load_s8(row1_), load_s8(row2_)};
    row0_ += stride_;
    row1_ += stride_;
    row2_ += stride_;
    return column;
  }

 private:
  const uint8_t *row0_, *row1_, *row2_;
  ptrdiff_t stride_;
};

struct Weights {
  explicit Weights(const Block& b) {
    for (int t = 0; t < 9; ++t) w[t] = vld1_s8(b.weights + t * kBlock);
  }

  Sums left(const Sums& bias, const Column& l) const { return add(bias, l.r0, w[0], l.r1, w[3]); }

  // And row 2 of the left column.
  Sums middle(const Sums& sums, const Column& l, const Column& m) const {
    return add(add(sums, m.r0, w[1], m.r1, w[4]), l.r2, w[6], m.r2, w[7]);
  }

  Sums right(const Sums& sums, const Column& r) const {
    return add(add(sums, r.r0, w[2], r.r1, w[5]), r.r2, w[8]);
  }

  int8x8_t w[9];
};

// Every column is the right one of output x, the middle one of x + 1, the left one of x + 2.
template <class Out>
inline void stride1(const DwconvS8Args& args, const Block& b, Out out) {
  const Weights w(b);
  const Sums bias = load_bias(b);
  Columns columns(args, b.c);
  const Column first = columns.next();
  Column last = columns.next();
  Sums acc = w.middle(w.left(bias, first), first, last);
  Sums next = w.left(bias, last);
  int x = args.out_w;
  for (; Out::kWhole && x >= 2; x -= 2) {
    const Column c0 = columns.next();
    const Sums y0 = w.right(acc, c0);
    acc = w.middle(next, last, c0);
    next = w.left(bias, c0);
    const Column c1 = columns.next();
    const Sums y1 = w.right(acc, c1);
    acc = w.middle(next, c0, c1);
    next = w.left(bias, c1);
    last = c1;
    out.put(y0, y1);
  }
  for (; x > 0; --x) {
    const Column column = columns.next();
    out.put(w.right(acc, column));
    acc = w.middle(next, last, column);
    next = w.left(bias, column);
    last = column;
  }
}

// The right column of an output is the left one of the next.
inline Sums one_output(Columns& columns, const Weights& w, const Sums& bias, Column& left) {
  const Column middle = columns.next(), right = columns.next();
  const Sums y = w.right(w.middle(w.left(bias, left), left, middle), right);
  left = right;
  return y;
}

template <class Out>
inline void stride2(const DwconvS8Args& args, const Block& b, Out out) {
  const Weights w(b);
  const Sums bias = load_bias(b);
  Columns columns(args, b.c);
  Column left = columns.next();
  int x = args.out_w;
  for (; Out::kWhole && x >= 2; x -= 2) {
    const Sums y0 = one_output(columns, w, bias, left), y1 = one_output(columns, w, bias, left);
    out.put(y0, y1);
  }
  for (; x > 0; --x) out.put(one_output(columns, w, bias, left));
}

}  // namespace

void dwconv_s8_3x3s1_x8_neon(const DwconvS8Args& args) {
  run_blocks(args, 9 * kBlock, [&](auto out, const Block& b) { stride1(args, b, out); });
}

void dwconv_s8_3x3s2_x8_neon(const DwconvS8Args& args) {
  run_blocks(args, 9 * kBlock, [&](auto out, const Block& b) { stride2(args, b, out); });
}

}  // namespace octavo
