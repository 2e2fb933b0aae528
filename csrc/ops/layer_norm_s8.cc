// SPDX-License-Identifier: Apache-2.0
#include "kernels/layer_norm_s8/layer_norm_s8.h"

#include <algorithm>
#include <cmath>

#include "base/aligned_buffer.h"
#include "base/parallel.h"
#include "ops/quant_args.h"
#include "ops/row_loops.h"

namespace octavo {
namespace {

class LayerNorm final : public Op {
 public:
  LayerNorm(const StepView& step, const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        loops_(make_row_loops(step, step.input(0), step.output(0))),
        kernel_(select_layer_norm_s8(context.cap)) {
    const Tensor& y = step.output(0);
    args_.n = y.dims[y.rank - 1];
    gain_ = parameters(step, 0, "gain");
    shift_ = parameters(step, 1, "shift");
    args_.gain = gain_.as<float>();
    args_.shift = shift_.as<float>();
    args_.epsilon = step.finite_at(0, "epsilon");
    if (!std::isnormal(args_.epsilon) || args_.epsilon < 0) {
      step.fail(ErrorCode::kFormat, "epsilon is %g, must be > 0 and not subnormal",
                static_cast<double>(args_.epsilon));
    }
    args_.in_zero_point = static_cast<uint8_t>(step.input(0).zero_point);
    args_.requant = read_requant(step, 0, y, true);
    packed_bytes_ = static_cast<int64_t>(gain_.size() + shift_.size());
    info_ = {kernel_.name, kernel_.isa, Precision::kInt8,
             threads_for(context, 0, 16 * y.elements())};
  }

  void run(const RunContext& ctx) const noexcept override {
    const uint8_t* in = input_.in(ctx);
    uint8_t* out = output_.in(ctx);
    parallel_for(info_.threads, loops_.outer(0), [&](int64_t begin, int64_t end, int) {
      LayerNormS8Args args = args_;
      loops_.for_outer(0, begin, end, [&](const LoopNest<2>::Offsets& at) {
        args.in = in + at.at[0];
        args.out = out + at.at[1];
        kernel_.run(args);
      });
    });
  }

 private:
  // Finite numbers, one per channel, with room for the kernels' whole blocks.
  AlignedBuffer parameters(const StepView& step, int index, const char* what) const {
    const std::vector<float> found = step.constant_values<float>(index, DType::kF32, args_.n, what);
    for (const float value : found) {
      if (!std::isfinite(value)) step.fail(ErrorCode::kFormat, "%s is not finite", what);
    }
    AlignedBuffer buffer((found.size() + 63) / 64 * 64 * sizeof(float));
    std::copy(found.begin(), found.end(), buffer.as<float>());
    return buffer;
  }

  Address input_, output_;
  LoopNest<2> loops_;
  const LayerNormS8Kernel& kernel_;
  LayerNormS8Args args_{};
  AlignedBuffer gain_, shift_;
};

}  // namespace

std::unique_ptr<Op> prepare_layer_norm_s8(const StepView& step, const PrepareContext& context) {
  step.expect({1, 1, 3, 1, 2});
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  step.expect_kernel_tensor(x, DType::kU8);
  step.expect_kernel_tensor(y, DType::kU8);
  step.expect_same_dims(x, y);
  if (x.rank < 1 || x.dims[x.rank - 1] > kLayerNormMaxLength) {
    step.fail(ErrorCode::kLimit, "the last axis of '%s' must have 1 to 2^15 elements", x.name);
  }
  step.expect_disjoint_or_in_place(y, x);
  return std::make_unique<LayerNorm>(step, context);
}

}  // namespace octavo
