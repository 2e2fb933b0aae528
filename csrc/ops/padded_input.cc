// SPDX-License-Identifier: Apache-2.0
#include "ops/padded_input.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "base/parallel.h"

namespace octavo {
namespace {

// As large as an arena may be. Strides in the copy stay below, so times a stride or dilation of
// 2^20 they stay far below 2^63.
constexpr int64_t kMaxCopyBytes = int64_t{1} << 40;

// Pixels that the last window reaches past the image's end.
int64_t reach_after(int64_t out, int64_t stride, int64_t k, int64_t dilation, int64_t pad_before,
                    int64_t size) {
  return std::max<int64_t>(0, (out - 1) * stride + (k - 1) * dilation + 1 - pad_before - size);
}

}  // namespace

PaddedInput::PaddedInput(const StepView& step, const Tensor& x, const Tensor& y,
                         const Window2d& w) {
  const int64_t bottom =
      reach_after(y.dims[1], w.stride_h, w.kh, w.dilation_h, w.pad_top, x.dims[1]);
  const int64_t right =
      reach_after(y.dims[2], w.stride_w, w.kw, w.dilation_w, w.pad_left, x.dims[2]);
  in_image_ = x.strides[0];
  in_row_ = x.strides[1];
  in_pixel_ = x.strides[2];
  if (x.halo.top >= w.pad_top && x.halo.left >= w.pad_left && x.halo.bottom >= bottom &&
      x.halo.right >= right) {
    in_ = Address(x, -(w.pad_top * in_row_ + w.pad_left * in_pixel_));
    image_ = in_image_;
    row_ = in_row_;
    pixel_ = in_pixel_;
    return;
  }
  copied_ = true;
  in_ = Address(x);
  pad_value_ = x.dtype == DType::kU8 ? x.zero_point ^ stored_flip(x) : 0;
  pad_top_ = w.pad_top;
  images_ = x.dims[0];
  rows_ = x.dims[1];
  pixels_ = x.dims[2];
  padded_rows_ = checked_int32(int64_t{w.pad_top} + rows_ + bottom, step.name);
  pixel_ = pixel_bytes_ = x.dims[3] * x.item_size();
  left_bytes_ = checked_mul(w.pad_left, pixel_, step.name);
  right_bytes_ = checked_mul(right, pixel_, step.name);
  row_ =
      checked_add(checked_mul(pixels_, pixel_, step.name), left_bytes_ + right_bytes_, step.name);
  image_ = checked_mul(row_, padded_rows_, step.name);
  scratch_bytes_ = checked_add(checked_mul(image_, images_, step.name), kReadSlack, step.name);
  if (scratch_bytes_ > kMaxCopyBytes) {
    step.fail(ErrorCode::kLimit, "a padded copy of '%s' takes %lld bytes, at most 2^40", x.name,
              static_cast<long long>(scratch_bytes_));
  }
}

const uint8_t* PaddedInput::prepare(const RunContext& ctx, int threads) const noexcept {
  const uint8_t* in = in_.in(ctx);
  if (!copied_) return in;
  const int64_t rows = int64_t{images_} * padded_rows_;
  parallel_for(threads, rows,
               [&](int64_t begin, int64_t end, int) { copy_rows(in, ctx.scratch, begin, end); });
  return ctx.scratch;
}

void PaddedInput::copy_rows(const uint8_t* in, uint8_t* scratch, int64_t begin,
                            int64_t end) const noexcept {
  for (int64_t r = begin; r < end; ++r) {
    uint8_t* out = scratch + r * row_;
    const int64_t y = r % padded_rows_ - pad_top_;
    if (y < 0 || y >= rows_) {
      std::memset(out, pad_value_, static_cast<size_t>(row_));
      continue;
    }
    const uint8_t* from = in + r / padded_rows_ * in_image_ + y * in_row_;
    std::memset(out, pad_value_, static_cast<size_t>(left_bytes_));
    uint8_t* to = out + left_bytes_;
    if (in_pixel_ == pixel_bytes_) {
      std::memcpy(to, from, static_cast<size_t>(pixels_ * pixel_bytes_));
    } else {
      for (int64_t x = 0; x < pixels_; ++x) {
        std::memcpy(to + x * pixel_bytes_, from + x * in_pixel_, static_cast<size_t>(pixel_bytes_));
      }
    }
    std::memset(to + pixels_ * pixel_bytes_, pad_value_, static_cast<size_t>(right_bytes_));
  }
}

}  // namespace octavo
