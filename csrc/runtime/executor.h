// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "ops/op.h"
#include "runtime/pack_cache.h"
#include "runtime/plan.h"
#include "runtime/workspace.h"

namespace octavo {

// nullptr or "": the best row of this CPU. Throws Error(kIsa) listing the usable names for an
// unknown or unusable one.
Isa usable_isa(const char* name);

// A plan made ready for one ISA and thread count. All methods may be called from many threads.
class Executor {
 public:
  // threads: 0 means every CPU this process may use. kernels: by step, one of step_kernels() or ""
  // for the cost model's choice; may be shorter than the plan. packs: where weights packed before
  // are found, or nullptr.
  Executor(std::shared_ptr<const LoadedPlan> plan, Isa cap, int threads,
           const std::vector<std::string>& kernels = {},
           std::unique_ptr<PackCache> packs = nullptr);

  // Addresses of the model's inputs and outputs in order, each of the size and alignment of its
  // element type, outputs overlapping nothing. Allocates only when runs overlap in time; throws
  // Error(kLimit) if that fails, nothing else.
  void run(const uint8_t* const* inputs, uint8_t* const* outputs);

  // Nanoseconds per step (halo fills count to their step) of each of `repeats` runs.
  std::vector<std::vector<int64_t>> profile(const uint8_t* const* inputs, uint8_t* const* outputs,
                                            int repeats);

  // Copies an arena tensor as the last run left it, C order. Meaningful when the plan reuses no
  // bytes.
  void read_tensor(const Tensor& tensor, uint8_t* out);
  // Fills the free workspace with a byte: results must not depend on what lay there (tests).
  void poison(uint8_t value);

  const Plan& plan() const { return loaded_->plan(); }
  const PackCache* packs() const { return packs_.get(); }
  const OpInfo& step_info(size_t step) const { return *infos_[step]; }
  int threads() const { return threads_; }
  int64_t scratch_bytes() const { return scratch_bytes_; }
  int64_t packed_bytes() const { return packed_bytes_; }

 private:
  struct Instruction {
    std::unique_ptr<Op> op;
    size_t step;
  };
  void prepare(Isa cap, const std::vector<std::string>& kernels);
  void add(std::unique_ptr<Op> op, size_t step);
  RunContext bind(Workspace* workspace, const uint8_t* const* inputs,
                  uint8_t* const* outputs) const noexcept;

  std::shared_ptr<const LoadedPlan> loaded_;
  std::unique_ptr<PackCache> packs_;  // its file holds weights that steps read
  int threads_;
  std::vector<Instruction> program_;
  std::vector<const OpInfo*> infos_;  // by step
  int64_t scratch_bytes_ = 0, packed_bytes_ = 0;
  int64_t parallel_cycles_ = 0;  // of the steps that use several threads
  std::unique_ptr<WorkspacePool> workspaces_;
};

}  // namespace octavo
