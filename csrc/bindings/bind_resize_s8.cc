// SPDX-License-Identifier: Apache-2.0
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <string>
#include <vector>

#include "base/checked.h"
#include "base/error.h"
#include "bindings/byte_span.h"
#include "bindings/stored_scope.h"
#include "kernels/resize_s8/resize_s8.h"

namespace py = pybind11;

namespace octavo {
namespace {

using Ints = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;

py::list rows() {
  py::list result;
  int count;
  const ResizeS8Kernel* kernels = resize_s8_kernels(&count);
  for (int i = 0; i < count; ++i) {
    const ResizeS8Kernel& k = kernels[i];
    result.append(py::make_tuple(k.name, isa_name(k.isa), "linear", isa_supported(k.isa)));
  }
  return result;
}

const ResizeS8Kernel& usable_kernel(const std::string& name) {
  const ResizeS8Kernel* kernel = find_resize_s8(name.c_str());
  if (kernel == nullptr || !isa_supported(kernel->isa)) {
    fail(ErrorCode::kIsa, "resize_s8: no usable kernel '%s'", name.c_str());
  }
  return *kernel;
}

// One output row between two rows of `columns` pixels; seconds per call, the fastest of `repeats`.
double run(const std::string& name, const py::buffer& top, const py::buffer& bottom,
           int32_t columns, int32_t channels, int32_t bottom_weight, const Ints& left,
           const Ints& right, const Ints& right_weight, const py::buffer& out,
           int64_t out_pixel_stride, int in_zero_point, float multiplier, int zero_point, int qmin,
           int qmax, int repeats) {
  const ResizeS8Kernel& kernel = usable_kernel(name);
  const auto fits = [&](int32_t weight) { return weight >= 0 && weight <= kResizeOne; };
  const int32_t out_w = checked_int32(left.size(), "output columns");
  if (columns < 1 || channels < 1 || out_w < 1 || right.size() != left.size() ||
      right_weight.size() != left.size() || out_pixel_stride < channels || !fits(bottom_weight)) {
    fail(ErrorCode::kShape, "resize_s8: columns, channels, one left, right, weight per output");
  }
  std::vector<ResizeS8Column> table;
  for (int32_t x = 0; x < out_w; ++x) {
    const int32_t l = left.data()[x], r = right.data()[x], w = right_weight.data()[x];
    if (l < 0 || l >= columns || r < 0 || r >= columns || !fits(w)) {
      fail(ErrorCode::kShape, "resize_s8: column %d outside the row", x);
    }
    table.push_back({int64_t{l} * channels, int64_t{r} * channels, w});
  }
  const int64_t row_bytes = checked_mul(columns, channels);
  ResizeS8Args args{};
  args.top = byte_span(top, 0, row_bytes, false);
  args.bottom = byte_span(bottom, 0, row_bytes, false);
  args.bottom_weight = bottom_weight;
  args.columns = table.data();
  args.out =
      byte_span(out, 0, checked_add(checked_mul(out_w - 1, out_pixel_stride), channels), true);
  args.out_pixel_stride = out_pixel_stride;
  args.out_w = out_w;
  args.channels = channels;
  args.zero_sum = in_zero_point * kResizeOne * kResizeOne;
  args.multiplier = multiplier;
  args.requant = make_requant(RoundingMode::kFloatRne, zero_point, qmin, qmax);
  const StoredScope stored({&top, &bottom, &out});
  py::gil_scoped_release nogil;
  kernel.run(args);
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < repeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    kernel.run(args);
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    best = std::min(best, time.count());
  }
  return best;
}

}  // namespace

void bind_resize_s8(py::module_& m) {
  m.def("resize_s8_rows", &rows, "Every kernel: (name, isa, op, supported).");
  m.def("resize_s8_run", &run, py::arg("name"), py::arg("top"), py::arg("bottom"),
        py::arg("columns"), py::arg("channels"), py::arg("bottom_weight"), py::arg("left"),
        py::arg("right"), py::arg("right_weight"), py::arg("out"), py::arg("out_pixel_stride"),
        py::kw_only(), py::arg("in_zero_point") = 0, py::arg("multiplier") = 1.0f,
        py::arg("zero_point") = 0, py::arg("qmin") = 0, py::arg("qmax") = 255,
        py::arg("repeats") = 0,
        "Interpolates one output row between two rows; weights in units of 1/2048.");
}

}  // namespace octavo
