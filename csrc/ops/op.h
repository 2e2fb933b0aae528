// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "base/isa.h"
#include "ops/pack_store.h"
#include "ops/step.h"

namespace octavo {

// What one call of run() works on. Shared by all steps; threads of parallel_for only read it.
struct RunContext {
  uint8_t* const* bases;  // arena, inputs…, outputs…: see Tensor::base. Inputs are never written.
  uint8_t* scratch;       // Op::scratch_bytes(), 64-byte aligned, content undefined
};

// A tensor's first element (or any byte counted from there) at run time.
struct Address {
  int32_t base = 0;
  int64_t offset = 0;

  Address() = default;
  explicit Address(const Tensor& t, int64_t delta = 0) : base(t.base), offset(t.offset + delta) {}
  uint8_t* in(const RunContext& ctx) const { return ctx.bases[base] + offset; }
};

enum class Precision : uint8_t { kInt8, kFloat32, kCopy, kWeightsInt8, kDynamicInt8, kInt16 };

struct OpInfo {  // what session.kernels() tells
  const char* kernel = "";
  Isa isa = Isa::kScalar;
  Precision precision = Precision::kCopy;
  int threads = 1;
};

struct PrepareContext {
  Isa cap;      // kernels above are not selected
  int threads;  // at most; each step takes fewer when its work is small
  // The kernel a step must run with, one of step_kernels(); nullptr: the cost model chooses.
  const char* kernel = nullptr;
  PackStore* packs = nullptr;  // weights packed before; nullptr: pack
};

// A step made ready for this CPU: validated, kernel chosen, weights packed. Immutable afterwards.
class Op {
 public:
  Op() = default;
  virtual ~Op() = default;
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;

  // Allocates nothing, throws nothing, may run on several threads with different contexts.
  virtual void run(const RunContext& ctx) const noexcept = 0;

  const OpInfo& info() const { return info_; }
  int64_t scratch_bytes() const { return scratch_bytes_; }
  int64_t packed_bytes() const { return packed_bytes_; }

 protected:
  OpInfo info_;
  int64_t scratch_bytes_ = 0;
  int64_t packed_bytes_ = 0;
};

// Validates the step and builds its Op. Throws Error naming the step.
std::unique_ptr<Op> prepare_op(const StepView& step, const PrepareContext& context);

// Names of the kernels that can run a step here, all with the same bits, the cost model's choice
// first; empty where a kind leaves no choice. Throws like prepare_op.
using KernelNames = std::vector<const char*>;
KernelNames step_kernels(const StepView& step, const PrepareContext& context);

// Threads worth using for a step of so many multiply-accumulates and bytes moved: each gets at
// least kCyclesPerThread of work, several times the 0.2-0.4 us (1,000 cycles) of a fork and join.
inline constexpr int64_t kCyclesPerThread = 8000;

inline int threads_for(const PrepareContext& context, int64_t macs, int64_t bytes) {
  const int64_t cycles = macs / 32 + bytes / 16;  // ordinary AVX2 and cache rates
  const int64_t useful = cycles / kCyclesPerThread;
  if (useful <= 1) return 1;
  return static_cast<int>(useful < context.threads ? useful : context.threads);
}

// One prepare function per kind: prepare_conv_s8, ...
#define OCTAVO_OP(kind) \
  std::unique_ptr<Op> prepare_##kind(const StepView& step, const PrepareContext& context);
#include "ops/ops.inc"
#undef OCTAVO_OP

// The moves behind `copy` and `flip`, whichever the stored forms of x and y call for: bytes as they
// are, or XOR 0x80.
std::unique_ptr<Op> make_copy(const StepView& step, const PrepareContext& context);
std::unique_ptr<Op> make_flip(const StepView& step, const PrepareContext& context);

// Likewise for the kinds that leave a choice.
KernelNames conv_s8_kernels(const StepView& step, const PrepareContext& context);
KernelNames linear_s8_kernels(const StepView& step, const PrepareContext& context);

}  // namespace octavo
