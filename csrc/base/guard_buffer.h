// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

namespace octavo {

enum class GuardEdge : uint8_t { kEnd, kStart };

// Test memory between two inaccessible pages, so that a kernel's stray access faults at once.
// Flush against the page after its end (kEnd: the first byte past the end faults) or the page
// before its start (kStart). The rest of the mapping is filled with 0xcd. Unaligned unless size is
// a multiple of the page size, which kernels must tolerate anyway.
class GuardBuffer {
 public:
  explicit GuardBuffer(size_t size, GuardEdge edge = GuardEdge::kEnd);  // throws std::bad_alloc
  ~GuardBuffer();
  GuardBuffer(const GuardBuffer&) = delete;
  GuardBuffer& operator=(const GuardBuffer&) = delete;

  uint8_t* data() { return data_; }
  size_t size() const { return size_; }

 private:
  uint8_t* data_;
  size_t size_;
  void* mapping_;
  size_t mapping_bytes_;
};

}  // namespace octavo
