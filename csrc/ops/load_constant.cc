// SPDX-License-Identifier: Apache-2.0
#include "ops/strided_copy.h"

namespace octavo {
namespace {

class LoadConstant final : public Op {
 public:
  LoadConstant(const StepView& step, const PrepareContext& context)
      : output_(step.output(0)), copy_(dense_like(step.output(0)), step.output(0)) {
    const Tensor& y = step.output(0);
    value_ = step.constant(0, y.dtype, y.elements(), "value");
    info_ = {"load_constant", Isa::kScalar, Precision::kCopy,
             threads_for(context, 0, 2 * y.bytes())};
  }

  // Bytes are only moved, so reading them from a mapped file here is safe.
  void run(const RunContext& ctx) const noexcept override {
    copy_.run(value_, output_.in(ctx), info_.threads);
  }

 private:
  Address output_;
  StridedCopy copy_;
  const uint8_t* value_;
};

}  // namespace

std::unique_ptr<Op> prepare_load_constant(const StepView& step, const PrepareContext& context) {
  step.expect({0, 1, 0, 0, 1});
  return std::make_unique<LoadConstant>(step, context);
}

}  // namespace octavo
