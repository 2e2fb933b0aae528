// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/aligned_buffer.h"

namespace octavo {

struct ByteSpan {
  const uint8_t* data = nullptr;
  size_t size = 0;
};

// Read-only bytes, 64-byte aligned: its own, or a part of memory that lives longer.
class FixedBytes {
 public:
  FixedBytes() = default;
  explicit FixedBytes(AlignedBuffer own) : own_(std::move(own)), bytes_{own_.data(), own_.size()} {}
  explicit FixedBytes(ByteSpan borrowed) : bytes_(borrowed) {}
  FixedBytes(FixedBytes&&) noexcept = default;
  FixedBytes& operator=(FixedBytes&&) noexcept = default;

  const uint8_t* data() const { return bytes_.data; }
  size_t size() const { return bytes_.size; }
  ByteSpan span() const { return bytes_; }

  // The bytes from `offset` on, as values of T. The caller keeps offset aligned for T.
  template <class T>
  const T* as(size_t offset = 0) const {
    return reinterpret_cast<const T*>(bytes_.data + offset);
  }

 private:
  AlignedBuffer own_;
  ByteSpan bytes_;  // of own_, or of somebody else
};

}  // namespace octavo
