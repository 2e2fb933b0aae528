// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "ops/tensor.h"

namespace octavo {

// The elements of up to three tensors of the same (broadcast) dims as nested loops: dimensions that
// all operands walk alike are merged, and the innermost one or two are left to the caller.
template <int kOperands>
class LoopNest {
 public:
  struct Offsets {
    int64_t at[kOperands];
  };

  // strides[k][d]: bytes operand k moves along dimension d (0 where it is broadcast).
  template <class Dim>
  LoopNest(int rank, const Dim* dims, const int64_t (&strides)[kOperands][kMaxRank]) {
    for (int d = 0; d < rank; ++d) {
      int64_t step[kOperands];
      for (int k = 0; k < kOperands; ++k) step[k] = strides[k][d];
      append(dims[d], step);
    }
  }

  // After merging; a scalar has rank 0.
  int rank() const { return rank_; }

  // The loop `level` dimensions from the inside: length 1, stride 0 where there is none.
  int64_t inner(int level = 0) const { return level < rank_ ? dims_[rank_ - 1 - level] : 1; }
  int64_t inner_stride(int operand, int level = 0) const {
    return level < rank_ ? strides_[operand][rank_ - 1 - level] : 0;
  }

  // Iterations of the loops outside the innermost `levels`.
  int64_t outer(int levels) const {
    int64_t count = 1;
    for (int d = 0; d < rank_ - levels; ++d) count *= dims_[d];
    return count;
  }

  // The same loops around an innermost one of a single iteration, `item` bytes for every operand:
  // for kernels on contiguous runs where there is none. (A tensor whose last dimension is 1 is
  // dense by definition, though neighbours along the next one are not adjacent.)
  LoopNest with_unit_inner(int64_t item) const {
    LoopNest nest = *this;
    nest.dims_[rank_] = 1;
    for (int k = 0; k < kOperands; ++k) nest.strides_[k][rank_] = item;
    ++nest.rank_;
    return nest;
  }

  // The same loops, longest stride of `operand` outermost, merged again.
  LoopNest sorted_by(int operand) const {
    int order[kMaxLoops];
    for (int d = 0; d < rank_; ++d) order[d] = d;
    std::stable_sort(order, order + rank_, [&](int a, int b) {
      return std::abs(strides_[operand][a]) > std::abs(strides_[operand][b]);
    });
    return reordered(order);
  }

  // The same loops with the one at `level` moved to just outside the innermost.
  LoopNest with_second(int level) const {
    int order[kMaxLoops];
    int count = 0;
    const int second = rank_ - 1 - level;
    for (int d = 0; d < rank_ - 1; ++d) {
      if (d != second) order[count++] = d;
    }
    order[count++] = second;
    order[count] = rank_ - 1;
    return reordered(order);
  }

  // The level (from 1) of a loop along which `operand` moves `stride` bytes; 0 when there is none.
  int level_with_stride(int operand, int64_t stride) const {
    for (int level = 1; level < rank_; ++level) {
      if (inner_stride(operand, level) == stride) return level;
    }
    return 0;
  }

  // Calls body(Offsets) for outer iterations [begin, end), in order.
  template <class Body>
  void for_outer(int levels, int64_t begin, int64_t end, Body&& body) const {
    const int outer_rank = rank_ > levels ? rank_ - levels : 0;
    int64_t index[kMaxLoops] = {};
    Offsets offsets{};
    int64_t rest = begin;
    for (int d = outer_rank - 1; d >= 0; --d) {
      index[d] = rest % dims_[d];
      rest /= dims_[d];
      for (int k = 0; k < kOperands; ++k) offsets.at[k] += index[d] * strides_[k][d];
    }
    for (int64_t i = begin; i < end; ++i) {
      body(offsets);
      for (int d = outer_rank - 1; d >= 0; --d) {
        for (int k = 0; k < kOperands; ++k) offsets.at[k] += strides_[k][d];
        if (++index[d] < dims_[d]) break;
        for (int k = 0; k < kOperands; ++k) offsets.at[k] -= dims_[d] * strides_[k][d];
        index[d] = 0;
      }
    }
  }

  // The same with the loop just inside cut into pieces of at most `piece` iterations, so that one
  // long loop can be shared between threads: body(Offsets of the piece, its length) for pieces
  // [begin, end) of pieces(levels, piece).
  int64_t pieces(int levels, int64_t piece) const {
    const int64_t length = inner(levels - 1);
    return outer(levels) * (length <= piece ? 1 : (length + piece - 1) / piece);
  }
  template <class Body>
  void for_pieces(int levels, int64_t piece, int64_t begin, int64_t end, Body&& body) const {
    if (begin >= end) return;
    const int64_t length = inner(levels - 1);
    if (begin == 0 && end == 1) return body(Offsets{}, std::min(piece, length));  // no divisions
    const int64_t per_loop = (length + piece - 1) / piece;
    int64_t p = begin;
    for_outer(levels, begin / per_loop, (end - 1) / per_loop + 1, [&](const Offsets& start) {
      const int64_t loop_end = std::min(end, (p / per_loop + 1) * per_loop);
      for (; p < loop_end; ++p) {
        const int64_t first = p % per_loop * piece;
        Offsets offsets = start;
        for (int k = 0; k < kOperands; ++k) {
          offsets.at[k] += first * inner_stride(k, levels - 1);
        }
        body(offsets, std::min(piece, length - first));
      }
    });
  }

 private:
  static constexpr int kMaxLoops = kMaxRank + 1;  // one more for with_unit_inner

  LoopNest() = default;

  // Adds a loop inside all others, or makes the innermost longer where every operand moves on
  // alike.
  void append(int64_t dim, const int64_t (&strides)[kOperands]) {
    if (dim == 1) return;
    bool merges = rank_ > 0;
    for (int k = 0; merges && k < kOperands; ++k) {
      merges = strides_[k][rank_ - 1] == dim * strides[k];
    }
    if (merges) {
      dims_[rank_ - 1] *= dim;
    } else {
      dims_[rank_++] = dim;
    }
    for (int k = 0; k < kOperands; ++k) strides_[k][rank_ - 1] = strides[k];
  }

  LoopNest reordered(const int* order) const {
    LoopNest nest;
    for (int d = 0; d < rank_; ++d) {
      int64_t step[kOperands];
      for (int k = 0; k < kOperands; ++k) step[k] = strides_[k][order[d]];
      nest.append(dims_[order[d]], step);
    }
    return nest;
  }

  int rank_ = 0;
  int64_t dims_[kMaxLoops] = {};
  int64_t strides_[kOperands][kMaxLoops] = {};
};

// Loops over two tensors of equal dims.
inline LoopNest<2> make_loop_nest(const Tensor& a, const Tensor& b) {
  int64_t strides[2][kMaxRank];
  for (int d = 0; d < kMaxRank; ++d) {
    strides[0][d] = a.strides[d];
    strides[1][d] = b.strides[d];
  }
  return LoopNest<2>(a.rank, a.dims, strides);
}

}  // namespace octavo
