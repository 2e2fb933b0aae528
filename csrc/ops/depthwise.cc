// SPDX-License-Identifier: Apache-2.0
#include "ops/depthwise.h"

#include "base/aligned_buffer.h"
#include "base/checked.h"
#include "base/parallel.h"
#include "kernels/dwconv_s8/dwconv_s8.h"
#include "kernels/dwconv_s8/pack.h"
#include "ops/padded_input.h"
#include "ops/quant_args.h"

namespace octavo {
namespace {

DwconvS8Shape shape_of(const Window2d& w, int32_t channels, const QuantWeights& weights) {
  const std::vector<int16_t>& values = weights.values;
  const WeightRange range =
      dwconv_s8_weight_range(values.data(), static_cast<int64_t>(values.size()));
  return {channels, w.kh, w.kw, w.stride_w, w.dilation_w, range};
}

class Depthwise final : public Op {
 public:
  Depthwise(const StepView& step, const Window2d& w, const PrepareContext& context)
      : input_(step, step.input(0), step.output(0), w), output_(step.output(0)) {
    const Tensor& x = step.input(0);
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
    args_.requant = read_requant(step, 11, y, true);
    pack(read_quant_weights(step, y.dims[3], int64_t{w.kh} * w.kw, x.zero_point), w, x.zero_point,
         context);
    const int64_t macs = checked_mul(y.elements(), int64_t{w.kh} * w.kw, "MACs");
    // A depthwise multiply-accumulate costs about three of a GEMM's: no reuse between channels.
    const int threads = threads_for(context, checked_mul(macs, 3), y.elements());
    info_ = {kernel_->name, kernel_->isa, Precision::kInt8, threads};
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
    DwconvS8Args args = args_;
    args.in_rows = taps;
    for (int64_t r = begin; r < end; ++r) {
      const int64_t image = r / rows_per_image_, y = r % rows_per_image_;
      const uint8_t* first = in + image * input_.image_stride() + y * in_step_;
      for (int32_t i = 0; i < args.kh; ++i) taps[i] = first + i * in_tap_;
      args.out = out + image * out_image_ + y * out_row_;
      kernel_->run(args);
    }
  }

  void pack(const QuantWeights& weights, const Window2d& w, int32_t in_zero_point,
            const PrepareContext& context) {
    const int32_t channels = args_.channels;
    const int64_t taps = int64_t{args_.kh} * args_.kw;
    std::vector<int16_t> by_tap(weights.values.size());  // [kh][kw][channels]
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t t = 0; t < taps; ++t) by_tap[t * channels + c] = weights.values[c * taps + t];
    }
    const DwconvS8Weights raw{channels,
                              args_.kh,
                              args_.kw,
                              by_tap.data(),
                              weights.bias.data(),
                              weights.multiplier.data(),
                              in_zero_point};
    kernel_ = context.kernel != nullptr ? find_dwconv_s8(context.kernel) : nullptr;
    if (kernel_ == nullptr) {
      kernel_ = &select_dwconv_s8(context.cap, shape_of(w, channels, weights));
    }
    const DwconvS8Layout layout = kernel_->layout(raw);
    const int64_t bias_at = layout.weights, scale_at = checked_add(bias_at, layout.bias);
    const size_t bytes = static_cast<size_t>(checked_add(scale_at, layout.scale));
    storage_ = find_or_pack(
        context.packs, kernel_->name, [&](ByteSpan found) { return found.size == bytes; },
        [&] {
          AlignedBuffer packed(bytes);
          kernel_->pack(raw, packed.data(), packed.as<int32_t>(bias_at),
                        packed.as<float>(scale_at));
          return packed;
        });
    args_.packed = {storage_.data(), storage_.as<int32_t>(bias_at), storage_.as<float>(scale_at)};
  }

  PaddedInput input_;
  Address output_;
  const DwconvS8Kernel* kernel_ = nullptr;
  DwconvS8Args args_{};
  FixedBytes storage_;
  int64_t rows_ = 0, rows_per_image_ = 0;
  int64_t out_image_ = 0, out_row_ = 0, in_step_ = 0, in_tap_ = 0;
};

}  // namespace

std::unique_ptr<Op> prepare_depthwise(const StepView& step, const Window2d& w,
                                      const PrepareContext& context) {
  return std::make_unique<Depthwise>(step, w, context);
}

KernelNames depthwise_kernels(const StepView& step, const Window2d& w,
                              const PrepareContext& context) {
  const int32_t channels = step.output(0).dims[3];
  const QuantWeights weights =
      read_quant_weights(step, channels, int64_t{w.kh} * w.kw, step.input(0).zero_point);
  const DwconvS8Shape shape = shape_of(w, channels, weights);
  const DwconvS8Kernel& best = select_dwconv_s8(context.cap, shape);
  KernelNames names{best.name};
  int count = 0;
  const DwconvS8Kernel* kernels = dwconv_s8_kernels(&count);
  for (int i = 0; i < count; ++i) {
    if (kernels[i].isa == best.isa && kernels + i != &best && dwconv_s8_takes(kernels[i], shape)) {
      names.push_back(kernels[i].name);
    }
  }
  return names;
}

}  // namespace octavo
