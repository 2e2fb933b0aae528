// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/checked.h"
#include "base/parallel.h"
#include "ops/gemm_f32.h"
#include "ops/window.h"

namespace octavo {
namespace {

// Each output pixel takes its window's pixels one after the other, row by row: a fixed order.
class PoolF32 final : public Op {
 public:
  PoolF32(const StepView& step, bool average, const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        x_(step.input(0)),
        y_(step.output(0)),
        window_(read_window(step, x_, y_)),
        average_(average) {
    expect_no_empty_window(step, window_, x_, y_);
    count_include_pad_ = average && step.int_in(10, 0, 1, "count_include_pad") != 0;
    read_clamp(step, 0, &lo_, &hi_);
    const int64_t bytes = checked_mul(y_.elements(), int64_t{4} * window_.kh * window_.kw);
    info_ = {average ? "avgpool_f32" : "maxpool_f32", Isa::kScalar, Precision::kFloat32,
             threads_for(context, 0, bytes)};
  }

  void run(const RunContext& ctx) const noexcept override {
    const uint8_t* in = input_.in(ctx);
    uint8_t* out = output_.in(ctx);
    const int64_t rows = int64_t{y_.dims[0]} * y_.dims[1];
    parallel_for(info_.threads, rows, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) {
        run_row(in, out, static_cast<int32_t>(r / y_.dims[1]),
                static_cast<int32_t>(r % y_.dims[1]));
      }
    });
  }

 private:
  void run_row(const uint8_t* in, uint8_t* out, int32_t image, int32_t oy) const noexcept {
    const Window2d& w = window_;
    const TapRange v = clip_taps(oy, w.stride_h, w.dilation_h, w.pad_top, w.kh, x_.dims[1]);
    const uint8_t* in_row = in + image * x_.strides[0] + v.first * x_.strides[1];
    uint8_t* out_row = out + image * y_.strides[0] + oy * y_.strides[1];
    for (int32_t ox = 0; ox < y_.dims[2]; ++ox) {
      const TapRange h = clip_taps(ox, w.stride_w, w.dilation_w, w.pad_left, w.kw, x_.dims[2]);
      pool_pixel(in_row + h.first * x_.strides[2], v.end - v.begin, h.end - h.begin,
                 reinterpret_cast<float*>(out_row + ox * y_.strides[2]));
    }
  }

  void pool_pixel(const uint8_t* in, int32_t rows, int32_t cols, float* out) const noexcept {
    const int32_t channels = x_.dims[3];
    const int64_t row_step = x_.strides[1] * window_.dilation_h;
    const int64_t col_step = x_.strides[2] * window_.dilation_w;
    std::copy_n(reinterpret_cast<const float*>(in), channels, out);
    for (int32_t i = 0; i < rows; ++i) {
      for (int32_t j = i == 0 ? 1 : 0; j < cols; ++j) {
        const float* pixel = reinterpret_cast<const float*>(in + i * row_step + j * col_step);
        if (average_) {
          for (int32_t c = 0; c < channels; ++c) out[c] += pixel[c];
        } else {
          for (int32_t c = 0; c < channels; ++c) out[c] = larger(pixel[c], out[c]);
        }
      }
    }
    const int32_t count = count_include_pad_ ? window_.kh * window_.kw : rows * cols;
    for (int32_t c = 0; c < channels; ++c) {
      const float value = average_ ? out[c] / static_cast<float>(count) : out[c];
      const float low = value < lo_ ? lo_ : value;
      out[c] = low > hi_ ? hi_ : low;
    }
  }

  // A NaN counts as larger than any number, as in NumPy.
  static float larger(float a, float b) { return a > b || a != a ? a : b; }

  Address input_, output_;
  Tensor x_, y_;
  Window2d window_;
  bool average_, count_include_pad_;
  float lo_, hi_;
};

std::unique_ptr<Op> prepare_pool(const StepView& step, bool average,
                                 const PrepareContext& context) {
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  step.expect_kernel_tensor(x, DType::kF32);
  step.expect_kernel_tensor(y, DType::kF32);
  step.expect_rank(x, 4);
  step.expect_rank(y, 4);
  if (x.dims[3] != y.dims[3]) {
    step.fail(ErrorCode::kShape, "%d channels in, %d out", x.dims[3], y.dims[3]);
  }
  step.expect_disjoint(y, x);
  return std::make_unique<PoolF32>(step, average, context);
}

}  // namespace

std::unique_ptr<Op> prepare_maxpool_f32(const StepView& step, const PrepareContext& context) {
  step.expect({1, 1, 10, 2, 0});
  return prepare_pool(step, false, context);
}

std::unique_ptr<Op> prepare_avgpool_f32(const StepView& step, const PrepareContext& context) {
  step.expect({1, 1, 11, 2, 0});
  return prepare_pool(step, true, context);
}

}  // namespace octavo
