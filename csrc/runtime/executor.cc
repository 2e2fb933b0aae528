// SPDX-License-Identifier: Apache-2.0
#include "runtime/executor.h"

#include <chrono>
#include <cstring>
#include <string>
#include <unordered_map>

#include "base/cpus.h"
#include "base/fpenv.h"
#include "base/parallel.h"
#include "ops/halo.h"
#include "ops/strided_copy.h"

namespace octavo {
namespace {

constexpr int kMaxThreads = 256;
constexpr size_t kMaxInstructions = 1 << 20;
// A sleeping worker takes 50 us to come: worth it for runs of at least 100 us.
constexpr int64_t kWorthWaking = 300'000;

// A rough price of a step, for the decision whether to wake a worker.
int64_t step_cycles(const StepView& step) {
  int64_t cycles = static_cast<int64_t>(std::min<uint64_t>(step.macs, 1u << 30)) / 32;
  for (int i = 0; i < step.outputs.count; ++i) cycles += step.output(i).bytes() / 2;
  return cycles;
}

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

// The kernel that somebody chose for a step; nullptr when nobody did. A name that the step cannot
// run with, as one measured on another CPU, is refused.
const char* chosen_kernel(const StepView& step, const PrepareContext& context,
                          const std::string& wanted) {
  if (wanted.empty()) return nullptr;
  std::string names;
  for (const char* name : step_kernels(step, context)) {
    if (wanted == name) return name;
    names += names.empty() ? "" : ", ";
    names += name;
  }
  step.fail(ErrorCode::kInvalidArgument, "cannot run with kernel '%.100s'; can run with: %s",
            wanted.c_str(), names.empty() ? "(no choice)" : names.c_str());
}

// Whose halo holds its pad value at a point of the program: at most one tensor for each first byte.
// Tensors with the same first byte, views and former tenants of the place alike, may have other pad
// values and wider halos, so a halo is filled only before a step that reads its tensor, and counts
// as lost when the place is written or another halo is filled around it.
class HaloState {
 public:
  void invalidate(const Tensor& written) {
    if (written.location == Location::kArena) filled_.erase(written.offset);
  }

  // Must the halo be filled now? From here on it counts as filled.
  bool claim(const Tensor& read) {
    if (!read.halo.any()) return false;
    const Tensor*& filled = filled_[read.offset];
    if (filled == &read) return false;
    filled = &read;
    return true;
  }

 private:
  std::unordered_map<int64_t, const Tensor*> filled_;  // by offset of the first element
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

Executor::Executor(std::shared_ptr<const LoadedPlan> plan, Isa cap, int threads,
                   const std::vector<std::string>& kernels, std::unique_ptr<PackCache> packs)
    : loaded_(std::move(plan)),
      packs_(std::move(packs)),
      threads_(threads == 0 ? available_cpus() : threads) {
  if (threads_ < 1 || threads_ > kMaxThreads) {
    fail(ErrorCode::kInvalidArgument, "threads is %d, must be 0 (all CPUs) to %d", threads,
         kMaxThreads);
  }
  prepare(cap, kernels);
  const size_t bases = 1 + this->plan().inputs.size() + this->plan().outputs.size();
  workspaces_ = std::make_unique<WorkspacePool>(this->plan().arena_bytes, scratch_bytes_, bases);
}

void Executor::prepare(Isa cap, const std::vector<std::string>& kernels) {
  const Plan& p = plan();
  if (kernels.size() > p.steps.size()) {
    fail(ErrorCode::kInvalidArgument, "%zu kernels for %zu steps", kernels.size(), p.steps.size());
  }
  HaloState halos;
  for (size_t s = 0; s < p.steps.size(); ++s) {
    const StepView& step = p.steps[s];
    for (int i = 0; i < step.inputs.count; ++i) {
      if (halos.claim(step.input(i))) add(std::make_unique<HaloFill>(step.input(i)), s);
    }
    PrepareContext context{cap, threads_};
    context.packs = packs_.get();
    if (packs_ != nullptr) packs_->begin_step(s);
    if (s < kernels.size()) context.kernel = chosen_kernel(step, context, kernels[s]);
    add(prepare_op(step, context), s);
    const Op& op = *program_.back().op;
    infos_.push_back(&op.info());
    scratch_bytes_ = std::max(scratch_bytes_, op.scratch_bytes());
    packed_bytes_ += op.packed_bytes();
    if (op.info().threads > 1) parallel_cycles_ += step_cycles(step);
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
  const WakeScope wake(parallel_cycles_ >= kWorthWaking);
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
  const WakeScope wake(parallel_cycles_ >= kWorthWaking);
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
  if (const uint8_t flip = stored_flip(tensor)) {
    for (int64_t i = 0; i < tensor.bytes(); ++i) out[i] ^= flip;
  }
  workspaces_->release(workspace);
}

void Executor::poison(uint8_t value) {
  const WorkspaceLease workspace(workspaces_.get());
  std::memset(workspace->arena.data(), value, workspace->arena.size());
  std::memset(workspace->scratch.data(), value, workspace->scratch.size());
}

}  // namespace octavo
