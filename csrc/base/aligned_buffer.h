// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "base/checked.h"

namespace octavo {

// Move-only memory, 64-byte aligned, with `slack` bytes after the end that may be read (kernels
// load whole vectors). Everything is zeroed, slack included, so that what is read there is
// the same in every run. Throws std::bad_alloc.
class AlignedBuffer {
 public:
  static constexpr size_t kAlignment = 64;

  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t size, size_t slack = 0) : size_(size) {
    const size_t padded = checked_add_size(checked_add_size(size, slack), kAlignment - 1);
    const size_t bytes = padded / kAlignment * kAlignment;
    if (bytes == 0) return;
    data_ = static_cast<uint8_t*>(std::aligned_alloc(kAlignment, bytes));
    if (data_ == nullptr) throw std::bad_alloc();
    std::memset(data_, 0, bytes);
  }
  ~AlignedBuffer() { std::free(data_); }

  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;

  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

  // The bytes from `offset` on, as values of T. The caller keeps offset aligned for T.
  template <class T>
  T* as(size_t offset = 0) {
    return reinterpret_cast<T*>(data_ + offset);
  }
  template <class T>
  const T* as(size_t offset = 0) const {
    return reinterpret_cast<const T*>(data_ + offset);
  }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace octavo
