// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <arm_neon.h>

#include <cstdint>
#include <cstring>

// The ends of rows: exactly n bytes are read or written, n in 1..15. Two moves that overlap serve
// every n of a class, so the only branches are on the class.
namespace octavo {
namespace {

template <class T>
inline uint64_t bytes_at(const uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

template <class T>
inline void put_bytes(uint8_t* p, uint64_t value) {
  const T low = static_cast<T>(value);
  std::memcpy(p, &low, sizeof low);
}

// n in 1..8, into the low bytes; the others are 0.
inline uint64_t load_few(const uint8_t* p, int n) {
  if (n >= 4) {
    const uint64_t last = bytes_at<uint32_t>(p + n - 4);
    return bytes_at<uint32_t>(p) | last << (8 * (n - 4));
  }
  const uint64_t middle = p[n / 2], last = p[n - 1];
  return p[0] | middle << (8 * (n / 2)) | last << (8 * (n - 1));
}

inline void store_few(uint8_t* p, uint64_t v, int n) {
  if (n >= 4) {
    put_bytes<uint32_t>(p, v);
    put_bytes<uint32_t>(p + n - 4, v >> (8 * (n - 4)));
    return;
  }
  p[n / 2] = static_cast<uint8_t>(v >> (8 * (n / 2)));
  p[n - 1] = static_cast<uint8_t>(v >> (8 * (n - 1)));
  p[0] = static_cast<uint8_t>(v);
}

inline uint8x16_t load_part(const uint8_t* p, int n) {
  if (n <= 8) return vcombine_u8(vcreate_u8(load_few(p, n)), vcreate_u8(0));
  const uint64_t last = bytes_at<uint64_t>(p + n - 8) >> (8 * (16 - n));
  return vcombine_u8(vld1_u8(p), vcreate_u8(last));
}

inline void store_part(uint8_t* p, uint8x16_t v, int n) {
  const uint64_t first = vgetq_lane_u64(vreinterpretq_u64_u8(v), 0);
  if (n <= 8) return store_few(p, first, n);
  vst1_u8(p, vget_low_u8(v));
  store_few(p + 8, vgetq_lane_u64(vreinterpretq_u64_u8(v), 1), n - 8);
}

}  // namespace
}  // namespace octavo
