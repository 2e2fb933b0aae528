// SPDX-License-Identifier: Apache-2.0
#include "kernels/pool_s8/pool_s8.h"
#include "kernels/simd/partial_neon.h"
#include "kernels/simd/requant_neon.h"

namespace octavo {
namespace {

constexpr int kVector = 16;

// 16 * kVectors channels of a pixel, as they lie.
template <int kVectors>
struct Bytes {
  static constexpr int kCount = kVectors;
  static constexpr int kChannels = kVector * kVectors;
  static int8x16_t load(const uint8_t* in, int i) {
    return vreinterpretq_s8_u8(vld1q_u8(in + kVector * i));
  }
  static void store(uint8_t* out, int8x16_t v, int i) {
    vst1q_u8(out + kVector * i, vreinterpretq_u8_s8(v));
  }
};

// 1..15 channels.
struct Part {
  static constexpr int kCount = 1;
  int n;
  int8x16_t load(const uint8_t* in, int) const { return vreinterpretq_s8_u8(load_part(in, n)); }
  void store(uint8_t* out, int8x16_t v, int) const { store_part(out, vreinterpretq_u8_s8(v), n); }
};

// body(bytes, first channel) until every channel has been taken. Nothing outside the pixel may be
// read, so a last vector that is not full moves back over channels already done.
template <class Body>
inline void for_each_block(int channels, const Body& body) {
  using Wide = Bytes<4>;
  if (channels < kVector) return body(Part{channels}, 0);
  int c = 0;
  for (; c + Wide::kChannels <= channels; c += Wide::kChannels) body(Wide{}, c);
  if (c + 2 * kVector <= channels) {
    body(Bytes<2>{}, c);
    c += 2 * kVector;
  }
  if (c + kVector <= channels) {
    body(Bytes<1>{}, c);
    c += kVector;
  }
  if (c < channels) body(Bytes<1>{}, channels - kVector);
}

template <class Block>
inline void max_block(const PoolS8Args& args, const Block& bytes, int c) {
  constexpr int kCount = Block::kCount;
  int8x16_t best[kCount];
  for (int8x16_t& b : best) b = vdupq_n_s8(static_cast<int8_t>(args.requant.qmin - kStoredOffset));
  for (int i = 0; i < args.rows; ++i) {
    const uint8_t* in = args.in + i * args.row_stride + c;
    for (int j = 0; j < args.cols; ++j, in += args.pixel_stride) {
      for (int k = 0; k < kCount; ++k) best[k] = vmaxq_s8(best[k], bytes.load(in, k));
    }
  }
  const int8x16_t qmax = vdupq_n_s8(static_cast<int8_t>(args.requant.qmax - kStoredOffset));
  for (int k = 0; k < kCount; ++k) bytes.store(args.out + c, vminq_s8(best[k], qmax), k);
}

// body(first pixel, pixels) for parts of rows; settle() after every 256 pixels and at the end.
template <class Add, class Settle>
inline void for_each_run(const PoolS8Args& args, int c, const Add& add, const Settle& settle) {
  constexpr int kPixels = 256;
  int room = kPixels;
  for (int i = 0; i < args.rows; ++i) {
    const uint8_t* in = args.in + i * args.row_stride + c;
    for (int left = args.cols; left > 0;) {
      const int run = left < room ? left : room;
      add(in, run);
      in += run * args.pixel_stride;
      left -= run;
      room -= run;
      if (room > 0) continue;
      settle();
      room = kPixels;
    }
  }
  settle();
}

// Sums of 16 bits hold 256 pixels (256 * -128 = -32768) before they are added to those of 32. sdot
// with ones would add four channels of one pixel: the zips that bring four pixels of one channel
// together take more than the additions they save.
template <class Block>
inline void sum_block(const PoolS8Args& args, const Block& bytes, int c,
                      int32x4_t (&s32)[4 * Block::kCount]) {
  constexpr int kHalves = 2 * Block::kCount;
  int16x8_t s16[kHalves];
  for (int k = 0; k < kHalves; ++k) s16[k] = vdupq_n_s16(0);
  for (int k = 0; k < 2 * kHalves; ++k) {
    s32[k] = vdupq_n_s32(kStoredOffset * args.rows * args.cols - args.zero_sum);
  }
  const auto add = [&](const uint8_t* in, int pixels) {
    for (int j = 0; j < pixels; ++j, in += args.pixel_stride) {
      for (int k = 0; k < Block::kCount; ++k) {
        const int8x16_t v = bytes.load(in, k);
        s16[2 * k] = vaddw_s8(s16[2 * k], vget_low_s8(v));
        s16[2 * k + 1] = vaddw_high_s8(s16[2 * k + 1], v);
      }
    }
  };
  const auto settle = [&] {
    for (int k = 0; k < kHalves; ++k) {
      s32[2 * k] = vaddw_s16(s32[2 * k], vget_low_s16(s16[k]));
      s32[2 * k + 1] = vaddw_high_s16(s32[2 * k + 1], s16[k]);
      s16[k] = vdupq_n_s16(0);
    }
  };
  for_each_run(args, c, add, settle);
}

template <class Epilogue, class Block>
inline void average_block(const PoolS8Args& args, const Epilogue& epilogue, const Block& bytes,
                          int c) {
  int32x4_t sums[4 * Block::kCount];
  float32x4_t m[4 * Block::kCount];
  int8x16_t y[Block::kCount];
  for (float32x4_t& v : m) v = vdupq_n_f32(args.multiplier);
  sum_block(args, bytes, c, sums);
  epilogue.to_s8(sums, m, y);
  for (int k = 0; k < Block::kCount; ++k) bytes.store(args.out + c, y[k], k);
}

template <class Epilogue>
void average(const PoolS8Args& args) {
  const Epilogue epilogue(args.requant);
  for_each_block(args.channels,
                 [&](const auto& bytes, int c) { average_block(args, epilogue, bytes, c); });
}

}  // namespace

void maxpool_s8_x64_neon(const PoolS8Args& args) {
  for_each_block(args.channels, [&](const auto& bytes, int c) { max_block(args, bytes, c); });
}

void avgpool_s8_x64_neon(const PoolS8Args& args) {
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return average<FloatRneNeon>(args);
  }
}

}  // namespace octavo
