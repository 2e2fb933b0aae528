// SPDX-License-Identifier: Apache-2.0
#include "runtime/executor.h"

#include <chrono>
#include <cstring>
#include <string>
#include <unordered_map>

#include "base/fpenv.h"
#include "base/parallel.h"
#include "ops/halo.h"
#include "ops/strided_copy.h"

namespace octavo {
namespace {

constexpr int kMaxThreads = 256;
constexpr size_t kMaxInstructions = 1 << 20;

std::string usable_names() {
  std::string names;
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa isa = static_cast<Isa>(i);
    if (!isa_usable(isa, isa)) continue;
    names += names.empty() ? "" : ", ";
    names += isa_name(isa);
  }
  return names;
}

// Same storage: the same first element and the same dims up to order, as of a permuted view.
bool same_storage(const Tensor& a, const Tensor& b) {
  if (a.base != b.base || a.offset != b.offset || a.rank != b.rank) return false;
  bool used[kMaxRank] = {};
  for (int i = 0; i < a.rank; ++i) {
    bool found = a.dims[i] == 1;
    for (int j = 0; j < b.rank && !found; ++j) {
      found = !used[j] && a.dims[i] == b.dims[j] && a.strides[i] == b.strides[j];
      if (found) used[j] = true;
    }
    if (!found) return false;
  }
  return a.elements() == b.elements();
}

// Which halos hold their tensor's pad value at a point of the program. Tensors with the same first
// byte, views and former tenants of the place alike, may have other pad values and wider halos: so
// a halo is filled only before a step that reads its tensor.
class HaloState {
 public:
  explicit HaloState(const Plan& plan) : plan_(plan), filled_(plan.tensors.size(), false) {
    for (size_t t = 0; t < plan.tensors.size(); ++t) {
      if (plan.tensors[t].halo.any()) halos_.emplace(plan.tensors[t].offset, t);
    }
  }

  // A step, or the filling of another halo, wrote around these bytes.
  void invalidate(const Tensor& written) {
    const auto range = halos_.equal_range(written.offset);
    for (auto found = range.first; found != range.second; ++found) {
      if (same_storage(plan_.tensors[found->second], written)) filled_[found->second] = false;
    }
  }

  // Must the halo be filled now? From here on it counts as filled.
  bool claim(const Tensor& read) {
    const size_t index = static_cast<size_t>(&read - plan_.tensors.data());
    if (!read.halo.any() || filled_[index]) return false;
    invalidate(read);
    filled_[index] = true;
    return true;
  }

 private:
  const Plan& plan_;
  std::vector<bool> filled_;                        // by tensor
  std::unordered_multimap<int64_t, size_t> halos_;  // tensors by offset
};

}  // namespace

Isa usable_isa(const char* name) {
  if (name == nullptr || *name == '\0') return best_isa();
  Isa isa;
  if (!parse_isa(name, &isa)) {
    fail(ErrorCode::kIsa, "unknown ISA '%.64s'; usable here: %s", name, usable_names().c_str());
  }
  if (!isa_usable(isa, isa)) {
    fail(ErrorCode::kIsa, "ISA '%s' is not %s; usable here: %s", name,
         isa_built(isa) ? "offered by this CPU" : "built into this wheel", usable_names().c_str());
  }
  return isa;
}

Executor::Executor(std::shared_ptr<const LoadedPlan> plan, Isa cap, int threads)
    : loaded_(std::move(plan)), threads_(threads == 0 ? available_cpus() : threads) {
  if (threads_ < 1 || threads_ > kMaxThreads) {
    fail(ErrorCode::kInvalidArgument, "threads is %d, must be 0 (all CPUs) to %d", threads,
         kMaxThreads);
  }
  prepare(cap);
  const size_t bases = 1 + this->plan().inputs.size() + this->plan().outputs.size();
  workspaces_ = std::make_unique<WorkspacePool>(this->plan().arena_bytes, scratch_bytes_, bases);
}

void Executor::prepare(Isa cap) {
  const Plan& p = plan();
  const PrepareContext context{cap, threads_};
  HaloState halos(p);
  for (size_t s = 0; s < p.steps.size(); ++s) {
    const StepView& step = p.steps[s];
    for (int i = 0; i < step.inputs.count; ++i) {
      if (halos.claim(step.input(i))) add(std::make_unique<HaloFill>(step.input(i)), s);
    }
    add(prepare_op(step, context), s);
    const Op& op = *program_.back().op;
    infos_.push_back(&op.info());
    scratch_bytes_ = std::max(scratch_bytes_, op.scratch_bytes());
    packed_bytes_ += op.packed_bytes();
    for (int i = 0; i < step.outputs.count; ++i) halos.invalidate(step.output(i));
  }
}

void Executor::add(std::unique_ptr<Op> op, size_t step) {
  if (program_.size() > kMaxInstructions) {
    fail(ErrorCode::kLimit, "plan: more than %zu steps and halo fills", kMaxInstructions);
  }
  program_.push_back({std::move(op), step});
}

RunContext Executor::bind(Workspace* workspace, const uint8_t* const* inputs,
                          uint8_t* const* outputs) const noexcept {
  uint8_t** base = workspace->bases.data() + 1;
  // Steps never write an input: the reader refuses plans where one does.
  for (size_t i = 0; i < plan().inputs.size(); ++i) *base++ = const_cast<uint8_t*>(inputs[i]);
  for (size_t i = 0; i < plan().outputs.size(); ++i) *base++ = outputs[i];
  return {workspace->bases.data(), workspace->scratch.data()};
}

void Executor::run(const uint8_t* const* inputs, uint8_t* const* outputs) {
  const WorkspaceLease workspace(workspaces_.get());
  const ScopedFpEnv environment;
  const RunContext context = bind(&*workspace, inputs, outputs);
  for (const Instruction& instruction : program_) instruction.op->run(context);
}

std::vector<std::vector<int64_t>> Executor::profile(const uint8_t* const* inputs,
                                                    uint8_t* const* outputs, int repeats) {
  using Clock = std::chrono::steady_clock;
  std::vector<std::vector<int64_t>> times(plan().steps.size(),
                                          std::vector<int64_t>(static_cast<size_t>(repeats), 0));
  const WorkspaceLease workspace(workspaces_.get());
  const ScopedFpEnv environment;
  const RunContext context = bind(&*workspace, inputs, outputs);
  for (size_t r = 0; r < static_cast<size_t>(repeats); ++r) {
    Clock::time_point last = Clock::now();
    for (const Instruction& instruction : program_) {
      instruction.op->run(context);
      const Clock::time_point now = Clock::now();
      times[instruction.step][r] +=
          std::chrono::duration_cast<std::chrono::nanoseconds>(now - last).count();
      last = now;
    }
  }
  return times;
}

void Executor::read_tensor(const Tensor& tensor, uint8_t* out) {
  if (tensor.location != Location::kArena) {
    fail(ErrorCode::kInvalidArgument, "tensor '%s' is a model input or output, not in the arena",
         tensor.name);
  }
  Workspace* workspace = workspaces_->acquire_last();
  if (workspace == nullptr) fail(ErrorCode::kInvalidArgument, "a run is in progress");
  StridedCopy(tensor, dense_like(tensor)).run(workspace->arena.data() + tensor.offset, out, 1);
  workspaces_->release(workspace);
}

void Executor::poison(uint8_t value) {
  const WorkspaceLease workspace(workspaces_.get());
  std::memset(workspace->arena.data(), value, workspace->arena.size());
  std::memset(workspace->scratch.data(), value, workspace->scratch.size());
}

}  // namespace octavo
