// SPDX-License-Identifier: Apache-2.0
#include "ops/convert_s16.h"

#include "base/parallel.h"
#include "kernels/round_scalar.h"
#include "ops/loop_nest.h"

namespace octavo {
namespace {

constexpr int64_t kPiece = 2048;  // elements per task

// y[i] = function(x[i]) for arbitrary strides.
template <class In, class Out, class Function>
class Elementwise final : public Op {
 public:
  Elementwise(const Tensor& x, const Tensor& y, Function function, const PrepareContext& context)
      : input_(x), output_(y), loops_(make_loop_nest(x, y).sorted_by(1)), function_(function) {
    if (loops_.rank() == 0) loops_ = loops_.with_unit_inner(0);
    info_ = {"convert_s16", Isa::kScalar, Precision::kInt16,
             threads_for(context, 0, 6 * y.elements())};
  }

  void run(const RunContext& ctx) const noexcept override {
    const uint8_t* in = input_.in(ctx);
    uint8_t* out = output_.in(ctx);
    const int64_t in_step = loops_.inner_stride(0), out_step = loops_.inner_stride(1);
    parallel_for(info_.threads, loops_.pieces(1, kPiece), [&](int64_t begin, int64_t end, int) {
      loops_.for_pieces(1, kPiece, begin, end, [&](const LoopNest<2>::Offsets& at, int64_t count) {
        const uint8_t* from = in + at.at[0];
        uint8_t* to = out + at.at[1];
        for (int64_t i = 0; i < count; ++i) {
          *reinterpret_cast<Out*>(to + i * out_step) =
              function_(*reinterpret_cast<const In*>(from + i * in_step));
        }
      });
    });
  }

 private:
  Address input_, output_;
  LoopNest<2> loops_;
  Function function_;
};

template <class In, class Out, class Function>
std::unique_ptr<Op> elementwise(const Tensor& x, const Tensor& y, Function function,
                                const PrepareContext& context) {
  return std::make_unique<Elementwise<In, Out, Function>>(x, y, function, context);
}

}  // namespace

std::unique_ptr<Op> make_quantize_s16(const StepView& step, const Tensor& input,
                                      const PrepareContext& context) {
  const Tensor& y = step.output(0);
  const float scale = y.scale;
  return elementwise<float, int16_t>(
      input, y,
      [scale](float x) {
        const float v = x / scale;
        return static_cast<int16_t>(round_clamped(v == v ? v : 0.0f, -32768.0f, 32767.0f));
      },
      context);
}

std::unique_ptr<Op> make_dequantize_s16(const StepView& step, const PrepareContext& context) {
  const Tensor& x = step.input(0);
  const float scale = x.scale;
  return elementwise<int16_t, float>(
      x, step.output(0), [scale](int16_t q) { return static_cast<float>(q) * scale; }, context);
}

}  // namespace octavo
