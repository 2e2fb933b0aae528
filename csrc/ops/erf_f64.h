// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ops/exp_f64.h"

namespace octavo {

// erf(x) from IEEE basic operations only, off by at most 1.5e-7 (Abramowitz and Stegun 7.1.26).
// Below 1/8, where that would be a large share of the value, the series to x^11: off by 1e-14.
inline double erf_f64(double x) {
  const double size = x < 0 ? -x : x;
  if (size < 0.125) {
    constexpr double kScale = 1.1283791670955126;  // 2 / sqrt(pi)
    const double s = x * x;
    const double series =
        1.0 + s * (-1.0 / 3.0 +
                   s * (1.0 / 10.0 + s * (-1.0 / 42.0 + s * (1.0 / 216.0 - s * (1.0 / 1320.0)))));
    return kScale * x * series;
  }
  if (!(size < 8.0)) return x != x ? x : x < 0 ? -1.0 : 1.0;
  const double t = 1.0 / (1.0 + 0.3275911 * size);
  const double poly =
      t *
      (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const double value = 1.0 - poly * exp_f64(-size * size);
  return x < 0 ? -value : value;
}

}  // namespace octavo
