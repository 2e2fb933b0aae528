// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ops/loop_nest.h"
#include "ops/op.h"

namespace octavo {

// Copies a tensor into another of equal dims and element size, any strides on both sides.
class StridedCopy {
 public:
  StridedCopy(const Tensor& x, const Tensor& y);

  void run(const uint8_t* in, uint8_t* out, int threads) const noexcept;
  bool flat() const { return mode_ == Mode::kRuns; }  // dense runs on both sides

 private:
  enum class Mode : uint8_t { kRuns, kTranspose, kElements };
  void run_pieces(const uint8_t* in, uint8_t* out, int64_t begin, int64_t end) const noexcept;
  void copy_piece(const uint8_t* in, uint8_t* out, int64_t count) const noexcept;

  LoopNest<2> nest_;
  int64_t item_;
  Mode mode_;
  int levels_;     // loops that one piece covers: 2 for a transpose, else 1
  int64_t piece_;  // iterations of the outer one of these
};

}  // namespace octavo
