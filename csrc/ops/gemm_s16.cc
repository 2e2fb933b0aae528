// SPDX-License-Identifier: Apache-2.0
#include "ops/gemm_s16.h"

#include <algorithm>
#include <cstdlib>

#include "base/checked.h"
#include "base/parallel.h"
#include "ops/row_addresses.h"

namespace octavo {
namespace {

constexpr int64_t kRowsPerCall = 32;  // with 16 columns 4 KiB of sums on the stack

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

PackedLayerS16::PackedLayerS16(LayerS16 layer, const std::vector<int16_t>& weights,
                               const PrepareContext& context)
    : layer_(std::move(layer)),
      kernel_(&select_gemm_s16(context.cap)),
      m_(layer_.rows.outer(0)),
      blocks_(ceil_div(layer_.n, kernel_->nr)) {
  const int64_t k = checked_mul(static_cast<int64_t>(layer_.segments.size()), layer_.segment_len);
  for (const int32_t segment : layer_.segments) {
    for (int32_t i = 0; i < layer_.segment_len; i += 2) {
      pair_offsets_.push_back(segment / int32_t{sizeof(int16_t)} + i);
    }
  }
  int64_t largest = 1;
  for (const int16_t w : weights) largest = std::max<int64_t>(largest, std::abs(w));
  pairs_per_sum_ = static_cast<int32_t>(INT32_MAX / (2 * 32768 * largest));
  pack(weights, k);
  const int64_t macs = checked_mul(checked_mul(m_, k), int64_t{layer_.n} * layer_.groups, "MACs");
  threads_ = threads_for(context, checked_mul(macs, 2), 0);  // half the products of gemm_s8
}

void PackedLayerS16::pack(const std::vector<int16_t>& weights, int64_t k) {
  const int64_t nr = kernel_->nr, length = layer_.segment_len;
  block_elements_ = checked_mul(checked_mul(static_cast<int64_t>(pair_offsets_.size()), nr), 2);
  block_elements_ = checked_round_up(block_elements_, 32);  // 64 bytes
  const int64_t total = checked_mul(checked_mul(block_elements_, blocks_), layer_.groups);
  storage_ = AlignedBuffer(static_cast<size_t>(checked_mul(total, sizeof(int16_t))));
  std::fill_n(storage_.as<int16_t>(), total, int16_t{0});
  const int64_t pairs = (length + 1) / 2;  // of a segment
  for (int64_t channel = 0; channel < int64_t{layer_.n} * layer_.groups; ++channel) {
    const int64_t group = channel / layer_.n, c = channel % layer_.n;
    int16_t* block = storage_.as<int16_t>() + (group * blocks_ + c / nr) * block_elements_;
    for (int64_t i = 0; i < k; ++i) {
      const int64_t pair = i / length * pairs + i % length / 2;
      block[(pair * nr + c % nr) * 2 + i % length % 2] = weights[channel * k + i];
    }
  }
}

void PackedLayerS16::run(const uint8_t* a, uint8_t* c, const SumSinkS16& sink) const noexcept {
  parallel_for(threads_, ceil_div(m_, kRowsPerCall), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      run_rows(a, c, sink, i * kRowsPerCall, std::min(m_, (i + 1) * kRowsPerCall));
    }
  });
}

void PackedLayerS16::run_rows(const uint8_t* a, uint8_t* c, const SumSinkS16& sink, int64_t begin,
                              int64_t end) const noexcept {
  RowAddresses rows;
  rows.fill(layer_.rows, a, c, begin, end, 1);
  int64_t sums[kRowsPerCall * kGemmS16MaxNr];
  const int32_t nr = kernel_->nr;
  GemmS16Args args;
  args.a_rows = reinterpret_cast<const int16_t* const*>(rows.a);
  args.pair_offset = pair_offsets_.data();
  args.pairs = static_cast<int32_t>(pair_offsets_.size());
  args.pairs_per_sum = pairs_per_sum_;
  args.m = static_cast<int32_t>(end - begin);
  args.sums = sums;
  for (int64_t g = 0; g < layer_.groups; ++g) {
    args.a_offset = g * layer_.segment_len;
    for (int64_t j = 0; j < blocks_; ++j) {
      args.weights = storage_.as<int16_t>() + (g * blocks_ + j) * block_elements_;
      kernel_->run(args);
      const int32_t n = std::min(nr, layer_.n - static_cast<int32_t>(j) * nr);
      sink.take({sums, nr, rows.c, g * layer_.n + j * nr, args.m, n});
    }
  }
}

}  // namespace octavo
