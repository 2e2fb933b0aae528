// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "ops/tensor.h"

namespace octavo {

// A constant of the file. May be unaligned and may change under a mapped file, so `prepare` copies
// what `run` needs, and nothing read from here is ever used as an index.
struct ConstData {
  const uint8_t* data;
  int64_t size;  // bytes
  DType dtype;
};

// A (first, count) pair of a step record, resolved and bounds-checked by the reader.
template <class T>
struct Slice {
  const T* data = nullptr;
  int32_t count = 0;
};

struct Arity {
  int32_t inputs, outputs, ints, floats, consts;
  int32_t optional_consts = 0;  // further constants that may be present
};

// One step of the plan with checked access to its arguments. Every accessor throws an Error that
// names the step.
class StepView {
 public:
  const char* kind = "";
  const char* name = "";
  const Tensor* tensors = nullptr;
  const ConstData* constants = nullptr;
  Slice<uint32_t> inputs, outputs, const_refs;  // indices into tensors / constants
  Slice<int32_t> ints;
  Slice<float> floats;
  uint64_t macs = 0;

  void expect(const Arity& arity) const;
  const Tensor& input(int i) const { return tensors[inputs.data[i]]; }
  const Tensor& output(int i) const { return tensors[outputs.data[i]]; }
  int32_t int_in(int i, int32_t low, int32_t high, const char* what) const;
  float float_at(int i) const { return floats.data[i]; }
  float finite_at(int i, const char* what) const;

  // Constant i, which must hold exactly `count` elements of `dtype`.
  const uint8_t* constant(int i, DType dtype, int64_t count, const char* what) const;
  template <class T>
  std::vector<T> constant_values(int i, DType dtype, int64_t count, const char* what) const {
    const uint8_t* data = constant(i, dtype, count, what);
    std::vector<T> values(static_cast<size_t>(count));
    if (count > 0) std::memcpy(values.data(), data, values.size() * sizeof(T));
    return values;
  }

  // The tensor must be of this type and in the arena ...
  void expect_arena_tensor(const Tensor& tensor, DType dtype) const;
  // ... with a dense last dimension: what most kernels take.
  void expect_kernel_tensor(const Tensor& tensor, DType dtype) const;
  void expect_rank(const Tensor& tensor, int rank) const;
  void expect_same_dims(const Tensor& a, const Tensor& b) const;
  // Outputs and inputs share no byte (a kernel would read what it has just written) ...
  void expect_disjoint(const Tensor& output, const Tensor& input) const;
  // ... or are the same elements, for kernels that work in place.
  void expect_disjoint_or_in_place(const Tensor& output, const Tensor& input) const;

  [[noreturn]] void fail(ErrorCode code, const char* format, ...) const
      __attribute__((format(printf, 3, 4)));
};

}  // namespace octavo
