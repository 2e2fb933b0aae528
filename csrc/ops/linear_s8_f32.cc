// SPDX-License-Identifier: Apache-2.0
// A linear layer on 8-bit activations whose sums become real numbers, not stored ones.
#include "kernels/stored.h"
#include "ops/gemm_f32.h"
#include "ops/row_loops.h"
#include "ops/scaled_sums.h"

namespace octavo {
namespace {

constexpr float kLargestScale = 0x1p93f;  // with weight scales of up to 2^24 a factor is finite

class LinearToFloat final : public Op {
 public:
  LinearToFloat(const StepView& step, const GemmLayer& layer, const QuantWeights& weights,
                const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        kernels_(select_dynamic_s8(context.cap)),
        channels_(read_scaled_channels(step, weights, layer.n, layer.segment_len)),
        rows_(layer.rows.outer(0)),
        gemm_(layer, weights, context),
        scale_{step.input(0).scale, step.input(0).zero_point} {
    read_clamp(step, 0, &lo_, &hi_);
    info_ = {gemm_.kernel().name, gemm_.kernel().isa, Precision::kInt8, gemm_.threads()};
    packed_bytes_ = gemm_.packed_bytes();
    scratch_bytes_ = gemm_.sums_bytes();
  }

  void run(const RunContext& ctx) const noexcept override {
    const ScaledSums finish(kernels_, channels_, &scale_, rows_, lo_, hi_);
    gemm_.run(input_.in(ctx), output_.in(ctx), finish, ctx.scratch);
  }

 private:
  Address input_, output_;
  const DynamicS8Kernels& kernels_;
  ScaledChannels channels_;
  int64_t rows_;
  PackedGemm gemm_;
  DynamicScale scale_;
  float lo_ = 0, hi_ = 0;
};

}  // namespace

std::unique_ptr<Op> prepare_linear_s8_f32(const StepView& step, const PrepareContext& context) {
  step.expect({1, 1, 0, 2, 3, 1});
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  step.expect_kernel_tensor(x, DType::kU8);
  step.expect_kernel_tensor(y, DType::kF32);
  step.expect_disjoint(y, x);
  if (!(x.scale > 0.0f && x.scale <= kLargestScale)) {
    step.fail(ErrorCode::kFormat, "scale %g of the input must be in 0..2^93",
              static_cast<double>(x.scale));
  }
  const GemmLayer layer{make_row_loops(step, x, y),
                        1,
                        y.dims[y.rank - 1],
                        {0},
                        x.dims[x.rank - 1],
                        kStoredOffset,
                        {},
                        true};
  const QuantWeights weights = read_bare_weights(step, layer.n, layer.segment_len);
  return std::make_unique<LinearToFloat>(step, layer, weights, context);
}

}  // namespace octavo
