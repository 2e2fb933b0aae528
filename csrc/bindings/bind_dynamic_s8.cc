// SPDX-License-Identifier: Apache-2.0
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "bindings/byte_span.h"
#include "kernels/dynamic_s8/dynamic_s8.h"

namespace py = pybind11;

namespace octavo {
namespace {

template <class T>
T* elements(const py::buffer& buffer, int64_t offset, int64_t count, bool writable) {
  return reinterpret_cast<T*>(byte_span(buffer, offset * static_cast<int64_t>(sizeof(T)),
                                        count * static_cast<int64_t>(sizeof(T)), writable));
}

py::list rows() {
  py::list result;
  int count;
  const DynamicS8Kernels* kernels = dynamic_s8_kernels(&count);
  for (int i = 0; i < count; ++i) {
    result.append(
        py::make_tuple(kernels[i].name, isa_name(kernels[i].isa), isa_supported(kernels[i].isa)));
  }
  return result;
}

const DynamicS8Kernels& usable(const std::string& name) {
  const DynamicS8Kernels* kernels = find_dynamic_s8(name.c_str());
  if (kernels == nullptr || !isa_supported(kernels->isa)) {
    fail(ErrorCode::kIsa, "dynamic_s8: no usable kernel '%s'", name.c_str());
  }
  return *kernels;
}

std::pair<float, float> range(const std::string& name, const py::buffer& x, int64_t n,
                              int64_t offset, float lo, float hi) {
  RangeArgs args{elements<float>(x, offset, n, false), n, lo, hi};
  usable(name).range(args);
  return {args.lo, args.hi};
}

void scale_sums(const std::string& name, const py::buffer& sums, const py::buffer& out, int rows,
                int n, int64_t sums_stride, int64_t out_stride, int64_t out_offset, int zero_point,
                float x_scale, const py::buffer& weight_sums, const py::buffer& weight_scales,
                const py::buffer& bias, float lo, float hi, int repeats) {
  ScaleSumsArgs args{};
  args.sums = elements<int32_t>(sums, 0, (rows - 1) * sums_stride + n, false);
  args.sums_stride = sums_stride;
  std::vector<float*> out_rows;
  for (int r = 0; r < rows; ++r) {
    out_rows.push_back(elements<float>(out, r * out_stride + out_offset, n, true) - out_offset);
  }
  args.out_rows = out_rows.data();
  args.out_offset = out_offset;
  args.rows = rows;
  args.n = n;
  args.zero_point = zero_point;
  args.x_scale = x_scale;
  args.weight_sums = elements<int32_t>(weight_sums, 0, n, false);
  args.weight_scales = elements<float>(weight_scales, 0, n, false);
  args.bias = elements<float>(bias, 0, n, false);
  args.lo = lo;
  args.hi = hi;
  const DynamicS8Kernels& kernels = usable(name);
  for (int i = 0; i < repeats; ++i) kernels.scale_sums(args);
}

}  // namespace

void bind_dynamic_s8(py::module_& m) {
  m.def("dynamic_s8_rows", &rows, "Every pair of kernels: (name, isa, supported).");
  m.def("dynamic_s8_range", &range, py::arg("name"), py::arg("x"), py::arg("n"), py::kw_only(),
        py::arg("offset") = 0, py::arg("lo") = 0.0f, py::arg("hi") = 0.0f,
        "(least, largest) of lo, hi and n float32 values.");
  m.def("dynamic_s8_scale_sums", &scale_sums, py::arg("name"), py::arg("sums"), py::arg("out"),
        py::arg("rows"), py::arg("n"), py::kw_only(), py::arg("sums_stride"), py::arg("out_stride"),
        py::arg("out_offset") = 0, py::arg("zero_point"), py::arg("x_scale"),
        py::arg("weight_sums"), py::arg("weight_scales"), py::arg("bias"), py::arg("lo"),
        py::arg("hi"), py::arg("repeats") = 1,
        "Accumulators to float32 rows; strides and offsets in elements; more repeats are for "
        "timing.");
}

}  // namespace octavo
