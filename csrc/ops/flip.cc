// SPDX-License-Identifier: Apache-2.0
#include "base/parallel.h"
#include "kernels/convert/convert.h"
#include "ops/strided_copy.h"

namespace octavo {
namespace {

constexpr int64_t kPiece = 16384;

// Where both sides are dense, one pass; otherwise a strided copy, then a flip of y in place.
class Flip final : public Op {
 public:
  Flip(const StepView& step, const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        copy_(step.input(0), step.output(0)),
        kernels_(select_convert(context.cap)),
        copies_(!copy_.flat()),
        loops_(
            make_loop_nest(copies_ ? step.output(0) : step.input(0), step.output(0)).sorted_by(1)) {
    info_ = {kernels_.name, kernels_.isa, Precision::kInt8,
             threads_for(context, 0, 2 * step.output(0).elements())};
  }

  void run(const RunContext& ctx) const noexcept override {
    uint8_t* out = output_.in(ctx);
    const uint8_t* in = input_.in(ctx);
    if (copies_) {
      copy_.run(in, out, info_.threads);
      in = out;
    }
    parallel_for(info_.threads, loops_.pieces(1, kPiece), [&](int64_t begin, int64_t end, int) {
      loops_.for_pieces(1, kPiece, begin, end, [&](const LoopNest<2>::Offsets& at, int64_t count) {
        flip_run(in + at.at[0], out + at.at[1], count);
      });
    });
  }

 private:
  void flip_run(const uint8_t* in, uint8_t* out, int64_t count) const noexcept {
    const int64_t stride = loops_.inner_stride(1);
    if (loops_.rank() == 0 || stride == 1) return kernels_.flip({in, out, count});
    // Only after a copy to a y without any dense dimension: in == out.
    for (int64_t i = 0; i < count; ++i) out[i * stride] ^= 0x80;
  }

  Address input_, output_;
  StridedCopy copy_;
  const ConvertKernels& kernels_;
  bool copies_;
  LoopNest<2> loops_;
};

}  // namespace

std::unique_ptr<Op> make_flip(const StepView& step, const PrepareContext& context) {
  return std::make_unique<Flip>(step, context);
}

std::unique_ptr<Op> prepare_flip(const StepView& step, const PrepareContext& context) {
  step.expect({1, 1, 0, 0, 0});
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  if (!is_8bit(x.dtype) || !is_8bit(y.dtype)) {
    step.fail(ErrorCode::kFormat, "from %s to %s, must be 8-bit", dtype_name(x.dtype),
              dtype_name(y.dtype));
  }
  step.expect_same_dims(x, y);
  step.expect_disjoint(y, x);
  return stored_flip(x) == stored_flip(y) ? make_flip(step, context) : make_copy(step, context);
}

}  // namespace octavo
