// SPDX-License-Identifier: Apache-2.0
#include "base/parallel.h"
#include "ops/loop_nest.h"
#include "ops/op.h"

namespace octavo {
namespace {

constexpr int64_t kPiece = 4096;  // elements per task

template <class From>
void to_f32(const uint8_t* in, int64_t in_step, uint8_t* out, int64_t out_step, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const From value = *reinterpret_cast<const From*>(in + i * in_step);
    *reinterpret_cast<float*>(out + i * out_step) = static_cast<float>(value);
  }
}

using CastFn = void (*)(const uint8_t*, int64_t, uint8_t*, int64_t, int64_t);

CastFn cast_from(const StepView& step, DType dtype) {
  switch (dtype) {
    case DType::kS32: return to_f32<int32_t>;
    case DType::kS64: return to_f32<int64_t>;
    case DType::kBool: return to_f32<uint8_t>;
    default: step.fail(ErrorCode::kFormat, "from %s", dtype_name(dtype));
  }
}

class Cast final : public Op {
 public:
  Cast(const StepView& step, const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        loops_(make_loop_nest(step.input(0), step.output(0)).sorted_by(1)),
        cast_(cast_from(step, step.input(0).dtype)) {
    info_ = {"cast", Isa::kScalar, Precision::kFloat32,
             threads_for(context, 0, 16 * step.output(0).elements())};
  }

  void run(const RunContext& ctx) const noexcept override {
    const uint8_t* in = input_.in(ctx);
    uint8_t* out = output_.in(ctx);
    parallel_for(info_.threads, loops_.pieces(1, kPiece), [&](int64_t begin, int64_t end, int) {
      loops_.for_pieces(1, kPiece, begin, end, [&](const LoopNest<2>::Offsets& at, int64_t count) {
        cast_(in + at.at[0], loops_.inner_stride(0), out + at.at[1], loops_.inner_stride(1), count);
      });
    });
  }

 private:
  Address input_, output_;
  LoopNest<2> loops_;
  CastFn cast_;
};

}  // namespace

std::unique_ptr<Op> prepare_cast(const StepView& step, const PrepareContext& context) {
  step.expect({1, 1, 0, 0, 0});
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  step.expect_kernel_tensor(x, x.dtype);
  step.expect_kernel_tensor(y, DType::kF32);
  step.expect_same_dims(x, y);
  step.expect_disjoint(y, x);
  return std::make_unique<Cast>(step, context);
}

}  // namespace octavo
