// SPDX-License-Identifier: Apache-2.0
#include "bindings/array_check.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace py = pybind11;

namespace octavo {
namespace {

using NumpyApi = py::detail::npy_api;

struct NumpyType {
  char kind;
  const char* name;
};

NumpyType numpy_type(DType dtype) {
  switch (dtype) {
    case DType::kF32: return {'f', "float32"};
    case DType::kU8: return {'u', "uint8"};
    case DType::kS8: return {'i', "int8"};
    case DType::kS16: return {'i', "int16"};
    case DType::kS32: return {'i', "int32"};
    case DType::kS64: return {'i', "int64"};
    case DType::kU32: return {'u', "uint32"};
    case DType::kBool: return {'b', "bool"};
  }
  return {'V', "void"};
}

std::string text(const py::handle& object) { return py::str(object).cast<std::string>(); }

std::string shape_text(const Tensor& t) {
  std::string out = "(";
  for (int d = 0; d < t.rank; ++d) out += (d > 0 ? ", " : "") + std::to_string(t.dims[d]);
  return out + (t.rank == 1 ? ",)" : ")");
}

// Only plain arrays and mapped files: other subclasses may mean more than their bytes (masked
// arrays).
bool plain_array(const py::handle& object) {
  if (Py_TYPE(object.ptr()) == NumpyApi::get().PyArray_Type_) return true;
  if (!py::isinstance<py::array>(object)) return false;
  return py::isinstance(object, py::module_::import("numpy").attr("memmap"));
}

void check_dtype(const Tensor& t, const char* role, const py::array& array) {
  const NumpyType want = numpy_type(t.dtype);
  const py::dtype have = array.dtype();
  const char order = have.byteorder();
  if (have.kind() == want.kind && have.itemsize() == t.item_size() &&
      (order == '=' || order == '|')) {
    return;
  }
  fail(ErrorCode::kInvalidArgument,
       "%s '%.200s' has dtype %.64s, expected %s in native byte order: nothing is converted "
       "silently, use array.astype(np.%s)",
       role, t.name, text(have).c_str(), want.name, want.name);
}

void check_shape(const Tensor& t, const char* role, const py::array& array) {
  bool same = array.ndim() == t.rank;
  for (int d = 0; same && d < t.rank; ++d) same = array.shape(d) == t.dims[d];
  if (same) return;
  fail(ErrorCode::kShape, "%s '%.200s' has shape %.200s, expected %s", role, t.name,
       text(array.attr("shape")).c_str(), shape_text(t).c_str());
}

void check_memory(const Tensor& t, const char* role, const py::array& array, bool output) {
  const int flags = py::detail::array_proxy(array.ptr())->flags;
  if ((flags & NumpyApi::NPY_ARRAY_C_CONTIGUOUS_) == 0) {
    fail(ErrorCode::kInvalidArgument,
         "%s '%.200s' is not C-contiguous: use np.ascontiguousarray(array)", role, t.name);
  }
  if ((flags & NumpyApi::NPY_ARRAY_ALIGNED_) == 0) {
    fail(ErrorCode::kInvalidArgument, "%s '%.200s' is not aligned: use array.copy()", role, t.name);
  }
  if (output && (flags & NumpyApi::NPY_ARRAY_WRITEABLE_) == 0) {
    fail(ErrorCode::kInvalidArgument, "output '%.200s' is read-only", t.name);
  }
}

// The array's address, after all checks.
uint8_t* check_array(const Tensor& t, const py::handle& object, bool output) {
  const char* role = output ? "output" : "input";
  if (!plain_array(object)) {
    fail(ErrorCode::kInvalidArgument, "%s '%.200s' is a %.200s, expected a numpy.ndarray", role,
         t.name, Py_TYPE(object.ptr())->tp_name);
  }
  const auto array = py::reinterpret_borrow<py::array>(object);
  check_dtype(t, role, array);
  check_shape(t, role, array);
  check_memory(t, role, array, output);
  return static_cast<uint8_t*>(const_cast<void*>(array.data()));
}

void check_count(const char* role, size_t have, size_t want) {
  if (have != want) {
    fail(ErrorCode::kInvalidArgument, "%zu %s arrays, the plan has %zu", have, role, want);
  }
}

struct Extent {
  const uint8_t* begin;
  const uint8_t* end;
  const Tensor* tensor;
  bool output;
};

// Sorted by address, an overlap shows between neighbours, or with the furthest end so far; two
// inputs may share memory.
void check_overlap(std::vector<Extent>* extents) {
  std::sort(extents->begin(), extents->end(),
            [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
  const Extent* furthest = nullptr;         // of all arrays
  const Extent* furthest_output = nullptr;  // of the outputs
  for (const Extent& e : *extents) {
    const Extent* other = e.output ? furthest : furthest_output;
    if (other != nullptr && e.begin < other->end) {
      fail(ErrorCode::kInvalidArgument,
           "'%.200s' and '%.200s' overlap in memory: outputs need "
           "memory of their own",
           e.tensor->name, other->tensor->name);
    }
    if (furthest == nullptr || e.end > furthest->end) furthest = &e;
    if (e.output && (furthest_output == nullptr || e.end > furthest_output->end)) {
      furthest_output = &e;
    }
  }
}

}  // namespace

py::dtype numpy_dtype(DType dtype) { return py::dtype(numpy_type(dtype).name); }

CheckedArrays::CheckedArrays(const Plan& plan, const py::sequence& in, const py::sequence& out) {
  check_count("input", in.size(), plan.inputs.size());
  check_count("output", out.size(), plan.outputs.size());
  std::vector<Extent> extents;
  for (size_t i = 0; i < plan.inputs.size() + plan.outputs.size(); ++i) {
    const bool output = i >= plan.inputs.size();
    const size_t index = output ? i - plan.inputs.size() : i;
    const Tensor& t = output ? *plan.outputs[index] : *plan.inputs[index];
    held.emplace_back(output ? out[index] : in[index]);
    uint8_t* data = check_array(t, held.back(), output);
    elements.push_back(t.elements());
    extents.push_back({data, data + t.bytes(), &t, output});
    if (output) {
      outputs.push_back(data);
    } else {
      inputs.push_back(data);
    }
  }
  check_overlap(&extents);
}

void CheckedArrays::expect_unmoved() const {
  for (size_t i = 0; i < held.size(); ++i) {
    const auto& array = *py::detail::array_proxy(held[i].ptr());
    const void* data = i < inputs.size() ? inputs[i] : outputs[i - inputs.size()];
    int64_t size = 1;
    for (int d = 0; d < array.nd; ++d) size *= array.dimensions[d];
    if (array.data != data || size != elements[i]) {
      fail(ErrorCode::kInvalidArgument, "a bound array was resized: call bind again");
    }
  }
}

}  // namespace octavo
