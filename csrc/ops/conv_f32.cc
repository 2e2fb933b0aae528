// SPDX-License-Identifier: Apache-2.0
#include "base/checked.h"
#include "ops/conv_rows.h"
#include "ops/depthwise.h"
#include "ops/depthwise_f32.h"
#include "ops/float_weights.h"
#include "ops/gemm_f32.h"

namespace octavo {
namespace {

class ConvF32 final : public Op {
 public:
  ConvF32(const StepView& step, const Window2d& w, int32_t groups, const PrepareContext& context)
      : input_(step, step.input(0), step.output(0), w),
        output_(step.output(0)),
        layer_(layer(step, w, groups), weights(step, w, groups),
               step.constant_values<float>(1, DType::kF32, step.output(0).dims[3], "bias"),
               context) {
    info_ = {layer_.kernel().name, layer_.kernel().isa, float_layer_precision(step),
             layer_.threads()};
    scratch_bytes_ = input_.scratch_bytes();
    packed_bytes_ = layer_.packed_bytes();
  }

  void run(const RunContext& ctx) const noexcept override {
    layer_.run(input_.prepare(ctx, layer_.threads()), output_.in(ctx));
  }

 private:
  static std::vector<float> weights(const StepView& step, const Window2d& w, int32_t groups) {
    const int64_t k = checked_mul(int64_t{w.kh} * w.kw, step.input(0).dims[3] / groups, step.name);
    return read_float_weights(step, step.output(0).dims[3], k);
  }

  LayerF32 layer(const StepView& step, const Window2d& w, int32_t groups) const {
    ConvRows conv = make_conv_rows(step, w, input_, groups, sizeof(float));
    LayerF32 layer{conv.rows,
                   groups,
                   step.output(0).dims[3] / groups,
                   std::move(conv.segments),
                   conv.segment_len,
                   0,
                   0};
    read_clamp(step, 0, &layer.lo, &layer.hi);
    return layer;
  }

  PaddedInput input_;
  Address output_;
  PackedLayerF32 layer_;
};

}  // namespace

std::unique_ptr<Op> prepare_conv_f32(const StepView& step, const PrepareContext& context) {
  step.expect({1, 1, 11, 2, 2, 2});
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  step.expect_kernel_tensor(x, DType::kF32);
  step.expect_kernel_tensor(y, DType::kF32);
  step.expect_disjoint(y, x);
  const Window2d w = read_window(step, x, y);
  const int32_t groups = read_groups(step, x, y);
  if (groups > 1 && groups == x.dims[3] && groups == y.dims[3] && w.kh <= kMaxDepthwiseTaps) {
    return prepare_depthwise_f32(step, w, context);
  }
  return std::make_unique<ConvF32>(step, w, groups, context);
}

}  // namespace octavo
