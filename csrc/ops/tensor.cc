// SPDX-License-Identifier: Apache-2.0
#include "ops/tensor.h"

#include <cstdlib>
#include <numeric>

#include "base/checked.h"
#include "kernels/stored.h"

namespace octavo {
namespace {

struct DTypeRow {
  const char* name;
  int64_t size;
};

// By code, from 1 (docs/format.md).
constexpr DTypeRow kDTypes[] = {{"f32", 4}, {"u8", 1},  {"s8", 1},  {"s16", 2},
                                {"s32", 4}, {"s64", 8}, {"u32", 4}, {"bool", 1}};

const DTypeRow& row(DType dtype) { return kDTypes[static_cast<int>(dtype) - 1]; }

// Outer elements sit at multiples of `step`, each `run` bytes long.
struct Comb {
  int64_t step, run;
};

Comb comb_of(const Tensor& t) {
  int64_t step = 0, run = t.item_size();
  for (int i = t.rank - 1; i >= 0; --i) {
    if (t.dims[i] == 1) continue;
    if (step == 0 && t.strides[i] == run) {
      run *= t.dims[i];
    } else {
      step = std::gcd(step, t.strides[i]);
    }
  }
  return {step, run};
}

}  // namespace

bool parse_dtype(uint32_t code, DType* dtype) {
  if (code < 1 || code > sizeof(kDTypes) / sizeof(kDTypes[0])) return false;
  *dtype = static_cast<DType>(code);
  return true;
}

const char* dtype_name(DType dtype) { return row(dtype).name; }
int64_t dtype_size(DType dtype) { return row(dtype).size; }

int64_t Tensor::elements() const {
  int64_t count = 1;
  for (int i = 0; i < rank; ++i) count = checked_mul(count, dims[i], name);
  return count;
}

bool Tensor::contiguous() const {
  int64_t expected = item_size();
  for (int i = rank - 1; i >= 0; --i) {
    if (dims[i] != 1 && strides[i] != expected) return false;
    expected = checked_mul(expected, dims[i], name);
  }
  return true;
}

bool Tensor::last_dense() const {
  return rank == 0 || dims[rank - 1] == 1 || strides[rank - 1] == item_size();
}

bool same_dims(const Tensor& a, const Tensor& b) {
  if (a.rank != b.rank) return false;
  for (int i = 0; i < a.rank; ++i) {
    if (a.dims[i] != b.dims[i]) return false;
  }
  return true;
}

// Loops from the shortest stride on: each must step over all that the ones before it cover.
bool distinct_elements(const Tensor& t) {
  int order[kMaxRank];
  int count = 0;
  for (int d = 0; d < t.rank; ++d) {
    if (t.dims[d] == 1) continue;
    int at = count++;
    for (; at > 0 && std::abs(t.strides[order[at - 1]]) > std::abs(t.strides[d]); --at) {
      order[at] = order[at - 1];
    }
    order[at] = d;
  }
  int64_t covered = t.item_size();
  for (int i = 0; i < count; ++i) {
    const int64_t stride = std::abs(t.strides[order[i]]);
    if (stride < covered) return false;
    covered += (t.dims[order[i]] - 1) * stride;
  }
  return true;
}

Tensor dense_like(const Tensor& tensor) {
  Tensor dense = tensor;
  int64_t stride = tensor.item_size();
  for (int d = tensor.rank - 1; d >= 0; --d) {
    dense.strides[d] = stride;
    stride *= tensor.dims[d];
  }
  return dense;
}

ByteRange touched_bytes(const Tensor& t) {
  ByteRange range{0, 0};
  if (t.elements() == 0) return range;
  range.high = t.item_size();
  for (int i = 0; i < t.rank; ++i) {
    const int64_t reach = checked_mul(t.dims[i] - 1, t.strides[i], t.name);
    int64_t& end = reach < 0 ? range.low : range.high;
    end = checked_add(end, reach, t.name);
  }
  if (t.halo.any()) {
    const int64_t row = t.strides[1], pixel = t.strides[2];
    const int64_t before = checked_add(checked_mul(t.halo.top, row, t.name),
                                       checked_mul(t.halo.left, pixel, t.name), t.name);
    const int64_t after = checked_add(checked_mul(t.halo.bottom, row, t.name),
                                      checked_mul(t.halo.right, pixel, t.name), t.name);
    range.low = checked_add(range.low, -before, t.name);
    range.high = checked_add(range.high, after, t.name);
  }
  return range;
}

bool disjoint(const Tensor& a, const Tensor& b) {
  if (a.base != b.base || a.elements() == 0 || b.elements() == 0) return true;
  Tensor ca = a, cb = b;
  ca.halo = cb.halo = Halo{};
  const ByteRange ra = touched_bytes(ca), rb = touched_bytes(cb);
  if (a.offset + ra.high <= b.offset + rb.low) return true;
  if (b.offset + rb.high <= a.offset + ra.low) return true;
  // Slices of one pitch: compare the runs modulo the common step.
  const Comb comb_a = comb_of(a), comb_b = comb_of(b);
  const int64_t step = std::gcd(comb_a.step, comb_b.step);
  if (step == 0 || comb_a.run + comb_b.run > step) return false;
  const int64_t gap = (((b.offset - a.offset) % step) + step) % step;
  return gap >= comb_a.run && gap + comb_b.run <= step;
}

bool same_elements(const Tensor& a, const Tensor& b) {
  if (a.base != b.base || a.offset != b.offset || !same_dims(a, b)) return false;
  if (a.item_size() != b.item_size()) return false;
  for (int i = 0; i < a.rank; ++i) {
    if (a.dims[i] != 1 && a.strides[i] != b.strides[i]) return false;
  }
  return true;
}

uint8_t stored_flip(const Tensor& tensor) {
  return tensor.dtype == DType::kU8 && tensor.location == Location::kArena ? kStoredFlip : 0;
}

}  // namespace octavo
