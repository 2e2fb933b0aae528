// SPDX-License-Identifier: Apache-2.0
#include "base/aligned_buffer.h"
#include "ops/strided_copy.h"

namespace octavo {
namespace {

class LoadConstant final : public Op {
 public:
  LoadConstant(const StepView& step, const PrepareContext& context)
      : output_(step.output(0)), copy_(dense_like(step.output(0)), step.output(0)) {
    const Tensor& y = step.output(0);
    value_ = step.constant(0, y.dtype, y.elements(), "value");
    if (stored_flip(y) != 0) turn(y);
    info_ = {"load_constant", Isa::kScalar, Precision::kCopy,
             threads_for(context, 0, 2 * y.bytes())};
  }

  // Bytes of a file are only moved, so reading them from a mapped one here is safe.
  void run(const RunContext& ctx) const noexcept override {
    copy_.run(value_, output_.in(ctx), info_.threads);
  }

 private:
  void turn(const Tensor& y) {
    turned_ = AlignedBuffer(static_cast<size_t>(y.bytes()));
    for (int64_t i = 0; i < y.bytes(); ++i) turned_.data()[i] = value_[i] ^ stored_flip(y);
    value_ = turned_.data();
    packed_bytes_ = y.bytes();
  }

  Address output_;
  StridedCopy copy_;
  const uint8_t* value_;
  AlignedBuffer turned_;  // empty if the file's bytes are the arena's
};

}  // namespace

std::unique_ptr<Op> prepare_load_constant(const StepView& step, const PrepareContext& context) {
  step.expect({0, 1, 0, 0, 1});
  return std::make_unique<LoadConstant>(step, context);
}

}  // namespace octavo
