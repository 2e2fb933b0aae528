// SPDX-License-Identifier: Apache-2.0
#include "kernels/lut_s8/lut_s8.h"

#include "base/parallel.h"
#include "kernels/stored.h"
#include "ops/loop_nest.h"
#include "ops/op.h"

namespace octavo {
namespace {

constexpr int64_t kPiece = 16384;  // bytes per task

class Lut final : public Op {
 public:
  Lut(const StepView& step, const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        loops_(make_loop_nest(step.input(0), step.output(0)).sorted_by(1)),
        kernel_(select_lut_s8(context.cap)) {
    if (loops_.inner_stride(0) != 1 || loops_.inner_stride(1) != 1) {
      loops_ = loops_.with_unit_inner(1);
    }
    // Kernels look up bytes as they are stored.
    const uint8_t* table = step.constant(0, DType::kU8, 256, "table");
    for (int value = 0; value < 256; ++value) table_[stored_of(value)] = stored_of(table[value]);
    info_ = {kernel_.name, kernel_.isa, Precision::kInt8,
             threads_for(context, 0, 4 * step.output(0).elements())};
  }

  void run(const RunContext& ctx) const noexcept override {
    const uint8_t* in = input_.in(ctx);
    uint8_t* out = output_.in(ctx);
    parallel_for(info_.threads, loops_.pieces(1, kPiece), [&](int64_t begin, int64_t end, int) {
      loops_.for_pieces(1, kPiece, begin, end, [&](const LoopNest<2>::Offsets& at, int64_t count) {
        kernel_.run({in + at.at[0], out + at.at[1], count, table_});
      });
    });
  }

 private:
  Address input_, output_;
  LoopNest<2> loops_;
  const LutS8Kernel& kernel_;
  alignas(64) uint8_t table_[256];
};

}  // namespace

std::unique_ptr<Op> prepare_lut_s8(const StepView& step, const PrepareContext& context) {
  step.expect({1, 1, 0, 0, 1});
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  step.expect_kernel_tensor(x, DType::kU8);
  step.expect_kernel_tensor(y, DType::kU8);
  step.expect_same_dims(x, y);
  step.expect_disjoint_or_in_place(y, x);
  return std::make_unique<Lut>(step, context);
}

}  // namespace octavo
