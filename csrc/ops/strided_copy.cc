// SPDX-License-Identifier: Apache-2.0
#include "ops/strided_copy.h"

#include <cstring>

#include "base/parallel.h"
#include "ops/transpose.h"

namespace octavo {
namespace {

constexpr int64_t kRunPiece = 16384;      // elements of a dense run per task
constexpr int64_t kTransposePiece = 128;  // rows of a transpose per task

template <class T>
void copy_elements(const uint8_t* in, int64_t in_stride, uint8_t* out, int64_t out_stride,
                   int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(out + i * out_stride, in + i * in_stride, sizeof(T));
  }
}

}  // namespace

StridedCopy::StridedCopy(const Tensor& x, const Tensor& y)
    : nest_(make_loop_nest(x, y).sorted_by(1)),
      item_(x.item_size()),
      mode_(Mode::kElements),
      levels_(1),
      piece_(kRunPiece) {
  const bool in_dense = nest_.rank() == 0 || nest_.inner_stride(0) == item_;
  const bool out_dense = nest_.rank() == 0 || nest_.inner_stride(1) == item_;
  if (in_dense && out_dense) {
    mode_ = Mode::kRuns;
  } else if (out_dense) {
    // Inner loop: dense in y, rows of x. Second loop: dense in x, rows of y.
    const int level = nest_.level_with_stride(0, item_);
    if (level == 0) return;
    nest_ = nest_.with_second(level);
    mode_ = Mode::kTranspose;
    levels_ = 2;
    piece_ = kTransposePiece;
  }
}

void StridedCopy::run(const uint8_t* in, uint8_t* out, int threads) const noexcept {
  parallel_for(threads, nest_.pieces(levels_, piece_),
               [&](int64_t begin, int64_t end, int) { run_pieces(in, out, begin, end); });
}

void StridedCopy::run_pieces(const uint8_t* in, uint8_t* out, int64_t begin,
                             int64_t end) const noexcept {
  nest_.for_pieces(levels_, piece_, begin, end,
                   [&](const LoopNest<2>::Offsets& offsets, int64_t count) {
                     copy_piece(in + offsets.at[0], out + offsets.at[1], count);
                   });
}

void StridedCopy::copy_piece(const uint8_t* in, uint8_t* out, int64_t count) const noexcept {
  const int64_t in_stride = nest_.inner_stride(0), out_stride = nest_.inner_stride(1);
  if (mode_ == Mode::kRuns) {
    std::memcpy(out, in, static_cast<size_t>(count * item_));
    return;
  }
  if (mode_ == Mode::kTranspose) {
    transpose_2d(in, in_stride, out, nest_.inner_stride(1, 1), nest_.inner(), count, item_);
    return;
  }
  switch (item_) {
    case 1: return copy_elements<uint8_t>(in, in_stride, out, out_stride, count);
    case 2: return copy_elements<uint16_t>(in, in_stride, out, out_stride, count);
    case 4: return copy_elements<uint32_t>(in, in_stride, out, out_stride, count);
    default: return copy_elements<uint64_t>(in, in_stride, out, out_stride, count);
  }
}

}  // namespace octavo
