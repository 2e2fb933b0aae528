// SPDX-License-Identifier: Apache-2.0
#include <pybind11/pybind11.h>

#include <string>

#include "base/error.h"
#include "bindings/plan_object.h"

namespace py = pybind11;

namespace octavo {
namespace {

// Bytes of a section as a read-only buffer that keeps the plan's memory alive.
struct SectionView {
  std::shared_ptr<const LoadedPlan> loaded;
  ByteSpan bytes;
};

// Keeps a Python object alive for C++; released under the GIL, on whatever thread.
std::shared_ptr<void> hold(py::object object) {
  PyObject* raw = object.release().ptr();
  return std::shared_ptr<void>(raw, [](void* held) {
    const py::gil_scoped_acquire gil;
    Py_DECREF(static_cast<PyObject*>(held));
  });
}

// `bytes` objects never change and are used in place; anything else could change later: copied.
PlanObject from_bytes(const py::buffer& data) {
  const py::buffer_info info = data.request();
  if (!PyBuffer_IsContiguous(info.view(), 'C') || info.itemsize != 1) {
    fail(ErrorCode::kInvalidArgument, "Plan.from_bytes: pass contiguous bytes");
  }
  const ByteSpan span{static_cast<const uint8_t*>(info.ptr), static_cast<size_t>(info.size)};
  std::shared_ptr<void> owner;
  if (PyBytes_CheckExact(data.ptr())) owner = hold(data);
  const py::gil_scoped_release nogil;
  return {LoadedPlan::from_bytes(span, std::move(owner))};
}

PlanObject open_plan(const py::object& path, bool mmap) {
  const std::string name = py::bytes(py::module_::import("os").attr("fsencode")(path));
  if (name.find('\0') != std::string::npos) {
    fail(ErrorCode::kInvalidArgument, "Plan.open: the path contains a NUL byte");
  }
  const py::gil_scoped_release nogil;
  return {LoadedPlan::open(name.c_str(), mmap)};
}

py::dict describe(const Tensor& t) {
  py::tuple shape(t.rank);
  for (int d = 0; d < t.rank; ++d) shape[static_cast<size_t>(d)] = t.dims[d];
  py::dict info;
  info["name"] = t.name;
  info["dtype"] = dtype_name(t.dtype);
  info["shape"] = shape;
  info["scale"] = is_8bit(t.dtype) ? py::object(py::float_(t.scale)) : py::none();
  info["zero_point"] = is_8bit(t.dtype) ? py::object(py::int_(t.zero_point)) : py::none();
  return info;
}

py::list describe_all(const std::vector<const Tensor*>& tensors) {
  py::list rows;
  for (const Tensor* t : tensors) rows.append(describe(*t));
  return rows;
}

py::list arena_tensors(const PlanObject& self) {
  py::list rows;
  for (const Tensor& t : self.loaded->plan().tensors) {
    if (t.location != Location::kArena) continue;
    py::dict row = describe(t);
    row["offset"] = t.offset;
    row["halo"] = py::make_tuple(t.halo.top, t.halo.left, t.halo.bottom, t.halo.right);
    rows.append(row);
  }
  return rows;
}

template <class T>
py::list to_list(const Slice<T>& slice) {
  py::list values;
  for (int i = 0; i < slice.count; ++i) values.append(slice.data[i]);
  return values;
}

py::list steps(const PlanObject& self) {
  py::list rows;
  for (const StepView& step : self.loaded->plan().steps) {
    py::list inputs, outputs;
    for (int i = 0; i < step.inputs.count; ++i) inputs.append(step.input(i).name);
    for (int i = 0; i < step.outputs.count; ++i) outputs.append(step.output(i).name);
    py::dict row;
    row["kind"] = step.kind;
    row["name"] = step.name;
    row["inputs"] = inputs;
    row["outputs"] = outputs;
    row["ints"] = to_list(step.ints);
    row["floats"] = to_list(step.floats);
    row["macs"] = step.macs;
    int64_t constant_bytes = 0;
    for (int i = 0; i < step.const_refs.count; ++i) {
      constant_bytes += step.constants[step.const_refs.data[i]].size;
    }
    row["constant_bytes"] = constant_bytes;
    rows.append(row);
  }
  return rows;
}

py::object section(const PlanObject& self, const std::string& name) {
  for (const Section& s : self.loaded->plan().sections) {
    if (s.name != name) continue;
    return py::memoryview(py::cast(SectionView{self.loaded, s.bytes}));
  }
  return py::none();
}

py::list section_names(const PlanObject& self) {
  py::list names;
  for (const Section& s : self.loaded->plan().sections) names.append(s.name);
  return names;
}

}  // namespace

void bind_plan(py::module_& m) {
  py::class_<SectionView>(m, "SectionView", py::buffer_protocol()).def_buffer([](SectionView& v) {
    return py::buffer_info(const_cast<uint8_t*>(v.bytes.data),
                           static_cast<py::ssize_t>(v.bytes.size), /*readonly=*/true);
  });
  py::class_<PlanObject>(m, "Plan", "A validated .octavo program (docs/format.md).")
      .def_static("from_bytes", &from_bytes, py::arg("data"),
                  "Reads a container from bytes (used in place) or another buffer (copied).")
      .def_static("open", &open_plan, py::arg("path"), py::arg("mmap") = true,
                  "Reads a file, mapped or copied into memory.")
      .def("section", &section, py::arg("name"),
           "A section as a read-only memoryview that keeps the plan alive; None when absent.")
      .def_property_readonly("sections", &section_names, "Section names in file order.")
      .def_property_readonly(
          "inputs", [](const PlanObject& p) { return describe_all(p.loaded->plan().inputs); },
          "Per input: name, dtype, shape, scale, zero_point (None unless 8-bit).")
      .def_property_readonly(
          "outputs", [](const PlanObject& p) { return describe_all(p.loaded->plan().outputs); },
          "Per output, as inputs.")
      .def_property_readonly("tensors", &arena_tensors,
                             "Tensors of the arena, as inputs, with offset and halo.")
      .def_property_readonly("steps", &steps, "Steps in order, with arguments.")
      .def_property_readonly("arena_bytes",
                             [](const PlanObject& p) { return p.loaded->plan().arena_bytes; })
      .def_property_readonly("lower_bound_bytes",
                             [](const PlanObject& p) { return p.loaded->plan().lower_bound_bytes; })
      .def_property_readonly("macs", [](const PlanObject& p) { return p.loaded->plan().macs; });
}

}  // namespace octavo
