// SPDX-License-Identifier: Apache-2.0
#include "kernels/matmul_s8/matmul_s8.h"

#include <algorithm>

#include "base/checked.h"
#include "base/parallel.h"
#include "ops/broadcast.h"
#include "ops/matrices.h"
#include "ops/quant_args.h"

namespace octavo {
namespace {

// NumPy matmul of two activations. Every batch packs its own B into scratch (unless the one before
// had the same), then multiplies the rows of A with it.
class MatmulS8 final : public Op {
 public:
  MatmulS8(const StepView& step, const PrepareContext& context)
      : a_address_(step.input(0)),
        b_address_(step.input(1)),
        y_address_(step.output(0)),
        a_(split_matrices(step.input(0), step.input(0).rank > 1, true)),
        b_(split_matrices(step.input(1), true, step.input(1).rank > 1)),
        y_(split_matrices(step.output(0), step.input(0).rank > 1, step.input(1).rank > 1)),
        batches_(broadcast_loops(step, a_.batch, b_.batch, y_.batch)),
        kernel_(select_matmul_s8(context.cap)) {
    check_matrices(step, a_, b_, y_);
    check_strides(step);
    check_reach(step);
    pack_.k_stride = b_.row_stride;
    pack_.n_stride = b_.col_stride;
    pack_.k = args_.k = static_cast<int32_t>(a_.cols);
    pack_.n = args_.n = static_cast<int32_t>(y_.cols);
    pack_.a_zero_point = args_.a_zero_point = static_cast<uint8_t>(step.input(0).zero_point);
    pack_.b_zero_point = args_.b_zero_point = static_cast<uint8_t>(step.input(1).zero_point);
    args_.a_stride = a_.row_stride;
    args_.c_stride = y_.row_stride;
    args_.scale = step.finite_at(0, "multiplier");
    if (args_.scale < 0) step.fail(ErrorCode::kFormat, "multiplier %g < 0", double{args_.scale});
    args_.requant = read_requant(step, 0, step.output(0), true);
    packed_bytes_each_ = matmul_s8_packed_bytes(kernel_, args_.k, args_.n);
    scratch_each_ = checked_add(packed_bytes_each_, matmul_s8_wide_bytes(kernel_, args_.k));
    const int64_t batches = batches_.outer(0);
    const int64_t macs = checked_mul(checked_mul(batches, a_.rows), checked_mul(a_.cols, y_.cols));
    const int threads = threads_for(context, macs, 0);
    // Fewer batches than threads: the rows of each are shared, and B packed once per share.
    pieces_ = batches >= threads ? 1 : (threads + batches - 1) / batches;
    rows_per_piece_ = (a_.rows + pieces_ - 1) / pieces_;
    scratch_bytes_ = checked_mul(scratch_each_, threads);
    info_ = {kernel_.name, kernel_.isa, Precision::kInt8, threads};
  }

  void run(const RunContext& ctx) const noexcept override {
    const uint8_t* a = a_address_.in(ctx);
    const uint8_t* b = b_address_.in(ctx);
    uint8_t* y = y_address_.in(ctx);
    const int64_t tasks = batches_.outer(0) * pieces_;
    parallel_for(info_.threads, tasks, [&](int64_t begin, int64_t end, int worker) {
      uint8_t* scratch = ctx.scratch + worker * scratch_each_;
      const uint8_t* in_packed = nullptr;
      int64_t task = begin;
      batches_.for_outer(0, begin / pieces_, (end - 1) / pieces_ + 1,
                         [&](const LoopNest<3>::Offsets& at) {
                           const int64_t batch_end = std::min(end, (task / pieces_ + 1) * pieces_);
                           for (; task < batch_end; ++task) {
                             if (b + at.at[1] != in_packed) pack(in_packed = b + at.at[1], scratch);
                             multiply(a + at.at[0], scratch, y + at.at[2], task % pieces_);
                           }
                         });
    });
  }

 private:
  void check_strides(const StepView& step) const {
    const bool rows_dense = a_.cols == 1 || a_.col_stride == 1;
    const bool out_dense = y_.cols == 1 || y_.col_stride == 1;
    if (!rows_dense || !out_dense) step.fail(ErrorCode::kFormat, "rows of a and y must be dense");
    if (b_.col_stride != 1 && b_.row_stride != 1) {
      step.fail(ErrorCode::kFormat, "neither rows nor columns of b are dense");
    }
    if (a_.cols > 1 << 20 || y_.cols > 1 << 24) {
      step.fail(ErrorCode::kLimit, "%lld x %lld is too large", static_cast<long long>(a_.cols),
                static_cast<long long>(y_.cols));
    }
  }

  // Whatever the bytes are, the true sum fits int32.
  void check_reach(const StepView& step) const {
    const int64_t za = step.input(0).zero_point, zb = step.input(1).zero_point;
    const int64_t reach = a_.cols * std::max(za, 255 - za) * std::max(zb, 255 - zb);
    if (reach >= int64_t{1} << 31) {
      step.fail(ErrorCode::kUnsupported, "a sum of %lld products can reach %lld, beyond int32",
                static_cast<long long>(a_.cols), static_cast<long long>(reach));
    }
  }

  void pack(const uint8_t* b, uint8_t* scratch) const noexcept {
    MatmulS8Pack pack = pack_;
    pack.b = b;
    pack.packed = scratch;
    kernel_.pack(pack);
  }

  void multiply(const uint8_t* a, uint8_t* scratch, uint8_t* y, int64_t piece) const noexcept {
    const int64_t begin = piece * rows_per_piece_;
    const int64_t end = std::min(begin + rows_per_piece_, a_.rows);
    if (begin >= end) return;
    MatmulS8Args args = args_;
    args.a = a + begin * a_.row_stride;
    args.c = y + begin * y_.row_stride;
    args.m = end - begin;
    args.packed = scratch;
    args.wide = scratch + packed_bytes_each_;
    kernel_.run(args);
  }

  Address a_address_, b_address_, y_address_;
  Matrices a_, b_, y_;
  LoopNest<3> batches_;
  const MatmulS8Kernel& kernel_;
  MatmulS8Pack pack_{};
  MatmulS8Args args_{};
  int64_t packed_bytes_each_, scratch_each_, pieces_, rows_per_piece_;
};

}  // namespace

std::unique_ptr<Op> prepare_matmul_s8(const StepView& step, const PrepareContext& context) {
  step.expect({2, 1, 3, 1, 0});
  const Tensor& a = step.input(0);
  const Tensor& b = step.input(1);
  const Tensor& y = step.output(0);
  step.expect_kernel_tensor(a, DType::kU8);
  step.expect_arena_tensor(b, DType::kU8);
  step.expect_kernel_tensor(y, DType::kU8);
  if (a.rank < 1 || b.rank < 1 || y.rank < (a.rank > 1) + (b.rank > 1)) {
    step.fail(ErrorCode::kShape, "ranks %d and %d give no rank %d", a.rank, b.rank, y.rank);
  }
  step.expect_disjoint(y, a);
  step.expect_disjoint(y, b);
  return std::make_unique<MatmulS8>(step, context);
}

}  // namespace octavo
