// SPDX-License-Identifier: Apache-2.0
#include "runtime/tune.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <memory>

#include "base/aligned_buffer.h"
#include "base/fpenv.h"
#include "ops/op.h"

namespace octavo {
namespace {

using Clock = std::chrono::steady_clock;

int64_t nanoseconds(Clock::duration duration) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
}

// Any activations will do: no kernel's time depends on them. Constant ones would not page in.
void fill_arena(AlignedBuffer* arena) {
  uint32_t state = 1;
  uint8_t* bytes = arena->data();
  for (size_t i = 0; i < arena->size(); ++i) {
    state = state * 1664525u + 1013904223u;
    bytes[i] = static_cast<uint8_t>(state >> 24);
  }
}

class Fnv1a {
 public:
  void add(const void* data, size_t size) {
    const uint8_t* bytes = static_cast<const uint8_t*>(data);
    for (size_t i = 0; i < size; ++i) hash_ = (hash_ ^ bytes[i]) * 0x100000001b3u;
  }
  template <class T>
  void add(const T& value) {
    add(&value, sizeof value);
  }
  uint64_t value() const { return hash_; }

 private:
  uint64_t hash_ = 0xcbf29ce484222325u;
};

void add_tensor(const Tensor& t, Fnv1a* hash) {
  hash->add(t.dims);
  hash->add(t.strides);
  hash->add(t.halo);
  hash->add(t.zero_point);
}

uint64_t signature_of(const StepView& step) {
  Fnv1a hash;
  hash.add(step.kind, std::strlen(step.kind));
  hash.add(step.ints.data, static_cast<size_t>(step.ints.count) * sizeof(int32_t));
  for (int i = 0; i < step.inputs.count; ++i) add_tensor(step.input(i), &hash);
  for (int i = 0; i < step.outputs.count; ++i) add_tensor(step.output(i), &hash);
  for (int i = 0; i < step.const_refs.count; ++i) {
    const ConstData& c = step.constants[step.const_refs.data[i]];
    hash.add(c.data, static_cast<size_t>(c.size));
  }
  return hash.value();
}

struct Candidate {
  std::unique_ptr<Op> op;
  AlignedBuffer scratch;
  int64_t ns = std::numeric_limits<int64_t>::max();
};

std::vector<Candidate> make_candidates(const StepView& step, PrepareContext context,
                                       const KernelNames& names) {
  std::vector<Candidate> candidates;
  for (const char* name : names) {
    context.kernel = name;
    Candidate candidate;
    candidate.op = prepare_op(step, context);
    candidate.scratch =
        AlignedBuffer(static_cast<size_t>(candidate.op->scratch_bytes() + kReadSlack));
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

}  // namespace

std::vector<TunableStep> tunable_steps(const Plan& plan, Isa cap, int threads) {
  std::vector<TunableStep> found;
  for (size_t s = 0; s < plan.steps.size(); ++s) {
    KernelNames kernels = step_kernels(plan.steps[s], {cap, threads});
    if (kernels.size() < 2) continue;
    found.push_back({s, signature_of(plan.steps[s]), std::move(kernels)});
  }
  return found;
}

std::vector<KernelTime> time_kernels(const Plan& plan, size_t index, Isa cap, int threads,
                                     int64_t budget_ns) {
  const StepView& step = plan.steps[index];
  const PrepareContext context{cap, threads};
  const KernelNames names = step_kernels(step, context);
  if (names.size() < 2) return {};
  std::vector<Candidate> candidates = make_candidates(step, context, names);
  AlignedBuffer arena(static_cast<size_t>(plan.arena_bytes));
  fill_arena(&arena);
  // Kinds with a choice touch the arena only (StepView::expect_kernel_tensor).
  uint8_t* const bases[] = {arena.data()};

  const ScopedFpEnv environment;
  const Clock::time_point start = Clock::now();
  constexpr int kRounds = 3;  // at least, the first of which is cold
  for (int round = 0; round < kRounds || nanoseconds(Clock::now() - start) < budget_ns; ++round) {
    for (Candidate& candidate : candidates) {
      const Clock::time_point before = Clock::now();
      candidate.op->run({bases, candidate.scratch.data()});
      candidate.ns = std::min(candidate.ns, nanoseconds(Clock::now() - before));
    }
  }
  std::vector<KernelTime> times;
  for (size_t i = 0; i < names.size(); ++i) times.push_back({names[i], candidates[i].ns});
  return times;
}

}  // namespace octavo
