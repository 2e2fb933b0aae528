// SPDX-License-Identifier: Apache-2.0
#include <pybind11/pybind11.h>

#include <string>

#include "base/checked.h"
#include "base/error.h"
#include "bindings/byte_span.h"
#include "kernels/softmax_f32/softmax_f32.h"

namespace py = pybind11;

namespace octavo {
namespace {

py::list rows() {
  py::list result;
  int count;
  const SoftmaxF32Kernel* kernels = softmax_f32_kernels(&count);
  for (int i = 0; i < count; ++i) {
    const SoftmaxF32Kernel& k = kernels[i];
    result.append(py::make_tuple(k.name, isa_name(k.isa), isa_supported(k.isa)));
  }
  return result;
}

void run(const std::string& name, const py::buffer& in, const py::buffer& out, int64_t count) {
  const SoftmaxF32Kernel* kernel = find_softmax_f32(name.c_str());
  if (kernel == nullptr || !isa_supported(kernel->isa)) {
    fail(ErrorCode::kIsa, "softmax_f32: no usable kernel '%s'", name.c_str());
  }
  if (count < 1) fail(ErrorCode::kShape, "softmax_f32: at least one element");
  const int64_t bytes = checked_mul(count, sizeof(float));
  const SoftmaxF32Args args{reinterpret_cast<const float*>(byte_span(in, 0, bytes, false)),
                            reinterpret_cast<float*>(byte_span(out, 0, bytes, true)), count};
  py::gil_scoped_release nogil;
  kernel->run(args);
}

}  // namespace

void bind_softmax_f32(py::module_& m) {
  m.def("softmax_f32_rows", &rows, "Every kernel: (name, isa, supported).");
  m.def("softmax_f32_run", &run, py::arg("name"), py::arg("in_"), py::arg("out"), py::arg("count"),
        "Softmax of one row of float32; `out` may be `in_`.");
}

}  // namespace octavo
