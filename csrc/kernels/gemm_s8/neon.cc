// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm_s8/neon_tile.h"

// Without sdot: smull and smlal add the products of two steps as int16, sadalp adds those to int32:
// 3 instructions per 16 products. Weights down to -127 keep the sum of two in range, for A down to
// -128: 2 * 128 * 127 < 2^15. An accumulator holds two sums of each of two columns.
namespace octavo {
namespace {

// A dword of A, four times. ld1r, which takes no offset: gcc prefers a load with one and a dup.
inline int8x16_t load_k4(const uint8_t* a) {
  __asm__("" : "+r"(a));
  int32_t k4;
  std::memcpy(&k4, a, sizeof k4);
  return vreinterpretq_s8_s32(vdupq_n_s32(k4));
}

// Loads below stay below, whatever the compiler thinks of their latency.
inline void fence(int16x8_t& sum) { __asm__ volatile("" : "+w"(sum) : : "memory"); }

constexpr int kVectors = 2;          // of weights in one step
constexpr int kSums = 2 * kVectors;  // pairs of columns
constexpr int kStepBytes = 16 * kVectors;

// Operands of two steps for two rows; `a` of each step is separate, as its loads are due before the
// other one is done.
struct Operands {
  int8x16_t b[kVectors];
  int8x16_t a[2][2];  // [step][row]
};

inline void load(int8x16_t (&a_k4)[2], const uint8_t* a0, const uint8_t* a1, int32_t offset) {
  a_k4[0] = load_k4(a0 + offset);
  a_k4[1] = load_k4(a1 + offset);
}

// Two steps of two rows, and the loads of what comes next: each behind the last use of its
// register, 8 instructions and more before the first use, as in-order cores want it. No instruction
// depends on one of the 7 before it.
inline void two_steps(Operands& x, const int8_t* b_second, const int8_t* b_next, const uint8_t* a0,
                      const uint8_t* a1, const int32_t* next, int32x4_t (&acc0)[kSums],
                      int32x4_t (&acc1)[kSums]) {
  int16x8_t s16[kSums][2];
#pragma GCC unroll 2
  for (int j = 0; j < kVectors; ++j) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      s16[2 * j][i] = vmull_s8(vget_low_s8(x.b[j]), vget_low_s8(x.a[0][i]));
      s16[2 * j + 1][i] = vmull_high_s8(x.b[j], x.a[0][i]);
      fence(s16[2 * j + 1][i]);
    }
    x.b[j] = vld1q_s8(b_second + 16 * j);
  }
  load(x.a[0], a0, a1, next[0]);
#pragma GCC unroll 2
  for (int j = 0; j < kVectors; ++j) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      s16[2 * j][i] = vmlal_s8(s16[2 * j][i], vget_low_s8(x.b[j]), vget_low_s8(x.a[1][i]));
      s16[2 * j + 1][i] = vmlal_high_s8(s16[2 * j + 1][i], x.b[j], x.a[1][i]);
      fence(s16[2 * j + 1][i]);
    }
    x.b[j] = vld1q_s8(b_next + 16 * j);
  }
  load(x.a[1], a0, a1, next[1]);
#pragma GCC unroll 4
  for (int j = 0; j < kSums; ++j) {
    acc0[j] = vpadalq_s16(acc0[j], s16[j][0]);
    acc1[j] = vpadalq_s16(acc1[j], s16[j][1]);
  }
}

struct MlalSums {
  static constexpr int kNr = 8;

  template <int MR>
  static inline void add(const GemmS8Block& block, const uint8_t* const (&a)[MR],
                         int32x4_t (&sums)[MR][kNr / 4]) {
    static_assert(MR % 2 == 0, "rows come in pairs");
    int32x4_t acc[MR][kSums];
    const int32x4_t zero = vdupq_n_s32(0);
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) {
      const int32x4_t bias = vld1q_s32(block.bias + 4 * j);
#pragma GCC unroll 4
      for (int i = 0; i < MR; ++i) {
        acc[i][2 * j] = vzip1q_s32(bias, zero);
        acc[i][2 * j + 1] = vzip2q_s32(bias, zero);
      }
    }
    const int8_t* b = block.weights;
    const int32_t* offset = block.step_offset;
    Operands x;
    load(x.a[0], a[0], a[1], offset[0]);
    load(x.a[1], a[0], a[1], offset[1]);
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) x.b[j] = vld1q_s8(b + 16 * j);
    for (ptrdiff_t pairs = block.step_count / 2; pairs != 0; --pairs) {
      // The last two load themselves again.
      const int32_t* const next = pairs == 1 ? offset : offset + 2;
      const int8_t* const b_next = pairs == 1 ? b : b + 2 * kStepBytes;
#pragma GCC unroll 2
      for (int i = 0; i + 2 < MR; i += 2) {
        two_steps(x, b + kStepBytes, b, a[i + 2], a[i + 3], offset, acc[i], acc[i + 1]);
      }
      two_steps(x, b + kStepBytes, b_next, a[0], a[1], next, acc[MR - 2], acc[MR - 1]);
      offset = next;
      b = b_next;
    }
#pragma GCC unroll 4
    for (int i = 0; i < MR; ++i) {
      sums[i][0] = vpaddq_s32(acc[i][0], acc[i][1]);
      sums[i][1] = vpaddq_s32(acc[i][2], acc[i][3]);
    }
  }

  // A single row takes four steps at a time for as many independent instructions.
  static inline void add(const GemmS8Block& block, const uint8_t* const (&a)[1],
                         int32x4_t (&sums)[1][kNr / 4]) {
    int32x4_t acc[kSums] = {};
    const int8_t* b = block.weights;
    const int32_t* offset = block.step_offset;
    for (int s = block.step_count / 4; s != 0; --s, offset += 4, b += 4 * kStepBytes) {
      row_steps<2>(a[0], offset, b, acc);
    }
    if (block.step_count % 4 != 0) row_steps<1>(a[0], offset, b, acc);
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) {
      const int32x4_t sum = vpaddq_s32(acc[2 * j], acc[2 * j + 1]);
      sums[0][j] = vaddq_s32(sum, vld1q_s32(block.bias + 4 * j));
    }
  }

  template <int kPairs>
  static inline void row_steps(const uint8_t* a, const int32_t* offset, const int8_t* b,
                               int32x4_t (&acc)[kSums]) {
    int16x8_t s16[kPairs][kSums];
#pragma GCC unroll 2
    for (int second = 0; second < 2; ++second) {
#pragma GCC unroll 2
      for (int i = 0; i < kPairs; ++i) {
        const int8x16_t a_k4 = load_k4(a + offset[2 * i + second]);
#pragma GCC unroll 2
        for (int j = 0; j < kVectors; ++j) {
          const int8x16_t b_k4 = vld1q_s8(b + (2 * i + second) * kStepBytes + 16 * j);
          int16x8_t& low = s16[i][2 * j];
          int16x8_t& high = s16[i][2 * j + 1];
          if (second == 0) {
            low = vmull_s8(vget_low_s8(b_k4), vget_low_s8(a_k4));
            high = vmull_high_s8(b_k4, a_k4);
          } else {
            low = vmlal_s8(low, vget_low_s8(b_k4), vget_low_s8(a_k4));
            high = vmlal_high_s8(high, b_k4, a_k4);
          }
        }
      }
    }
#pragma GCC unroll 2
    for (int i = 0; i < kPairs; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < kSums; ++j) acc[j] = vpadalq_s16(acc[j], s16[i][j]);
    }
  }
};

}  // namespace

void gemm_s8_4x8c4_neon(const GemmS8Args& args) { dispatch<MlalSums, 4>(args); }

}  // namespace octavo
