// SPDX-License-Identifier: Apache-2.0
#include "bindings/named_run.h"

#include "base/error.h"
#include "bindings/array_check.h"

namespace py = pybind11;

namespace octavo {
namespace {

using NumpyApi = py::detail::npy_api;

constexpr int kOrdinary = NumpyApi::NPY_ARRAY_C_CONTIGUOUS_ | NumpyApi::NPY_ARRAY_ALIGNED_;

}  // namespace

// Arrays of one call, with references of their own: a dictionary may change while the GIL is not
// held.
struct NamedRun::Arrays {
  py::object held[kMaxArrays];
  uint8_t* data[kMaxArrays];

  void set(size_t slot, PyObject* array) {
    held[slot] = py::reinterpret_borrow<py::object>(array);
    data[slot] = reinterpret_cast<uint8_t*>(py::detail::array_proxy(array)->data);
  }
};

NamedRun::NamedRun(std::shared_ptr<Executor> executor, const py::sequence& inputs,
                   const py::sequence& outputs)
    : executor_(std::move(executor)), inputs_(executor_->plan().inputs.size()) {
  add_slots(executor_->plan().inputs, inputs);
  add_slots(executor_->plan().outputs, outputs);
}

void NamedRun::add_slots(const std::vector<const Tensor*>& tensors, const py::sequence& names) {
  if (names.size() != tensors.size()) {
    fail(ErrorCode::kInvalidArgument, "%zu names for %zu arrays", names.size(), tensors.size());
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& t = *tensors[i];
    slots_.push_back({py::str(names[i]), numpy_dtype(t.dtype),
                      std::vector<Py_ssize_t>(t.dims, t.dims + t.rank),
                      static_cast<size_t>(t.bytes())});
  }
}

py::object NamedRun::run(const py::handle& inputs, const py::handle& out) const {
  Arrays arrays;
  if (slots_.size() > kMaxArrays || !find(inputs, 0, inputs_, &arrays)) return py::none();
  if (out.is_none()) {
    if (!create(&arrays)) throw py::error_already_set();
  } else if (!find(out, inputs_, slots_.size(), &arrays) || !apart(arrays)) {
    return py::none();
  }
  {
    const py::gil_scoped_release nogil;
    executor_->run(arrays.data, arrays.data + inputs_);
  }
  py::dict results;
  for (size_t i = inputs_; i < slots_.size(); ++i) results[slots_[i].name] = arrays.held[i];
  return results;
}

bool NamedRun::find(const py::handle& given, size_t begin, size_t end, Arrays* arrays) const {
  PyTypeObject* const array_type = NumpyApi::get().PyArray_Type_;
  const bool single = end - begin == 1 && Py_TYPE(given.ptr()) == array_type;
  if (!single) {
    if (!PyDict_CheckExact(given.ptr())) return false;
    if (PyDict_GET_SIZE(given.ptr()) != static_cast<Py_ssize_t>(end - begin)) return false;
  }
  const int flags = begin == 0 ? kOrdinary : kOrdinary | NumpyApi::NPY_ARRAY_WRITEABLE_;
  for (size_t i = begin; i < end; ++i) {
    const Slot& slot = slots_[i];
    PyObject* object = single ? given.ptr() : PyDict_GetItemWithError(given.ptr(), slot.name.ptr());
    if (object == nullptr) {
      if (PyErr_Occurred() != nullptr) throw py::error_already_set();
      return false;
    }
    if (Py_TYPE(object) != array_type) return false;
    const auto& array = *py::detail::array_proxy(object);
    if (array.descr != slot.dtype.ptr() || (array.flags & flags) != flags) return false;
    if (array.nd != static_cast<int>(slot.shape.size())) return false;
    for (int d = 0; d < array.nd; ++d) {
      if (array.dimensions[d] != slot.shape[static_cast<size_t>(d)]) return false;
    }
    arrays->set(i, object);
  }
  return true;
}

// New outputs; false with a Python error set when out of memory.
bool NamedRun::create(Arrays* arrays) const {
  const NumpyApi& numpy = NumpyApi::get();
  for (size_t i = inputs_; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    const auto array = py::reinterpret_steal<py::object>(numpy.PyArray_NewFromDescr_(
        numpy.PyArray_Type_, slot.dtype.inc_ref().ptr(), static_cast<int>(slot.shape.size()),
        slot.shape.data(), nullptr, nullptr, 0, nullptr));
    if (!array) return false;
    arrays->set(i, array.ptr());
  }
  return true;
}

// No output shares memory with another array.
bool NamedRun::apart(const Arrays& arrays) const {
  for (size_t i = inputs_; i < slots_.size(); ++i) {
    const uint8_t* begin = arrays.data[i];
    for (size_t j = 0; j < i; ++j) {
      const uint8_t* other = arrays.data[j];
      if (begin < other + slots_[j].bytes && other < begin + slots_[i].bytes) return false;
    }
  }
  return true;
}

}  // namespace octavo
