// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstring>
#include <vector>

#include "base/checked.h"
#include "runtime/container.h"

namespace octavo {

// Walks the arrays of the plan section. Each is copied out once and only the copy is looked at.
class Cursor {
 public:
  explicit Cursor(ByteSpan bytes) : bytes_(bytes) {}

  template <class T>
  std::vector<T> array(size_t count, const char* what) {
    align();
    const size_t size = checked_mul_size(count, sizeof(T), what);
    if (size > bytes_.size - at_) {
      fail(ErrorCode::kFormat, "plan: %zu %s need %zu bytes, %zu are left", count, what, size,
           bytes_.size - at_);
    }
    std::vector<T> values(count);
    if (size > 0) std::memcpy(values.data(), bytes_.data + at_, size);
    at_ += size;
    return values;
  }

  void finish() {
    align();
    if (at_ != bytes_.size) {
      fail(ErrorCode::kFormat, "plan: %zu bytes after the last array", bytes_.size - at_);
    }
  }

 private:
  // Skips zero bytes up to the next multiple of 8, or the end.
  void align() {
    for (; at_ % 8 != 0 && at_ < bytes_.size; ++at_) {
      if (bytes_.data[at_] != 0)
        fail(ErrorCode::kFormat, "plan: byte %zu of padding is not 0", at_);
    }
  }

  ByteSpan bytes_;
  size_t at_ = 0;
};

}  // namespace octavo
