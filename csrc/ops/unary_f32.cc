// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "base/parallel.h"
#include "ops/erf_f64.h"
#include "ops/exp_f64.h"
#include "ops/gemm_f32.h"
#include "ops/op.h"

namespace octavo {
namespace {

constexpr int64_t kPiece = 2048;  // elements per task

using Parameters = float[2];

float clip(float x, const Parameters& p) {
  const float low = x < p[0] ? p[0] : x;
  return low > p[1] ? p[1] : low;
}
float leaky_relu(float x, const Parameters& p) { return x < 0 ? x * p[0] : x; }
float sigmoid(float x, const Parameters&) {
  return static_cast<float>(1.0 / (1.0 + exp_f64(-double{x})));
}
// (1 - t) / (1 + t) with t = e^(-2|x|) loses digits near 0; x - x^3/3 + 2x^5/15 is exact to float32
// below 2^-6, where the next term, 17x^7/315, is below 2^-40 of x.
float tanh(float x, const Parameters&) {
  const double wide = x;
  const double size = std::fabs(wide);
  if (size < 0x1p-6) {
    const double square = wide * wide;
    return static_cast<float>(wide * (1.0 - square * (1.0 / 3.0 - square * (2.0 / 15.0))));
  }
  const double t = exp_f64(-2.0 * size);
  const double value = (1.0 - t) / (1.0 + t);
  return static_cast<float>(wide < 0 ? -value : value);
}
float hard_sigmoid(float x, const Parameters& p) {
  const float line = p[0] * x + p[1];
  return line < 0.0f ? 0.0f : line > 1.0f ? 1.0f : line;
}
float hard_swish(float x, const Parameters&) {
  const float shifted = x + 3.0f;
  const float gate = shifted < 0.0f ? 0.0f : shifted > 6.0f ? 6.0f : shifted;
  return x * gate / 6.0f;
}
float exp(float x, const Parameters&) { return static_cast<float>(exp_f64(x)); }
float sqrt(float x, const Parameters&) { return std::sqrt(x); }
float erf(float x, const Parameters&) { return static_cast<float>(erf_f64(x)); }
float gelu(float x, const Parameters&) {
  const double wide = x;
  return static_cast<float>(0.5 * wide * (1.0 + erf_f64(wide * 0.70710678118654752)));
}
// 0.5 (1 + tanh(u)) = 1 / (1 + e^(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3)
float gelu_tanh(float x, const Parameters&) {
  const double wide = x;
  const double u = 0.79788456080286536 * (wide + 0.044715 * wide * wide * wide);
  return static_cast<float>(wide / (1.0 + exp_f64(-2.0 * u)));
}

struct Run {
  const float* in;
  float* out;
  int64_t count, in_step, out_step;  // elements
  Parameters parameters;
};

template <float (*kFunction)(float, const Parameters&)>
void run_unary(const Run& r) {
  if (r.in_step == 1 && r.out_step == 1) {
    for (int64_t i = 0; i < r.count; ++i) r.out[i] = kFunction(r.in[i], r.parameters);
    return;
  }
  for (int64_t i = 0; i < r.count; ++i) {
    r.out[i * r.out_step] = kFunction(r.in[i * r.in_step], r.parameters);
  }
}

struct Function {  // in the order of the op numbers in docs/format.md
  void (*run)(const Run&);
  int floats;
  int cost;  // bytes moved that take as long as one element
};

constexpr Function kFunctions[] = {
    {run_unary<clip>, 2, 8},   {run_unary<leaky_relu>, 1, 8},    {run_unary<sigmoid>, 0, 500},
    {run_unary<tanh>, 0, 500}, {run_unary<hard_sigmoid>, 2, 16}, {run_unary<hard_swish>, 0, 32},
    {run_unary<exp>, 0, 400},  {run_unary<sqrt>, 0, 80},         {run_unary<erf>, 0, 500},
    {run_unary<gelu>, 0, 600}, {run_unary<gelu_tanh>, 0, 500}};

class UnaryF32 final : public Op {
 public:
  UnaryF32(const StepView& step, const Function& function, const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        loops_(make_loop_nest(step.input(0), step.output(0)).sorted_by(1)),
        function_(function) {
    for (int i = 0; i < function.floats; ++i) parameters_[i] = step.float_at(i);
    info_ = {"unary_f32", Isa::kScalar, Precision::kFloat32,
             threads_for(context, 0, function.cost * step.output(0).elements())};
  }

  void run(const RunContext& ctx) const noexcept override {
    const uint8_t* in = input_.in(ctx);
    uint8_t* out = output_.in(ctx);
    parallel_for(info_.threads, loops_.pieces(1, kPiece), [&](int64_t begin, int64_t end, int) {
      Run run{nullptr,
              nullptr,
              0,
              loops_.inner_stride(0) / 4,
              loops_.inner_stride(1) / 4,
              {parameters_[0], parameters_[1]}};
      loops_.for_pieces(1, kPiece, begin, end, [&](const LoopNest<2>::Offsets& at, int64_t count) {
        run.in = reinterpret_cast<const float*>(in + at.at[0]);
        run.out = reinterpret_cast<float*>(out + at.at[1]);
        run.count = count;
        function_.run(run);
      });
    });
  }

 private:
  Address input_, output_;
  LoopNest<2> loops_;
  const Function& function_;
  Parameters parameters_ = {0.0f, 0.0f};
};

}  // namespace

std::unique_ptr<Op> prepare_unary_f32(const StepView& step, const PrepareContext& context) {
  if (step.ints.count != 1) step.fail(ErrorCode::kFormat, "%d ints, expected 1", step.ints.count);
  const Function& function = kFunctions[step.int_in(0, 0, 10, "op")];
  step.expect({1, 1, 1, function.floats, 0});
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  step.expect_kernel_tensor(x, DType::kF32);
  step.expect_kernel_tensor(y, DType::kF32);
  step.expect_same_dims(x, y);
  step.expect_disjoint_or_in_place(y, x);
  return std::make_unique<UnaryF32>(step, function, context);
}

}  // namespace octavo
