// SPDX-License-Identifier: Apache-2.0
#include "ops/window.h"

#include <algorithm>

namespace octavo {
namespace {

constexpr int32_t kMaxExtent = 1 << 20;  // of a kernel, stride, dilation or padding
constexpr int64_t kMaxTaps = 1 << 23;    // of a window: 255 * 2^23 fits the int32 sums of pooling

void check_axis(const StepView& step, const char* axis, int64_t in, int64_t out, int64_t k,
                int64_t stride, int64_t dilation, int64_t pads) {
  const int64_t room = in + pads - dilation * (k - 1) - 1;
  const int64_t expected = room < 0 ? 0 : room / stride + 1;
  if (out != expected) {
    step.fail(ErrorCode::kShape, "output %s is %lld, but the window gives %lld", axis,
              static_cast<long long>(out), static_cast<long long>(expected));
  }
}

// An output coordinate of one axis whose window holds no pixel; -1 when there is none. Windows that
// start inside the image are empty only beyond its end, so the last one tells; those that start in
// the padding before it (at most 2^20) are looked at one by one: dilation may step over the image.
int32_t empty_window(int32_t out, int32_t stride, int32_t dilation, int32_t pad, int32_t k,
                     int32_t size) {
  const auto empty = [&](int32_t o) {
    const TapRange taps = clip_taps(o, stride, dilation, pad, k, size);
    return taps.begin == taps.end;
  };
  for (int32_t o = 0; o < out && int64_t{o} * stride < pad; ++o) {
    if (empty(o)) return o;
  }
  return empty(out - 1) ? out - 1 : -1;
}

}  // namespace

Window2d read_window(const StepView& step, const Tensor& x, const Tensor& y) {
  step.expect_rank(x, 4);
  step.expect_rank(y, 4);
  Window2d w;
  w.kh = step.int_in(0, 1, kMaxExtent, "kh");
  w.kw = step.int_in(1, 1, kMaxExtent, "kw");
  w.stride_h = step.int_in(2, 1, kMaxExtent, "stride_h");
  w.stride_w = step.int_in(3, 1, kMaxExtent, "stride_w");
  w.dilation_h = step.int_in(4, 1, kMaxExtent, "dilation_h");
  w.dilation_w = step.int_in(5, 1, kMaxExtent, "dilation_w");
  w.pad_top = step.int_in(6, 0, kMaxExtent, "pad_top");
  w.pad_left = step.int_in(7, 0, kMaxExtent, "pad_left");
  w.pad_bottom = step.int_in(8, 0, kMaxExtent, "pad_bottom");
  w.pad_right = step.int_in(9, 0, kMaxExtent, "pad_right");
  if (int64_t{w.kh} * w.kw > kMaxTaps) {
    step.fail(ErrorCode::kLimit, "a window of %d x %d pixels, at most 2^23", w.kh, w.kw);
  }
  if (x.dims[0] != y.dims[0]) {
    step.fail(ErrorCode::kShape, "batch %d in, %d out", x.dims[0], y.dims[0]);
  }
  check_axis(step, "height", x.dims[1], y.dims[1], w.kh, w.stride_h, w.dilation_h,
             int64_t{w.pad_top} + w.pad_bottom);
  check_axis(step, "width", x.dims[2], y.dims[2], w.kw, w.stride_w, w.dilation_w,
             int64_t{w.pad_left} + w.pad_right);
  return w;
}

TapRange clip_taps(int32_t out, int32_t stride, int32_t dilation, int32_t pad, int32_t k,
                   int32_t size) {
  const int64_t start = int64_t{out} * stride - pad;  // input coordinate of tap 0
  const int64_t begin = start < 0 ? (-start + dilation - 1) / dilation : 0;
  const int64_t end = start >= size ? 0 : std::min<int64_t>(k, (size - 1 - start) / dilation + 1);
  if (begin >= end) return {0, 0, 0};
  return {static_cast<int32_t>(begin), static_cast<int32_t>(end),
          static_cast<int32_t>(start + begin * dilation)};
}

void expect_no_empty_window(const StepView& step, const Window2d& w, const Tensor& x,
                            const Tensor& y) {
  const int32_t row = empty_window(y.dims[1], w.stride_h, w.dilation_h, w.pad_top, w.kh, x.dims[1]);
  if (row >= 0) step.fail(ErrorCode::kShape, "output row %d sees padding only", row);
  const int32_t column =
      empty_window(y.dims[2], w.stride_w, w.dilation_w, w.pad_left, w.kw, x.dims[2]);
  if (column >= 0) step.fail(ErrorCode::kShape, "output column %d sees padding only", column);
}

}  // namespace octavo
