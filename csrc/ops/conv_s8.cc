// SPDX-License-Identifier: Apache-2.0
#include "base/checked.h"
#include "ops/conv_rows.h"
#include "ops/depthwise.h"
#include "ops/packed_gemm.h"
#include "ops/winograd.h"

namespace octavo {
namespace {

GemmLayer gemm_layer(const StepView& step, const Window2d& w, int32_t groups,
                     const PaddedInput& input) {
  const Tensor& y = step.output(0);
  ConvRows conv = make_conv_rows(step, w, input, groups, sizeof(uint8_t));
  return {conv.rows,
          groups,
          y.dims[3] / groups,
          std::move(conv.segments),
          conv.segment_len,
          step.input(0).zero_point,
          read_requant(step, 11, y, true)};
}

class ConvGemm final : public Op {
 public:
  ConvGemm(const StepView& step, const Window2d& w, int32_t groups, const QuantWeights& weights,
           const PrepareContext& context)
      : input_(step, step.input(0), step.output(0), w),
        output_(step.output(0)),
        gemm_(gemm_layer(step, w, groups, input_), weights, context) {
    info_ = {gemm_.kernel().name, gemm_.kernel().isa, Precision::kInt8, gemm_.threads()};
    scratch_bytes_ = input_.scratch_bytes();
    packed_bytes_ = gemm_.packed_bytes();
  }

  void run(const RunContext& ctx) const noexcept override {
    gemm_.run(input_.prepare(ctx, gemm_.threads()), output_.in(ctx));
  }

 private:
  PaddedInput input_;
  Address output_;
  PackedGemm gemm_;
};

struct Conv {  // a validated step
  Window2d window;
  int32_t groups;
  bool depthwise;
};

Conv read_conv(const StepView& step) {
  step.expect({1, 1, 14, 0, 3, 1});
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  step.expect_kernel_tensor(x, DType::kU8);
  step.expect_kernel_tensor(y, DType::kU8);
  step.expect_disjoint(y, x);
  const Window2d w = read_window(step, x, y);
  const int32_t groups = read_groups(step, x, y);
  const bool depthwise =
      groups > 1 && groups == x.dims[3] && groups == y.dims[3] && w.kh <= kMaxDepthwiseTaps;
  return {w, groups, depthwise};
}

QuantWeights read_weights(const StepView& step, const Conv& conv) {
  const Tensor& x = step.input(0);
  const int64_t taps = int64_t{conv.window.kh} * conv.window.kw;
  const int64_t k = checked_mul(taps, x.dims[3] / conv.groups, step.name);
  return read_quant_weights(step, step.output(0).dims[3], k, x.zero_point);
}

}  // namespace

std::unique_ptr<Op> prepare_conv_s8(const StepView& step, const PrepareContext& context) {
  const Conv conv = read_conv(step);
  if (conv.depthwise) return prepare_depthwise(step, conv.window, context);
  const QuantWeights weights = read_weights(step, conv);
  const WinogradS8Kernel* winograd =
      winograd_kernel(step, conv.window, conv.groups, weights, context);
  if (winograd != nullptr &&
      (context.kernel == nullptr ? winograd_pays(step, *winograd, context.cap)
                                 : context.kernel == winograd->name)) {
    return prepare_winograd(step, conv.window, weights, *winograd, context);
  }
  return std::make_unique<ConvGemm>(step, conv.window, conv.groups, weights, context);
}

KernelNames conv_s8_kernels(const StepView& step, const PrepareContext& context) {
  const Conv conv = read_conv(step);
  if (conv.depthwise) return depthwise_kernels(step, conv.window, context);
  const PaddedInput input(step, step.input(0), step.output(0), conv.window);
  KernelNames names = gemm_kernels(gemm_layer(step, conv.window, conv.groups, input), context);
  const WinogradS8Kernel* winograd =
      winograd_kernel(step, conv.window, conv.groups, read_weights(step, conv), context);
  if (winograd != nullptr) {
    names.insert(winograd_pays(step, *winograd, context.cap) ? names.begin() : names.end(),
                 winograd->name);
  }
  return names;
}

}  // namespace octavo
