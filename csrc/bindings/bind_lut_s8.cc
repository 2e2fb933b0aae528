// SPDX-License-Identifier: Apache-2.0
#include <pybind11/pybind11.h>

#include <string>

#include "base/error.h"
#include "bindings/byte_span.h"
#include "kernels/lut_s8/lut_s8.h"

namespace py = pybind11;

namespace octavo {
namespace {

py::list rows() {
  py::list result;
  int count;
  const LutS8Kernel* kernels = lut_s8_kernels(&count);
  for (int i = 0; i < count; ++i) {
    const LutS8Kernel& k = kernels[i];
    result.append(py::make_tuple(k.name, isa_name(k.isa), "lut", isa_supported(k.isa)));
  }
  return result;
}

void run(const std::string& name, const py::buffer& in, const py::buffer& out, int64_t n,
         const py::buffer& table, int64_t in_offset, int64_t out_offset) {
  const LutS8Kernel* kernel = find_lut_s8(name.c_str());
  if (kernel == nullptr || !isa_supported(kernel->isa)) {
    fail(ErrorCode::kIsa, "lut_s8: no usable kernel '%s'", name.c_str());
  }
  kernel->run({byte_span(in, in_offset, n, false), byte_span(out, out_offset, n, true), n,
               byte_span(table, 0, 256, false)});
}

}  // namespace

void bind_lut_s8(py::module_& m) {
  m.def("lut_s8_rows", &rows, "Every kernel: (name, isa, op, supported).");
  m.def("lut_s8_run", &run, py::arg("name"), py::arg("in_"), py::arg("out"), py::arg("n"),
        py::arg("table"), py::kw_only(), py::arg("in_offset") = 0, py::arg("out_offset") = 0,
        "Runs one kernel by name on n bytes; table holds 256 bytes.");
}

}  // namespace octavo
