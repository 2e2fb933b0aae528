// SPDX-License-Identifier: Apache-2.0
#include "base/parallel.h"
#include "ops/op.h"
#include "ops/ordered_sum.h"
#include "ops/row_loops.h"

namespace octavo {
namespace {

class MeanF32 final : public Op {
 public:
  MeanF32(const StepView& step, const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        loops_(make_row_loops(step, step.input(0), step.output(0))),
        length_(step.input(0).dims[step.input(0).rank - 1]) {
    info_ = {"mean_f32", Isa::kScalar, Precision::kFloat32,
             threads_for(context, 0, 8 * step.input(0).elements())};
  }

  void run(const RunContext& ctx) const noexcept override {
    const uint8_t* in = input_.in(ctx);
    uint8_t* out = output_.in(ctx);
    parallel_for(info_.threads, loops_.outer(0), [&](int64_t begin, int64_t end, int) {
      loops_.for_outer(0, begin, end, [&](const LoopNest<2>::Offsets& at) {
        const float* x = reinterpret_cast<const float*>(in + at.at[0]);
        const double sum = ordered_sum(length_, [x](int64_t i) { return double{x[i]}; });
        const double mean = sum / static_cast<double>(length_);
        *reinterpret_cast<float*>(out + at.at[1]) = static_cast<float>(mean);
      });
    });
  }

 private:
  Address input_, output_;
  LoopNest<2> loops_;
  int64_t length_;
};

}  // namespace

std::unique_ptr<Op> prepare_mean_f32(const StepView& step, const PrepareContext& context) {
  step.expect({1, 1, 0, 0, 0});
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  step.expect_kernel_tensor(x, DType::kF32);
  step.expect_kernel_tensor(y, DType::kF32);
  step.expect_disjoint(y, x);
  auto op = std::make_unique<MeanF32>(step, context);  // checks ranks and all dims but the last
  if (y.dims[y.rank - 1] != 1) step.fail(ErrorCode::kShape, "the last dim of y must be 1");
  return op;
}

}  // namespace octavo
