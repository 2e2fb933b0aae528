// SPDX-License-Identifier: Apache-2.0
#include "kernels/softmax_f32/softmax_f32.h"
#include "base/parallel.h"
#include "ops/op.h"
#include "ops/row_loops.h"

namespace octavo {
namespace {

class SoftmaxF32 final : public Op {
 public:
  SoftmaxF32(const StepView& step, const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        loops_(make_row_loops(step, step.input(0), step.output(0))),
        length_(step.output(0).dims[step.output(0).rank - 1]),
        kernel_(select_softmax_f32(context.cap)) {
    info_ = {kernel_.name, kernel_.isa, Precision::kFloat32,
             threads_for(context, 0, 40 * step.output(0).elements())};
  }

  void run(const RunContext& ctx) const noexcept override {
    const uint8_t* in = input_.in(ctx);
    uint8_t* out = output_.in(ctx);
    parallel_for(info_.threads, loops_.outer(0), [&](int64_t begin, int64_t end, int) {
      loops_.for_outer(0, begin, end, [&](const LoopNest<2>::Offsets& at) {
        kernel_.run({reinterpret_cast<const float*>(in + at.at[0]),
                     reinterpret_cast<float*>(out + at.at[1]), length_});
      });
    });
  }

 private:
  Address input_, output_;
  LoopNest<2> loops_;
  int64_t length_;
  const SoftmaxF32Kernel& kernel_;
};

}  // namespace

std::unique_ptr<Op> prepare_softmax_f32(const StepView& step, const PrepareContext& context) {
  step.expect({1, 1, 0, 0, 0});
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  step.expect_kernel_tensor(x, DType::kF32);
  step.expect_kernel_tensor(y, DType::kF32);
  step.expect_same_dims(x, y);
  step.expect_disjoint_or_in_place(y, x);
  return std::make_unique<SoftmaxF32>(step, context);
}

}  // namespace octavo
