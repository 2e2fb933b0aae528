// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm_s8/neon_tile.h"

// smmla multiplies 2 rows by 2 columns over 8 k: twice the rate of sdot, but two rows of A must
// meet in a register, which takes a slot of the vector pipes. Wide tiles pay for it: 3 pairs and 24
// products in 6x16, 4 and 16 in 8x8.
namespace octavo {
namespace {

inline int8x8_t load_k8(const uint8_t* a) { return vld1_s8(reinterpret_cast<const int8_t*>(a)); }

// A pair of rows; the only row of a tile has 0 for company.
template <int MR>
inline int8x16_t load_pair(const uint8_t* const (&a)[MR], int pair, ptrdiff_t k) {
  const int8x8_t first = load_k8(a[2 * pair] + k);
  if constexpr (MR == 1) return vcombine_s8(first, vdup_n_s8(0));
  return vcombine_s8(first, load_k8(a[2 * pair + 1] + k));
}

inline int32x4_t low_halves(int32x4_t a, int32x4_t b) {
  return vreinterpretq_s32_s64(vuzp1q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}
inline int32x4_t high_halves(int32x4_t a, int32x4_t b) {
  return vreinterpretq_s32_s64(vuzp2q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}

template <int NR>
struct SmmlaSums {
  static constexpr int kNr = NR;
  static constexpr int kPairs = NR / 2;  // of columns
  static constexpr int kStepBytes = NR * 8;

  template <int MR>
  static inline void add(const GemmS8Block& block, const uint8_t* const (&a)[MR],
                         int32x4_t (&sums)[MR][NR / 4]) {
    static_assert(MR == 1 || MR % 2 == 0, "rows come in pairs");
    constexpr int kRowPairs = (MR + 1) / 2;
    int32x4_t acc[kRowPairs][kPairs];  // {row 0, row 1} x {column 0, column 1}
#pragma GCC unroll 8
    for (int j = 0; j < kPairs; ++j) {
      const int32x2_t bias = vld1_s32(block.bias + 2 * j);
#pragma GCC unroll 4
      for (int i = 0; i < kRowPairs; ++i) acc[i][j] = vcombine_s32(bias, bias);
    }
    const int8_t* b = block.weights;
    const int32_t* offset = block.step_offset;
    const int32_t* const end = offset + block.step_count;
    for (; offset != end; ++offset, b += kStepBytes) {
      const ptrdiff_t k = *offset;
      int8x16_t a_k8[kRowPairs];
#pragma GCC unroll 4
      for (int i = 0; i < kRowPairs; ++i) a_k8[i] = load_pair(a, i, k);
#pragma GCC unroll 8
      for (int j = 0; j < kPairs; ++j) {
        const int8x16_t b_k8 = vld1q_s8(b + 16 * j);
        // One load at a time: gcc 12 otherwise loads the whole step and spills accumulators.
        __asm__ volatile("" : : : "memory");
#pragma GCC unroll 4
        for (int i = 0; i < kRowPairs; ++i) {
          acc[i][j] = vmmlaq_s32(acc[i][j], a_k8[i], b_k8);
        }
      }
    }
#pragma GCC unroll 4
    for (int j = 0; j < NR / 4; ++j) {
#pragma GCC unroll 4
      for (int i = 0; i < kRowPairs; ++i) {
        sums[2 * i][j] = low_halves(acc[i][2 * j], acc[i][2 * j + 1]);
        if (2 * i + 1 < MR) sums[2 * i + 1][j] = high_halves(acc[i][2 * j], acc[i][2 * j + 1]);
      }
    }
  }
};

}  // namespace

void gemm_s8_6x16c8_neoni8mm(const GemmS8Args& args) { dispatch<SmmlaSums<16>, 6>(args); }
void gemm_s8_8x8c8_neoni8mm(const GemmS8Args& args) { dispatch<SmmlaSums<8>, 8>(args); }

}  // namespace octavo
