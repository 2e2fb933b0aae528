// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "base/aligned_buffer.h"

namespace octavo {

// The memory of one run in flight.
struct Workspace {
  Workspace(int64_t arena_bytes, int64_t scratch_bytes, size_t base_count);

  AlignedBuffer arena, scratch;
  std::vector<uint8_t*> bases;  // arena, inputs…, outputs…
};

// Workspaces of one executor: the first is made in advance, further ones when runs overlap. Taking
// and returning the first is one atomic exchange each.
class WorkspacePool {
 public:
  WorkspacePool(int64_t arena_bytes, int64_t scratch_bytes, size_t base_count);

  Workspace* acquire();  // throws Error(kLimit) when memory for another one is lacking
  void release(Workspace* workspace) noexcept;

  // The workspace that was released last, if no run holds it now; nullptr otherwise.
  Workspace* acquire_last() noexcept;

 private:
  Workspace* acquire_slow();
  std::unique_ptr<Workspace> make() const;

  int64_t arena_bytes_, scratch_bytes_;
  size_t base_count_;
  std::atomic<Workspace*> ready_{nullptr};
  std::atomic<Workspace*> last_{nullptr};
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> all_;  // under mutex_
  std::vector<Workspace*> free_;                 // under mutex_; capacity for all of all_
};

// Returns the workspace when the scope ends.
class WorkspaceLease {
 public:
  explicit WorkspaceLease(WorkspacePool* pool) : pool_(pool), workspace_(pool->acquire()) {}
  ~WorkspaceLease() { pool_->release(workspace_); }
  WorkspaceLease(const WorkspaceLease&) = delete;
  WorkspaceLease& operator=(const WorkspaceLease&) = delete;
  Workspace& operator*() const { return *workspace_; }
  Workspace* operator->() const { return workspace_; }

 private:
  WorkspacePool* pool_;
  Workspace* workspace_;
};

}  // namespace octavo
