// SPDX-License-Identifier: Apache-2.0
#include "kernels/softmax_s8/softmax_s8.h"

#include <cstring>

#include "base/parallel.h"
#include "ops/quant_args.h"
#include "ops/row_loops.h"

namespace octavo {
namespace {

constexpr int64_t kMaxLength = 1 << 24;  // the kernel's bound for its 64-bit sum of 2^23 terms

class Softmax final : public Op {
 public:
  Softmax(const StepView& step, const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        loops_(make_row_loops(step, step.input(0), step.output(0))),
        kernel_(select_softmax_s8(context.cap)) {
    const Tensor& y = step.output(0);
    std::memcpy(table_, step.constant(0, DType::kU32, 256, "table"), sizeof table_);
    check_table(step);
    args_.n = y.dims[y.rank - 1];
    args_.table = table_;
    args_.out_scale = y.scale;
    args_.requant = read_requant(step, 0, y, true);
    info_ = {kernel_.name, kernel_.isa, Precision::kInt8,
             threads_for(context, 0, 32 * y.elements())};
  }

  void run(const RunContext& ctx) const noexcept override {
    const uint8_t* in = input_.in(ctx);
    uint8_t* out = output_.in(ctx);
    parallel_for(info_.threads, loops_.outer(0), [&](int64_t begin, int64_t end, int) {
      SoftmaxS8Args args = args_;
      loops_.for_outer(0, begin, end, [&](const LoopNest<2>::Offsets& at) {
        args.in = in + at.at[0];
        args.out = out + at.at[1];
        kernel_.run(args);
      });
    });
  }

 private:
  // Entry 0 belongs to the maximum, so a positive one keeps the sum from being 0.
  void check_table(const StepView& step) const {
    if (table_[0] == 0) step.fail(ErrorCode::kFormat, "table[0] is 0, the sum could be 0");
    for (int d = 0; d < 256; ++d) {
      if (table_[d] > 1u << 23) {
        step.fail(ErrorCode::kFormat, "table[%d] is %u, at most 2^23", d, table_[d]);
      }
    }
  }

  Address input_, output_;
  LoopNest<2> loops_;
  const SoftmaxS8Kernel& kernel_;
  SoftmaxS8Args args_{};
  alignas(64) uint32_t table_[256];
};

}  // namespace

std::unique_ptr<Op> prepare_softmax_s8(const StepView& step, const PrepareContext& context) {
  step.expect({1, 1, 3, 0, 1});
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  step.expect_kernel_tensor(x, DType::kU8);
  step.expect_kernel_tensor(y, DType::kU8);
  step.expect_same_dims(x, y);
  if (x.rank < 1 || x.dims[x.rank - 1] > kMaxLength) {
    step.fail(ErrorCode::kLimit, "the last axis of '%s' must have 1 to 2^24 elements", x.name);
  }
  step.expect_disjoint_or_in_place(y, x);
  return std::make_unique<Softmax>(step, context);
}

}  // namespace octavo
