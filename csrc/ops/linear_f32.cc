// SPDX-License-Identifier: Apache-2.0
#include "base/checked.h"
#include "ops/float_weights.h"
#include "ops/gemm_f32.h"
#include "ops/row_loops.h"

namespace octavo {
namespace {

LayerF32 linear_layer(const StepView& step) {
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  LayerF32 layer{make_row_loops(step, x, y), 1, y.dims[y.rank - 1], {0}, x.dims[x.rank - 1], 0, 0};
  read_clamp(step, 0, &layer.lo, &layer.hi);
  return layer;
}

class LinearF32 final : public Op {
 public:
  LinearF32(const StepView& step, const LayerF32& layer, const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        layer_(layer, read_float_weights(step, layer.n, layer.segment_len),
               step.constant_values<float>(1, DType::kF32, layer.n, "bias"), context) {
    info_ = {layer_.kernel().name, layer_.kernel().isa, float_layer_precision(step),
             layer_.threads()};
    packed_bytes_ = layer_.packed_bytes();
  }

  void run(const RunContext& ctx) const noexcept override {
    layer_.run(input_.in(ctx), output_.in(ctx));
  }

 private:
  Address input_, output_;
  PackedLayerF32 layer_;
};

}  // namespace

std::unique_ptr<Op> prepare_linear_f32(const StepView& step, const PrepareContext& context) {
  step.expect({1, 1, 0, 2, 2, 2});
  step.expect_kernel_tensor(step.input(0), DType::kF32);
  step.expect_kernel_tensor(step.output(0), DType::kF32);
  step.expect_disjoint(step.output(0), step.input(0));
  return std::make_unique<LinearF32>(step, linear_layer(step), context);
}

}  // namespace octavo
