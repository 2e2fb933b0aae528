// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "base/checked.h"
#include "base/parallel.h"
#include "kernels/stored.h"
#include "ops/conv_rows.h"
#include "ops/gemm_s16.h"
#include "ops/quant_args.h"
#include "ops/row_loops.h"
#include "ops/staged_input.h"

namespace octavo {
namespace {

// y = clamp(rne(float64(acc) * m[c]), lo, hi) + z, to u8 or s16 (docs/numerics.md, "16 bits").
class FinishS16 final : public SumSinkS16 {
 public:
  FinishS16(const StepView& step, int32_t first, std::vector<int32_t> bias)
      : wide_(step.output(0).dtype == DType::kS16),
        zero_point_(step.output(0).zero_point),
        bias_(std::move(bias)) {
    const Tensor& y = step.output(0);
    const int32_t low = wide_ ? INT16_MIN : 0, high = wide_ ? INT16_MAX : UINT8_MAX;
    const int32_t qmin = step.int_in(first, low, high, "qmin");
    const int32_t qmax = step.int_in(first + 1, qmin, high, "qmax");
    if (step.ints.data[first + 2] != 0) {
      step.fail(ErrorCode::kUnsupported, "rounding mode %d; only 0 (float_rne) is supported",
                step.ints.data[first + 2]);
    }
    lo_ = qmin - zero_point_;
    hi_ = qmax - zero_point_;
    const auto n = static_cast<int64_t>(bias_.size());
    for (const float scale : step.constant_values<float>(2, DType::kF32, n, "weight scale")) {
      if (!std::isfinite(scale) || scale < 0) {
        step.fail(ErrorCode::kFormat, "a weight scale is %g, must be finite and >= 0",
                  static_cast<double>(scale));
      }
      multiplier_.push_back(double{step.input(0).scale} * double{scale} / double{y.scale});
    }
  }

  void take(const SumTileS16& tile) const noexcept override {
    for (int32_t i = 0; i < tile.rows; ++i) {
      const int64_t* sums = tile.sums + i * tile.stride;
      for (int32_t c = 0; c < tile.n; ++c) {
        const int32_t y = value(sums[c], tile.channel + c);
        if (wide_) {
          reinterpret_cast<int16_t*>(tile.c_rows[i])[tile.channel + c] = static_cast<int16_t>(y);
        } else {
          tile.c_rows[i][tile.channel + c] = stored_of(y);
        }
      }
    }
  }

 private:
  // 1.5 * 2^52 has a unit in the last place of 1: see round_clamped in kernels/round_scalar.h.
  int32_t value(int64_t sum, int64_t channel) const noexcept {
    constexpr double kMagic = 6755399441055744.0;
    double v = static_cast<double>(sum + bias_[channel]) * multiplier_[channel];
    v = v < hi_ ? v : hi_;
    v = v > lo_ ? v : lo_;
    return static_cast<int32_t>((v + kMagic) - kMagic) + zero_point_;
  }

  bool wide_;
  int32_t zero_point_;
  double lo_ = 0, hi_ = 0;
  std::vector<int32_t> bias_;
  std::vector<double> multiplier_;
};

class LayerOpS16 final : public Op {
 public:
  LayerOpS16(const StepView& step, const StagedInput& staged, LayerS16 layer,
             const QuantWeights& weights, int32_t first_int, const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        staged_(staged),
        wide_(step.input(0).dtype == DType::kS16),
        zero_point_(step.input(0).zero_point),
        finish_(step, first_int, weights.bias),
        gemm_(std::move(layer), weights.values, context) {
    info_ = {gemm_.kernel().name, gemm_.kernel().isa, Precision::kInt16, gemm_.threads()};
    packed_bytes_ = gemm_.packed_bytes();
    scratch_bytes_ = checked_add(staged.bytes, kReadSlack, step.name);
    if (scratch_bytes_ > int64_t{1} << 40) {
      step.fail(ErrorCode::kLimit, "%lld bytes of working memory, at most 2^40",
                static_cast<long long>(scratch_bytes_));
    }
  }

  void run(const RunContext& ctx) const noexcept override {
    const uint8_t* in = input_.in(ctx);
    uint8_t* staged = ctx.scratch;
    parallel_for(gemm_.threads(), staged_.lines.outer(0), [&](int64_t begin, int64_t end, int) {
      staged_.lines.for_outer(0, begin, end, [&](const LoopNest<2>::Offsets& at) {
        stage(in + at.at[0], staged + staged_.origin + at.at[1]);
      });
    });
    if (staged_.border.any()) {
      parallel_for(gemm_.threads(), staged_.border.images * staged_.border.rows,
                   [&](int64_t begin, int64_t end, int) {
                     staged_.fill_border(staged, begin, end, [](int64_t) { return 0; });
                   });
    }
    gemm_.run(staged, output_.in(ctx), finish_);
  }

 private:
  void stage(const uint8_t* in, uint8_t* out) const noexcept {
    if (wide_) {
      std::memcpy(out, in, static_cast<size_t>(staged_.length) * sizeof(int16_t));
      return;
    }
    int16_t* to = reinterpret_cast<int16_t*>(out);
    for (int64_t i = 0; i < staged_.length; ++i) {
      to[i] = static_cast<int16_t>(value_of(in[i]) - zero_point_);
    }
  }

  Address input_, output_;
  StagedInput staged_;
  bool wide_;
  int32_t zero_point_;
  FinishS16 finish_;
  PackedLayerS16 gemm_;
};

void expect_activation(const StepView& step, const Tensor& t) {
  step.expect_kernel_tensor(t, t.dtype == DType::kS16 ? DType::kS16 : DType::kU8);
}

void validate(const StepView& step, int32_t ints) {
  step.expect({1, 1, ints, 0, 3, 1});
  expect_activation(step, step.input(0));
  expect_activation(step, step.output(0));
  step.expect_disjoint(step.output(0), step.input(0));
}

// Of the activations without their zero point.
int64_t largest_input(const Tensor& x) {
  if (x.dtype == DType::kS16) return 32768;
  return std::max(x.zero_point, 255 - x.zero_point);
}

}  // namespace

std::unique_ptr<Op> prepare_linear_s16(const StepView& step, const PrepareContext& context) {
  validate(step, 3);
  const StagedInput staged = stage_rows(step, DType::kS16);
  const Tensor& y = step.output(0);
  LayerS16 layer{make_row_loops(step, staged.tensor, y),
                 1,
                 y.dims[y.rank - 1],
                 {0},
                 static_cast<int32_t>(staged.length)};
  const QuantWeights weights =
      read_wide_weights(step, layer.n, layer.segment_len, largest_input(step.input(0)));
  return std::make_unique<LayerOpS16>(step, staged, std::move(layer), weights, 0, context);
}

std::unique_ptr<Op> prepare_conv_s16(const StepView& step, const PrepareContext& context) {
  validate(step, 14);
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  const Window2d w = read_window(step, x, y);
  const int32_t groups = read_groups(step, x, y);
  const Tensor staged = staged_tensor(x, DType::kS16);
  const PaddedInput padded(step, staged, y, w);
  ConvRows conv = make_conv_rows(step, w, padded, groups, sizeof(int16_t));
  const int64_t k =
      checked_mul(static_cast<int64_t>(conv.segments.size()), conv.segment_len, step.name);
  LayerS16 layer{conv.rows, groups, y.dims[3] / groups, std::move(conv.segments), conv.segment_len};
  const QuantWeights weights = read_wide_weights(step, y.dims[3], k, largest_input(x));
  return std::make_unique<LayerOpS16>(step, stage_image(step, staged, w, padded), std::move(layer),
                                      weights, 11, context);
}

}  // namespace octavo
