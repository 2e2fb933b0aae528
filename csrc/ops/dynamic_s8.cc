// SPDX-License-Identifier: Apache-2.0
#include "base/checked.h"
#include "base/parallel.h"
#include "kernels/stored.h"
#include "ops/conv_rows.h"
#include "ops/depthwise_sums.h"
#include "ops/dynamic_input.h"
#include "ops/gemm_f32.h"
#include "ops/packed_gemm.h"
#include "ops/row_loops.h"
#include "ops/scaled_sums.h"
#include "ops/staged_input.h"

namespace octavo {
namespace {

class DynamicLayer final : public Op {
 public:
  DynamicLayer(const StepView& step, const StagedInput& staged, int64_t units,
               const GemmLayer& layer, const QuantWeights& weights, const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        staged_(staged),
        dynamic_(staged.lines, staged.length, units, context.cap),
        finish_kernels_(select_dynamic_s8(context.cap)),
        channels_(read_scaled_channels(
            step, weights, layer.n * layer.groups,
            int64_t{layer.segment_len} * static_cast<int64_t>(layer.segments.size()))),
        rows_per_unit_(layer.rows.outer(0) / units),
        gemm_(layer, weights, context) {
    read_clamp(step, 0, &lo_, &hi_);
    info_ = {gemm_.kernel().name, gemm_.kernel().isa, Precision::kDynamicInt8, gemm_.threads()};
    packed_bytes_ = gemm_.packed_bytes();
    scales_at_ = checked_round_up(checked_add(staged.bytes, kReadSlack, step.name), 64);
    sums_at_ = checked_round_up(checked_add(scales_at_, dynamic_.scratch_bytes(), step.name), 64);
    scratch_bytes_ = checked_add(sums_at_, gemm_.sums_bytes(), step.name);
    if (scratch_bytes_ > int64_t{1} << 40) {
      step.fail(ErrorCode::kLimit, "%lld bytes of working memory, at most 2^40",
                static_cast<long long>(scratch_bytes_));
    }
  }

  void run(const RunContext& ctx) const noexcept override {
    uint8_t* bytes = ctx.scratch;
    const DynamicScale* scales = dynamic_.run(input_.in(ctx), bytes + staged_.origin,
                                              ctx.scratch + scales_at_, gemm_.threads());
    if (staged_.border.any()) fill_border(bytes, scales);
    const ScaledSums finish(finish_kernels_, channels_, scales, rows_per_unit_, lo_, hi_);
    gemm_.run(bytes, output_.in(ctx), finish, ctx.scratch + sums_at_);
  }

 private:
  void fill_border(uint8_t* bytes, const DynamicScale* scales) const noexcept {
    const int64_t rows = staged_.border.images * staged_.border.rows;
    parallel_for(gemm_.threads(), rows, [&](int64_t begin, int64_t end, int) {
      staged_.fill_border(bytes, begin, end, [&](int64_t image) {
        return stored_of(scales[dynamic_.units() == 1 ? 0 : image].zero_point);
      });
    });
  }

  Address input_, output_;
  StagedInput staged_;
  DynamicInput dynamic_;
  const DynamicS8Kernels& finish_kernels_;
  ScaledChannels channels_;
  int64_t rows_per_unit_;
  PackedGemm gemm_;
  float lo_ = 0, hi_ = 0;
  int64_t scales_at_ = 0, sums_at_ = 0;
};

class DynamicDepthwise final : public Op {
 public:
  DynamicDepthwise(const StepView& step, const StagedInput& staged, const Window2d& w,
                   int64_t units, const QuantWeights& weights, const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        staged_(staged),
        dynamic_(staged.lines, staged.length, units, context.cap),
        kernels_(select_dynamic_s8(context.cap)),
        channels_(
            read_scaled_channels(step, weights, step.output(0).dims[3], int64_t{w.kh} * w.kw)),
        sums_(step.output(0), staged, w, weights.values) {
    read_clamp(step, 0, &lo_, &hi_);
    const int64_t macs = checked_mul(step.output(0).elements(), int64_t{w.kh} * w.kw, "MACs");
    info_ = {kernels_.name, kernels_.isa, Precision::kDynamicInt8,
             threads_for(context, checked_mul(macs, 4), 0)};
    scales_at_ = checked_round_up(checked_add(staged.bytes, kReadSlack, step.name), 64);
    scratch_bytes_ = checked_add(scales_at_, dynamic_.scratch_bytes(), step.name);
  }

  void run(const RunContext& ctx) const noexcept override {
    uint8_t* bytes = ctx.scratch;
    uint8_t* out = output_.in(ctx);
    const DynamicScale* scales = dynamic_.run(input_.in(ctx), bytes + staged_.origin,
                                              ctx.scratch + scales_at_, info_.threads);
    if (staged_.border.any()) {
      staged_.fill_border(
          bytes, 0, staged_.border.images * staged_.border.rows,
          [&](int64_t image) { return stored_of(scale(scales, image).zero_point); });
    }
    parallel_for(info_.threads, sums_.rows(), [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) {
        const DynamicScale& s = scale(scales, sums_.image_of(r));
        sums_.run_row<uint8_t>(bytes, out, r, s.zero_point,
                               [&](const DepthwiseSums::Tile& tile) { finish(tile, s.scale); });
      }
    });
  }

 private:
  const DynamicScale& scale(const DynamicScale* scales, int64_t image) const noexcept {
    return scales[dynamic_.units() == 1 ? 0 : image];
  }

  void finish(const DepthwiseSums::Tile& tile, float x_scale) const noexcept {
    ScaleSumsArgs args{};
    args.sums = tile.sums;
    args.sums_stride = DepthwiseSums::kChannels;
    args.out_rows = reinterpret_cast<float* const*>(tile.c_rows);
    args.out_offset = tile.channel;
    args.rows = tile.pixels;
    args.n = tile.n;
    args.x_scale = x_scale;  // the zero point is off already
    channels_.set(&args, tile.channel);
    args.lo = lo_;
    args.hi = hi_;
    kernels_.scale_sums(args);
  }

  Address input_, output_;
  StagedInput staged_;
  DynamicInput dynamic_;
  const DynamicS8Kernels& kernels_;
  ScaledChannels channels_;
  DepthwiseSums sums_;
  float lo_ = 0, hi_ = 0;
  int64_t scales_at_ = 0;
};

void expect_float_layer(const StepView& step, int32_t ints) {
  step.expect({1, 1, ints, 2, 3, 1});
  step.expect_kernel_tensor(step.input(0), DType::kF32);
  step.expect_kernel_tensor(step.output(0), DType::kF32);
  step.expect_disjoint(step.output(0), step.input(0));
}

}  // namespace

std::unique_ptr<Op> prepare_linear_dynamic_s8(const StepView& step, const PrepareContext& context) {
  expect_float_layer(step, 1);
  const bool per_row = step.int_in(0, 0, 1, "per_row") != 0;
  const StagedInput staged = stage_rows(step, DType::kU8);
  const Tensor& y = step.output(0);
  GemmLayer layer{make_row_loops(step, staged.tensor, y),
                  1,
                  y.dims[y.rank - 1],
                  {0},
                  static_cast<int32_t>(staged.length),
                  kStoredOffset,
                  {},
                  true};
  const QuantWeights weights = read_bare_weights(step, layer.n, layer.segment_len);
  const int64_t units = per_row ? staged.lines.outer(0) : 1;
  return std::make_unique<DynamicLayer>(step, staged, units, layer, weights, context);
}

std::unique_ptr<Op> prepare_conv_dynamic_s8(const StepView& step, const PrepareContext& context) {
  expect_float_layer(step, 12);
  const bool per_row = step.int_in(11, 0, 1, "per_row") != 0;
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  const Window2d w = read_window(step, x, y);
  const int32_t groups = read_groups(step, x, y);
  const Tensor bytes = staged_tensor(x, DType::kU8);
  const PaddedInput padded(step, bytes, y, w);
  ConvRows conv = make_conv_rows(step, w, padded, groups, sizeof(uint8_t));
  GemmLayer layer{conv.rows,
                  groups,
                  y.dims[3] / groups,
                  std::move(conv.segments),
                  conv.segment_len,
                  kStoredOffset,
                  {},
                  true};
  const int64_t k =
      checked_mul(static_cast<int64_t>(layer.segments.size()), layer.segment_len, step.name);
  const QuantWeights weights = read_bare_weights(step, y.dims[3], k);
  const StagedInput staged = stage_image(step, bytes, w, padded);
  const int64_t units = per_row ? x.dims[0] : 1;
  if (is_depthwise(x, y, groups)) {
    return std::make_unique<DynamicDepthwise>(step, staged, w, units, weights, context);
  }
  return std::make_unique<DynamicLayer>(step, staged, units, layer, weights, context);
}

}  // namespace octavo
