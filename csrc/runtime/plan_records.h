// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "ops/step.h"

// The plan section as it lies in the file (docs/format.md, "Plan section"), and its limits.
namespace octavo {

inline constexpr uint32_t kPlanVersion = 1;
inline constexpr uint32_t kMaxRecords = 65536;  // tensors, steps, constants each
inline constexpr uint32_t kMaxStepArgs = 64;    // of one sort, per step; real kinds have at most 14
inline constexpr size_t kMaxNameBytes = 1024;
inline constexpr size_t kMaxPlanBytes = size_t{64} << 20;
inline constexpr int64_t kMaxArenaBytes = int64_t{1} << 40;
inline constexpr int64_t kArenaTail = 1
                                      << 20;  // bytes that may follow the last tensor and its slack

struct PlanHeader {
  uint32_t version;
  uint32_t tensor_count, step_count, const_count, input_count, output_count;
  uint32_t int_count, float_count, ref_count, string_bytes;
  uint64_t arena_bytes, lower_bound_bytes, reserved;
};
static_assert(sizeof(PlanHeader) == 64);

struct TensorRecord {
  uint8_t dtype, location, rank, flags;
  uint32_t name;
  uint64_t offset;
  int32_t dims[kMaxRank];
  int64_t strides[kMaxRank];
  uint16_t halo[4];
  float scale;
  int32_t zero_point;
};
static_assert(sizeof(TensorRecord) == 128);

struct RangeRecord {
  uint32_t first, count;
};

struct StepRecord {
  uint32_t kind, name;
  RangeRecord inputs, outputs, ints, floats, constants;
  uint32_t macs_low, macs_high;
};
static_assert(sizeof(StepRecord) == 56);

struct ConstRecord {
  uint64_t offset, size;
  uint32_t dtype, reserved;
};
static_assert(sizeof(ConstRecord) == 24);

// What a tensor record is checked against.
struct TensorLimits {
  int64_t arena_bytes;
  uint32_t input_count, output_count;
};

// Validates a record and returns the tensor it describes.
Tensor read_tensor(const TensorRecord& record, const char* name, const TensorLimits& limits);

}  // namespace octavo
