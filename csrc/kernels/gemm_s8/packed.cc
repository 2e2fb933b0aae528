// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "kernels/gemm_s8/pack.h"

namespace octavo {
namespace {

bool holds(ByteSpan bytes, uint64_t offset, int64_t count, int64_t item) {
  return offset % AlignedBuffer::kAlignment == 0 && offset <= bytes.size && count >= 0 &&
         static_cast<uint64_t>(count) <= (bytes.size - offset) / static_cast<uint64_t>(item);
}

// The bytes of A that the layer may read from a row pointer on.
struct Reach {
  int32_t low, high;
  explicit Reach(const GemmS8Weights& w) : low(w.segment_offset[0]), high(w.segment_offset[0]) {
    for (int32_t s = 0; s < w.segment_count; ++s) {
      low = std::min(low, w.segment_offset[s]);
      high = std::max(high, w.segment_offset[s] + w.segment_len - 1);
    }
  }
  bool covers(const int32_t* offsets, int32_t count) const {
    for (int32_t i = 0; i < count; ++i) {
      if (offsets[i] < low || offsets[i] > high) return false;
    }
    return true;
  }
};

bool valid(const GemmS8BlockRecord& r, const GemmS8Kernel& kernel, ByteSpan bytes,
           const Reach& reach) {
  const int64_t nr = kernel.nr;
  const bool maddubs = kernel.path == GemmS8Path::kMaddubs;
  const bool paired = maddubs || kernel.path == GemmS8Path::kMlal;
  return holds(bytes, r.weights, r.step_count, nr * step_bytes(kernel.path)) &&
         holds(bytes, r.step_offset, r.step_count, sizeof(int32_t)) &&
         holds(bytes, r.flipped_weights, r.flipped_count, nr * 8) &&
         holds(bytes, r.flipped_offset, r.flipped_count, sizeof(int32_t)) &&
         holds(bytes, r.bias, nr, sizeof(int32_t)) && holds(bytes, r.scale, nr, sizeof(float)) &&
         (!paired || r.step_count % 2 == 0) &&
         (maddubs || (r.step_count > 0 && r.flipped_count == 0)) && r.flipped_pairs >= 0 &&
         r.flipped_pairs <= r.flipped_count / 2 &&
         reach.covers(reinterpret_cast<const int32_t*>(bytes.data + r.step_offset), r.step_count) &&
         reach.covers(reinterpret_cast<const int32_t*>(bytes.data + r.flipped_offset),
                      r.flipped_count);
}

}  // namespace

bool view_gemm_s8(const GemmS8Kernel& kernel, const GemmS8Weights& weights, ByteSpan bytes,
                  std::vector<GemmS8Block>* blocks) {
  const int32_t count = (weights.n + kernel.nr - 1) / kernel.nr;
  if (!holds(bytes, 0, count, sizeof(GemmS8BlockRecord))) return false;
  const Reach reach(weights);
  blocks->clear();
  for (int32_t j = 0; j < count; ++j) {
    GemmS8BlockRecord r;
    std::memcpy(&r, bytes.data + static_cast<size_t>(j) * sizeof r, sizeof r);
    const int32_t n = std::min<int32_t>(kernel.nr, weights.n - j * kernel.nr);
    if (r.n != n || !valid(r, kernel, bytes, reach)) return false;
    blocks->push_back({reinterpret_cast<const int8_t*>(bytes.data + r.weights),
                       reinterpret_cast<const int32_t*>(bytes.data + r.step_offset),
                       bytes.data + r.flipped_weights,
                       reinterpret_cast<const int32_t*>(bytes.data + r.flipped_offset),
                       reinterpret_cast<const int32_t*>(bytes.data + r.bias),
                       reinterpret_cast<const float*>(bytes.data + r.scale), r.step_count,
                       r.flipped_count, r.flipped_pairs, r.n});
  }
  return true;
}

PackedGemmS8 pack_gemm_s8(const GemmS8Kernel& kernel, const GemmS8Weights& weights) {
  PackedGemmS8 packed{FixedBytes(pack_gemm_s8_bytes(kernel, weights)), {}};
  view_gemm_s8(kernel, weights, packed.bytes.span(), &packed.blocks);
  return packed;
}

}  // namespace octavo
