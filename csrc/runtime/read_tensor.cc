// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>

#include "base/checked.h"
#include "runtime/plan_records.h"

namespace octavo {
namespace {

[[noreturn]] __attribute__((format(printf, 3, 4))) void bad(const Tensor& t, ErrorCode code,
                                                            const char* format, ...) {
  char detail[256];
  va_list args;
  va_start(args, format);
  std::vsnprintf(detail, sizeof detail, format, args);
  va_end(args);
  fail(code, "plan: tensor '%.200s': %s", t.name, detail);
}

void read_types(const TensorRecord& record, Tensor* t) {
  if (!parse_dtype(record.dtype, &t->dtype)) {
    bad(*t, ErrorCode::kFormat, "unknown dtype code %u", record.dtype);
  }
  if (record.location > static_cast<uint8_t>(Location::kOutput)) {
    bad(*t, ErrorCode::kFormat, "unknown location %u", record.location);
  }
  t->location = static_cast<Location>(record.location);
  if (record.rank > kMaxRank) bad(*t, ErrorCode::kLimit, "rank %u, at most 8", record.rank);
  t->rank = record.rank;
  if (record.flags != 0) bad(*t, ErrorCode::kFormat, "flags are %u, must be 0", record.flags);
}

void read_dims(const TensorRecord& record, Tensor* t) {
  for (int d = 0; d < kMaxRank; ++d) {
    const int32_t dim = record.dims[d];
    const int64_t stride = record.strides[d];
    if (d >= t->rank && (dim != 1 || stride != 0)) {
      bad(*t, ErrorCode::kFormat, "dimension %d beyond the rank has dim %d, stride %lld", d, dim,
          static_cast<long long>(stride));
    }
    if (dim < 1) bad(*t, ErrorCode::kFormat, "dim %d is %d, must be positive", d, dim);
    if (stride % t->item_size() != 0) {
      bad(*t, ErrorCode::kFormat, "stride %d is %lld, no multiple of the element size", d,
          static_cast<long long>(stride));
    }
    if (stride > kMaxArenaBytes || stride < -kMaxArenaBytes) {
      bad(*t, ErrorCode::kLimit, "stride %d is %lld", d, static_cast<long long>(stride));
    }
    t->dims[d] = dim;
    t->strides[d] = stride;
  }
  if (t->elements() > kMaxArenaBytes / t->item_size())
    bad(*t, ErrorCode::kLimit, "more than 2^40 bytes");
}

// The halo lies around the interior of every image and reaches no interior byte, so that filling
// it changes no element. Neighbouring rows and images may share their halos.
void read_halo(const TensorRecord& record, Tensor* t) {
  t->halo = {record.halo[0], record.halo[1], record.halo[2], record.halo[3]};
  if (!t->halo.any()) return;
  if (t->rank != 4 || t->location != Location::kArena ||
      (t->dtype != DType::kU8 && t->dtype != DType::kF32)) {
    bad(*t, ErrorCode::kFormat, "only a rank-4 u8 or f32 arena tensor may have a halo");
  }
  const int64_t pixel = t->strides[2], row = t->strides[1], image = t->strides[0];
  const int64_t wide = checked_add(t->dims[2], std::max(t->halo.left, t->halo.right));
  const int64_t high = checked_add(t->dims[1], std::max(t->halo.top, t->halo.bottom));
  const bool ok = t->last_dense() && pixel >= t->dims[3] * t->item_size() &&
                  row >= checked_mul(wide, pixel) &&
                  (t->dims[0] == 1 || image >= checked_mul(high, row));
  if (!ok) bad(*t, ErrorCode::kFormat, "strides leave no room for the halo");
}

void read_quantization(const TensorRecord& record, Tensor* t) {
  t->scale = record.scale;
  t->zero_point = record.zero_point;
  if (!is_8bit(t->dtype) && t->dtype != DType::kS16) return;
  if (!std::isnormal(record.scale) || record.scale < 0) {
    bad(*t, ErrorCode::kFormat, "scale %g must be finite, > 0 and not subnormal",
        static_cast<double>(record.scale));
  }
  if (t->dtype == DType::kS16) {
    if (record.zero_point != 0) {
      bad(*t, ErrorCode::kFormat, "zero point %d; of s16 it must be 0", record.zero_point);
    }
    return;
  }
  const int32_t low = t->dtype == DType::kU8 ? 0 : -128;
  if (record.zero_point < low || record.zero_point > low + 255) {
    bad(*t, ErrorCode::kFormat, "zero point %d is outside %s [%d, %d]", record.zero_point,
        dtype_name(t->dtype), low, low + 255);
  }
}

void read_place(const TensorRecord& record, const TensorLimits& limits, Tensor* t) {
  if (record.offset > static_cast<uint64_t>(kMaxArenaBytes)) {
    bad(*t, ErrorCode::kLimit, "offset %llu", static_cast<unsigned long long>(record.offset));
  }
  const int64_t offset = static_cast<int64_t>(record.offset);
  if (t->location == Location::kArena) {
    t->offset = offset;
    const ByteRange range = touched_bytes(*t);
    const int64_t low = checked_add(offset, range.low);
    const int64_t high = checked_add(checked_add(offset, range.high), kReadSlack);
    if (low < 0 || high > limits.arena_bytes) {
      bad(*t, ErrorCode::kFormat,
          "bytes [%lld, %lld), 64 of slack included, leave the arena of %lld",
          static_cast<long long>(low), static_cast<long long>(high),
          static_cast<long long>(limits.arena_bytes));
    }
    if (offset % t->item_size() != 0) {
      bad(*t, ErrorCode::kFormat, "offset %lld is not aligned", static_cast<long long>(offset));
    }
    return;
  }
  const bool input = t->location == Location::kInput;
  const uint32_t count = input ? limits.input_count : limits.output_count;
  if (offset >= count) {
    bad(*t, ErrorCode::kFormat, "index %lld of %u model %s", static_cast<long long>(offset), count,
        input ? "inputs" : "outputs");
  }
  if (!t->contiguous()) {
    bad(*t, ErrorCode::kFormat, "model inputs and outputs must be contiguous");
  }
  t->base = static_cast<int32_t>(1 + offset + (input ? 0 : limits.input_count));
  t->offset = 0;
}

}  // namespace

Tensor read_tensor(const TensorRecord& record, const char* name, const TensorLimits& limits) {
  Tensor t;
  t.name = name;
  read_types(record, &t);
  read_dims(record, &t);
  read_halo(record, &t);
  read_quantization(record, &t);
  read_place(record, limits, &t);
  return t;
}

}  // namespace octavo
