// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm_s8/neon_tile.h"

// sdot tiles of 16 accumulators. A dword of A comes by `ldr s`, which needs no vector pipe (ld1r
// does), and sdot takes it by lane: nothing but sdot occupies the vector pipes.
namespace octavo {
namespace {

inline int8x8_t load_k4(const uint8_t* a) {
  uint32_t k4;
  std::memcpy(&k4, a, sizeof k4);
  return vcreate_s8(k4);
}

// Loads below stay below, whatever the compiler thinks of their latency.
inline void fence(int32x4_t& sum) { __asm__ volatile("" : "+w"(sum) : : "memory"); }

template <int NR>
struct SdotSums {
  static constexpr int kNr = NR;
  static constexpr int kQuads = NR / 4;
  static constexpr int kStepBytes = NR * 4;

  // In-order cores issue in the order of the program: every operand is loaded for the next step
  // right behind its last use in this one, so that no sdot waits, each load is issued beside one,
  // and no second set of registers is needed.
  template <int MR>
  static inline void add(const GemmS8Block& block, const uint8_t* const (&a)[MR],
                         int32x4_t (&sums)[MR][kQuads]) {
    const int32_t* offset = block.step_offset;
    const int8_t* b[kQuads];
    int8x8_t a_k4[MR];
    int8x16_t b_k4[kQuads];
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) a_k4[i] = load_k4(a[i] + offset[0]);
#pragma GCC unroll 4
    for (int j = 0; j < kQuads; ++j) {
      b[j] = block.weights + 16 * j;
      __asm__("" : "+r"(b[j]));  // one index for all of them, no additions
      b_k4[j] = vld1q_s8(b[j]);
#pragma GCC unroll 8
      for (int i = 0; i < MR; ++i) sums[i][j] = vld1q_s32(block.bias + 4 * j);
    }
    const ptrdiff_t end = block.step_count;
    ptrdiff_t at = 0;
#pragma GCC unroll 4
    for (ptrdiff_t s = 1; s != end; ++s) {
      at += kStepBytes;
      __asm__("" : "+r"(at));
      const ptrdiff_t k = offset[s];
#pragma GCC unroll 4
      for (int j = 0; j < kQuads; ++j) {
#pragma GCC unroll 8
        for (int i = 0; i < MR; ++i) {
          sums[i][j] = vdotq_lane_s32(sums[i][j], b_k4[j], a_k4[i], 0);
          fence(sums[i][j]);
          if (j == kQuads - 1) a_k4[i] = load_k4(a[i] + k);
        }
        b_k4[j] = vld1q_s8(b[j] + at);
      }
    }
#pragma GCC unroll 4
    for (int j = 0; j < kQuads; ++j) {
#pragma GCC unroll 8
      for (int i = 0; i < MR; ++i) sums[i][j] = vdotq_lane_s32(sums[i][j], b_k4[j], a_k4[i], 0);
    }
  }

  // One row would wait for its own sums: steps side by side make 8 chains of them.
  static inline void add(const GemmS8Block& block, const uint8_t* const (&a)[1],
                         int32x4_t (&sums)[1][kQuads]) {
    constexpr int kSteps = 8 / kQuads;
    const int32_t* offset = block.step_offset;
    const int8_t* b = block.weights;
    int32x4_t part[kSteps][kQuads] = {};
#pragma GCC unroll 4
    for (int j = 0; j < kQuads; ++j) part[0][j] = vld1q_s32(block.bias + 4 * j);
    const ptrdiff_t rest = block.step_count % kSteps;
    for (ptrdiff_t s = 0; s != rest; ++s, b += kStepBytes) {
      const int8x8_t a_k4 = load_k4(a[0] + *offset++);
#pragma GCC unroll 4
      for (int j = 0; j < kQuads; ++j) {
        part[0][j] = vdotq_lane_s32(part[0][j], vld1q_s8(b + 16 * j), a_k4, 0);
      }
    }
    add_steps(a[0], offset, b, block.step_count / kSteps, part);
#pragma GCC unroll 4
    for (int j = 0; j < kQuads; ++j) {
      sums[0][j] = part[0][j];
#pragma GCC unroll 4
      for (int s = 1; s < kSteps; ++s) sums[0][j] = vaddq_s32(sums[0][j], part[s][j]);
    }
  }

  // `count` times kSteps steps.
  template <int kSteps>
  static inline void add_steps(const uint8_t* a, const int32_t* offset, const int8_t* b,
                               ptrdiff_t count, int32x4_t (&part)[kSteps][kQuads]) {
    if (count == 0) return;
    int8x8_t a_k4[kSteps];
    int8x16_t b_k4[kSteps][kQuads];
#pragma GCC unroll 4
    for (int s = 0; s < kSteps; ++s) {
      a_k4[s] = load_k4(a + offset[s]);
#pragma GCC unroll 4
      for (int j = 0; j < kQuads; ++j) b_k4[s][j] = vld1q_s8(b + s * kStepBytes + 16 * j);
    }
    while (--count != 0) {
      offset += kSteps;
      b += kSteps * kStepBytes;
#pragma GCC unroll 4
      for (int s = 0; s < kSteps; ++s) {
        const ptrdiff_t k = offset[s];
#pragma GCC unroll 4
        for (int j = 0; j < kQuads; ++j) {
          part[s][j] = vdotq_lane_s32(part[s][j], b_k4[s][j], a_k4[s], 0);
          fence(part[s][j]);
          b_k4[s][j] = vld1q_s8(b + s * kStepBytes + 16 * j);
        }
        a_k4[s] = load_k4(a + k);
      }
    }
#pragma GCC unroll 4
    for (int s = 0; s < kSteps; ++s) {
#pragma GCC unroll 4
      for (int j = 0; j < kQuads; ++j) {
        part[s][j] = vdotq_lane_s32(part[s][j], b_k4[s][j], a_k4[s], 0);
      }
    }
  }
};

}  // namespace

void gemm_s8_8x8c4_neondot(const GemmS8Args& args) { dispatch<SdotSums<8>, 8>(args); }
void gemm_s8_4x16c4_neondot(const GemmS8Args& args) { dispatch<SdotSums<16>, 4>(args); }

}  // namespace octavo
