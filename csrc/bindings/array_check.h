// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <vector>

#include "runtime/plan.h"

namespace octavo {

// NumPy arrays that were checked against the inputs and outputs of a plan, held for as long as
// their addresses are in use. Nothing is converted or copied.
struct CheckedArrays {
  // Throws Error(kInvalidArgument or kShape) naming the tensor: wrong type, dtype, byte order,
  // rank, shape, memory order, alignment, writability, or an output that overlaps another array.
  CheckedArrays(const Plan& plan, const pybind11::sequence& in, const pybind11::sequence& out);

  // Throws when an array has other memory than it had then: numpy.ndarray.resize(refcheck=False)
  // frees what somebody holds.
  void expect_unmoved() const;

  std::vector<pybind11::object> held;
  std::vector<const uint8_t*> inputs;
  std::vector<uint8_t*> outputs;
  std::vector<int64_t> elements;  // by array, inputs first
};

pybind11::dtype numpy_dtype(DType dtype);

}  // namespace octavo
