// SPDX-License-Identifier: Apache-2.0
#include "ops/row_addresses.h"

namespace octavo {

void RowAddresses::fill(const LoopNest<2>& rows, const uint8_t* a_base, uint8_t* c_base,
                        int64_t begin, int64_t end, int mr) noexcept {
  const int64_t inner = rows.inner(), count = end - begin;
  const int64_t a_step = rows.inner_stride(0), c_step = rows.inner_stride(1);
  int64_t filled = 0, skip = begin % inner;
  rows.for_outer(1, begin / inner, (end - 1) / inner + 1, [&](const LoopNest<2>::Offsets& at) {
    const uint8_t* a_row = a_base + at.at[0] + skip * a_step;
    uint8_t* c_row = c_base + at.at[1] + skip * c_step;
    const int64_t length = std::min(inner - skip, count - filled);
    for (int64_t i = 0; i < length; ++i) a[filled + i] = a_row + i * a_step;
    for (int64_t i = 0; i < length; ++i) c[filled + i] = c_row + i * c_step;
    filled += length;
    skip = 0;
  });
  for (; filled % mr != 0; ++filled) {
    a[filled] = a[count - 1];
    c[filled] = c[count - 1];
  }
}

}  // namespace octavo
