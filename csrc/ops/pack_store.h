// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "base/bytes.h"

namespace octavo {

// Packed weights from an earlier prepare of the same plan, kernels and build. Steps ask in the
// order in which they are prepared, a step's parts in a fixed order. Bytes are
// position-independent.
class PackStore {
 public:
  virtual ~PackStore() = default;

  // What was kept at this place for the same kernel; empty when nothing was.
  virtual ByteSpan find(const char* kernel) = 0;
  // What the step uses at this place, whether found or packed now. Lives as long as the op.
  virtual void keep(const char* kernel, ByteSpan bytes) = 0;
};

// Bytes from the store if `fits` accepts them, from `pack` otherwise. `store` may be nullptr.
// The store's bytes carry a CRC and come from the same build, so `fits` guards against a file made
// to mislead: it must leave nothing unchecked that could lead a kernel out of bounds.
template <class Fits, class Pack>
FixedBytes find_or_pack(PackStore* store, const char* kernel, const Fits& fits, const Pack& pack) {
  const ByteSpan found = store != nullptr ? store->find(kernel) : ByteSpan{};
  FixedBytes bytes = found.data != nullptr && fits(found) ? FixedBytes(found) : FixedBytes(pack());
  if (store != nullptr) store->keep(kernel, bytes.span());
  return bytes;
}

}  // namespace octavo
