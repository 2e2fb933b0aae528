// SPDX-License-Identifier: Apache-2.0
#include "kernels/pool_f32/pool_f32.h"
#include "base/checked.h"
#include "base/parallel.h"
#include "ops/gemm_f32.h"
#include "ops/window.h"

namespace octavo {
namespace {

class PoolF32 final : public Op {
 public:
  PoolF32(const StepView& step, bool average, const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        x_(step.input(0)),
        y_(step.output(0)),
        window_(read_window(step, x_, y_)),
        kernel_(select_pool_f32(context.cap, average ? PoolF32Op::kAverage : PoolF32Op::kMax)) {
    expect_no_empty_window(step, window_, x_, y_);
    count_include_pad_ = average && step.int_in(10, 0, 1, "count_include_pad") != 0;
    args_.row_stride = x_.strides[1] * window_.dilation_h;
    args_.pixel_stride = x_.strides[2] * window_.dilation_w;
    args_.channels = x_.dims[3];
    read_clamp(step, 0, &args_.lo, &args_.hi);
    const int64_t bytes = checked_mul(y_.elements(), int64_t{4} * window_.kh * window_.kw);
    info_ = {kernel_.name, kernel_.isa, Precision::kFloat32, threads_for(context, 0, bytes)};
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
    PoolF32Args args = args_;
    args.rows = v.end - v.begin;
    for (int32_t ox = 0; ox < y_.dims[2]; ++ox) {
      const TapRange h = clip_taps(ox, w.stride_w, w.dilation_w, w.pad_left, w.kw, x_.dims[2]);
      args.cols = h.end - h.begin;
      args.in = in_row + h.first * x_.strides[2];
      args.out = reinterpret_cast<float*>(out_row + ox * y_.strides[2]);
      const int32_t count = count_include_pad_ ? w.kh * w.kw : args.rows * args.cols;
      args.divisor = static_cast<float>(count);
      kernel_.run(args);
    }
  }

  Address input_, output_;
  Tensor x_, y_;
  Window2d window_;
  const PoolF32Kernel& kernel_;
  PoolF32Args args_{};
  bool count_include_pad_;
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
