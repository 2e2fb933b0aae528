// SPDX-License-Identifier: Apache-2.0
#include <chrono>

#include "kernels/peak/peak.h"

namespace octavo {
namespace {

constexpr PeakKernel kKernels[] = {
#define OCTAVO_PEAK(isa, name) {#name, Isa::isa, name},
#include "kernels/peak/kernels.inc"
#undef OCTAVO_PEAK
};
constexpr int kCount = static_cast<int>(sizeof(kKernels) / sizeof(kKernels[0]));

double seconds(const PeakKernel& row, int64_t iterations) {
  const auto begin = std::chrono::steady_clock::now();
  row.run(iterations);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

const PeakKernel* peak_kernels(int* count) {
  *count = kCount;
  return kKernels;
}

const PeakKernel& select_peak(Isa cap) {
  const PeakKernel* row = kKernels;
  while (!isa_usable(cap, row->isa)) ++row;  // the scalar row is always usable
  return *row;
}

double measure_peak(const PeakKernel& row) {
  // Doubling until a run takes a millisecond also brings the clock up.
  int64_t iterations = 1024;
  while (seconds(row, iterations) < 1e-3) iterations *= 2;
  double best = seconds(row, iterations);
  for (int i = 0; i < 15; ++i) {
    const double time = seconds(row, iterations);
    if (time < best) best = time;
  }
  return static_cast<double>(row.run(iterations)) / best * 1e-9;
}

}  // namespace octavo
