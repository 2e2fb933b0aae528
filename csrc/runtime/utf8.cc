// SPDX-License-Identifier: Apache-2.0
#include "runtime/utf8.h"

namespace octavo {

bool is_utf8(const char* text, size_t size) {
  size_t i = 0;
  while (i < size) {
    const uint8_t lead = static_cast<uint8_t>(text[i++]);
    if (lead < 0x80) continue;
    const int tail = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || size - i < static_cast<size_t>(tail)) return false;
    uint32_t code = lead & (0x3fu >> tail);
    for (int t = 0; t < tail; ++t) {
      const uint8_t next = static_cast<uint8_t>(text[i++]);
      if ((next & 0xc0) != 0x80) return false;
      code = code << 6 | (next & 0x3f);
    }
    constexpr uint32_t kSmallest[] = {0, 0x80, 0x800, 0x10000};
    if (code < kSmallest[tail] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
      return false;
  }
  return true;
}

}  // namespace octavo
