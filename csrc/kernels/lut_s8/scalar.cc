// SPDX-License-Identifier: Apache-2.0
#include "kernels/lut_s8/lut_s8.h"

namespace octavo {

void lut_s8_scalar(const LutS8Args& args) {
  for (int64_t i = 0; i < args.n; ++i) args.out[i] = args.table[args.in[i]];
}

}  // namespace octavo
