// SPDX-License-Identifier: Apache-2.0
#include "kernels/lut_s8/lut_s8.h"
#include "kernels/simd/widen_narrow_neon.h"
#include "kernels/softmax_s8/row_sum.h"
#include "kernels/softmax_s8/softmax_s8.h"

namespace octavo {
namespace {

constexpr int kBlock = 16;
constexpr int64_t kLevels = 256;
constexpr int64_t kQuarter = 64;  // entries that one tbl looks up

inline int8x16_t load(const uint8_t* p) { return vreinterpretq_s8_u8(vld1q_u8(p)); }

struct Range {
  int min, max;
};

// For rows of a block or more. A last block that overlaps the one before does the rest.
Range row_range(const uint8_t* in, int64_t n) {
  int8x16_t min = load(in + n - kBlock), max = min;
  for (int64_t i = 0; i + kBlock <= n; i += kBlock) {
    min = vminq_s8(min, load(in + i));
    max = vmaxq_s8(max, load(in + i));
  }
  return {vminvq_s8(min), vmaxvq_s8(max)};
}

// out[i] = f(in[i]) for whole blocks; the last one is read before any is written, as out may be in.
template <class F>
inline void for_blocks(const uint8_t* in, uint8_t* out, int64_t n, const F& f) {
  const uint8x16_t last = vld1q_u8(in + n - kBlock);
  for (int64_t i = 0; i + kBlock <= n; i += kBlock) vst1q_u8(out + i, f(vld1q_u8(in + i)));
  vst1q_u8(out + n - kBlock, f(last));
}

// Two IEEE divisions per value, in the stated order: a product of reciprocals would round twice.
// The second is a product where that is the same.
struct Quotient {
  float32x4_t total, out_scale, reciprocal;
  bool exact;
  NarrowS8x16 narrow;

  Quotient(const SoftmaxS8Args& args, int64_t sum)
      : total(vdupq_n_f32(static_cast<float>(sum))),
        out_scale(vdupq_n_f32(args.out_scale)),
        reciprocal(vdupq_n_f32(exact_reciprocal(args.out_scale))),
        exact(exact_reciprocal(args.out_scale) != 0.0f),
        narrow(args.requant) {}

  // 16 entries to 16 stored bytes.
  uint8x16_t operator()(const uint32x4_t (&e)[4]) const {
    float32x4_t v[4];
    int8x16_t y[1];
    for (int i = 0; i < 4; ++i) v[i] = vdivq_f32(vcvtq_f32_u32(e[i]), total);
    if (exact) {
      for (float32x4_t& q : v) q = vmulq_f32(q, reciprocal);
    } else {
      for (float32x4_t& q : v) q = vdivq_f32(q, out_scale);
    }
    narrow(v, y);
    return vreinterpretq_u8_s8(y[0]);
  }

  uint8x16_t operator()(const uint32_t* e) const {
    const uint32x4_t quads[4] = {vld1q_u32(e), vld1q_u32(e + 4), vld1q_u32(e + 8),
                                 vld1q_u32(e + 12)};
    return (*this)(quads);
  }

  // The quotients of 16 levels, whose entries go straight into lanes.
  uint8x16_t of_levels(const uint32_t* table, const uint8_t* d) const {
    uint32x4_t e[4];
    for (int i = 0; i < 4; ++i, d += 4) {
      e[i] = vld1q_dup_u32(table + d[0]);
      e[i] = vld1q_lane_u32(table + d[1], e[i], 1);
      e[i] = vld1q_lane_u32(table + d[2], e[i], 2);
      e[i] = vld1q_lane_u32(table + d[3], e[i], 3);
    }
    return (*this)(e);
  }
};

// The levels before the last block with an entry of `limit` or more.
int64_t used_levels(const uint32_t* table, int64_t levels, int32_t limit) {
  int64_t used = (levels + kBlock - 1) & -kBlock;
  for (; used > 0; used -= kBlock) {
    const uint32_t* e = table + used - kBlock;
    const uint32x4_t max = vmaxq_u32(vmaxq_u32(vld1q_u32(e), vld1q_u32(e + 4)),
                                     vmaxq_u32(vld1q_u32(e + 8), vld1q_u32(e + 12)));
    if (vmaxvq_u32(max) >= static_cast<uint32_t>(limit)) break;
  }
  return used;
}

// One quotient per value.
void divide_values(const SoftmaxS8Args& args, const Quotient& quotient) {
  uint8_t* out = args.out;
  const int64_t n = args.n;
  const uint8x16_t last = quotient.of_levels(args.table, out + n - kBlock);
  for (int64_t i = 0; i + kBlock <= n; i += kBlock) {
    vst1q_u8(out + i, quotient.of_levels(args.table, out + i));
  }
  vst1q_u8(out + n - kBlock, last);
}

// One quotient per level in use, and a look-up per value.
void divide_levels(const SoftmaxS8Args& args, const Quotient& quotient, int64_t used) {
  uint8_t y[kLevels];
  int64_t level = 0;
  for (; level < used; level += kBlock) vst1q_u8(y + level, quotient(args.table + level));
  const uint32x4_t zero = vdupq_n_u32(0);
  const uint8x16_t rest = quotient({zero, zero, zero, zero});
  for (; level < kLevels; level += kBlock) vst1q_u8(y + level, rest);
  if (used >= kQuarter) {
    lut_s8_x64_neon({args.out, args.out, args.n, y});
    return;
  }
  // The rest of the first quarter is one value, which also serves for the others.
  const uint8x16x4_t table = vld1q_u8_x4(y);
  const uint8x16_t end = vdupq_n_u8(kQuarter - 1);
  for_blocks(args.out, args.out, args.n,
             [&](uint8x16_t d) { return vqtbl4q_u8(table, vminq_u8(d, end)); });
}

// Less than a block.
void run_short(const SoftmaxS8Args& args) {
  const uint8_t* in = args.in;
  uint32_t e[kBlock] = {};
  uint8_t y[kBlock];
  int8_t max = INT8_MIN;
  for (int64_t i = 0; i < args.n; ++i) {
    const int8_t v = static_cast<int8_t>(in[i]);
    max = v > max ? v : max;
  }
  int64_t sum = 0;
  for (int64_t i = 0; i < args.n; ++i) {
    e[i] = args.table[max - static_cast<int8_t>(in[i])];
    sum += e[i];
  }
  vst1q_u8(y, Quotient(args, sum)(e));
  std::memcpy(args.out, y, static_cast<size_t>(args.n));
}

}  // namespace

void softmax_s8_x16_neon(const SoftmaxS8Args& args) {
  if (args.n < kBlock) return run_short(args);
  const Range range = row_range(args.in, args.n);
  // The output holds the level of each value until its quotient is known.
  const uint8x16_t max = vdupq_n_u8(static_cast<uint8_t>(range.max));
  for_blocks(args.in, args.out, args.n, [&](uint8x16_t v) { return vsubq_u8(max, v); });
  const int64_t sum = sum_entries(args.table, args.out, args.n);
  const Quotient quotient(args, sum);
  const int64_t levels = range.max - range.min + 1;
  const int64_t used = used_levels(args.table, levels, zero_limit(args, sum));
  if (used > args.n) {
    divide_values(args, quotient);
  } else {
    divide_levels(args, quotient, used);
  }
}

}  // namespace octavo
