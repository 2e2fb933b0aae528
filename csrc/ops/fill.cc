// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <vector>

#include "ops/loop_nest.h"
#include "ops/op.h"

namespace octavo {
namespace {

LoopNest<1> loops_over(const Tensor& y) {
  int64_t strides[1][kMaxRank];
  for (int d = 0; d < kMaxRank; ++d) strides[0][d] = y.strides[d];
  return LoopNest<1>(y.rank, y.dims, strides).sorted_by(0);
}

template <class T>
void fill_run(uint8_t* out, int64_t stride, int64_t count, uint64_t bits) {
  const T value = static_cast<T>(bits);
  for (int64_t i = 0; i < count; ++i) std::memcpy(out + i * stride, &value, sizeof value);
}

class Fill final : public Op {
 public:
  explicit Fill(const StepView& step)
      : output_(step.output(0)),
        loops_(loops_over(step.output(0))),
        item_(step.output(0).item_size()) {
    // The low bytes of the int are the element's; 8-byte elements extend its sign.
    bits_ = static_cast<uint64_t>(int64_t{step.ints.data[0]}) ^ stored_flip(step.output(0));
    if (step.ints.count > 1) repeat_channels(step);
    info_ = {"fill", Isa::kScalar, Precision::kCopy, 1};
  }

  void run(const RunContext& ctx) const noexcept override {
    uint8_t* out = output_.in(ctx);
    const int64_t count = loops_.inner(), stride = loops_.inner_stride(0);
    loops_.for_outer(1, 0, loops_.outer(1), [&](const LoopNest<1>::Offsets& offsets) {
      uint8_t* run = out + offsets.at[0];
      if (!pattern_.empty()) {
        const int64_t length = static_cast<int64_t>(pattern_.size());
        for (int64_t i = 0; i < count; i += length) {
          std::memcpy(run + i, pattern_.data(), static_cast<size_t>(std::min(length, count - i)));
        }
        return;
      }
      if (item_ == 1 && stride == 1) {
        std::memset(run, static_cast<int>(bits_ & 0xff), static_cast<size_t>(count));
        return;
      }
      switch (item_) {
        case 1: return fill_run<uint8_t>(run, stride, count, bits_);
        case 2: return fill_run<uint16_t>(run, stride, count, bits_);
        case 4: return fill_run<uint32_t>(run, stride, count, bits_);
        default: return fill_run<uint64_t>(run, stride, count, bits_);
      }
    });
  }

 private:
  // One byte per channel of a dense last dimension, as often as fits in kPattern bytes.
  void repeat_channels(const StepView& step) {
    const Tensor& y = step.output(0);
    const int64_t channels = step.ints.count;
    const bool dense = item_ == 1 && y.rank > 0 && y.dims[y.rank - 1] == channels &&
                       loops_.inner_stride(0) == 1 && loops_.inner() % channels == 0;
    if (!dense) {
      step.fail(ErrorCode::kFormat,
                "%lld bytes to repeat, but the last of the output's axes is "
                "not as long and dense",
                static_cast<long long>(channels));
    }
    const int64_t times = std::max<int64_t>(1, std::min(kPattern, loops_.inner()) / channels);
    pattern_.reserve(static_cast<size_t>(times * channels));
    for (int64_t i = 0; i < times * channels; ++i) {
      const auto byte = static_cast<uint8_t>(step.ints.data[i % channels]);
      pattern_.push_back(static_cast<uint8_t>(byte ^ stored_flip(y)));
    }
  }

  static constexpr int64_t kPattern = 4096;
  Address output_;
  LoopNest<1> loops_;
  int64_t item_;
  std::vector<uint8_t> pattern_;
  uint64_t bits_;
};

}  // namespace

std::unique_ptr<Op> prepare_fill(const StepView& step, const PrepareContext&) {
  step.expect({0, 1, std::max(1, step.ints.count), 0, 0});
  return std::make_unique<Fill>(step);
}

}  // namespace octavo
