// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "base/checked.h"
#include "base/parallel.h"
#include "kernels/stored.h"
#include "ops/conv_rows.h"
#include "ops/depthwise_sums.h"
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

// The input without its zero point as s16 in scratch memory, zeros around it.
class WideInput {
 public:
  WideInput(const StepView& step, const StagedInput& staged)
      : staged_(staged),
        wide_(step.input(0).dtype == DType::kS16),
        zero_point_(step.input(0).zero_point),
        scratch_bytes_(checked_add(staged.bytes, kReadSlack, step.name)) {
    if (scratch_bytes_ > int64_t{1} << 40) {
      step.fail(ErrorCode::kLimit, "%lld bytes of working memory, at most 2^40",
                static_cast<long long>(scratch_bytes_));
    }
  }

  int64_t scratch_bytes() const { return scratch_bytes_; }

  void run(const uint8_t* in, uint8_t* staged, int threads) const noexcept {
    parallel_for(threads, staged_.lines.outer(0), [&](int64_t begin, int64_t end, int) {
      staged_.lines.for_outer(0, begin, end, [&](const LoopNest<2>::Offsets& at) {
        line(in + at.at[0], staged + staged_.origin + at.at[1]);
      });
    });
    if (!staged_.border.any()) return;
    parallel_for(threads, staged_.border.images * staged_.border.rows,
                 [&](int64_t begin, int64_t end, int) {
                   staged_.fill_border(staged, begin, end, [](int64_t) { return 0; });
                 });
  }

 private:
  void line(const uint8_t* in, uint8_t* out) const noexcept {
    if (wide_) {
      std::memcpy(out, in, static_cast<size_t>(staged_.length) * sizeof(int16_t));
      return;
    }
    int16_t* to = reinterpret_cast<int16_t*>(out);
    for (int64_t i = 0; i < staged_.length; ++i) {
      to[i] = static_cast<int16_t>(value_of(in[i]) - zero_point_);
    }
  }

  StagedInput staged_;
  bool wide_;
  int32_t zero_point_;
  int64_t scratch_bytes_;
};

class LayerOpS16 final : public Op {
 public:
  LayerOpS16(const StepView& step, const StagedInput& staged, LayerS16 layer,
             const QuantWeights& weights, int32_t first_int, const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        stage_(step, staged),
        finish_(step, first_int, weights.bias),
        gemm_(std::move(layer), weights.values, context) {
    info_ = {gemm_.kernel().name, gemm_.kernel().isa, Precision::kInt16, gemm_.threads()};
    packed_bytes_ = gemm_.packed_bytes();
    scratch_bytes_ = stage_.scratch_bytes();
  }

  void run(const RunContext& ctx) const noexcept override {
    stage_.run(input_.in(ctx), ctx.scratch, gemm_.threads());
    gemm_.run(ctx.scratch, output_.in(ctx), finish_);
  }

 private:
  Address input_, output_;
  WideInput stage_;
  FinishS16 finish_;
  PackedLayerS16 gemm_;
};

class DepthwiseS16 final : public Op {
 public:
  DepthwiseS16(const StepView& step, const StagedInput& staged, const Window2d& w,
               const QuantWeights& weights, const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        stage_(step, staged),
        finish_(step, 11, weights.bias),
        sums_(step.output(0), staged, w, weights.values) {
    const int64_t macs = checked_mul(step.output(0).elements(), int64_t{w.kh} * w.kw, "MACs");
    info_ = {"depthwise_s16", Isa::kScalar, Precision::kInt16,
             threads_for(context, checked_mul(macs, 4), 0)};
    scratch_bytes_ = stage_.scratch_bytes();
  }

  void run(const RunContext& ctx) const noexcept override {
    stage_.run(input_.in(ctx), ctx.scratch, info_.threads);
    uint8_t* out = output_.in(ctx);
    parallel_for(info_.threads, sums_.rows(), [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) {
        sums_.run_row<int16_t>(ctx.scratch, out, r, 0,
                               [&](const DepthwiseSums::Tile& tile) { finish(tile); });
      }
    });
  }

 private:
  void finish(const DepthwiseSums::Tile& tile) const noexcept {
    constexpr int kSums = DepthwiseSums::kPixels * DepthwiseSums::kChannels;
    int64_t wide[kSums];
    std::copy_n(tile.sums, tile.pixels * DepthwiseSums::kChannels, wide);
    finish_.take({wide, DepthwiseSums::kChannels, tile.c_rows, tile.channel, tile.pixels, tile.n});
  }

  Address input_, output_;
  WideInput stage_;
  FinishS16 finish_;
  DepthwiseSums sums_;
};

// Do the sums of every channel fit int32?
bool sums_fit(const QuantWeights& weights, int64_t channels) {
  const int64_t taps = static_cast<int64_t>(weights.values.size()) / channels;
  for (int64_t c = 0; c < channels; ++c) {
    int64_t sum = 0;
    for (int64_t t = 0; t < taps; ++t) sum += std::abs(weights.values[c * taps + t]);
    if (sum * 32768 > INT32_MAX) return false;
  }
  return true;
}

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
  const StagedInput input = stage_image(step, staged, w, padded);
  if (is_depthwise(x, y, groups) && sums_fit(weights, groups)) {
    return std::make_unique<DepthwiseS16>(step, input, w, weights, context);
  }
  return std::make_unique<LayerOpS16>(step, input, std::move(layer), weights, 11, context);
}

}  // namespace octavo
