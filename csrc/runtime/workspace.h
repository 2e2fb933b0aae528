// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <memory>
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
// and returning one is an atomic exchange each. There is no lock, because a fork while another
// thread holds one would leave it locked in the child for good.
class WorkspacePool {
 public:
  WorkspacePool(int64_t arena_bytes, int64_t scratch_bytes, size_t base_count);
  ~WorkspacePool();
  WorkspacePool(const WorkspacePool&) = delete;
  WorkspacePool& operator=(const WorkspacePool&) = delete;

  Workspace* acquire();  // throws Error(kLimit) when memory for another one is lacking
  void release(Workspace* workspace) noexcept;

  // The workspace that was released last, if no run holds it now; nullptr otherwise.
  Workspace* acquire_last() noexcept;

 private:
  static constexpr int kMaxIdle = 64;  // beyond, a returned workspace is freed

  std::unique_ptr<Workspace> make() const;

  int64_t arena_bytes_, scratch_bytes_;
  size_t base_count_;
  std::atomic<Workspace*> idle_[kMaxIdle] = {};  // owned; a run owns the one it took
  std::atomic<Workspace*> last_{nullptr};        // only compared, never followed
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
