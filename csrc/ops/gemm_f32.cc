// SPDX-License-Identifier: Apache-2.0
#include "ops/gemm_f32.h"

#include <algorithm>

#include "base/checked.h"
#include "base/parallel.h"
#include "ops/row_addresses.h"

namespace octavo {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

PackedLayerF32::PackedLayerF32(LayerF32 layer, const std::vector<float>& weights,
                               const std::vector<float>& bias, const PrepareContext& context)
    : layer_(std::move(layer)), kernel_(&select_gemm_f32(context.cap)), m_(layer_.rows.outer(0)) {
  const int64_t k = checked_mul(static_cast<int64_t>(layer_.segments.size()), layer_.segment_len);
  const int64_t n = layer_.n;
  weight_floats_ = checked_round_up(packed_gemm_f32_size(*kernel_, n, k), 16);  // 64 bytes
  bias_floats_ = checked_round_up(checked_round_up(n, kernel_->nr), 16);
  const int64_t floats = checked_mul(checked_add(weight_floats_, bias_floats_), layer_.groups);
  storage_ = AlignedBuffer(static_cast<size_t>(checked_mul(floats, 4)));
  for (int64_t g = 0; g < layer_.groups; ++g) {
    float* packed = storage_.as<float>() + g * (weight_floats_ + bias_floats_);
    pack_gemm_f32(*kernel_, weights.data() + g * n * k, k, 1, n, k, packed);
    std::copy_n(bias.data() + g * n, n, packed + weight_floats_);
  }
  blocks_per_group_ = ceil_div(n, kernel_->nr);
  const int64_t tiles = ceil_div(m_, kernel_->mr);
  // Rows, so that a core finds what it wrote in the step before; channels where rows are too few.
  split_rows_ = tiles >= 2 * context.threads || tiles >= blocks_per_group_ * layer_.groups;
  threads_ = threads_for_f32(context, checked_mul(checked_mul(m_, k), n * layer_.groups, "MACs"));
}

void PackedLayerF32::run(const uint8_t* a, uint8_t* c) const noexcept {
  const int64_t blocks = blocks_per_group_ * layer_.groups;
  const int mr = kernel_->mr;
  if (threads_ == 1) {
    run_part(a, c, {0, m_, 0, blocks});
  } else if (split_rows_) {
    parallel_for(threads_, ceil_div(m_, mr), [&](int64_t begin, int64_t end, int) {
      run_part(a, c, {begin * mr, std::min(end * mr, m_), 0, blocks});
    });
  } else {
    parallel_for(threads_, blocks,
                 [&](int64_t begin, int64_t end, int) { run_part(a, c, {0, m_, begin, end}); });
  }
}

void PackedLayerF32::run_part(const uint8_t* a, uint8_t* c, const Part& part) const noexcept {
  const int64_t chunk = kMaxRows / kernel_->mr * kernel_->mr;
  RowAddresses rows;
  GemmF32Args args;
  args.a_rows = rows.a;
  args.c_rows = rows.c;
  args.segments = layer_.segments.data();
  args.segment_count = static_cast<int32_t>(layer_.segments.size());
  args.segment_len = layer_.segment_len;
  args.n = layer_.n;
  args.lo = layer_.lo;
  args.hi = layer_.hi;
  for (int64_t r = part.row_begin; r < part.row_end; r += chunk) {
    const int64_t end = std::min(r + chunk, part.row_end);
    rows.fill(layer_.rows, a, c, r, end, 1);
    args.m = static_cast<int32_t>(end - r);
    run_blocks(&args, part.block_begin, part.block_end);
  }
}

void PackedLayerF32::run_blocks(GemmF32Args* args, int64_t begin, int64_t end) const noexcept {
  int64_t group = begin / blocks_per_group_;
  int64_t first = begin % blocks_per_group_;
  for (int64_t left = end - begin; left > 0; ++group) {
    const int64_t count = std::min(left, blocks_per_group_ - first);
    args->a_offset = group * layer_.segment_len * int64_t{sizeof(float)};
    args->c_offset = group * layer_.n * int64_t{sizeof(float)};
    args->weights = storage_.as<float>() + group * (weight_floats_ + bias_floats_);
    args->bias = args->weights + weight_floats_;
    args->block_begin = static_cast<int32_t>(first);
    args->block_end = static_cast<int32_t>(first + count);
    kernel_->run(*args);
    left -= count;
    first = 0;
  }
}

int threads_for_f32(const PrepareContext& context, int64_t macs) {
  return threads_for(context, checked_mul(macs, 32) / 14, 0);
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
