// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/dwconv_s8/dwconv_s8.h"
#include "kernels/simd/partial_neon.h"
#include "kernels/simd/requant_neon.h"

// What the Arm rows have in common. They walk a row in blocks of 8 channels, 64-bit loads: one zip
// makes a whole vector of two of them, the weights of a 3x3 block and all sums stay in registers,
// and cores that issue in order pair a 64-bit load with an arithmetic instruction. Two pixels of 8
// channels are requantized together.
namespace octavo {
namespace {

constexpr int kBlock = 8;

struct Block {
  const int8_t* weights;
  const int32_t* bias;
  const float* scale;
  int c, n;  // first channel; channels, 1..kBlock
};

struct Sums {  // of 8 channels
  int32x4_t lo, hi;
};

inline Sums load_bias(const Block& b) { return {vld1q_s32(b.bias), vld1q_s32(b.bias + 4)}; }

// The loads of what follows stay there: GCC 12 would fetch ahead until it runs out of registers.
inline void forget_loads() { asm volatile("" ::: "memory"); }

inline int8x8_t load_s8(const uint8_t* p) { return vreinterpret_s8_u8(vld1_u8(p)); }

// The requantized pixels of a block, in pairs. kWhole: all 8 channels exist.
template <class Epilogue, bool kAll>
class Output {
 public:
  static constexpr bool kWhole = kAll;

  Output(const DwconvS8Args& args, const Block& b)
      : epilogue_(args.requant),
        scale_{vld1q_f32(b.scale), vld1q_f32(b.scale + 4)},
        out_(args.out + b.c),
        stride_(args.out_pixel_stride),
        n_(b.n) {}

  void put(const Sums& sums) {
    const int32x4_t acc[2] = {sums.lo, sums.hi};
    store(out_, epilogue_.to_s8(acc, scale_));
    out_ += stride_;
  }

  void put(const Sums& a, const Sums& b, const Sums& c, const Sums& d) {
    const int32x4_t acc[8] = {a.lo, a.hi, b.lo, b.hi, c.lo, c.hi, d.lo, d.hi};
    const float32x4_t scale[8] = {scale_[0], scale_[1], scale_[0], scale_[1],
                                  scale_[0], scale_[1], scale_[0], scale_[1]};
    int8x16_t y[2];
    epilogue_.to_s8(acc, scale, y);
    store(y[0]);
    store(y[1]);
  }

  void put(const Sums& first, const Sums& second) {
    const int32x4_t acc[4] = {first.lo, first.hi, second.lo, second.hi};
    const float32x4_t scale[4] = {scale_[0], scale_[1], scale_[0], scale_[1]};
    store(epilogue_.to_s8(acc, scale));
  }

 private:
  void store(int8x16_t two_pixels) {
    store(out_, vget_low_s8(two_pixels));
    store(out_ + stride_, vget_high_s8(two_pixels));
    out_ += 2 * stride_;
  }

  void store(uint8_t* to, int8x8_t y) const {
    if (kWhole) {
      vst1_u8(to, vreinterpret_u8_s8(y));
    } else {
      store_few(to, vget_lane_u64(vreinterpret_u64_s8(y), 0), n_);
    }
  }

  Epilogue epilogue_;
  float32x4_t scale_[2];
  uint8_t* out_;
  ptrdiff_t stride_;
  int n_;
};

// Calls body(output, block) for every block of the layer, whose weights take `bytes`.
template <class Epilogue, class Body>
inline void for_each_block(const DwconvS8Args& args, ptrdiff_t bytes, const Body& body) {
  Block b{static_cast<const int8_t*>(args.packed.weights), args.packed.bias, args.packed.scale, 0,
          kBlock};
  for (; b.c + kBlock <= args.channels; b.c += kBlock) {
    body(Output<Epilogue, true>(args, b), b);
    b.weights += bytes;
    b.bias += kBlock;
    b.scale += kBlock;
  }
  b.n = args.channels - b.c;
  if (b.n > 0) body(Output<Epilogue, false>(args, b), b);
}

// The epilogue of the rounding mode for every block.
template <class Body>
inline void run_blocks(const DwconvS8Args& args, ptrdiff_t bytes, const Body& body) {
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return for_each_block<FloatRneNeon>(args, bytes, body);
  }
}

}  // namespace
}  // namespace octavo
