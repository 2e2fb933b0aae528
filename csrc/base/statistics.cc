// SPDX-License-Identifier: Apache-2.0
#include "base/statistics.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace octavo {
namespace {

constexpr int kLanes = 16;
constexpr int32_t kBins = 2 * kHistogramHalf;
constexpr int kTables = 4;  // equal neighbours, such as the zeros of a ReLU, count in turns
constexpr int64_t kTableLimit = int64_t{1} << 31;
constexpr int64_t kFewValues = 8 * kBins;  // tables would cost more than they save

// Exponent bits all ones: NaN or infinity.
uint32_t special(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return ((bits >> 23) & 0xffu) == 0xffu;
}

int32_t bin_of(float x, float per_unit) {
  const float scaled = x * per_unit;
  const int32_t towards_zero = static_cast<int32_t>(scaled);
  const int32_t down = towards_zero - (scaled < static_cast<float>(towards_zero));
  return std::clamp(down + kHistogramHalf, 0, kBins - 1);
}

}  // namespace

bool finite_extremes(const float* x, int64_t n, float* low, float* high) {
  float lo[kLanes];
  float hi[kLanes];
  uint32_t bad[kLanes] = {};
  std::fill_n(lo, kLanes, x[0]);
  std::fill_n(hi, kLanes, x[0]);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      const float v = x[i + l];
      lo[l] = v < lo[l] ? v : lo[l];
      hi[l] = v > hi[l] ? v : hi[l];
      bad[l] |= special(v);
    }
  }
  for (; i < n; ++i) {
    lo[0] = std::min(lo[0], x[i]);
    hi[0] = std::max(hi[0], x[i]);
    bad[0] |= special(x[i]);
  }
  *low = *std::min_element(lo, lo + kLanes) + 0.0f;
  *high = *std::max_element(hi, hi + kLanes) + 0.0f;
  return std::all_of(bad, bad + kLanes, [](uint32_t flag) { return flag == 0; });
}

void count_bins(const float* x, int64_t n, float per_unit, int64_t* counts) {
  if (n < kFewValues) {
    for (int64_t i = 0; i < n; ++i) ++counts[bin_of(x[i], per_unit)];
    return;
  }
  std::vector<uint32_t> tables(static_cast<size_t>(kTables) * kBins);
  for (int64_t begin = 0; begin < n; begin += kTableLimit) {
    const int64_t end = std::min(n, begin + kTableLimit);
    std::fill(tables.begin(), tables.end(), 0u);
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      int32_t bins[kLanes];
      for (int l = 0; l < kLanes; ++l) bins[l] = bin_of(x[i + l], per_unit);
      for (int l = 0; l < kLanes; ++l) ++tables[(l % kTables) * kBins + bins[l]];
    }
    for (; i < end; ++i) ++tables[bin_of(x[i], per_unit)];
    for (int t = 0; t < kTables; ++t) {
      for (int32_t b = 0; b < kBins; ++b) counts[b] += tables[t * kBins + b];
    }
  }
}

void channel_moments(const float* x, int64_t samples, int64_t rows, int64_t channels, float* low,
                     float* high, double* sum, double* square, double* scratch) {
  double* first = scratch;
  double* second = scratch + channels;
  for (int64_t s = 0; s < samples; ++s) {
    std::fill_n(scratch, 2 * channels, 0.0);
    for (int64_t r = 0; r < rows; ++r, x += channels) {
      for (int64_t c = 0; c < channels; ++c) {
        low[c] = x[c] < low[c] ? x[c] : low[c];
        high[c] = x[c] > high[c] ? x[c] : high[c];
      }
      for (int64_t c = 0; c < channels; ++c) {
        const double v = x[c];  // v * v is exact
        first[c] += v;
        second[c] += v * v;
      }
    }
    for (int64_t c = 0; c < channels; ++c) {
      sum[c] += first[c];
      square[c] += second[c];
    }
  }
}

}  // namespace octavo
