// SPDX-License-Identifier: Apache-2.0
#include "kernels/resize_s8/resize_s8.h"
#include "kernels/simd/partial_neon.h"
#include "kernels/simd/requant_neon.h"

namespace octavo {
namespace {

constexpr int kBlock = 16;

// 16 channels of a pixel, as they lie.
struct Whole {
  static int8x16_t load(const uint8_t* p) { return vreinterpretq_s8_u8(vld1q_u8(p)); }
  static void store(uint8_t* p, int8x16_t v) { vst1q_u8(p, vreinterpretq_u8_s8(v)); }
};

// 1..15 channels.
struct Part {
  int n;
  int8x16_t load(const uint8_t* p) const { return vreinterpretq_s8_u8(load_part(p, n)); }
  void store(uint8_t* p, int8x16_t v) const { store_part(p, vreinterpretq_u8_s8(v), n); }
};

// a * top + b * bottom in 32 bits.
inline void weigh(const int16x8_t (&a)[2], const int16x8_t (&b)[2], int16x4_t rows,
                  int32x4_t (&sum)[4]) {
  for (int i = 0; i < 2; ++i) {
    sum[2 * i] = vmull_lane_s16(vget_low_s16(a[i]), rows, 0);
    sum[2 * i + 1] = vmull_high_lane_s16(a[i], rows, 0);
  }
  for (int i = 0; i < 2; ++i) {
    sum[2 * i] = vmlal_lane_s16(sum[2 * i], vget_low_s16(b[i]), rows, 1);
    sum[2 * i + 1] = vmlal_high_lane_s16(sum[2 * i + 1], b[i], rows, 1);
  }
}

// a - b, exactly.
inline void subtract(int8x16_t a, int8x16_t b, int16x8_t (&d)[2]) {
  d[0] = vsubl_s8(vget_low_s8(a), vget_low_s8(b));
  d[1] = vsubl_high_s8(a, b);
}

// acc = 2048 v(left) + right_weight (v(right) - v(left)), with the zero point taken off the bytes
// on the left: it falls out of the difference.
template <class Epilogue>
struct Row {
  Epilogue epilogue;
  int16x4_t rows;  // weights of top and bottom
  int8x16_t zero_point;
  float32x4_t multiplier;

  explicit Row(const ResizeS8Args& args)
      : epilogue(args.requant),
        rows(vset_lane_s16(static_cast<int16_t>(args.bottom_weight),
                           vdup_n_s16(static_cast<int16_t>(kResizeOne - args.bottom_weight)), 1)),
        zero_point(vdupq_n_s8(static_cast<int8_t>((args.zero_sum >> 22) - kStoredOffset))),
        multiplier(vdupq_n_f32(args.multiplier)) {}

  template <class Bytes>
  void operator()(const Bytes& bytes, const uint8_t* top, const uint8_t* bottom,
                  const ResizeS8Column& column, uint8_t* out) const {
    const int8x16_t top_left = bytes.load(top + column.left);
    const int8x16_t bottom_left = bytes.load(bottom + column.left);
    int16x8_t t[2], b[2], t_step[2], b_step[2];
    subtract(bytes.load(top + column.right), top_left, t_step);
    subtract(bytes.load(bottom + column.right), bottom_left, b_step);
    subtract(top_left, zero_point, t);
    subtract(bottom_left, zero_point, b);
    int32x4_t acc[4], step[4];
    weigh(t, b, rows, acc);
    weigh(t_step, b_step, rows, step);
    for (int32x4_t& a : acc) a = vshlq_n_s32(a, 11);
    for (int i = 0; i < 4; ++i) acc[i] = vmlaq_n_s32(acc[i], step[i], column.right_weight);
    const float32x4_t m[4] = {multiplier, multiplier, multiplier, multiplier};
    bytes.store(out, epilogue.to_s8(acc, m));
  }
};

template <class Epilogue>
void run(const ResizeS8Args& args) {
  const Row<Epilogue> row(args);
  const uint8_t *top = args.top, *bottom = args.bottom;
  const int channels = args.channels;
  uint8_t* out = args.out;
  for (int x = 0; x < args.out_w; ++x, out += args.out_pixel_stride) {
    const ResizeS8Column column = args.columns[x];
    if (channels < kBlock) {
      row(Part{channels}, top, bottom, column, out);
      continue;
    }
    int c = 0;
    for (; c + kBlock <= channels; c += kBlock) row(Whole{}, top + c, bottom + c, column, out + c);
    if (c == channels) continue;
    c = channels - kBlock;  // over channels already done
    row(Whole{}, top + c, bottom + c, column, out + c);
  }
}

}  // namespace

void resize_s8_x16_neon(const ResizeS8Args& args) {
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run<FloatRneNeon>(args);
  }
}

}  // namespace octavo
