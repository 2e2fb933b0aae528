// SPDX-License-Identifier: Apache-2.0
#include "ops/packed_gemm.h"
#include "ops/row_loops.h"

namespace octavo {
namespace {

GemmLayer linear_layer(const StepView& step) {
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  return {
      make_row_loops(step, x, y),    1, y.dims[y.rank - 1], {0}, x.dims[x.rank - 1], x.zero_point,
      read_requant(step, 0, y, true)};
}

class Linear final : public Op {
 public:
  Linear(const StepView& step, const GemmLayer& layer, const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        gemm_(layer, read_quant_weights(step, layer.n, layer.segment_len, layer.a_zero_point),
              context) {
    info_ = {gemm_.kernel().name, gemm_.kernel().isa, Precision::kInt8, gemm_.threads()};
    packed_bytes_ = gemm_.packed_bytes();
  }

  void run(const RunContext& ctx) const noexcept override {
    gemm_.run(input_.in(ctx), output_.in(ctx));
  }

 private:
  Address input_, output_;
  PackedGemm gemm_;
};

void validate(const StepView& step) {
  step.expect({1, 1, 3, 0, 3, 1});
  step.expect_kernel_tensor(step.input(0), DType::kU8);
  step.expect_kernel_tensor(step.output(0), DType::kU8);
  step.expect_disjoint(step.output(0), step.input(0));
}

}  // namespace

std::unique_ptr<Op> prepare_linear_s8(const StepView& step, const PrepareContext& context) {
  validate(step);
  return std::make_unique<Linear>(step, linear_layer(step), context);
}

KernelNames linear_s8_kernels(const StepView& step, const PrepareContext& context) {
  validate(step);
  return gemm_kernels(linear_layer(step), context);
}

}  // namespace octavo
