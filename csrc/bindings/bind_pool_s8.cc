// SPDX-License-Identifier: Apache-2.0
#include <pybind11/pybind11.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <string>

#include "base/checked.h"
#include "base/error.h"
#include "bindings/byte_span.h"
#include "bindings/stored_scope.h"
#include "kernels/pool_s8/pool_s8.h"

namespace py = pybind11;

namespace octavo {
namespace {

py::list rows() {
  py::list result;
  int count;
  const PoolS8Kernel* kernels = pool_s8_kernels(&count);
  for (int i = 0; i < count; ++i) {
    const PoolS8Kernel& k = kernels[i];
    result.append(py::make_tuple(k.name, isa_name(k.isa), k.op == PoolOp::kMax ? "max" : "average",
                                 isa_supported(k.isa)));
  }
  return result;
}

const PoolS8Kernel& usable_kernel(const std::string& name) {
  const PoolS8Kernel* kernel = find_pool_s8(name.c_str());
  if (kernel == nullptr || !isa_supported(kernel->isa)) {
    fail(ErrorCode::kIsa, "pool_s8: no usable kernel '%s'", name.c_str());
  }
  return *kernel;
}

// Runs the kernel at least once; seconds per call, the fastest of `repeats` runs of 16.
double run(const std::string& name, const py::buffer& in, int64_t in_offset, int64_t row_stride,
           int64_t pixel_stride, int32_t window_rows, int32_t window_cols, int32_t channels,
           const py::buffer& out, int64_t out_offset, int32_t zero_sum, float multiplier,
           int zero_point, int qmin, int qmax, int repeats) {
  constexpr int kCalls = 16;  // a small window takes less than a reading of the clock
  const PoolS8Kernel& kernel = usable_kernel(name);
  if (window_rows < 1 || window_cols < 1 || channels < 1 || row_stride < 0 || pixel_stride < 0) {
    fail(ErrorCode::kShape, "pool_s8: rows, cols, channels >= 1 and strides >= 0");
  }
  const int64_t bytes = checked_add(checked_add(checked_mul(window_rows - 1, row_stride),
                                                checked_mul(window_cols - 1, pixel_stride)),
                                    channels);
  PoolS8Args args{};
  args.in = byte_span(in, in_offset, bytes, false);
  args.row_stride = row_stride;
  args.pixel_stride = pixel_stride;
  args.rows = window_rows;
  args.cols = window_cols;
  args.channels = channels;
  args.out = byte_span(out, out_offset, channels, true);
  args.zero_sum = zero_sum;
  args.multiplier = multiplier;
  args.requant = make_requant(RoundingMode::kFloatRne, zero_point, qmin, qmax);
  const StoredScope stored({&in, &out});
  py::gil_scoped_release nogil;
  kernel.run(args);
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < repeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    for (int call = 0; call < kCalls; ++call) kernel.run(args);
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    best = std::min(best, time.count() / kCalls);
  }
  return best;
}

}  // namespace

void bind_pool_s8(py::module_& m) {
  m.def("pool_s8_rows", &rows, "Every kernel: (name, isa, op, supported).");
  m.def("pool_s8_run", &run, py::arg("name"), py::arg("in_"), py::arg("in_offset"),
        py::arg("row_stride"), py::arg("pixel_stride"), py::arg("rows"), py::arg("cols"),
        py::arg("channels"), py::arg("out"), py::arg("out_offset"), py::kw_only(),
        py::arg("zero_sum") = 0, py::arg("multiplier") = 1.0f, py::arg("zero_point") = 0,
        py::arg("qmin") = 0, py::arg("qmax") = 255, py::arg("repeats") = 0,
        "Pools one window to one output pixel; seconds per call when repeats > 0.");
}

}  // namespace octavo
