// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <vector>

#include "runtime/executor.h"

namespace octavo {

// One call from dictionaries of arrays to a dictionary of arrays, for arguments that need no
// conversion and no explanation; whoever calls must be able to do without.
class NamedRun {
 public:
  // Names of the executor's inputs and outputs in order.
  NamedRun(std::shared_ptr<Executor> executor, const pybind11::sequence& inputs,
           const pybind11::sequence& outputs);

  // inputs: a dict or, for a single input, an array; out: the same for the outputs, or None for new
  // ones. The outputs by name, or None, with nothing done, if anything is not exactly as expected.
  pybind11::object run(const pybind11::handle& inputs, const pybind11::handle& out) const;

 private:
  static constexpr size_t kMaxArrays = 16;

  struct Slot {
    pybind11::object name;   // str
    pybind11::object dtype;  // NumPy's own object for it, which arrays of this type share
    std::vector<Py_ssize_t> shape;
    size_t bytes;
  };
  struct Arrays;

  void add_slots(const std::vector<const Tensor*>& tensors, const pybind11::sequence& names);
  bool find(const pybind11::handle& given, size_t begin, size_t end, Arrays* arrays) const;
  bool create(Arrays* arrays) const;
  bool apart(const Arrays& arrays) const;

  std::shared_ptr<Executor> executor_;
  std::vector<Slot> slots_;  // inputs, outputs
  size_t inputs_;
};

}  // namespace octavo
