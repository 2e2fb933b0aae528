// SPDX-License-Identifier: Apache-2.0
#include "ops/gemm_f32.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "base/parallel.h"
#include "ops/row_addresses.h"

namespace octavo {
namespace {

constexpr int64_t kRows = 4;  // 4 x 8 accumulators fill 8 of the 16 baseline vector registers

// GCC and clang vector extension: the same element-wise operations on every target.
typedef float F32x4 __attribute__((vector_size(16)));

F32x4 load4(const float* p) {
  F32x4 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

template <int kTileRows>
void tile(const GemmF32Args& g, const uint8_t* const* a_rows, const float* weights,
          const float* bias, float (*out)[kF32Columns]) {
  F32x4 acc[kTileRows][2];
  for (int r = 0; r < kTileRows; ++r) {
    acc[r][0] = load4(bias);
    acc[r][1] = load4(bias + 4);
  }
  const float* w = weights;
  for (int64_t s = 0; s < g.segment_count; ++s) {
    const float* a[kTileRows];
    for (int r = 0; r < kTileRows; ++r) {
      a[r] = reinterpret_cast<const float*>(a_rows[r] + g.a_offset + g.segments[s]);
    }
    for (int64_t k = 0; k < g.segment_len; ++k, w += kF32Columns) {
      const F32x4 w0 = load4(w), w1 = load4(w + 4);
      for (int r = 0; r < kTileRows; ++r) {
        const float value = a[r][k];
        const F32x4 wide = {value, value, value, value};
        acc[r][0] += wide * w0;
        acc[r][1] += wide * w1;
      }
    }
  }
  for (int r = 0; r < kTileRows; ++r) std::memcpy(out[r], acc[r], sizeof acc[r]);
}

void store_row(const GemmF32Args& g, const float* values, uint8_t* c_row, int64_t column) {
  float* out = reinterpret_cast<float*>(c_row + g.c_offset) + column;
  const int64_t count = std::min(kF32Columns, g.n - column);
  for (int64_t j = 0; j < count; ++j) {
    const float low = values[j] < g.lo ? g.lo : values[j];
    out[j] = low > g.hi ? g.hi : low;
  }
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

void gemm_f32(const GemmF32Args& g) {
  const int64_t k = g.segment_count * g.segment_len;
  for (int64_t column = 0; column < g.n; column += kF32Columns) {
    const float* weights = g.weights + column * k;
    const float* bias = g.bias + column;
    float out[kRows][kF32Columns];
    int64_t row = 0;
    for (; row + kRows <= g.m; row += kRows) {
      tile<kRows>(g, g.a_rows + row, weights, bias, out);
      for (int64_t r = 0; r < kRows; ++r) store_row(g, out[r], g.c_rows[row + r], column);
    }
    for (; row < g.m; ++row) {
      tile<1>(g, g.a_rows + row, weights, bias, out);
      store_row(g, out[0], g.c_rows[row], column);
    }
  }
}

int64_t packed_f32_size(int64_t n, int64_t k) {
  return checked_mul(checked_round_up(n, kF32Columns), k, "packed weights");
}

void pack_f32(const float* w, int64_t column_stride, int64_t k_stride, int64_t n, int64_t k,
              float* out) {
  for (int64_t column = 0; column < n; column += kF32Columns) {
    for (int64_t i = 0; i < k; ++i, out += kF32Columns) {
      for (int64_t j = 0; j < kF32Columns; ++j) {
        const int64_t c = column + j;
        out[j] = c < n ? w[c * column_stride + i * k_stride] : 0.0f;
      }
    }
  }
}

PackedLayerF32::PackedLayerF32(LayerF32 layer, const std::vector<float>& weights,
                               const std::vector<float>& bias, const PrepareContext& context)
    : layer_(std::move(layer)) {
  const int64_t k = checked_mul(static_cast<int64_t>(layer_.segments.size()), layer_.segment_len);
  const int64_t n = layer_.n;
  weight_floats_ = packed_f32_size(n, k);
  bias_floats_ = checked_round_up(n, kF32Columns);
  const int64_t floats = checked_mul(checked_add(weight_floats_, bias_floats_), layer_.groups);
  storage_ = AlignedBuffer(static_cast<size_t>(checked_mul(floats, 4)));
  for (int64_t g = 0; g < layer_.groups; ++g) {
    float* packed = storage_.as<float>() + g * (weight_floats_ + bias_floats_);
    pack_f32(weights.data() + g * n * k, k, 1, n, k, packed);
    std::copy_n(bias.data() + g * n, n, packed + weight_floats_);
  }
  const int64_t macs = checked_mul(checked_mul(layer_.rows.outer(0), k), n * layer_.groups, "MACs");
  threads_ = threads_for(context, checked_mul(macs, 8), 0);  // about 4 MACs a cycle
}

void PackedLayerF32::run(const uint8_t* a, uint8_t* c) const noexcept {
  const int64_t m = layer_.rows.outer(0);
  parallel_for(threads_, ceil_div(m, kRows), [&](int64_t begin, int64_t end, int) {
    run_rows(a, c, begin * kRows, std::min(end * kRows, m));
  });
}

void PackedLayerF32::run_rows(const uint8_t* a, uint8_t* c, int64_t begin,
                              int64_t end) const noexcept {
  RowAddresses rows;
  GemmF32Args args{};
  args.a_rows = rows.a;
  args.c_rows = rows.c;
  args.segments = layer_.segments.data();
  args.segment_count = static_cast<int64_t>(layer_.segments.size());
  args.segment_len = layer_.segment_len;
  args.n = layer_.n;
  args.lo = layer_.lo;
  args.hi = layer_.hi;
  for (int64_t r = begin; r < end; r += kMaxRows) {
    const int64_t stop = std::min(r + kMaxRows, end);
    rows.fill(layer_.rows, a, c, r, stop, 1);
    args.m = stop - r;
    for (int64_t g = 0; g < layer_.groups; ++g) {
      args.weights = storage_.as<float>() + g * (weight_floats_ + bias_floats_);
      args.bias = args.weights + weight_floats_;
      args.a_offset = g * layer_.segment_len * int64_t{sizeof(float)};
      args.c_offset = g * layer_.n * int64_t{sizeof(float)};
      gemm_f32(args);
    }
  }
}

void read_clamp(const StepView& step, int first, float* lo, float* hi) {
  *lo = step.float_at(first);
  *hi = step.float_at(first + 1);
  if (!(*lo <= *hi)) {
    step.fail(ErrorCode::kFormat, "clamp [%g, %g] is empty", static_cast<double>(*lo),
              static_cast<double>(*hi));
  }
}

}  // namespace octavo
