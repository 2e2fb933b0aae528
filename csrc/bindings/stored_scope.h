// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "kernels/stored.h"

namespace octavo {

// Tests hold activations as values. While this lives, the buffers hold them as kernels of this
// architecture store them (nothing happens where that is the same). Buffers may overlap: every byte
// is turned once. What no kernel writes is as before in the end.
class StoredScope {
 public:
  explicit StoredScope(std::initializer_list<const pybind11::buffer*> buffers) {
    if (kStoredFlip == 0) return;
    for (const pybind11::buffer* buffer : buffers) {
      const pybind11::buffer_info info = buffer->request();
      uint8_t* begin = static_cast<uint8_t*>(info.ptr);
      ranges_.push_back({begin, begin + info.size * info.itemsize});
    }
    std::sort(ranges_.begin(), ranges_.end(),
              [](const Range& a, const Range& b) { return a.begin < b.begin; });
    flip();
  }
  ~StoredScope() { flip(); }
  StoredScope(const StoredScope&) = delete;
  StoredScope& operator=(const StoredScope&) = delete;

 private:
  struct Range {
    uint8_t *begin, *end;
  };

  void flip() const {
    uint8_t* done = nullptr;
    for (const Range& range : ranges_) {
      for (uint8_t* p = std::max(range.begin, done); p < range.end; ++p) *p ^= kStoredFlip;
      done = std::max(done, range.end);
    }
  }

  std::vector<Range> ranges_;  // by begin
};

}  // namespace octavo
