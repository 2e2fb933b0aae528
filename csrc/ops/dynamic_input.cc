// SPDX-License-Identifier: Apache-2.0
#include "ops/dynamic_input.h"

#include <cfloat>

#include "base/checked.h"
#include "base/parallel.h"
#include "kernels/round_scalar.h"
#include "kernels/stored.h"

namespace octavo {

DynamicScale dynamic_scale(float lo, float hi) {
  constexpr float kLargest = 0x1p100f;
  lo = lo < -kLargest ? -kLargest : lo;
  hi = hi > kLargest ? kLargest : hi;
  float scale = (hi - lo) / 255.0f;
  if (scale < FLT_MIN) scale = 1.0f;
  return {scale, round_clamped(0.0f - lo / scale, 0.0f, 255.0f)};
}

DynamicInput::DynamicInput(const LoopNest<2>& loops, int64_t length, int64_t units, Isa cap)
    : loops_(loops),
      length_(length),
      lines_(loops.outer(0)),
      units_(units),
      ranges_(select_dynamic_s8(cap)),
      converts_(select_convert(cap)) {}

int64_t DynamicInput::scratch_bytes() const {
  return checked_add(checked_mul(units_, sizeof(DynamicScale)), checked_mul(lines_, sizeof(Range)));
}

const DynamicScale* DynamicInput::run(const uint8_t* x, uint8_t* out, uint8_t* scratch,
                                      int threads) const noexcept {
  DynamicScale* scales = reinterpret_cast<DynamicScale*>(scratch);
  Range* ranges = reinterpret_cast<Range*>(scales + units_);
  parallel_for(threads, lines_, [&](int64_t begin, int64_t end, int) {
    int64_t line = begin;
    loops_.for_outer(0, begin, end, [&](const LoopNest<2>::Offsets& at) {
      RangeArgs args{reinterpret_cast<const float*>(x + at.at[0]), length_, 0.0f, 0.0f};
      ranges_.range(args);
      ranges[line++] = {args.lo, args.hi};
    });
  });
  const int64_t per_unit = lines_ / units_;
  for (int64_t u = 0; u < units_; ++u) {
    Range all{0.0f, 0.0f};
    for (int64_t i = u * per_unit; i < (u + 1) * per_unit; ++i) {
      all.lo = ranges[i].lo < all.lo ? ranges[i].lo : all.lo;
      all.hi = ranges[i].hi > all.hi ? ranges[i].hi : all.hi;
    }
    scales[u] = dynamic_scale(all.lo, all.hi);
  }
  parallel_for(threads, lines_,
               [&](int64_t begin, int64_t end, int) { quantize(x, out, scales, begin, end); });
  return scales;
}

void DynamicInput::quantize(const uint8_t* x, uint8_t* out, const DynamicScale* scales,
                            int64_t begin, int64_t end) const noexcept {
  const int64_t per_unit = lines_ / units_;
  int64_t line = begin;
  loops_.for_outer(0, begin, end, [&](const LoopNest<2>::Offsets& at) {
    const DynamicScale& s = scales[line++ / per_unit];
    converts_.quantize({reinterpret_cast<const float*>(x + at.at[0]), out + at.at[1], length_,
                        s.scale, s.zero_point, kStoredFlip});
  });
}

}  // namespace octavo
