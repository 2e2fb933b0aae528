// SPDX-License-Identifier: Apache-2.0
#include "kernels/pool_s8/pool_s8.h"

#include <cmath>

#include "base/checked.h"
#include "base/parallel.h"
#include "ops/quant_args.h"
#include "ops/window.h"

namespace octavo {
namespace {

class Pool final : public Op {
 public:
  Pool(const StepView& step, PoolOp op, const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        x_(step.input(0)),
        y_(step.output(0)),
        window_(read_window(step, x_, y_)),
        kernel_(select_pool_s8(context.cap, op)),
        average_(op == PoolOp::kAverage) {
    expect_no_empty_window(step, window_, x_, y_);
    requant_ = read_requant(step, 10, y_, average_);
    count_include_pad_ = average_ && step.int_in(13, 0, 1, "count_include_pad") != 0;
    const int64_t window = int64_t{window_.kh} * window_.kw;
    if (average_ && !std::isfinite(x_.scale / y_.scale)) {
      step.fail(ErrorCode::kFormat, "the ratio of input to output scale overflows float32");
    }
    // A window pixel costs about as much as 16 bytes moved per 32 channels.
    const int64_t bytes = checked_mul(y_.elements(), window, "pooled bytes") / 2;
    info_ = {kernel_.name, kernel_.isa, Precision::kInt8, threads_for(context, 0, bytes)};
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
    PoolS8Args args{};
    args.row_stride = x_.strides[1] * w.dilation_h;
    args.pixel_stride = x_.strides[2] * w.dilation_w;
    args.rows = v.end - v.begin;
    args.channels = x_.dims[3];
    args.requant = requant_;
    const uint8_t* in_row = in + image * x_.strides[0] + v.first * x_.strides[1];
    args.out = out + image * y_.strides[0] + oy * y_.strides[1];
    for (int32_t ox = 0; ox < y_.dims[2]; ++ox, args.out += y_.strides[2]) {
      const TapRange h = clip_taps(ox, w.stride_w, w.dilation_w, w.pad_left, w.kw, x_.dims[2]);
      args.in = in_row + h.first * x_.strides[2];
      args.cols = h.end - h.begin;
      if (average_) set_average(&args);
      kernel_.run(args);
    }
  }

  // m = float32(s_a / float32(s_y * count)): two roundings, in this order (docs/numerics.md).
  void set_average(PoolS8Args* args) const noexcept {
    const int32_t seen = args->rows * args->cols;
    const int32_t count = count_include_pad_ ? window_.kh * window_.kw : seen;
    args->zero_sum = seen * x_.zero_point;
    args->multiplier = x_.scale / (y_.scale * static_cast<float>(count));
  }

  Address input_, output_;
  Tensor x_, y_;
  Window2d window_;
  const PoolS8Kernel& kernel_;
  Requant requant_;
  bool average_, count_include_pad_;
};

std::unique_ptr<Op> prepare_pool(const StepView& step, PoolOp op, const PrepareContext& context) {
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  step.expect_kernel_tensor(x, DType::kU8);
  step.expect_kernel_tensor(y, DType::kU8);
  step.expect_rank(x, 4);
  step.expect_rank(y, 4);
  if (x.dims[3] != y.dims[3]) {
    step.fail(ErrorCode::kShape, "%d channels in, %d out", x.dims[3], y.dims[3]);
  }
  if (op == PoolOp::kMax && (x.scale != y.scale || x.zero_point != y.zero_point)) {
    step.fail(ErrorCode::kFormat, "input and output must have the same scale and zero point");
  }
  step.expect_disjoint(y, x);
  return std::make_unique<Pool>(step, op, context);
}

}  // namespace

std::unique_ptr<Op> prepare_maxpool_s8(const StepView& step, const PrepareContext& context) {
  step.expect({1, 1, 12, 0, 0});
  return prepare_pool(step, PoolOp::kMax, context);
}

std::unique_ptr<Op> prepare_avgpool_s8(const StepView& step, const PrepareContext& context) {
  step.expect({1, 1, 14, 0, 0});
  return prepare_pool(step, PoolOp::kAverage, context);
}

}  // namespace octavo
