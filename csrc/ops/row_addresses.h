// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ops/loop_nest.h"

namespace octavo {

// Rows per kernel call. 256 addresses for A and C are 4 KiB of stack, and enough rows for the
// packed weights, which stream through once per call, to cost little.
inline constexpr int64_t kMaxRows = 256;

struct RowAddresses {
  const uint8_t* a[kMaxRows];
  uint8_t* c[kMaxRows];

  // Addresses of rows [begin, end) of a loop nest over (input row, output row), at most kMaxRows,
  // the last one repeated up to a multiple of `mr`.
  void fill(const LoopNest<2>& rows, const uint8_t* a_base, uint8_t* c_base, int64_t begin,
            int64_t end, int mr) noexcept;
};

}  // namespace octavo
