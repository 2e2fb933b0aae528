// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "base/aligned_buffer.h"
#include "base/checked.h"
#include "base/parallel.h"
#include "ops/op.h"

namespace octavo {
namespace {

// y[o][i] = data[o][indices[i]] for rows of `row_bytes`. Indices are data: negative ones count from
// the end, and whatever is still outside is taken to the nearest row.
class Gather final : public Op {
 public:
  Gather(const StepView& step, const PrepareContext& context)
      : indices_(step.input(0)),
        output_(step.output(0)),
        wide_(step.input(0).dtype == DType::kS64),
        outer_(step.output(0).dims[0]),
        taken_(step.output(0).dims[1]),
        row_bytes_(checked_mul(step.output(0).dims[2], step.output(0).item_size())) {
    if (step.inputs.count == 2) {
      const Tensor& data = step.input(1);
      data_ = Address(data);
      count_ = data.dims[1];
    } else {
      read_table(step);
    }
    info_ = {"gather", Isa::kScalar, Precision::kCopy,
             threads_for(context, 0, 2 * step.output(0).bytes())};
  }

  void run(const RunContext& ctx) const noexcept override {
    const uint8_t* indices = indices_.in(ctx);
    const uint8_t* data = table_.size() > 0 ? table_.data() : data_.in(ctx);
    uint8_t* out = output_.in(ctx);
    parallel_for(info_.threads, outer_ * taken_, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = i / taken_ * count_ + index(indices, i % taken_);
        std::memcpy(out + i * row_bytes_, data + row * row_bytes_, static_cast<size_t>(row_bytes_));
      }
    });
  }

 private:
  void read_table(const StepView& step) {
    const ConstData& found = step.constants[step.const_refs.data[0]];
    const int64_t block = checked_mul(outer_, row_bytes_);
    if (found.dtype != step.output(0).dtype || found.size < block || found.size % block != 0) {
      step.fail(ErrorCode::kShape, "a table of %lld bytes of %s does not fit the output",
                static_cast<long long>(found.size), dtype_name(found.dtype));
    }
    count_ = found.size / block;
    table_ = AlignedBuffer(static_cast<size_t>(found.size));
    const uint8_t flip = stored_flip(step.output(0));
    for (size_t i = 0; i < table_.size(); ++i) table_.data()[i] = found.data[i] ^ flip;
    packed_bytes_ = found.size;
  }

  int64_t index(const uint8_t* indices, int64_t i) const noexcept {
    int64_t value;
    if (wide_) {
      std::memcpy(&value, indices + 8 * i, 8);
    } else {
      int32_t narrow;
      std::memcpy(&narrow, indices + 4 * i, 4);
      value = narrow;
    }
    if (value < 0) value += count_;
    return std::clamp<int64_t>(value, 0, count_ - 1);
  }

  Address indices_, output_, data_;
  bool wide_;
  int64_t outer_, taken_, row_bytes_, count_ = 0;
  AlignedBuffer table_;
};

void expect_plain(const StepView& step, const Tensor& t, DType dtype) {
  step.expect_arena_tensor(t, dtype);
  if (!t.contiguous()) step.fail(ErrorCode::kFormat, "tensor '%s' is a strided view", t.name);
}

}  // namespace

std::unique_ptr<Op> prepare_gather(const StepView& step, const PrepareContext& context) {
  const bool computed = step.inputs.count == 2;
  step.expect({computed ? 2 : 1, 1, 0, 0, computed ? 0 : 1});
  const Tensor& indices = step.input(0);
  const Tensor& y = step.output(0);
  if (indices.dtype != DType::kS32 && indices.dtype != DType::kS64) {
    step.fail(ErrorCode::kFormat, "indices are %s, must be s32 or s64", dtype_name(indices.dtype));
  }
  expect_plain(step, indices, indices.dtype);
  expect_plain(step, y, y.dtype);
  step.expect_rank(indices, 1);
  step.expect_rank(y, 3);
  if (y.dims[1] != indices.dims[0]) {
    step.fail(ErrorCode::kShape, "%d indices for %d rows", indices.dims[0], y.dims[1]);
  }
  step.expect_disjoint(y, indices);
  if (computed) {
    const Tensor& data = step.input(1);
    expect_plain(step, data, y.dtype);
    step.expect_rank(data, 3);
    if (data.dims[0] != y.dims[0] || data.dims[2] != y.dims[2]) {
      step.fail(ErrorCode::kShape, "rows of '%s' do not fit the output", data.name);
    }
    step.expect_disjoint(y, data);
  }
  return std::make_unique<Gather>(step, context);
}

}  // namespace octavo
