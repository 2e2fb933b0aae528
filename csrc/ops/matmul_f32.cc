// SPDX-License-Identifier: Apache-2.0
#include "base/checked.h"
#include "base/parallel.h"
#include "ops/broadcast.h"
#include "ops/gemm_f32.h"
#include "ops/matrices.h"
#include "ops/row_addresses.h"

namespace octavo {
namespace {

// NumPy matmul: a 1-D operand is a row (a) or a column (b), whose dimension y then lacks.
class MatmulF32 final : public Op {
 public:
  MatmulF32(const StepView& step, const PrepareContext& context)
      : a_address_(step.input(0)),
        b_address_(step.input(1)),
        y_address_(step.output(0)),
        a_(split_matrices(step.input(0), step.input(0).rank > 1, true)),
        b_(split_matrices(step.input(1), true, step.input(1).rank > 1)),
        y_(split_matrices(step.output(0), step.input(0).rank > 1, step.input(1).rank > 1)),
        batches_(broadcast_loops(step, a_.batch, b_.batch, y_.batch)),
        kernel_(select_gemm_f32(context.cap)) {
    check_matrices(step, a_, b_, y_);
    if (a_.col_stride != 4 || (y_.cols > 1 && y_.col_stride != 4)) {
      step.fail(ErrorCode::kFormat, "rows of a and y must be dense");
    }
    read_clamp(step, 0, &lo_, &hi_);
    checked_int32(a_.cols, step.name);
    checked_int32(b_.cols, step.name);
    weight_floats_ = checked_round_up(packed_gemm_f32_size(kernel_, b_.cols, b_.rows), 16);
    bias_floats_ = checked_round_up(b_.cols, kernel_.nr);
    scratch_bytes_ = checked_mul(checked_add(weight_floats_, bias_floats_), 4);
    const int64_t macs = checked_mul(checked_mul(a_.rows, a_.cols), y_.cols);
    info_ = {kernel_.name, kernel_.isa, Precision::kFloat32, threads_for_f32(context, macs)};
  }

  void run(const RunContext& ctx) const noexcept override {
    const uint8_t* a = a_address_.in(ctx);
    const uint8_t* b = b_address_.in(ctx);
    uint8_t* y = y_address_.in(ctx);
    float* packed = reinterpret_cast<float*>(ctx.scratch);
    std::fill_n(packed + weight_floats_, bias_floats_, 0.0f);
    const uint8_t* in_packed = nullptr;  // b is often the same for every batch
    batches_.for_outer(0, 0, batches_.outer(0), [&](const LoopNest<3>::Offsets& at) {
      const uint8_t* right = b + at.at[1];
      if (right != in_packed) {
        pack_gemm_f32(kernel_, reinterpret_cast<const float*>(right), b_.col_stride / 4,
                      b_.row_stride / 4, b_.cols, b_.rows, packed);
        in_packed = right;
      }
      parallel_for(info_.threads, a_.rows, [&](int64_t begin, int64_t end, int) {
        multiply(a + at.at[0], packed, y + at.at[2], begin, end);
      });
    });
  }

 private:
  void multiply(const uint8_t* a, const float* packed, uint8_t* y, int64_t begin,
                int64_t end) const noexcept {
    const int32_t segment = 0;
    RowAddresses rows;
    GemmF32Args args;
    args.a_rows = rows.a;
    args.c_rows = rows.c;
    args.segments = &segment;
    args.segment_count = 1;
    args.segment_len = static_cast<int32_t>(a_.cols);
    args.weights = packed;
    args.bias = packed + weight_floats_;
    args.n = static_cast<int32_t>(y_.cols);
    args.block_end = static_cast<int32_t>((y_.cols + kernel_.nr - 1) / kernel_.nr);
    args.lo = lo_;
    args.hi = hi_;
    const int64_t chunk = kMaxRows / kernel_.mr * kernel_.mr;
    for (int64_t first = begin; first < end; first += chunk) {
      args.m = static_cast<int32_t>(std::min(chunk, end - first));
      for (int64_t r = 0; r < args.m; ++r) {
        rows.a[r] = a + (first + r) * a_.row_stride;
        rows.c[r] = y + (first + r) * y_.row_stride;
      }
      kernel_.run(args);
    }
  }

  Address a_address_, b_address_, y_address_;
  Matrices a_, b_, y_;
  LoopNest<3> batches_;
  const GemmF32Kernel& kernel_;
  float lo_, hi_;
  int64_t weight_floats_ = 0, bias_floats_ = 0;
};

}  // namespace

std::unique_ptr<Op> prepare_matmul_f32(const StepView& step, const PrepareContext& context) {
  step.expect({2, 1, 0, 2, 0});
  const Tensor& a = step.input(0);
  const Tensor& b = step.input(1);
  const Tensor& y = step.output(0);
  for (const Tensor* t : {&a, &b, &y}) step.expect_kernel_tensor(*t, DType::kF32);
  if (a.rank < 1 || b.rank < 1 || y.rank < (a.rank > 1) + (b.rank > 1)) {
    step.fail(ErrorCode::kShape, "ranks %d and %d give no rank %d", a.rank, b.rank, y.rank);
  }
  step.expect_disjoint(y, a);
  step.expect_disjoint(y, b);
  return std::make_unique<MatmulF32>(step, context);
}

}  // namespace octavo
