// SPDX-License-Identifier: Apache-2.0
#include <arm_neon.h>

#include "kernels/lut_s8/lut_s8.h"

namespace octavo {
namespace {

constexpr int64_t kBlock = 16;

// The whole table in 16 registers. tbl looks up 64 entries and gives 0 for an index past them, tbx
// leaves the destination alone: of four look-ups, each with the index moved by a quarter, one hits.
struct Table {
  uint8x16x4_t quarter[4];

  explicit Table(const uint8_t* table) {
    for (int i = 0; i < 4; ++i) {
      for (int k = 0; k < 4; ++k) quarter[i].val[k] = vld1q_u8(table + 64 * i + kBlock * k);
    }
  }

  template <int kBlocks>
  void look_up(const uint8_t* in, uint8_t* out) const {
    uint8x16_t index[kBlocks], y[kBlocks];
    for (int i = 0; i < kBlocks; ++i) index[i] = vld1q_u8(in + i * kBlock);
    look_up(index, y);
    for (int i = 0; i < kBlocks; ++i) vst1q_u8(out + i * kBlock, y[i]);
  }

  template <int kBlocks>
  void look_up(const uint8x16_t (&index)[kBlocks], uint8x16_t (&y)[kBlocks]) const {
    for (int i = 0; i < kBlocks; ++i) y[i] = vqtbl4q_u8(quarter[0], index[i]);
    for (int k = 1; k < 4; ++k) {
      const uint8x16_t start = vdupq_n_u8(static_cast<uint8_t>(64 * k));
      for (int i = 0; i < kBlocks; ++i)
        y[i] = vqtbx4q_u8(y[i], quarter[k], veorq_u8(index[i], start));
    }
  }
};

}  // namespace

void lut_s8_x64_neon(const LutS8Args& args) {
  const uint8_t* in = args.in;
  uint8_t* out = args.out;
  const int64_t n = args.n;
  int64_t i = 0;
  if (n < kBlock) {
    for (; i < n; ++i) out[i] = args.table[in[i]];
    return;
  }
  const Table table(args.table);
  // The last block overlaps the one before: read first, because out may be in.
  const uint8x16_t last[1] = {vld1q_u8(in + n - kBlock)};
  for (; i + 4 * kBlock <= n; i += 4 * kBlock) table.look_up<4>(in + i, out + i);
  for (; i + kBlock <= n; i += kBlock) table.look_up<1>(in + i, out + i);
  if (i == n) return;
  uint8x16_t y[1];
  table.look_up(last, y);
  vst1q_u8(out + n - kBlock, y[0]);
}

}  // namespace octavo
