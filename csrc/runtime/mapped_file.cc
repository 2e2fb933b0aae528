// SPDX-License-Identifier: Apache-2.0
#include "runtime/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace octavo {
namespace {

[[noreturn]] void fail_errno(const char* path, const char* what) {
  fail(ErrorCode::kInvalidArgument, "cannot %s '%.400s': %s", what, path, std::strerror(errno));
}

class Descriptor {
 public:
  explicit Descriptor(const char* path)
      // O_NONBLOCK: opening a FIFO must not wait for a writer; it is refused below.
      : fd_(::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (fd_ < 0) fail_errno(path, "open");
  }
  ~Descriptor() { ::close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

MappedFile::MappedFile(const char* path, bool map) {
  const Descriptor file(path);
  struct stat info;
  if (::fstat(file.get(), &info) != 0) fail_errno(path, "examine");
  if (!S_ISREG(info.st_mode)) {
    fail(ErrorCode::kInvalidArgument, "cannot open '%.400s': not a regular file", path);
  }
  const size_t size = static_cast<size_t>(info.st_size);
  if (size == 0) fail(ErrorCode::kFormat, "octavo file '%.400s' is empty", path);
  if (!map) {
    read_all(file.get(), path, size);
    return;
  }
  void* mapping = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (mapping == MAP_FAILED) fail_errno(path, "map");
  mapping_ = mapping;
  bytes_ = {static_cast<const uint8_t*>(mapping), size};
}

void MappedFile::read_all(int fd, const char* path, size_t size) {
  copy_ = AlignedBuffer(size);
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(fd, copy_.data() + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_errno(path, "read");
    if (got == 0) fail(ErrorCode::kFormat, "octavo file '%.400s' shrank while it was read", path);
    done += static_cast<size_t>(got);
  }
  bytes_ = {copy_.data(), size};
}

MappedFile::~MappedFile() {
  if (mapping_ != nullptr) ::munmap(mapping_, bytes_.size);
}

}  // namespace octavo
