// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

namespace octavo {

// The sum of term(0), …, term(n - 1) in float64 and an order of its own: term i goes to partial sum
// i % 16, and those are added up at the end. A compiler can keep them in vectors of any width.
template <class Term>
double ordered_sum(int64_t n, Term term) {
  constexpr int kPartial = 16;
  double partial[kPartial] = {};
  int64_t i = 0;
  for (; i + kPartial <= n; i += kPartial) {
    for (int j = 0; j < kPartial; ++j) partial[j] += term(i + j);
  }
  for (; i < n; ++i) partial[i % kPartial] += term(i);
  double sum = 0.0;
  for (const double part : partial) sum += part;
  return sum;
}

}  // namespace octavo
