// SPDX-License-Identifier: Apache-2.0
#include <pybind11/pybind11.h>

#include <string>

#include "base/checked.h"
#include "base/error.h"
#include "bindings/byte_span.h"
#include "kernels/pool_f32/pool_f32.h"

namespace py = pybind11;

namespace octavo {
namespace {

constexpr int64_t kReadSlack = 60;  // PoolF32Args::in

py::list rows() {
  py::list result;
  int count;
  const PoolF32Kernel* kernels = pool_f32_kernels(&count);
  for (int i = 0; i < count; ++i) {
    const PoolF32Kernel& k = kernels[i];
    result.append(py::make_tuple(k.name, isa_name(k.isa),
                                 k.op == PoolF32Op::kMax ? "max" : "average",
                                 isa_supported(k.isa)));
  }
  return result;
}

void run(const std::string& name, const py::buffer& in, int64_t row_stride, int64_t pixel_stride,
         int32_t window_rows, int32_t window_cols, int32_t channels, const py::buffer& out,
         float divisor, float lo, float hi) {
  const PoolF32Kernel* kernel = find_pool_f32(name.c_str());
  if (kernel == nullptr || !isa_supported(kernel->isa)) {
    fail(ErrorCode::kIsa, "pool_f32: no usable kernel '%s'", name.c_str());
  }
  if (window_rows < 1 || window_cols < 1 || channels < 1 || row_stride < 0 || pixel_stride < 0) {
    fail(ErrorCode::kShape, "pool_f32: rows, cols, channels >= 1 and strides >= 0");
  }
  const int64_t pixel = channels * int64_t{sizeof(float)};
  const int64_t bytes = checked_add(checked_add(checked_mul(window_rows - 1, row_stride),
                                                checked_mul(window_cols - 1, pixel_stride)),
                                    pixel + kReadSlack);
  PoolF32Args args{};
  args.in = byte_span(in, 0, bytes, false);
  args.row_stride = row_stride;
  args.pixel_stride = pixel_stride;
  args.rows = window_rows;
  args.cols = window_cols;
  args.channels = channels;
  args.out = reinterpret_cast<float*>(byte_span(out, 0, pixel, true));
  args.divisor = divisor;
  args.lo = lo;
  args.hi = hi;
  py::gil_scoped_release nogil;
  kernel->run(args);
}

}  // namespace

void bind_pool_f32(py::module_& m) {
  m.def("pool_f32_rows", &rows, "Every kernel: (name, isa, op, supported).");
  m.def("pool_f32_run", &run, py::arg("name"), py::arg("in_"), py::arg("row_stride"),
        py::arg("pixel_stride"), py::arg("rows"), py::arg("cols"), py::arg("channels"),
        py::arg("out"), py::arg("divisor"), py::arg("lo"), py::arg("hi"),
        "Pools one window to one output pixel; strides in bytes.");
}

}  // namespace octavo
