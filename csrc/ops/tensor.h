// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

// What a step knows of a tensor: the validated form of a tensor record (docs/format.md).
namespace octavo {

enum class DType : uint8_t { kF32 = 1, kU8, kS8, kS16, kS32, kS64, kU32, kBool };

// False, leaving *dtype alone, when the code is unknown.
bool parse_dtype(uint32_t code, DType* dtype);
const char* dtype_name(DType dtype);
int64_t dtype_size(DType dtype);
inline bool is_8bit(DType dtype) { return dtype == DType::kU8 || dtype == DType::kS8; }

enum class Location : uint8_t { kArena = 0, kInput = 1, kOutput = 2 };

struct Halo {  // pixels around the interior of an NHWC tensor
  int32_t top = 0, left = 0, bottom = 0, right = 0;
  bool any() const { return (top | left | bottom | right) != 0; }
};

inline constexpr int kMaxRank = 8;

// Kernels may read this many bytes past the last element of any arena tensor or scratch buffer.
inline constexpr int64_t kReadSlack = 64;

struct Tensor {
  const char* name = "";
  DType dtype = DType::kU8;
  Location location = Location::kArena;
  int32_t rank = 0;
  // Where the first element is: RunContext::bases[base] + offset. Base 0 is the arena, then come
  // the model's inputs, then its outputs.
  int32_t base = 0;
  int64_t offset = 0;
  int32_t dims[kMaxRank] = {1, 1, 1, 1, 1, 1, 1, 1};
  int64_t strides[kMaxRank] = {};  // bytes
  Halo halo;
  float scale = 1.0f;
  int32_t zero_point = 0;

  int64_t item_size() const { return dtype_size(dtype); }
  int64_t elements() const;  // the reader proves elements * item_size <= 2^40
  int64_t bytes() const { return elements() * item_size(); }
  bool contiguous() const;  // C order, no gaps
  // The last dimension is a run of adjacent elements: what a step may read as a view.
  bool last_dense() const;
};

bool same_dims(const Tensor& a, const Tensor& b);

// No two elements share a byte. Exact for C order, permutations, slices and reversals of it;
// otherwise errs towards false.
bool distinct_elements(const Tensor& tensor);

// The same tensor with strides of C order.
Tensor dense_like(const Tensor& tensor);

// Bytes from the first element to the lowest byte touched (<= 0) and to the end of the highest
// (> 0), halo included. Empty tensors touch nothing: low == high == 0.
struct ByteRange {
  int64_t low, high;
};
ByteRange touched_bytes(const Tensor& tensor);

// An 8-bit value XOR this is its byte in the tensor. Activations in the arena lie as the CPU's
// multipliers want them (kernels/stored.h); s8 tensors and the caller's are what they say.
uint8_t stored_flip(const Tensor& tensor);

// No byte belongs to both (halos not counted). Exact for tensors of different bases, for separate
// ranges and for slices side by side in one buffer (concat); otherwise errs towards false.
bool disjoint(const Tensor& a, const Tensor& b);

// Element i of one and of the other are the same bytes: the tensors may be used in place.
bool same_elements(const Tensor& a, const Tensor& b);

}  // namespace octavo
