// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "base/isa.h"

// peak: the arithmetic limit of one core, what "share of peak" is measured against. Each row runs
// the u8 * s8 -> s32 sequence of its ISA on registers only, with more independent accumulators than
// latency * rate, so that nothing but the multipliers limits it.
namespace octavo {

// Runs the sequence `iterations` times and returns the multiply-accumulates done.
using PeakFn = int64_t (*)(int64_t iterations);

struct PeakKernel {
  const char* name;
  Isa isa;
  PeakFn run;
};

// All rows of kernels.inc that were built, best first, scalar last.
const PeakKernel* peak_kernels(int* count);

// The best usable row under `cap`.
const PeakKernel& select_peak(Isa cap);

// GMAC/s: the fastest of several runs of about a millisecond. `row` must be supported by the CPU.
double measure_peak(const PeakKernel& row);

#define OCTAVO_PEAK(isa, name) int64_t name(int64_t iterations);
#include "kernels/peak/kernels.inc"
#undef OCTAVO_PEAK

}  // namespace octavo
