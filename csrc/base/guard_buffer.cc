// SPDX-License-Identifier: Apache-2.0
#include "base/guard_buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <new>

#include "base/checked.h"

namespace octavo {

GuardBuffer::GuardBuffer(size_t size, GuardEdge edge) : size_(size) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t usable = checked_add_size(size, page - 1) / page * page;
  mapping_bytes_ = checked_add_size(usable, 2 * page);
  mapping_ = mmap(nullptr, mapping_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping_ == MAP_FAILED) throw std::bad_alloc();
  uint8_t* first = static_cast<uint8_t*>(mapping_) + page;
  if (usable > 0) {
    if (mprotect(first, usable, PROT_READ | PROT_WRITE) != 0) {
      munmap(mapping_, mapping_bytes_);
      throw std::bad_alloc();
    }
    std::memset(first, 0xcd, usable);
  }
  data_ = edge == GuardEdge::kEnd ? first + (usable - size) : first;
}

GuardBuffer::~GuardBuffer() { munmap(mapping_, mapping_bytes_); }

}  // namespace octavo
