// SPDX-License-Identifier: Apache-2.0
#include "base/parallel.h"
#include "kernels/convert/convert.h"
#include "ops/convert_s16.h"
#include "ops/loop_nest.h"
#include "ops/op.h"
#include "ops/transpose.h"

namespace octavo {
namespace {

constexpr int64_t kPiece = 4096;  // elements per task where both sides are dense
constexpr int64_t kPixels = 256;  // pixels and channels brought into planes on the stack at a time
constexpr int64_t kChannels = 8;

// How the elements lie: both dense; pixels to planes (NHWC to NCHW); anything else.
enum class Layout : uint8_t { kFlat, kToPlanes, kStrided };

class Dequantize final : public Op {
 public:
  Dequantize(const StepView& step, const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        loops_(make_loop_nest(step.input(0), step.output(0)).sorted_by(1)),
        kernels_(select_convert(context.cap)),
        scale_(step.input(0).scale) {
    const Tensor& x = step.input(0);
    flip_ = (x.dtype == DType::kS8 ? 0x80 : 0) ^ stored_flip(x);
    zero_point_ = x.zero_point + (x.dtype == DType::kS8 ? 128 : 0);
    choose_layout();
    info_ = {kernels_.name, kernels_.isa, Precision::kInt8,
             threads_for(context, 0, 5 * x.elements())};
  }

  void run(const RunContext& ctx) const noexcept override {
    const uint8_t* in = input_.in(ctx);
    uint8_t* out = output_.in(ctx);
    parallel_for(info_.threads, loops_.pieces(levels_, piece_),
                 [&](int64_t begin, int64_t end, int) {
                   loops_.for_pieces(levels_, piece_, begin, end,
                                     [&](const LoopNest<2>::Offsets& at, int64_t count) {
                                       convert(in + at.at[0], out + at.at[1], count);
                                     });
                 });
  }

 private:
  // The innermost loop is dense in y when any is: sorted_by puts y's largest strides outermost.
  void choose_layout() {
    if (loops_.rank() == 0) {
      layout_ = Layout::kFlat;
    } else if (loops_.inner_stride(1) == 4 && loops_.inner_stride(0) == 1) {
      layout_ = Layout::kFlat;
    } else if (loops_.inner_stride(1) == 4) {
      const int channels = loops_.level_with_stride(0, 1);
      if (channels == 0) return;
      loops_ = loops_.with_second(channels);
      layout_ = Layout::kToPlanes;
      levels_ = 2;
      piece_ = kChannels;
    }
  }

  void convert(const uint8_t* in, uint8_t* out, int64_t count) const noexcept {
    switch (layout_) {
      case Layout::kFlat: return convert_flat(in, reinterpret_cast<float*>(out), count);
      case Layout::kToPlanes: return convert_pixels(in, out, count);
      case Layout::kStrided: return convert_strided(in, out, count);
    }
  }

  void convert_flat(const uint8_t* in, float* out, int64_t count) const noexcept {
    kernels_.dequantize({in, out, count, scale_, zero_point_, flip_});
  }

  // `channels` (<= kChannels) planes of all pixels: the inner loop runs over pixels.
  void convert_pixels(const uint8_t* in, uint8_t* out, int64_t channels) const noexcept {
    uint8_t planes[kChannels * kPixels];
    const int64_t in_stride = loops_.inner_stride(0), plane_stride = loops_.inner_stride(1, 1);
    const int64_t pixels = loops_.inner();
    for (int64_t p = 0; p < pixels; p += kPixels) {
      const int64_t n = std::min(kPixels, pixels - p);
      transpose_2d(in + p * in_stride, in_stride, planes, kPixels, n, channels, 1);
      for (int64_t c = 0; c < channels; ++c) {
        convert_flat(planes + c * kPixels, reinterpret_cast<float*>(out + c * plane_stride) + p, n);
      }
    }
  }

  void convert_strided(const uint8_t* in, uint8_t* out, int64_t count) const noexcept {
    uint8_t bytes[kPixels];
    float values[kPixels];
    const int64_t in_stride = loops_.inner_stride(0), out_stride = loops_.inner_stride(1);
    for (int64_t i = 0; i < count; i += kPixels) {
      const int64_t n = std::min(kPixels, count - i);
      for (int64_t j = 0; j < n; ++j) bytes[j] = in[(i + j) * in_stride];
      convert_flat(bytes, values, n);
      for (int64_t j = 0; j < n; ++j) {
        *reinterpret_cast<float*>(out + (i + j) * out_stride) = values[j];
      }
    }
  }

  Address input_, output_;
  LoopNest<2> loops_;
  const ConvertKernels& kernels_;
  float scale_;
  int32_t zero_point_;
  uint8_t flip_;
  Layout layout_ = Layout::kStrided;
  int levels_ = 1;  // loops that one piece covers
  int64_t piece_ = kPiece;
};

}  // namespace

std::unique_ptr<Op> prepare_dequantize(const StepView& step, const PrepareContext& context) {
  step.expect({1, 1, 0, 0, 0});
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  const bool wide = x.dtype == DType::kS16;
  if (!(wide || is_8bit(x.dtype)) || y.dtype != DType::kF32) {
    step.fail(ErrorCode::kFormat, "from %s to %s, must be from u8, s8 or s16 to f32",
              dtype_name(x.dtype), dtype_name(y.dtype));
  }
  step.expect_same_dims(x, y);
  step.expect_disjoint(y, x);
  if (wide) return make_dequantize_s16(step, context);
  return std::make_unique<Dequantize>(step, context);
}

}  // namespace octavo
