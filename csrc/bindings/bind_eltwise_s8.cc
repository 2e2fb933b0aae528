// SPDX-License-Identifier: Apache-2.0
#include <pybind11/pybind11.h>

#include <string>

#include "base/error.h"
#include "bindings/byte_span.h"
#include "bindings/stored_scope.h"
#include "kernels/eltwise_s8/eltwise_s8.h"

namespace py = pybind11;

namespace octavo {
namespace {

py::list rows() {
  py::list result;
  int count;
  const EltwiseS8Kernel* kernels = eltwise_s8_kernels(&count);
  for (int i = 0; i < count; ++i) {
    const EltwiseS8Kernel& k = kernels[i];
    result.append(py::make_tuple(k.name, isa_name(k.isa), k.op == EltwiseOp::kAdd ? "add" : "mul",
                                 isa_supported(k.isa)));
  }
  return result;
}

void run(const std::string& name, const py::buffer& a, const py::buffer& b, const py::buffer& c,
         int64_t n, int a_zero_point, int b_zero_point, float ka, float kb, int zero_point,
         int qmin, int qmax, int64_t a_offset, int64_t b_offset, int64_t c_offset) {
  const EltwiseS8Kernel* kernel = find_eltwise_s8(name.c_str());
  if (kernel == nullptr || !isa_supported(kernel->isa)) {
    fail(ErrorCode::kIsa, "eltwise_s8: no usable kernel '%s'", name.c_str());
  }
  EltwiseS8Args args{};
  args.a = byte_span(a, a_offset, n, false);
  args.b = byte_span(b, b_offset, n, false);
  args.c = byte_span(c, c_offset, n, true);
  args.n = n;
  args.a_zero_point = a_zero_point;
  args.b_zero_point = b_zero_point;
  args.ka = ka;
  args.kb = kb;
  args.requant = make_requant(RoundingMode::kFloatRne, zero_point, qmin, qmax);
  const StoredScope stored({&a, &b, &c});
  kernel->run(args);
}

}  // namespace

void bind_eltwise_s8(py::module_& m) {
  m.def("eltwise_s8_rows", &rows, "Every kernel: (name, isa, op, supported).");
  m.def("eltwise_s8_run", &run, py::arg("name"), py::arg("a"), py::arg("b"), py::arg("c"),
        py::arg("n"), py::kw_only(), py::arg("a_zero_point"), py::arg("b_zero_point"),
        py::arg("ka"), py::arg("kb"), py::arg("zero_point"), py::arg("qmin") = 0,
        py::arg("qmax") = 255, py::arg("a_offset") = 0, py::arg("b_offset") = 0,
        py::arg("c_offset") = 0, "Runs one kernel by name on n bytes of three buffers.");
}

}  // namespace octavo
