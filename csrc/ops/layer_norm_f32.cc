// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "base/parallel.h"
#include "ops/op.h"
#include "ops/ordered_sum.h"
#include "ops/row_loops.h"

namespace octavo {
namespace {

// Mean and variance in float64 and a fixed order, each value rounded to float32 at its end.
void normalize_row(const float* x, float* y, int64_t n, double epsilon, const float* scale,
                   const float* bias) {
  const double count = static_cast<double>(n);
  const double mean = ordered_sum(n, [&](int64_t i) { return double{x[i]}; }) / count;
  const double variance = ordered_sum(n,
                                      [&](int64_t i) {
                                        const double d = double{x[i]} - mean;
                                        return d * d;
                                      }) /
                          count;
  const double factor = 1.0 / std::sqrt(variance + epsilon);
  for (int64_t i = 0; i < n; ++i) {
    y[i] = static_cast<float>((double{x[i]} - mean) * factor * double{scale[i]} + double{bias[i]});
  }
}

class LayerNormF32 final : public Op {
 public:
  LayerNormF32(const StepView& step, const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        loops_(make_row_loops(step, step.input(0), step.output(0))),
        length_(step.output(0).dims[step.output(0).rank - 1]),
        epsilon_(step.finite_at(0, "epsilon")),
        scale_(step.constant_values<float>(0, DType::kF32, length_, "scale")),
        bias_(step.constant_values<float>(1, DType::kF32, length_, "bias")) {
    if (!(epsilon_ > 0)) step.fail(ErrorCode::kFormat, "epsilon is %g, must be > 0", epsilon_);
    packed_bytes_ = 8 * length_;
    info_ = {"layer_norm_f32", Isa::kScalar, Precision::kFloat32,
             threads_for(context, 0, 64 * step.output(0).elements())};
  }

  void run(const RunContext& ctx) const noexcept override {
    const uint8_t* in = input_.in(ctx);
    uint8_t* out = output_.in(ctx);
    parallel_for(info_.threads, loops_.outer(0), [&](int64_t begin, int64_t end, int) {
      loops_.for_outer(0, begin, end, [&](const LoopNest<2>::Offsets& at) {
        normalize_row(reinterpret_cast<const float*>(in + at.at[0]),
                      reinterpret_cast<float*>(out + at.at[1]), length_, epsilon_, scale_.data(),
                      bias_.data());
      });
    });
  }

 private:
  Address input_, output_;
  LoopNest<2> loops_;
  int64_t length_;
  double epsilon_;
  std::vector<float> scale_, bias_;
};

}  // namespace

std::unique_ptr<Op> prepare_layer_norm_f32(const StepView& step, const PrepareContext& context) {
  step.expect({1, 1, 0, 1, 2});
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  step.expect_kernel_tensor(x, DType::kF32);
  step.expect_kernel_tensor(y, DType::kF32);
  step.expect_same_dims(x, y);
  if (x.rank < 1) step.fail(ErrorCode::kShape, "tensor '%s' is a scalar", x.name);
  step.expect_disjoint_or_in_place(y, x);
  return std::make_unique<LayerNormF32>(step, context);
}

}  // namespace octavo
