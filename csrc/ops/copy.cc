// SPDX-License-Identifier: Apache-2.0
#include "ops/strided_copy.h"

namespace octavo {
namespace {

class Copy final : public Op {
 public:
  Copy(const StepView& step, const PrepareContext& context)
      : input_(step.input(0)), output_(step.output(0)), copy_(step.input(0), step.output(0)) {
    const int threads = threads_for(context, 0, 2 * step.output(0).bytes());
    info_ = {copy_.flat() ? "copy" : "copy_strided", Isa::kScalar, Precision::kCopy, threads};
  }

  void run(const RunContext& ctx) const noexcept override {
    copy_.run(input_.in(ctx), output_.in(ctx), info_.threads);
  }

 private:
  Address input_, output_;
  StridedCopy copy_;
};

}  // namespace

std::unique_ptr<Op> make_copy(const StepView& step, const PrepareContext& context) {
  return std::make_unique<Copy>(step, context);
}

std::unique_ptr<Op> prepare_copy(const StepView& step, const PrepareContext& context) {
  step.expect({1, 1, 0, 0, 0});
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  if (x.dtype != y.dtype) {
    step.fail(ErrorCode::kFormat, "from %s to %s", dtype_name(x.dtype), dtype_name(y.dtype));
  }
  step.expect_same_dims(x, y);
  step.expect_disjoint(y, x);
  return stored_flip(x) == stored_flip(y) ? make_copy(step, context) : make_flip(step, context);
}

}  // namespace octavo
