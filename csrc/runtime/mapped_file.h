// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "base/aligned_buffer.h"
#include "runtime/container.h"

namespace octavo {

// A file's bytes, read-only: mapped (pages come in on demand and are shared between processes) or
// read into memory. A mapped file must not be truncated while in use: the kernel answers an access
// past its new end with SIGBUS. Octavo's own writer replaces files by rename, which is safe.
class MappedFile {
 public:
  // Throws Error(kInvalidArgument) with the system's reason when the file cannot be read.
  MappedFile(const char* path, bool map);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  ByteSpan bytes() const { return bytes_; }

 private:
  void read_all(int fd, const char* path, size_t size);

  ByteSpan bytes_;
  void* mapping_ = nullptr;
  AlignedBuffer copy_;
};

}  // namespace octavo
