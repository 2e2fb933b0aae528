// SPDX-License-Identifier: Apache-2.0
#include "ops/depthwise_f32.h"

#include <algorithm>

#include "base/aligned_buffer.h"
#include "base/checked.h"
#include "base/parallel.h"
#include "kernels/dwconv_f32/dwconv_f32.h"
#include "ops/depthwise.h"
#include "ops/float_weights.h"
#include "ops/gemm_f32.h"
#include "ops/padded_input.h"

namespace octavo {
namespace {

class DepthwiseF32 final : public Op {
 public:
  DepthwiseF32(const StepView& step, const Window2d& w, const PrepareContext& context)
      : input_(step, step.input(0), step.output(0), w),
        output_(step.output(0)),
        kernel_(select_dwconv_f32(context.cap)) {
    const Tensor& y = step.output(0);
    rows_per_image_ = y.dims[1];
    rows_ = int64_t{y.dims[0]} * y.dims[1];
    out_image_ = y.strides[0];
    out_row_ = y.strides[1];
    in_step_ = w.stride_h * input_.row_stride();
    in_tap_ = w.dilation_h * input_.row_stride();
    args_.in_pixel_stride = input_.pixel_stride();
    args_.out_pixel_stride = y.strides[2];
    args_.out_w = y.dims[2];
    args_.channels = y.dims[3];
    args_.kh = w.kh;
    args_.kw = w.kw;
    args_.stride_x = w.stride_w;
    args_.dilation_x = w.dilation_w;
    read_clamp(step, 0, &args_.lo, &args_.hi);
    pack(step);
    const int64_t macs = checked_mul(y.elements(), int64_t{w.kh} * w.kw, "MACs");
    info_ = {kernel_.name, kernel_.isa, float_layer_precision(step),
             threads_for_f32(context, macs)};
    scratch_bytes_ = input_.scratch_bytes();
    packed_bytes_ = static_cast<int64_t>(storage_.size());
  }

  void run(const RunContext& ctx) const noexcept override {
    const uint8_t* in = input_.prepare(ctx, info_.threads);
    uint8_t* out = output_.in(ctx);
    parallel_for(info_.threads, rows_,
                 [&](int64_t begin, int64_t end, int) { run_rows(in, out, begin, end); });
  }

 private:
  void run_rows(const uint8_t* in, uint8_t* out, int64_t begin, int64_t end) const noexcept {
    const uint8_t* taps[kMaxDepthwiseTaps];
    DwconvF32Args args = args_;
    args.in_rows = taps;
    for (int64_t r = begin; r < end; ++r) {
      const int64_t image = r / rows_per_image_, y = r % rows_per_image_;
      const uint8_t* first = in + image * input_.image_stride() + y * in_step_;
      for (int32_t i = 0; i < args.kh; ++i) taps[i] = first + i * in_tap_;
      args.out = out + image * out_image_ + y * out_row_;
      kernel_.run(args);
    }
  }

  void pack(const StepView& step) {
    const int64_t channels = args_.channels, taps = int64_t{args_.kh} * args_.kw;
    const auto weights = read_float_weights(step, channels, taps);
    const auto bias = step.constant_values<float>(1, DType::kF32, channels, "bias");
    const int64_t padded =
        checked_round_up(channels, 16);  // any row's lanes, and whole cache lines
    const int64_t bias_at = checked_mul(padded, taps, "packed weights");
    storage_ = AlignedBuffer(static_cast<size_t>(checked_mul(checked_add(bias_at, padded), 4)));
    pack_dwconv_f32(kernel_, weights.data(), args_.channels, taps, storage_.as<float>());
    std::copy_n(bias.data(), channels, storage_.as<float>() + bias_at);
    args_.weights = storage_.as<float>();
    args_.bias = storage_.as<float>() + bias_at;
  }

  PaddedInput input_;
  Address output_;
  const DwconvF32Kernel& kernel_;
  DwconvF32Args args_{};
  AlignedBuffer storage_;
  int64_t rows_ = 0, rows_per_image_ = 0;
  int64_t out_image_ = 0, out_row_ = 0, in_step_ = 0, in_tap_ = 0;
};

}  // namespace

std::unique_ptr<Op> prepare_depthwise_f32(const StepView& step, const Window2d& w,
                                          const PrepareContext& context) {
  return std::make_unique<DepthwiseF32>(step, w, context);
}

}  // namespace octavo
