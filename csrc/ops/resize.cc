// SPDX-License-Identifier: Apache-2.0
// Nearest and linear resizing of NHWC images. Which pixels an output is made of stands in tables
// that the file carries, so that no coordinate arithmetic happens here.
#include <algorithm>
#include <cstring>

#include "base/parallel.h"
#include "kernels/resize_s8/resize_s8.h"
#include "ops/quant_args.h"

namespace octavo {
namespace {

constexpr int32_t kNearest = 0, kLinear = 1;

// For every output coordinate of an axis, the first input coordinate it is made of.
std::vector<int32_t> read_indices(const StepView& step, int constant, int32_t out, int32_t in) {
  std::vector<int32_t> indices =
      step.constant_values<int32_t>(constant, DType::kS32, out, "input coordinates");
  for (const int32_t index : indices) {
    if (index < 0 || index >= in) {
      step.fail(ErrorCode::kFormat, "input coordinate %d outside 0..%d", index, in - 1);
    }
  }
  return indices;
}

// The weight of the pixel after it, which at the image's end is the same one again.
template <class T>
std::vector<T> read_weights(const StepView& step, int constant, DType dtype, int32_t out, T one) {
  std::vector<T> weights = step.constant_values<T>(constant, dtype, out, "weights");
  for (const T weight : weights) {
    if (!(weight >= T{0} && weight <= one)) {
      step.fail(ErrorCode::kFormat, "weight %g outside 0..%g", static_cast<double>(weight),
                static_cast<double>(one));
    }
  }
  return weights;
}

class Resize : public Op {
 public:
  Resize(const StepView& step, const PrepareContext& context)
      : input_(step.input(0)),
        output_(step.output(0)),
        x_(step.input(0)),
        y_(step.output(0)),
        rows_(read_indices(step, 0, y_.dims[1], x_.dims[1])),
        columns_(read_indices(step, 1, y_.dims[2], x_.dims[2])) {
    info_.threads = threads_for(context, 0, 4 * y_.bytes());
  }

  void run(const RunContext& ctx) const noexcept override {
    const uint8_t* in = input_.in(ctx);
    uint8_t* out = output_.in(ctx);
    const int64_t height = y_.dims[1];
    parallel_for(info_.threads, y_.dims[0] * height, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) {
        const int64_t image = r / height, row = r % height;
        run_row(in + image * x_.strides[0], out + image * y_.strides[0] + row * y_.strides[1],
                static_cast<size_t>(row));
      }
    });
  }

 protected:
  virtual void run_row(const uint8_t* image, uint8_t* out, size_t row) const noexcept = 0;

  const uint8_t* top(const uint8_t* image, size_t row) const {
    return image + rows_[row] * x_.strides[1];
  }
  const uint8_t* bottom(const uint8_t* image, size_t row) const {
    return image + std::min(rows_[row] + 1, x_.dims[1] - 1) * x_.strides[1];
  }
  int64_t left(size_t x) const { return columns_[x] * x_.strides[2]; }
  int64_t right(size_t x) const {
    return std::min(columns_[x] + 1, x_.dims[2] - 1) * x_.strides[2];
  }

  Address input_, output_;
  Tensor x_, y_;
  std::vector<int32_t> rows_, columns_;
};

class Nearest final : public Resize {
 public:
  Nearest(const StepView& step, const PrepareContext& context) : Resize(step, context) {
    info_.kernel = "resize_nearest";
  }

 private:
  void run_row(const uint8_t* image, uint8_t* out, size_t row) const noexcept override {
    const uint8_t* in = top(image, row);
    const size_t bytes = static_cast<size_t>(y_.dims[3] * y_.item_size());
    for (size_t x = 0; x < columns_.size(); ++x, out += y_.strides[2]) {
      std::memcpy(out, in + left(x), bytes);
    }
  }
};

class LinearS8 final : public Resize {
 public:
  LinearS8(const StepView& step, const PrepareContext& context)
      : Resize(step, context),
        kernel_(select_resize_s8(context.cap)),
        row_weights_(read_weights(step, 2, DType::kS32, y_.dims[1], kResizeOne)) {
    const std::vector<int32_t> weights = read_weights(step, 3, DType::kS32, y_.dims[2], kResizeOne);
    for (size_t x = 0; x < columns_.size(); ++x) {
      table_.push_back({left(x), right(x), weights[x]});
    }
    args_.columns = table_.data();
    args_.out_pixel_stride = y_.strides[2];
    args_.out_w = y_.dims[2];
    args_.channels = y_.dims[3];
    args_.zero_sum = x_.zero_point * kResizeOne * kResizeOne;
    args_.multiplier = step.finite_at(0, "multiplier");
    args_.requant = read_requant(step, 1, y_, true);
    info_.kernel = kernel_.name;
    info_.isa = kernel_.isa;
    info_.precision = Precision::kInt8;
  }

 private:
  void run_row(const uint8_t* image, uint8_t* out, size_t row) const noexcept override {
    ResizeS8Args args = args_;
    args.top = top(image, row);
    args.bottom = bottom(image, row);
    args.bottom_weight = row_weights_[row];
    args.out = out;
    kernel_.run(args);
  }

  const ResizeS8Kernel& kernel_;
  std::vector<int32_t> row_weights_;
  std::vector<ResizeS8Column> table_;
  ResizeS8Args args_{};
};

class LinearF32 final : public Resize {
 public:
  LinearF32(const StepView& step, const PrepareContext& context)
      : Resize(step, context),
        row_weights_(read_weights(step, 2, DType::kF32, y_.dims[1], 1.0f)),
        column_weights_(read_weights(step, 3, DType::kF32, y_.dims[2], 1.0f)) {
    info_.kernel = "resize_f32";
    info_.precision = Precision::kFloat32;
  }

 private:
  void run_row(const uint8_t* image, uint8_t* out, size_t row) const noexcept override {
    const uint8_t *t = top(image, row), *b = bottom(image, row);
    const float wy = row_weights_[row];
    for (size_t x = 0; x < columns_.size(); ++x, out += y_.strides[2]) {
      const float wx = column_weights_[x];
      const float* pixels[4] = {reinterpret_cast<const float*>(t + left(x)),
                                reinterpret_cast<const float*>(t + right(x)),
                                reinterpret_cast<const float*>(b + left(x)),
                                reinterpret_cast<const float*>(b + right(x))};
      float* y = reinterpret_cast<float*>(out);
      for (int32_t c = 0; c < y_.dims[3]; ++c) {
        const float upper = pixels[0][c] * (1.0f - wx) + pixels[1][c] * wx;
        const float lower = pixels[2][c] * (1.0f - wx) + pixels[3][c] * wx;
        y[c] = upper * (1.0f - wy) + lower * wy;
      }
    }
  }

  std::vector<float> row_weights_, column_weights_;
};

// Checks what both kinds share and returns the mode.
int32_t expect_images(const StepView& step, DType dtype) {
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  step.expect_kernel_tensor(x, dtype);
  step.expect_kernel_tensor(y, dtype);
  step.expect_rank(x, 4);
  step.expect_rank(y, 4);
  if (x.dims[0] != y.dims[0] || x.dims[3] != y.dims[3]) {
    step.fail(ErrorCode::kShape, "batch and channels %d, %d in, %d, %d out", x.dims[0], x.dims[3],
              y.dims[0], y.dims[3]);
  }
  step.expect_disjoint(y, x);
  return step.int_in(0, kNearest, kLinear, "mode");
}

}  // namespace

std::unique_ptr<Op> prepare_resize_s8(const StepView& step, const PrepareContext& context) {
  step.expect({1, 1, 4, 1, 2, 2});
  if (expect_images(step, DType::kU8) == kLinear) return std::make_unique<LinearS8>(step, context);
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  if (x.scale != y.scale || x.zero_point != y.zero_point) {
    step.fail(ErrorCode::kFormat, "input and output must have the same scale and zero point");
  }
  return std::make_unique<Nearest>(step, context);
}

std::unique_ptr<Op> prepare_resize_f32(const StepView& step, const PrepareContext& context) {
  step.expect({1, 1, 1, 0, 2, 2});
  if (expect_images(step, DType::kF32) == kLinear) {
    return std::make_unique<LinearF32>(step, context);
  }
  return std::make_unique<Nearest>(step, context);
}

}  // namespace octavo
