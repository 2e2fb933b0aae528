// SPDX-License-Identifier: Apache-2.0
#include "base/crc32.h"
#include "kernels/crc32/crc32.h"

namespace octavo {

uint32_t crc32_tables_scalar(const void* data, size_t size, uint32_t crc) {
  return crc32(data, size, crc);
}

}  // namespace octavo
