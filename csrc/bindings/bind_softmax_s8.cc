// SPDX-License-Identifier: Apache-2.0
#include <pybind11/pybind11.h>

#include <string>

#include "base/error.h"
#include "bindings/byte_span.h"
#include "bindings/stored_scope.h"
#include "kernels/softmax_s8/softmax_s8.h"

namespace py = pybind11;

namespace octavo {
namespace {

py::list rows() {
  py::list result;
  int count;
  const SoftmaxS8Kernel* kernels = softmax_s8_kernels(&count);
  for (int i = 0; i < count; ++i) {
    const SoftmaxS8Kernel& k = kernels[i];
    result.append(py::make_tuple(k.name, isa_name(k.isa), "softmax", isa_supported(k.isa)));
  }
  return result;
}

void run(const std::string& name, const py::buffer& in, const py::buffer& out, int64_t n,
         const py::buffer& table, float out_scale, int zero_point, int qmin, int qmax,
         int64_t in_offset, int64_t out_offset) {
  const SoftmaxS8Kernel* kernel = find_softmax_s8(name.c_str());
  if (kernel == nullptr || !isa_supported(kernel->isa)) {
    fail(ErrorCode::kIsa, "softmax_s8: no usable kernel '%s'", name.c_str());
  }
  SoftmaxS8Args args{};
  args.in = byte_span(in, in_offset, n, false);
  args.out = byte_span(out, out_offset, n, true);
  args.n = n;
  args.table = reinterpret_cast<const uint32_t*>(byte_span(table, 0, 1024, false));
  args.out_scale = out_scale;
  args.requant = make_requant(RoundingMode::kFloatRne, zero_point, qmin, qmax);
  const StoredScope stored({&in, &out});
  kernel->run(args);
}

}  // namespace

void bind_softmax_s8(py::module_& m) {
  m.def("softmax_s8_rows", &rows, "Every kernel: (name, isa, op, supported).");
  m.def("softmax_s8_run", &run, py::arg("name"), py::arg("in_"), py::arg("out"), py::arg("n"),
        py::arg("table"), py::kw_only(), py::arg("out_scale"), py::arg("zero_point"),
        py::arg("qmin") = 0, py::arg("qmax") = 255, py::arg("in_offset") = 0,
        py::arg("out_offset") = 0,
        "Runs one kernel by name on a row of n bytes; table holds 256 uint32 values.");
}

}  // namespace octavo
