// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

// How an 8-bit activation lies in the arena. vpdpbusd and vpmaddubsw take an unsigned activation
// and a signed weight, smull, sdot and smmla two signed numbers: so x86 stores the value q of
// docs/numerics.md, 0..255, as u8, and Arm stores q - 128 as s8, the same bits but the highest. The
// bytes are turned where a plan meets its caller; plan, zero points and results are the same on
// both. Zero points in kernel arguments are always those of q.
namespace octavo {

#if defined(__aarch64__)
inline constexpr uint8_t kStoredFlip = 0x80;  // stored byte = value ^ kStoredFlip
#else
inline constexpr uint8_t kStoredFlip = 0;
#endif
inline constexpr int32_t kStoredOffset = kStoredFlip;

// static: files compiled for different instruction sets must not share an inline function.
static inline int32_t value_of(uint8_t stored) { return stored ^ kStoredFlip; }
// The byte as the multipliers see it, s8 or u8: value - kStoredOffset.
static inline int32_t number_of(uint8_t stored) { return value_of(stored) - kStoredOffset; }
static inline uint8_t stored_of(int32_t value) { return static_cast<uint8_t>(value ^ kStoredFlip); }

}  // namespace octavo
