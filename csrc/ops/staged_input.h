// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstring>

#include "ops/loop_nest.h"
#include "ops/padded_input.h"

namespace octavo {

// An activation on its way into scratch memory in another element type: where it goes, with the
// padding that a convolution wants around it, and the lines in which it is read.
struct StagedInput {
  Tensor tensor;       // what the layer reads; counts from `origin`
  int64_t origin = 0;  // byte of the first element in the scratch memory
  int64_t bytes = 0;   // of scratch memory, without the slack behind
  LoopNest<2> lines;   // operand 0 walks the tensor, operand 1 the scratch memory, in bytes
  int64_t length = 0;  // adjacent elements of a line

  // The padding: rows of `row` bytes per image, all but `height` of them from `top` on padding; of
  // those, the first `before` and the last `after` bytes.
  struct Border {
    int64_t images = 0, rows = 0, top = 0, height = 0, row = 0, before = 0, after = 0;
    bool any() const { return rows > height || before + after > 0; }
  } border;

  // Writes the padding of rows [begin, end) of all images; value(image) is the byte.
  template <class Value>
  void fill_border(uint8_t* scratch, int64_t begin, int64_t end, Value&& value) const {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t y = r % border.rows - border.top;
      const int byte = value(r / border.rows);
      uint8_t* row = scratch + r * border.row;
      const bool inside = y >= 0 && y < border.height;
      std::memset(row, byte, static_cast<size_t>(inside ? border.before : border.row));
      if (inside) std::memset(row + border.row - border.after, byte, border.after);
    }
  }
};

// Of a linear layer: the rows of x, one after the other.
StagedInput stage_rows(const StepView& step, DType type);

// Of a convolution; `padded`, which tells how much padding the windows reach, describes the staged
// tensor, not x.
StagedInput stage_image(const StepView& step, const Tensor& staged, const Window2d& w,
                        const PaddedInput& padded);

// x in another type, in C order and without halo.
Tensor staged_tensor(const Tensor& x, DType type);

}  // namespace octavo
