// SPDX-License-Identifier: Apache-2.0
#include "ops/winograd.h"

#include <algorithm>

#include "base/checked.h"
#include "base/parallel.h"
#include "kernels/winograd_s8/pack.h"
#include "ops/padded_input.h"

namespace octavo {
namespace {

constexpr int64_t kMaxPanel = 24;           // tiles
constexpr int64_t kPanelBytes = 300 << 10;  // of V: weights stream through L2 beside it

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t cache_lines(int64_t bytes) { return checked_round_up(bytes, 64); }

WinogradS8Weights raw_weights(const StepView& step, const QuantWeights& weights) {
  return {step.output(0).dims[3], step.input(0).dims[3],     weights.values.data(),
          weights.bias.data(),    weights.multiplier.data(), step.input(0).zero_point};
}

// Tiles that are transformed together: few enough for V to stay in L2, and in as many panels for
// each of the threads that share them.
int64_t panel_tiles(const WinogradS8Kernel& kernel, int32_t channels, int64_t tiles, int threads) {
  const int64_t plane = winograd_s8_panel(kernel, channels, 1).v_tile * 2;
  const int64_t most = std::clamp<int64_t>(kPanelBytes / (plane * kWinogradPoints), 6, kMaxPanel);
  const int64_t panels = threads * ceil_div(ceil_div(tiles, threads), most);
  return ceil_div(tiles, panels);
}

class Winograd final : public Op {
 public:
  Winograd(const StepView& step, const Window2d& w, const QuantWeights& weights,
           const WinogradS8Kernel& kernel, const PrepareContext& context)
      : input_(step, step.input(0), step.output(0), w),
        output_(step.output(0)),
        kernel_(kernel),
        blocks_(winograd_s8_blocks(kernel_, step.output(0).dims[3])) {
    const WinogradS8Weights raw = raw_weights(step, weights);
    packed_ = find_or_pack(
        context.packs, kernel_.name,
        [&](ByteSpan found) { return view_winograd_s8(kernel_, raw, found, &args_.packed); },
        [&] { return pack_winograd_s8_bytes(kernel_, raw); });
    view_winograd_s8(kernel_, raw, packed_.span(), &args_.packed);
    const Tensor& x = step.input(0);
    const Tensor& y = step.output(0);
    height_ = y.dims[1];
    width_ = y.dims[2];
    tile_cols_ = ceil_div(width_, kWinogradTile);
    image_tiles_ = ceil_div(height_, kWinogradTile) * tile_cols_;
    tiles_ = checked_mul(image_tiles_, y.dims[0], step.name);
    out_image_ = y.strides[0];
    const int64_t macs = checked_mul(checked_mul(tiles_, kWinogradPoints, step.name),
                                     int64_t{x.dims[3]} * y.dims[3], step.name);
    const int threads = threads_for(context, macs, y.elements());
    // Tiles, so that a core finds what it wrote in the step before; channels where each core would
    // stream all weights for a few tiles.
    split_tiles_ = threads == 1 || tiles_ >= kMaxPanel / 2 * threads;
    panel_ = panel_tiles(kernel_, x.dims[3], tiles_, split_tiles_ ? threads : 1);
    panels_ = ceil_div(tiles_, panel_);
    sizes_ = winograd_s8_panel(kernel_, x.dims[3], panel_);
    args_.in_channels = x.dims[3];
    args_.in_row_stride = input_.row_stride();
    args_.in_pixel_stride = input_.pixel_stride();
    args_.out_row_stride = y.strides[1];
    args_.out_pixel_stride = y.strides[2];
    args_.v_tile = sizes_.v_tile;
    args_.v_plane = sizes_.v_plane;
    args_.m_plane = sizes_.m_plane;
    args_.out_channels = y.dims[3];
    args_.block_begin = 0;
    args_.block_end = blocks_;
    args_.requant = read_requant(step, 11, y, true);
    info_ = {kernel_.name, kernel_.isa, Precision::kInt8, threads};
    v_at_ = cache_lines(input_.scratch_bytes());
    m_at_ = checked_add(v_at_, checked_mul(sizes_.v_bytes, split_tiles_ ? threads : 1));
    scratch_bytes_ = checked_add(m_at_, checked_mul(sizes_.m_bytes, threads));
    packed_bytes_ = static_cast<int64_t>(packed_.size());
  }

  void run(const RunContext& ctx) const noexcept override {
    const uint8_t* in = input_.prepare(ctx, info_.threads);
    uint8_t* out = output_.in(ctx);
    if (!split_tiles_) {
      for (int64_t p = 0; p < panels_; ++p) run_split_channels(ctx, in, out, p);
      return;
    }
    parallel_for(info_.threads, panels_, [&](int64_t begin, int64_t end, int worker) {
      Panel panel(*this, ctx, worker, worker);
      for (int64_t p = begin; p < end; ++p) {
        panel.fill(in, out, first_tile(p), first_tile(p + 1));
        kernel_.input(panel.args);
        kernel_.output(panel.args);
      }
    });
  }

 private:
  // The arguments of a kernel call and the tiles that they point at.
  struct Panel {
    Panel(const Winograd& op, const RunContext& ctx, int v_owner, int m_owner)
        : args(op.args_), op_(op) {
      args.v = reinterpret_cast<int16_t*>(ctx.scratch + op.v_at_ + v_owner * op.sizes_.v_bytes);
      args.m = reinterpret_cast<int32_t*>(ctx.scratch + op.m_at_ + m_owner * op.sizes_.m_bytes);
    }

    void fill(const uint8_t* in, uint8_t* out, int64_t begin, int64_t end) {
      int64_t image = begin / op_.image_tiles_;
      int64_t row = begin % op_.image_tiles_ / op_.tile_cols_, col = begin % op_.tile_cols_;
      for (int64_t t = 0; t < end - begin; ++t) {
        const int64_t y = row * kWinogradTile, x = col * kWinogradTile;
        tiles[t] = {
            in + image * op_.input_.image_stride() + y * args.in_row_stride +
                x * args.in_pixel_stride,
            out + image * op_.out_image_ + y * args.out_row_stride + x * args.out_pixel_stride,
            static_cast<int32_t>(std::min<int64_t>(kWinogradTile, op_.height_ - y)),
            static_cast<int32_t>(std::min<int64_t>(kWinogradTile, op_.width_ - x))};
        if (++col < op_.tile_cols_) continue;
        col = 0;
        if (y + kWinogradTile < op_.height_) {
          ++row;
        } else {
          row = 0;
          ++image;
        }
      }
      args.tiles = tiles;
      args.tile_count = static_cast<int32_t>(end - begin);
    }

    WinogradS8Args args;
    WinogradS8Tile tiles[kMaxPanel];
    const Winograd& op_;
  };

  int64_t first_tile(int64_t panel) const { return std::min(panel * panel_, tiles_); }

  // One panel by all threads: first its V, some tiles each, then its outputs, some blocks each.
  void run_split_channels(const RunContext& ctx, const uint8_t* in, uint8_t* out,
                          int64_t p) const noexcept {
    const int64_t begin = first_tile(p), end = first_tile(p + 1);
    parallel_for(info_.threads, end - begin, [&](int64_t first, int64_t last, int worker) {
      Panel panel(*this, ctx, 0, worker);
      panel.fill(in, out, begin + first, begin + last);
      panel.args.v += first * args_.v_tile;
      kernel_.input(panel.args);
    });
    parallel_for(info_.threads, blocks_, [&](int64_t first, int64_t last, int worker) {
      Panel panel(*this, ctx, 0, worker);
      panel.fill(in, out, begin, end);
      panel.args.block_begin = static_cast<int32_t>(first);
      panel.args.block_end = static_cast<int32_t>(last);
      kernel_.output(panel.args);
    });
  }

  PaddedInput input_;
  Address output_;
  const WinogradS8Kernel& kernel_;
  int32_t blocks_;
  FixedBytes packed_;
  WinogradS8Args args_{};
  WinogradS8Panel sizes_{};
  int64_t height_ = 0, width_ = 0, tile_cols_ = 0, image_tiles_ = 0, tiles_ = 0;
  int64_t out_image_ = 0, panel_ = 0, panels_ = 0, v_at_ = 0, m_at_ = 0;
  bool split_tiles_ = true;
};

}  // namespace

const WinogradS8Kernel* winograd_kernel(const StepView& step, const Window2d& w, int32_t groups,
                                        const QuantWeights& weights,
                                        const PrepareContext& context) {
  const bool takes = w.kh == 3 && w.kw == 3 && w.stride_h == 1 && w.stride_w == 1 &&
                     w.dilation_h == 1 && w.dilation_w == 1 && groups == 1 &&
                     step.output(0).elements() > 0;
  if (!takes || !winograd_s8_exact(raw_weights(step, weights))) return nullptr;
  return &select_winograd_s8(context.cap);
}

// Cycles with weights and images in L2 (docs/performance.md); AVX512's are those of a prototype,
// AVX-VNNI has a direct kernel of its own, by count; NEON's are Cortex-A72's, by count, which is
// where Winograd gains no more than on A53, and memory of small boards, assumed. The weights,
// 72 bytes for a pair of channels, come from the last level of cache where they exceed what L2
// keeps of them, and prefetching hides little of that when tiles are few.
bool winograd_pays(const StepView& step, const WinogradS8Kernel& kernel, Isa cap) {
  struct Rates {
    double direct, products;  // multiply-accumulates per cycle
    double input, output;     // cycles per tile and channel
    double bytes;             // of weights per cycle, from behind L2
  };
  constexpr Rates kAvx2{34, 24, 8, 15, 7}, kAvxVnni{61, 24, 8, 15, 7};
  constexpr Rates kAvx512{61, 31, 6, 12, 7}, kNeon{8, 4, 29, 54, 3};
  constexpr double kKeptBytes = 256 << 10;
  if (kernel.isa == Isa::kScalar) return false;  // slower: there to compare with
  // sdot multiplies 16 bytes where smlal multiplies 4 int16: four times fewer products gain
  // nothing.
  if (kernel.isa == Isa::kNeon && isa_usable(cap, Isa::kNeonDot)) return false;
  const Rates& ymm = isa_usable(cap, Isa::kAvxVnni) ? kAvxVnni : kAvx2;
  const Rates& rate = kernel.isa == Isa::kNeon ? kNeon : kernel.isa == Isa::kAvx2 ? ymm : kAvx512;
  const int64_t channels = step.input(0).dims[3];
  const double c = static_cast<double>(ceil_div(channels, kernel.channels) * kernel.channels);
  const double n = static_cast<double>(ceil_div(step.output(0).dims[3], kernel.nr) * kernel.nr);
  const int32_t* y = step.output(0).dims;
  const double pixels = static_cast<double>(int64_t{y[0]} * y[1] * y[2]);
  const double tiles =
      static_cast<double>(y[0] * ceil_div(y[1], kWinogradTile) * ceil_div(y[2], kWinogradTile));
  const double k = static_cast<double>(channels);
  const double direct = pixels * 9 * k * n / rate.direct;
  const double products = tiles * kWinogradPoints * k * n / rate.products;
  const double weights = std::max(0.0, 2 * kWinogradPoints * k * n - kKeptBytes) / rate.bytes;
  return tiles * (rate.input * c + rate.output * n) + products + weights < direct;
}

std::unique_ptr<Op> prepare_winograd(const StepView& step, const Window2d& w,
                                     const QuantWeights& weights, const WinogradS8Kernel& kernel,
                                     const PrepareContext& context) {
  return std::make_unique<Winograd>(step, w, weights, kernel, context);
}

}  // namespace octavo
