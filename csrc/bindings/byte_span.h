// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <pybind11/pybind11.h>

#include <cstdint>

#include "base/error.h"

namespace octavo {

// The address of `bytes` bytes from `offset` on in a contiguous Python buffer, bounds checked: the
// kernels behind the test bindings trust their sizes. Offsets make unaligned pointers.
inline uint8_t* byte_span(const pybind11::buffer& object, int64_t offset, int64_t bytes,
                          bool writable) {
  const pybind11::buffer_info info = object.request(writable);
  if (!PyBuffer_IsContiguous(info.view(), 'C')) {
    fail(ErrorCode::kInvalidArgument, "buffer is not C-contiguous");
  }
  const int64_t size = info.size * info.itemsize;
  if (offset < 0 || bytes < 0 || offset > size || bytes > size - offset) {
    fail(ErrorCode::kInvalidArgument, "bytes [%lld, +%lld) are outside a buffer of %lld bytes",
         static_cast<long long>(offset), static_cast<long long>(bytes),
         static_cast<long long>(size));
  }
  return static_cast<uint8_t*>(info.ptr) + offset;
}

}  // namespace octavo
