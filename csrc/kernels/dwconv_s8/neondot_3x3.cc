// SPDX-License-Identifier: Apache-2.0
#include "kernels/dwconv_s8/neondot_block.h"

// Walks the columns of the three rows once. A column is interleaved once, 4 zips for 8 channels,
// for all the outputs that use it. 16 outputs of stride 1 are 6 loads, 8 zips, 12 sdot, 4 moves and
// 22 instructions of epilogue.
namespace octavo {
namespace {

class Columns {
 public:
  Columns(const DwconvS8Args& args, int c)
      : row0_(args.in_rows[0] + c),
        row1_(args.in_rows[1] + c),
        row2_(args.in_rows[2] + c),
        stride_(args.in_pixel_stride) {}

  // The weight of the fourth tap is 0.
  Quads next() {
    const int8x8_t r0 = load_s8(row0_), r1 = load_s8(row1_), r2 = load_s8(row2_);
    row0_ += stride_;
    row1_ += stride_;
    row2_ += stride_;
    return interleave(interleave(r0, r1), interleave(r2, r2));
  }

 private:
  const uint8_t *row0_, *row1_, *row2_;
  ptrdiff_t stride_;
};

struct Weights {
  explicit Weights(const Block& b)
      : left(load_quads(b.weights)),
        middle(load_quads(b.weights + 32)),
        right(load_quads(b.weights + 64)) {}

  Quads left, middle, right;
};

// Every column is the right one of output x, the middle one of x + 1, the left one of x + 2. Four
// outputs at a time: enough independent work for a core that issues in order.
template <class Out>
inline void stride1(const DwconvS8Args& args, const Block& b, Out out) {
  const Weights w(b);
  const Sums bias = load_bias(b);
  Columns columns(args, b.c);
  Sums acc = dot(bias, columns.next(), w.left);
  const Quads second = columns.next();
  acc = dot(acc, second, w.middle);
  Sums next = dot(bias, second, w.left);
  int x = args.out_w;
  for (; Out::kWhole && x >= 4; x -= 4) {
    Quads taps[4];
    taps[0] = columns.next();
    taps[1] = columns.next();
    const Sums y0 = dot(acc, taps[0], w.right);
    const Sums y1 = dot(dot(next, taps[0], w.middle), taps[1], w.right);
    taps[2] = columns.next();
    taps[3] = columns.next();
    const Sums y2 = dot(dot(dot(bias, taps[0], w.left), taps[1], w.middle), taps[2], w.right);
    const Sums y3 = dot(dot(dot(bias, taps[1], w.left), taps[2], w.middle), taps[3], w.right);
    acc = dot(dot(bias, taps[2], w.left), taps[3], w.middle);
    next = dot(bias, taps[3], w.left);
    out.put(y0, y1, y2, y3);
  }
  for (; x >= 1; --x) {
    const Quads taps = columns.next();
    out.put(dot(acc, taps, w.right));
    acc = dot(next, taps, w.middle);
    next = dot(bias, taps, w.left);
  }
}

// The right column of an output is the left one of the next.
inline Sums one_output(Columns& columns, const Weights& w, const Sums& bias, Sums& acc) {
  acc = dot(acc, columns.next(), w.middle);
  const Quads taps = columns.next();
  const Sums y = dot(acc, taps, w.right);
  acc = dot(bias, taps, w.left);
  return y;
}

template <class Out>
inline void stride2(const DwconvS8Args& args, const Block& b, Out out) {
  const Weights w(b);
  const Sums bias = load_bias(b);
  Columns columns(args, b.c);
  Sums acc = dot(bias, columns.next(), w.left);
  int x = args.out_w;
  for (; Out::kWhole && x >= 2; x -= 2) {
    const Sums y0 = one_output(columns, w, bias, acc), y1 = one_output(columns, w, bias, acc);
    out.put(y0, y1);
  }
  for (; x >= 1; --x) out.put(one_output(columns, w, bias, acc));
}

}  // namespace

void dwconv_s8_3x3s1_x8_neondot(const DwconvS8Args& args) {
  run_blocks(args, 96, [&](auto out, const Block& b) { stride1(args, b, out); });
}

void dwconv_s8_3x3s2_x8_neondot(const DwconvS8Args& args) {
  run_blocks(args, 96, [&](auto out, const Block& b) { stride2(args, b, out); });
}

}  // namespace octavo
