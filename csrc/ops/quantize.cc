// SPDX-License-Identifier: Apache-2.0
#include "base/parallel.h"
#include "kernels/convert/convert.h"
#include "ops/channel_affine.h"
#include "ops/convert_s16.h"
#include "ops/loop_nest.h"
#include "ops/op.h"

namespace octavo {
namespace {

constexpr int64_t kPiece = 2048;  // elements or pixels per task: at most 8 KiB of each plane
// Elements brought together on the stack: for arbitrary strides, and for factors per channel.
constexpr int64_t kGather = ChannelAffine::kBlock;
constexpr int kPlanesAtOnce = 4;

// How the elements lie: both dense; planes to pixels (NCHW to NHWC); anything else.
enum class Layout : uint8_t { kFlat, kPlanes, kStrided };

class Quantize final : public Op {
 public:
  Quantize(const StepView& step, const Tensor& input, const PrepareContext& context)
      : input_(input),
        output_(step.output(0)),
        loops_(make_loop_nest(input, step.output(0)).sorted_by(1)),
        kernels_(select_convert(context.cap)),
        scale_(step.output(0).scale) {
    const Tensor& y = step.output(0);
    flip_ = (y.dtype == DType::kS8 ? 0x80 : 0) ^ stored_flip(y);
    zero_point_ = y.zero_point + (y.dtype == DType::kS8 ? 128 : 0);
    if (step.const_refs.count > 0) affine_ = ChannelAffine(step);
    choose_layout();
    info_ = {kernels_.name, kernels_.isa, Precision::kInt8,
             threads_for(context, 0, 5 * y.elements())};
  }

  void run(const RunContext& ctx) const noexcept override {
    const uint8_t* in = input_.in(ctx);
    uint8_t* out = output_.in(ctx);
    parallel_for(info_.threads, loops_.pieces(levels_, kPiece),
                 [&](int64_t begin, int64_t end, int) {
                   loops_.for_pieces(levels_, kPiece, begin, end,
                                     [&](const LoopNest<2>::Offsets& at, int64_t count) {
                                       if (affine_.empty()) {
                                         convert(in + at.at[0], out + at.at[1], count);
                                       } else {
                                         convert_adjusted(in + at.at[0], out, at.at[1], count);
                                       }
                                     });
                 });
  }

 private:
  // The innermost loop is dense in y when any is: sorted_by puts y's largest strides outermost.
  void choose_layout() {
    if (loops_.rank() == 0) {
      layout_ = Layout::kFlat;
    } else if (loops_.inner_stride(1) == 1 && loops_.inner_stride(0) == 4) {
      layout_ = Layout::kFlat;
    } else if (loops_.inner_stride(1) == 1) {
      const int pixels = loops_.level_with_stride(0, 4);
      if (pixels == 0 || loops_.inner() > INT32_MAX) return;  // the kernel's channels are int32
      if (!affine_.empty() && loops_.inner() != affine_.channels()) return;
      loops_ = loops_.with_second(pixels);
      layout_ = Layout::kPlanes;
      levels_ = 2;
    }
  }

  void convert(const uint8_t* in, uint8_t* out, int64_t count) const noexcept {
    switch (layout_) {
      case Layout::kFlat: return convert_flat(reinterpret_cast<const float*>(in), out, count);
      case Layout::kPlanes: return convert_planes(reinterpret_cast<const float*>(in), out, count);
      case Layout::kStrided: return convert_strided(in, out, count);
    }
  }

  void convert_flat(const float* in, uint8_t* out, int64_t count) const noexcept {
    kernels_.quantize({in, out, count, scale_, zero_point_, flip_});
  }

  // `count` pixels of all channels: the inner loop runs over channels, the second over pixels.
  void convert_planes(const float* in, uint8_t* out, int64_t count) const noexcept {
    QuantizeChwArgs args{};
    args.in = in;
    args.in_channel_stride = loops_.inner_stride(0) / 4;
    args.out = out;
    args.out_pixel_stride = loops_.inner_stride(1, 1);
    args.width = static_cast<int32_t>(count);
    args.channels = static_cast<int32_t>(loops_.inner());
    args.scale = scale_;
    args.zero_point = zero_point_;
    args.flip = flip_;
    kernels_.quantize_chw(args);
  }

  void convert_strided(const uint8_t* in, uint8_t* out, int64_t count) const noexcept {
    float values[kGather];
    uint8_t bytes[kGather];
    const int64_t in_stride = loops_.inner_stride(0), out_stride = loops_.inner_stride(1);
    for (int64_t i = 0; i < count; i += kGather) {
      const int64_t n = std::min(kGather, count - i);
      for (int64_t j = 0; j < n; ++j) {
        values[j] = *reinterpret_cast<const float*>(in + (i + j) * in_stride);
      }
      convert_flat(values, bytes, n);
      for (int64_t j = 0; j < n; ++j) out[(i + j) * out_stride] = bytes[j];
    }
  }

  // With factors per channel, block by block. `offset` is that of the first byte written.
  void convert_adjusted(const uint8_t* in, uint8_t* out, int64_t offset,
                        int64_t count) const noexcept {
    if (layout_ == Layout::kPlanes) return adjusted_planes(in, out + offset, count);
    const int64_t in_stride = loops_.inner_stride(0), out_stride = loops_.inner_stride(1);
    float values[kGather];
    uint8_t bytes[kGather];
    for (int64_t i = 0; i < count; i += kGather) {
      const int64_t n = std::min(kGather, count - i), at = offset + i * out_stride;
      affine_.run(in + i * in_stride, in_stride, at, out_stride, n, values);
      if (layout_ == Layout::kFlat) {
        convert_flat(values, out + at, n);
        continue;
      }
      convert_flat(values, bytes, n);
      for (int64_t j = 0; j < n; ++j) out[at + j * out_stride] = bytes[j];
    }
  }

  void adjusted_planes(const uint8_t* in, uint8_t* out, int64_t count) const noexcept {
    const float* x = reinterpret_cast<const float*>(in);
    const int64_t plane = loops_.inner_stride(0) / 4;
    const int64_t pixel = loops_.inner_stride(1, 1);
    float values[kPlanesAtOnce][kGather];
    QuantizeChwArgs args{};
    args.in = values[0];
    args.in_channel_stride = kGather;
    args.out_pixel_stride = pixel;
    args.scale = scale_;
    args.zero_point = zero_point_;
    args.flip = flip_;
    for (int64_t c = 0; c < affine_.channels(); c += kPlanesAtOnce) {
      args.channels =
          static_cast<int32_t>(std::min<int64_t>(kPlanesAtOnce, affine_.channels() - c));
      for (int64_t i = 0; i < count; i += kGather) {
        args.width = static_cast<int32_t>(std::min(kGather, count - i));
        for (int32_t k = 0; k < args.channels; ++k) {
          const float* from = x + (c + k) * plane + i;
          for (int32_t j = 0; j < args.width; ++j) values[k][j] = affine_.of(from[j], c + k);
        }
        args.out = out + i * pixel + c;
        kernels_.quantize_chw(args);
      }
    }
  }

  Address input_, output_;
  LoopNest<2> loops_;
  ChannelAffine affine_;
  const ConvertKernels& kernels_;
  float scale_;
  int32_t zero_point_;
  uint8_t flip_;
  Layout layout_ = Layout::kStrided;
  int levels_ = 1;  // loops that one piece covers
};

// The input with its axes in the order the step's ints give; without ints, as it is.
Tensor permuted_input(const StepView& step) {
  const Tensor& x = step.input(0);
  if (step.ints.count == 0) return x;
  if (step.ints.count != x.rank) {
    step.fail(ErrorCode::kFormat, "%d axes in the order of a rank-%d tensor", step.ints.count,
              x.rank);
  }
  Tensor view = x;
  bool seen[kMaxRank] = {};
  for (int i = 0; i < x.rank; ++i) {
    const int32_t axis = step.int_in(i, 0, x.rank - 1, "axis");
    if (seen[axis]) step.fail(ErrorCode::kFormat, "axis %d stands twice in the order", axis);
    seen[axis] = true;
    view.dims[i] = x.dims[axis];
    view.strides[i] = x.strides[axis];
  }
  return view;
}

}  // namespace

std::unique_ptr<Op> prepare_quantize(const StepView& step, const PrepareContext& context) {
  const bool adjusted = step.const_refs.count > 0;
  step.expect({1, 1, step.ints.count, 0, adjusted ? 2 : 0});
  const Tensor x = permuted_input(step);
  const Tensor& y = step.output(0);
  const bool wide = y.dtype == DType::kS16;
  if (x.dtype != DType::kF32 || !(wide || is_8bit(y.dtype))) {
    step.fail(ErrorCode::kFormat, "from %s to %s, must be from f32 to u8, s8 or s16",
              dtype_name(x.dtype), dtype_name(y.dtype));
  }
  step.expect_same_dims(x, y);
  step.expect_disjoint(y, x);
  if (wide && adjusted) step.fail(ErrorCode::kFormat, "factors per channel are for 8 bits");
  if (wide) return make_quantize_s16(step, x, context);
  return std::make_unique<Quantize>(step, x, context);
}

}  // namespace octavo
