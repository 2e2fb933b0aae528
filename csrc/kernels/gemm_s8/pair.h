// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

namespace octavo {

// Which steps of a block vpmaddubsw can share one int16 sum without saturating or wrapping.
//
// A lane holds one pair of adjacent weights of one column, so a block of nr columns has 2 * nr.
constexpr int kMaxLanes = 32;

// Per lane, what the pair's positive and its negative weights sum to, the latter without sign.
struct LaneSums {
  int16_t positive[kMaxLanes] = {};
  int16_t negative[kMaxLanes] = {};
};

// Up to this sum of |w| a lane is exact with A - 128 in [-128, 127] as the signed operand:
// 256 * -128 = -2^15. Beyond it a step is split in two; as plain A up to 127: 127 * 255 < 2^15.
constexpr int kFlippedLimit = 256;
constexpr int kPlainLimit = 127;

bool fits_flipped(const LaneSums& sums);

struct StepPairs {
  std::vector<int> plain;          // (2i, 2i + 1) share a sum of A * w
  std::vector<int> flipped;        // (2i, 2i + 1) share a sum of (A ^ mask) * |w|
  std::vector<int> flipped_alone;  // no partner found
};

// Every index of `steps` once; each step must fit flipped.
StepPairs pair_steps(const std::vector<LaneSums>& steps);

}  // namespace octavo
