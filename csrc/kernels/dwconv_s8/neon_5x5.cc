// SPDX-License-Identifier: Apache-2.0
#include "kernels/dwconv_s8/neon_products.h"

// Rows 0 and 1, and 2 and 3, of a column are pairs of taps, row 4 has pairs of columns: 25 taps are
// 13 pairs, 25 multiplies and 26 additions per 8 outputs. Two outputs share the weights. Sums that
// slide over the columns would save loads, which cost little beside arithmetic on 64-bit cores,
// and move between registers instead.
namespace octavo {
namespace {

constexpr int kTaps = 25;
constexpr int kPairs[][2] = {{0, 5},   {1, 6},   {2, 7},   {3, 8},   {4, 9},   {10, 15}, {11, 16},
                             {12, 17}, {13, 18}, {14, 19}, {20, 21}, {22, 23}, {24, -1}};

// Rows stay and the offset moves: GCC 12 would move five pointers in vectors on the stack.
struct Window {
  const uint8_t *row0, *row1, *row2, *row3, *row4;
  ptrdiff_t stride, offset = 0;

  Window(const DwconvS8Args& args, int c)
      : row0(args.in_rows[0] + c),
        row1(args.in_rows[1] + c),
        row2(args.in_rows[2] + c),
        row3(args.in_rows[3] + c),
        row4(args.in_rows[4] + c),
        stride(args.in_pixel_stride) {}

  // `right` columns to the right.
  int8x8_t tap(int t, int right) const {
    const int i = t / 5;
    const uint8_t* row = i == 0 ? row0 : i == 1 ? row1 : i == 2 ? row2 : i == 3 ? row3 : row4;
    return load_s8(row + (offset + (t % 5 + right) * stride));
  }
};

template <int kOutputs, int kStride>
inline void outputs(const Window& window, const Block& b, Sums (&y)[kOutputs]) {
#pragma GCC unroll 2
  for (Sums& sums : y) sums = load_bias(b);
#pragma GCC unroll 13
  for (const auto& [first, second] : kPairs) {
    const int8x8_t w_first = vld1_s8(b.weights + first * kBlock);
#pragma GCC unroll 2
    for (int i = 0; i < kOutputs; ++i) {
      const int8x8_t tap = window.tap(first, i * kStride);
      if (second < 0) {
        y[i] = add(y[i], tap, w_first);
      } else {
        const int8x8_t w_second = vld1_s8(b.weights + second * kBlock);
        y[i] = add(y[i], tap, w_first, window.tap(second, i * kStride), w_second);
      }
    }
  }
}

template <int kStride, class Out>
inline void run(const DwconvS8Args& args, const Block& b, Out out) {
  Window window(args, b.c);
  int x = args.out_w;
  for (; Out::kWhole && x >= 2; x -= 2) {
    forget_loads();
    Sums y[2];
    outputs<2, kStride>(window, b, y);
    window.offset += 2 * kStride * window.stride;
    out.put(y[0], y[1]);
  }
  for (; x > 0; --x) {
    forget_loads();
    Sums y[1];
    outputs<1, kStride>(window, b, y);
    window.offset += kStride * window.stride;
    out.put(y[0]);
  }
}

}  // namespace

void dwconv_s8_5x5s1_x8_neon(const DwconvS8Args& args) {
  run_blocks(args, kTaps * kBlock, [&](auto out, const Block& b) { run<1>(args, b, out); });
}

void dwconv_s8_5x5s2_x8_neon(const DwconvS8Args& args) {
  run_blocks(args, kTaps * kBlock, [&](auto out, const Block& b) { run<2>(args, b, out); });
}

}  // namespace octavo
