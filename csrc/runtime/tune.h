// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/isa.h"
#include "runtime/plan.h"

namespace octavo {

// A step whose kernel can be chosen. `signature` stands for all that its speed depends on: kind,
// arguments, geometry and weights; equal ones are worth measuring once. (64-bit FNV-1a. A collision
// would cost speed, never a bit of the result.)
struct TunableStep {
  size_t step;
  uint64_t signature;
  std::vector<const char*> kernels;  // the cost model's choice first
};
std::vector<TunableStep> tunable_steps(const Plan& plan, Isa cap, int threads);

struct KernelTime {
  std::string kernel;
  int64_t ns;  // fastest run of the step
};

// Times every kernel that can run a step, the kernels taking turns, for about `budget_ns`. The
// cost model's choice comes first. Empty for a step without a choice. All kernels give the same
// bits, so the fastest may be used whatever the noise of the measurement.
std::vector<KernelTime> time_kernels(const Plan& plan, size_t step, Isa cap, int threads,
                                     int64_t budget_ns);

}  // namespace octavo
