// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm_s8/pair.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace octavo {
namespace {

// Partners tried per step. 16 find all but 2 % of the pairs that trying all of them finds, for
// weights distributed like trained ones; 2 or 3 trials are typical.
constexpr size_t kTrials = 16;

int plain_peak(const LaneSums& a, const LaneSums& b) {
  int16_t peak = 0;
  for (int i = 0; i < kMaxLanes; ++i) {
    peak = std::max(peak, static_cast<int16_t>(a.positive[i] + b.positive[i]));
    peak = std::max(peak, static_cast<int16_t>(a.negative[i] + b.negative[i]));
  }
  return peak;
}

int flipped_peak(const LaneSums& a, const LaneSums& b) {
  int16_t peak = 0;
  for (int i = 0; i < kMaxLanes; ++i) {
    const int both = a.positive[i] + b.positive[i] + a.negative[i] + b.negative[i];
    peak = std::max(peak, static_cast<int16_t>(both));
  }
  return peak;
}

// Moves pairs out of `left`, which comes largest first: the largest is the hardest to match, the
// smallest of the others match it best.
template <class Fits>
std::vector<int> take_pairs(std::vector<int>* left, Fits fits) {
  std::vector<int> pairs, alone;
  for (size_t begin = 0; begin < left->size(); ++begin) {
    const int step = (*left)[begin];
    const size_t others = left->size() - begin - 1;
    const size_t stop = left->size() - std::min(others, kTrials);
    size_t end = left->size();
    while (end > stop && !fits(step, (*left)[end - 1])) --end;
    if (end == stop) {
      alone.push_back(step);
      continue;
    }
    pairs.push_back(step);
    pairs.push_back((*left)[end - 1]);
    left->erase(left->begin() + static_cast<std::ptrdiff_t>(end - 1));
  }
  left->swap(alone);
  return pairs;
}

// Counting sort: equal peaks keep their order, and no comparison is mispredicted.
void sort_largest_first(const std::vector<int>& peaks, std::vector<int>* steps) {
  std::array<int, kFlippedLimit + 2> begin = {};
  for (const int step : *steps) ++begin[kFlippedLimit - peaks[step] + 1];
  for (size_t i = 1; i < begin.size(); ++i) begin[i] += begin[i - 1];
  const std::vector<int> unsorted = *steps;
  for (const int step : unsorted) (*steps)[begin[kFlippedLimit - peaks[step]]++] = step;
}

}  // namespace

bool fits_flipped(const LaneSums& sums) { return flipped_peak(sums, {}) <= kFlippedLimit; }

StepPairs pair_steps(const std::vector<LaneSums>& steps) {
  const int count = static_cast<int>(steps.size());
  std::vector<int> peaks(steps.size()), plain, flipped;
  for (int i = 0; i < count; ++i) {
    peaks[i] = plain_peak(steps[i], {});
    (peaks[i] <= kPlainLimit ? plain : flipped).push_back(i);
  }
  StepPairs pairs;
  sort_largest_first(peaks, &plain);
  pairs.plain = take_pairs(
      &plain, [&](int a, int b) { return plain_peak(steps[a], steps[b]) <= kPlainLimit; });

  flipped.insert(flipped.end(), plain.begin(), plain.end());
  for (const int i : flipped) peaks[i] = flipped_peak(steps[i], {});
  sort_largest_first(peaks, &flipped);
  pairs.flipped = take_pairs(
      &flipped, [&](int a, int b) { return flipped_peak(steps[a], steps[b]) <= kFlippedLimit; });
  pairs.flipped_alone = flipped;
  return pairs;
}

}  // namespace octavo
