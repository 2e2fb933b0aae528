// SPDX-License-Identifier: Apache-2.0
#include "base/parallel.h"
#include "ops/broadcast.h"
#include "ops/gemm_f32.h"
#include "ops/op.h"

namespace octavo {
namespace {

constexpr int64_t kPiece = 4096;  // elements per task

enum class BinaryOp : int32_t { kAdd = 0, kSub, kMul, kDiv };

template <BinaryOp kOp>
float apply(float a, float b) {
  switch (kOp) {
    case BinaryOp::kAdd: return a + b;
    case BinaryOp::kSub: return a - b;
    case BinaryOp::kMul: return a * b;
    case BinaryOp::kDiv: return a / b;
  }
}

struct Run {
  const float* a;
  const float* b;
  float* y;
  int64_t count, a_step, b_step, y_step;  // elements
  float lo, hi;
};

template <BinaryOp kOp>
float clamped(const Run& r, float a, float b) {
  const float value = apply<kOp>(a, b);
  const float low = value < r.lo ? r.lo : value;
  return low > r.hi ? r.hi : low;
}

// The common step patterns as loops of their own, so that the compiler vectorizes them.
template <BinaryOp kOp>
void run_binary(const Run& r) {
  if (r.a_step == 1 && r.b_step == 1 && r.y_step == 1) {
    for (int64_t i = 0; i < r.count; ++i) r.y[i] = clamped<kOp>(r, r.a[i], r.b[i]);
  } else if (r.a_step == 1 && r.b_step == 0 && r.y_step == 1) {
    const float b = *r.b;
    for (int64_t i = 0; i < r.count; ++i) r.y[i] = clamped<kOp>(r, r.a[i], b);
  } else {
    for (int64_t i = 0; i < r.count; ++i) {
      r.y[i * r.y_step] = clamped<kOp>(r, r.a[i * r.a_step], r.b[i * r.b_step]);
    }
  }
}

void (*const kRunBinary[])(const Run&) = {run_binary<BinaryOp::kAdd>, run_binary<BinaryOp::kSub>,
                                          run_binary<BinaryOp::kMul>, run_binary<BinaryOp::kDiv>};

class BinaryF32 final : public Op {
 public:
  BinaryF32(const StepView& step, const PrepareContext& context)
      : a_(step.input(0)),
        b_(step.input(1)),
        y_(step.output(0)),
        loops_(broadcast_loops(step, step.input(0), step.input(1), step.output(0))),
        run_(kRunBinary[step.int_in(0, 0, 3, "op")]) {
    read_clamp(step, 0, &lo_, &hi_);
    info_ = {"binary_f32", Isa::kScalar, Precision::kFloat32,
             threads_for(context, 0, 12 * step.output(0).elements())};
  }

  void run(const RunContext& ctx) const noexcept override {
    const uint8_t* a = a_.in(ctx);
    const uint8_t* b = b_.in(ctx);
    uint8_t* y = y_.in(ctx);
    parallel_for(info_.threads, loops_.pieces(1, kPiece), [&](int64_t begin, int64_t end, int) {
      Run run{nullptr,
              nullptr,
              nullptr,
              0,
              loops_.inner_stride(0) / 4,
              loops_.inner_stride(1) / 4,
              loops_.inner_stride(2) / 4,
              lo_,
              hi_};
      loops_.for_pieces(1, kPiece, begin, end, [&](const LoopNest<3>::Offsets& at, int64_t count) {
        run.a = reinterpret_cast<const float*>(a + at.at[0]);
        run.b = reinterpret_cast<const float*>(b + at.at[1]);
        run.y = reinterpret_cast<float*>(y + at.at[2]);
        run.count = count;
        run_(run);
      });
    });
  }

 private:
  Address a_, b_, y_;
  LoopNest<3> loops_;
  void (*run_)(const Run&);
  float lo_, hi_;
};

}  // namespace

std::unique_ptr<Op> prepare_binary_f32(const StepView& step, const PrepareContext& context) {
  step.expect({2, 1, 1, 2, 0});
  const Tensor& y = step.output(0);
  for (const Tensor* t : {&step.input(0), &step.input(1), &y}) {
    step.expect_kernel_tensor(*t, DType::kF32);
  }
  step.expect_disjoint_or_in_place(y, step.input(0));
  step.expect_disjoint_or_in_place(y, step.input(1));
  return std::make_unique<BinaryF32>(step, context);
}

}  // namespace octavo
