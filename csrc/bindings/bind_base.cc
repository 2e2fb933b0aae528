// SPDX-License-Identifier: Apache-2.0
#include "bindings/bind_base.h"

#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "base/checked.h"
#include "base/cpu_model.h"
#include "base/cpus.h"
#include "base/error.h"
#include "base/guard_buffer.h"
#include "base/isa.h"
#include "kernels/crc32/crc32.h"

namespace py = pybind11;

namespace octavo {
namespace {

// nullptr for a broken invariant, which is a RuntimeError: no caller is meant to handle it.
const char* error_class(ErrorCode code) {
  switch (code) {
    case ErrorCode::kFormat: return "FormatError";
    case ErrorCode::kUnsupported: return "UnsupportedError";
    case ErrorCode::kShape: return "ShapeError";
    case ErrorCode::kLimit: return "LimitError";
    case ErrorCode::kIsa: return "IsaError";
    case ErrorCode::kInvalidArgument: return "InvalidArgumentError";
    case ErrorCode::kInternal: break;
  }
  return nullptr;
}

// Messages may quote file names that are not UTF-8, and names cut within a character: neither may
// become a UnicodeDecodeError that hides the real one.
void raise_python(const Error& error) {
  const std::string& text = error.message();
  const auto message = py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<py::ssize_t>(text.size()), "replace"));
  if (!message) return;  // out of memory: that error is set
  const char* name = error_class(error.code());
  const py::object type = name == nullptr
                              ? py::reinterpret_borrow<py::object>(PyExc_RuntimeError)
                              : py::object(py::module_::import("octavo.errors").attr(name));
  PyErr_SetObject(type.ptr(), message.ptr());
}

Isa isa_argument(const std::string& name) {
  Isa isa;
  if (!parse_isa(name.c_str(), &isa)) {
    fail(ErrorCode::kIsa, "unknown ISA '%s'; octavo.cpu_info() lists the names", name.c_str());
  }
  return isa;
}

py::list isa_list() {
  py::list rows;
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa isa = static_cast<Isa>(i);
    py::dict row;
    row["name"] = isa_name(isa);
    row["built"] = isa_built(isa);
    row["supported"] = isa_supported(isa);
    rows.append(row);
  }
  return rows;
}

py::dict as_dict(const CpuCaches& caches) {
  py::dict found;
  found["l1d"] = caches.l1d;
  found["l2"] = caches.l2;
  found["l3"] = caches.l3;
  return found;
}

py::dict cpu_info() {
  py::dict info = as_dict(cpu_caches());
  info["brand"] = cpu_brand();
  info["cpus"] = available_cpus();
  info["best_isa"] = isa_name(best_isa());
  info["emulated"] = isa_emulated();
  return info;
}

uint32_t crc32_of(const py::buffer& data, uint32_t crc, const std::optional<std::string>& name) {
  const Crc32Kernel* kernel = name ? find_crc32(name->c_str()) : nullptr;
  if (name && (kernel == nullptr || !isa_supported(kernel->isa))) {
    fail(ErrorCode::kIsa, "crc32: no usable kernel '%s'", name->c_str());
  }
  const py::buffer_info info = data.request();
  if (!PyBuffer_IsContiguous(info.view(), 'C')) {
    fail(ErrorCode::kInvalidArgument, "crc32: the buffer is not contiguous");
  }
  const size_t bytes =
      checked_mul_size(static_cast<size_t>(info.size), static_cast<size_t>(info.itemsize));
  py::gil_scoped_release nogil;
  return (kernel != nullptr ? kernel->run : fast_crc32)(info.ptr, bytes, crc);
}

py::list crc32_rows() {
  py::list result;
  int count;
  const Crc32Kernel* kernels = crc32_kernels(&count);
  for (int i = 0; i < count; ++i) {
    const Crc32Kernel& k = kernels[i];
    result.append(py::make_tuple(k.name, isa_name(k.isa), "crc32", isa_supported(k.isa)));
  }
  return result;
}

}  // namespace

void bind_base(py::module_& m) {
  py::register_exception_translator([](std::exception_ptr pending) {
    try {
      if (pending) std::rethrow_exception(pending);
    } catch (const Error& error) {
      raise_python(error);
    }
  });
  m.def("isa_list", &isa_list, "Every ISA row: name, built, supported.");
  m.def("cpu_info", &cpu_info, "Brand, CPUs, cache sizes, best ISA, emulated.");
  m.def("cpu_brand", &cpu_brand);
  m.def("arm_cores", &arm_cores, py::arg("cpuinfo"), "Kinds of cores that such a file names.");
  m.def(
      "sysfs_caches", [](const std::string& folder) { return as_dict(sysfs_caches(folder)); },
      py::arg("folder"), "Bytes of l1d, l2, l3.");
  m.def("best_isa", [] { return isa_name(best_isa()); });
  m.def(
      "isa_allows",
      [](const std::string& cap, const std::string& row) {
        return isa_allows(isa_argument(cap), isa_argument(row));
      },
      py::arg("cap"), py::arg("row"), "A session restricted to cap may use row.");
  m.def("crc32", &crc32_of, py::arg("data"), py::arg("crc") = 0, py::arg("kernel") = py::none(),
        "CRC-32 as zlib.crc32, by the best kernel or the one named.");
  m.def("crc32_rows", &crc32_rows, "Every kernel: (name, isa, op, supported).");
  py::class_<GuardBuffer>(m, "GuardBuffer", py::buffer_protocol(),
                          "Writable bytes that end (or start) at an inaccessible page.")
      .def(py::init([](size_t size, bool at_start) {
             return new GuardBuffer(size, at_start ? GuardEdge::kStart : GuardEdge::kEnd);
           }),
           py::arg("size"), py::arg("at_start") = false)
      .def("__len__", &GuardBuffer::size)
      .def_property_readonly("address",
                             [](GuardBuffer& b) { return reinterpret_cast<uintptr_t>(b.data()); })
      .def_buffer([](GuardBuffer& b) {
        return py::buffer_info(b.data(), static_cast<py::ssize_t>(b.size()));
      });
}

}  // namespace octavo
