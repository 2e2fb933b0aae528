// SPDX-License-Identifier: Apache-2.0
#include "runtime/workspace.h"

#include <unistd.h>

#include "base/checked.h"
#include "ops/tensor.h"

namespace octavo {
namespace {

// More than the machine has could only be killed for it, if the system granted it at all.
void check_memory(int64_t bytes) {
  const int64_t pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGESIZE);
  if (pages > 0 && page > 0 && bytes / page >= pages) {
    fail(ErrorCode::kLimit, "the plan needs %lld bytes of memory, this machine has %lld",
         static_cast<long long>(bytes), static_cast<long long>(pages * page));
  }
}

}  // namespace

Workspace::Workspace(int64_t arena_bytes, int64_t scratch_bytes, size_t base_count)
    : arena(static_cast<size_t>(arena_bytes), kReadSlack),
      scratch(static_cast<size_t>(scratch_bytes), kReadSlack),
      bases(base_count) {
  bases[0] = arena.data();
}

WorkspacePool::WorkspacePool(int64_t arena_bytes, int64_t scratch_bytes, size_t base_count)
    : arena_bytes_(arena_bytes), scratch_bytes_(scratch_bytes), base_count_(base_count) {
  release(make().release());
}

WorkspacePool::~WorkspacePool() {
  for (const std::atomic<Workspace*>& slot : idle_) delete slot.load(std::memory_order_acquire);
}

std::unique_ptr<Workspace> WorkspacePool::make() const {
  const int64_t bytes = checked_add(arena_bytes_, scratch_bytes_, "workspace");
  check_memory(bytes);
  try {
    return std::make_unique<Workspace>(arena_bytes_, scratch_bytes_, base_count_);
  } catch (const std::bad_alloc&) {
    fail(ErrorCode::kLimit, "no memory for an arena of %lld and scratch of %lld bytes",
         static_cast<long long>(arena_bytes_), static_cast<long long>(scratch_bytes_));
  }
}

Workspace* WorkspacePool::acquire() {
  for (std::atomic<Workspace*>& slot : idle_) {
    if (slot.load(std::memory_order_relaxed) == nullptr) continue;
    Workspace* workspace = slot.exchange(nullptr, std::memory_order_acquire);
    if (workspace != nullptr) return workspace;
  }
  return make().release();
}

void WorkspacePool::release(Workspace* workspace) noexcept {
  last_.store(workspace, std::memory_order_relaxed);
  for (std::atomic<Workspace*>& slot : idle_) {
    Workspace* expected = nullptr;
    if (slot.compare_exchange_strong(expected, workspace, std::memory_order_release,
                                     std::memory_order_relaxed)) {
      return;
    }
  }
  delete workspace;
}

Workspace* WorkspacePool::acquire_last() noexcept {
  Workspace* last = last_.load(std::memory_order_relaxed);
  for (std::atomic<Workspace*>& slot : idle_) {
    Workspace* expected = last;
    if (slot.compare_exchange_strong(expected, nullptr, std::memory_order_acquire,
                                     std::memory_order_relaxed)) {
      return last;
    }
  }
  return nullptr;
}

}  // namespace octavo
