// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/dwconv_s8/dwconv_s8.h"

namespace octavo {
namespace {

// The taps of one output pixel, row by row, for kernels of any size.
class TapWalk {
 public:
  // `offset` leads from the leftmost tap of output pixel 0 to that of this pixel and channel.
  TapWalk(const DwconvS8Args& args, ptrdiff_t offset)
      : row_(args.in_rows),
        offset_(offset),
        step_(args.in_pixel_stride * args.dilation_x),
        kw_(args.kw),
        left_(args.kh * args.kw) {}

  int left() const { return left_; }

  const uint8_t* next() {
    const uint8_t* tap = *row_ + offset_ + column_ * step_;
    --left_;
    if (++column_ == kw_) {
      column_ = 0;
      ++row_;
    }
    return tap;
  }

  // The weight of a missing tap is 0: any readable address will do.
  const uint8_t* next_or(const uint8_t* substitute) { return left_ > 0 ? next() : substitute; }

 private:
  const uint8_t* const* row_;
  ptrdiff_t offset_, step_, column_ = 0;
  int kw_, left_;
};

}  // namespace
}  // namespace octavo
