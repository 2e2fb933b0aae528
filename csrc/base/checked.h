// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/error.h"

// The one place where sizes, offsets and shapes are multiplied and added. Every number that comes
// from a file or a caller goes through here before it becomes a length or an address.
namespace octavo {
namespace checked_internal {

template <class T>
[[noreturn]] void overflow(const char* what, T a, char op, T b) {
  fail(ErrorCode::kLimit, "%s: %lld %c %lld overflows", what, static_cast<long long>(a), op,
       static_cast<long long>(b));
}

}  // namespace checked_internal

inline int64_t checked_mul(int64_t a, int64_t b, const char* what = "size") {
  int64_t result;
  if (__builtin_mul_overflow(a, b, &result)) checked_internal::overflow(what, a, '*', b);
  return result;
}

inline int64_t checked_add(int64_t a, int64_t b, const char* what = "size") {
  int64_t result;
  if (__builtin_add_overflow(a, b, &result)) checked_internal::overflow(what, a, '+', b);
  return result;
}

inline size_t checked_mul_size(size_t a, size_t b, const char* what = "size") {
  size_t result;
  if (__builtin_mul_overflow(a, b, &result)) checked_internal::overflow(what, a, '*', b);
  return result;
}

inline size_t checked_add_size(size_t a, size_t b, const char* what = "size") {
  size_t result;
  if (__builtin_add_overflow(a, b, &result)) checked_internal::overflow(what, a, '+', b);
  return result;
}

// Rounds a non-negative size up to a multiple of `unit` (> 0).
inline int64_t checked_round_up(int64_t value, int64_t unit, const char* what = "size") {
  return checked_add(value, unit - 1, what) / unit * unit;
}

// int64 to int32, for dimensions that kernels take as int32.
inline int32_t checked_int32(int64_t value, const char* what = "size") {
  if (value < INT32_MIN || value > INT32_MAX) {
    fail(ErrorCode::kLimit, "%s: %lld does not fit 32 bits", what, static_cast<long long>(value));
  }
  return static_cast<int32_t>(value);
}

}  // namespace octavo
