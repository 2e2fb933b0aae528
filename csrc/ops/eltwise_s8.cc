// SPDX-License-Identifier: Apache-2.0
#include "kernels/eltwise_s8/eltwise_s8.h"

#include <cmath>
#include <cstring>

#include "base/checked.h"
#include "base/parallel.h"
#include "ops/broadcast.h"
#include "ops/quant_args.h"

namespace octavo {
namespace {

constexpr int64_t kTile = 4096;    // bytes expanded at a time: three of them stay in the L1 cache
constexpr int64_t kPiece = 16384;  // bytes per task where nothing is expanded

// The factors of float32 operations on values up to 255 * 255, kept from overflowing to infinity:
// inf - inf would be a NaN, whose conversion differs between CPUs.
constexpr float kMaxFactor = 0x1p100f;

// Tiles of `rows` x `inner` elements. Kernels take contiguous operands, so an operand that is not
// dense over a tile (broadcast, or a view with gaps) is first expanded into scratch memory.
class Eltwise final : public Op {
 public:
  Eltwise(const StepView& step, EltwiseOp op, const PrepareContext& context)
      : a_(step.input(0)),
        b_(step.input(1)),
        y_(step.output(0)),
        loops_(broadcast_loops(step, step.input(0), step.input(1), step.output(0))),
        kernel_(select_eltwise_s8(context.cap, op)) {
    const Tensor& y = step.output(0);
    args_.a_zero_point = step.input(0).zero_point;
    args_.b_zero_point = step.input(1).zero_point;
    args_.ka = factor(step, 0, op == EltwiseOp::kAdd ? "ka" : "m");
    args_.kb = op == EltwiseOp::kAdd ? factor(step, 1, "kb") : 0.0f;
    args_.requant = read_requant(step, 0, y, true);
    choose_tile();
    info_ = {kernel_.name, kernel_.isa, Precision::kInt8,
             threads_for(context, 0, 4 * y.elements())};
    tile_bytes_ = checked_round_up(tile_rows_ * loops_.inner(), 64);
    const bool expands = !dense_[0] || !dense_[1];
    scratch_bytes_ = expands ? checked_mul(2 * tile_bytes_, info_.threads) + kReadSlack : 0;
  }

  void run(const RunContext& ctx) const noexcept override {
    const int levels = by_rows_ ? 2 : 1;
    const int64_t piece = by_rows_ ? tile_rows_ : kPiece;
    parallel_for(info_.threads, loops_.pieces(levels, piece),
                 [&](int64_t begin, int64_t end, int worker) {
                   Worker state{args_, ctx.scratch + 2 * tile_bytes_ * worker, {nullptr, nullptr}};
                   loops_.for_pieces(levels, piece, begin, end,
                                     [&](const LoopNest<3>::Offsets& at, int64_t count) {
                                       run_piece(ctx, at, count, &state);
                                     });
                 });
  }

 private:
  struct Worker {
    EltwiseS8Args args;
    uint8_t* scratch;
    const uint8_t* expanded[2];  // source of what lies in scratch, to expand a repeated row once
  };

  static float factor(const StepView& step, int i, const char* what) {
    const float value = step.finite_at(i, what);
    if (std::fabs(value) > kMaxFactor) {
      step.fail(ErrorCode::kFormat, "%s is %g, at most 2^100", what, static_cast<double>(value));
    }
    return value;
  }

  // Dense inner loops everywhere need no tiles. Otherwise the two innermost loops form tiles, as
  // many rows of them as fit kTile while y stays contiguous.
  void choose_tile() {
    if (loops_.inner_stride(2) != 1) loops_ = loops_.with_unit_inner(1);
    const int64_t inner = loops_.inner();
    if ((loops_.inner_stride(0) == 1 && loops_.inner_stride(1) == 1) &&
        (inner >= 256 || loops_.rank() == 1)) {
      return;
    }
    by_rows_ = true;
    const bool y_dense = loops_.inner_stride(2, 1) == inner;
    tile_rows_ = y_dense ? std::max<int64_t>(1, std::min(loops_.inner(1), kTile / inner)) : 1;
    for (int k = 0; k < 2; ++k) {
      dense_[k] =
          loops_.inner_stride(k) == 1 && (tile_rows_ == 1 || loops_.inner_stride(k, 1) == inner);
    }
  }

  // `count` rows of a tile, or `count` elements of the inner loop.
  void run_piece(const RunContext& ctx, const LoopNest<3>::Offsets& at, int64_t count,
                 Worker* worker) const noexcept {
    EltwiseS8Args& args = worker->args;
    args.a = operand(0, a_.in(ctx) + at.at[0], count, worker);
    args.b = operand(1, b_.in(ctx) + at.at[1], count, worker);
    args.c = y_.in(ctx) + at.at[2];
    args.n = by_rows_ ? count * loops_.inner() : count;
    kernel_.run(args);
  }

  const uint8_t* operand(int k, const uint8_t* from, int64_t rows, Worker* worker) const noexcept {
    if (dense_[k]) return from;
    uint8_t* tile = worker->scratch + k * tile_bytes_;
    const int64_t inner = loops_.inner(), stride = loops_.inner_stride(k);
    const int64_t row_stride = loops_.inner_stride(k, 1);
    // A tile with fewer rows (the last of a loop) is a prefix of the full one.
    if (from == worker->expanded[k] && row_stride == 0) return tile;
    const int64_t filled = row_stride == 0 ? tile_rows_ : rows;
    for (int64_t r = 0; r < filled; ++r) {
      expand_row(from + r * row_stride, stride, tile + r * inner, inner);
    }
    worker->expanded[k] = from;
    return tile;
  }

  static void expand_row(const uint8_t* from, int64_t stride, uint8_t* to, int64_t count) noexcept {
    if (stride == 0) {
      std::memset(to, *from, static_cast<size_t>(count));
    } else if (stride == 1) {
      std::memcpy(to, from, static_cast<size_t>(count));
    } else {
      for (int64_t i = 0; i < count; ++i) to[i] = from[i * stride];
    }
  }

  Address a_, b_, y_;
  LoopNest<3> loops_;
  const EltwiseS8Kernel& kernel_;
  EltwiseS8Args args_{};
  bool by_rows_ = false;
  bool dense_[2] = {true, true};
  int64_t tile_rows_ = 1, tile_bytes_ = 0;
};

std::unique_ptr<Op> prepare_eltwise(const StepView& step, EltwiseOp op,
                                    const PrepareContext& context) {
  const Tensor& y = step.output(0);
  for (const Tensor* t : {&step.input(0), &step.input(1), &y}) {
    step.expect_kernel_tensor(*t, DType::kU8);
  }
  step.expect_disjoint_or_in_place(y, step.input(0));
  step.expect_disjoint_or_in_place(y, step.input(1));
  return std::make_unique<Eltwise>(step, op, context);
}

}  // namespace

std::unique_ptr<Op> prepare_add_s8(const StepView& step, const PrepareContext& context) {
  step.expect({2, 1, 3, 2, 0});
  return prepare_eltwise(step, EltwiseOp::kAdd, context);
}

std::unique_ptr<Op> prepare_mul_s8(const StepView& step, const PrepareContext& context) {
  step.expect({2, 1, 3, 1, 0});
  return prepare_eltwise(step, EltwiseOp::kMul, context);
}

}  // namespace octavo
