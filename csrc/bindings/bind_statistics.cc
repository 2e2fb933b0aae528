// SPDX-License-Identifier: Apache-2.0
#include <pybind11/pybind11.h>

#include <vector>

#include "base/checked.h"
#include "base/error.h"
#include "base/statistics.h"
#include "bindings/byte_span.h"

namespace py = pybind11;

namespace octavo {
namespace {

template <class T>
T* span(const py::buffer& object, int64_t count, bool writable) {
  return reinterpret_cast<T*>(
      byte_span(object, 0, checked_mul(count, static_cast<int64_t>(sizeof(T))), writable));
}

bool extremes(const py::buffer& x, int64_t samples, int64_t n, const py::buffer& low,
              const py::buffer& high) {
  if (samples < 0 || n < 1) fail(ErrorCode::kInvalidArgument, "statistics: no values");
  const float* in = span<const float>(x, checked_mul(samples, n), false);
  float* lo = span<float>(low, samples, true);
  float* hi = span<float>(high, samples, true);
  const py::gil_scoped_release nogil;
  bool finite = true;
  for (int64_t s = 0; s < samples; ++s) {
    finite &= finite_extremes(in + s * n, n, lo + s, hi + s);
  }
  return finite;
}

void histogram(const py::buffer& x, int64_t n, float per_unit, const py::buffer& counts) {
  const float* in = span<const float>(x, n, false);
  int64_t* out = span<int64_t>(counts, 2 * kHistogramHalf, true);
  const py::gil_scoped_release nogil;
  count_bins(in, n, per_unit, out);
}

void channels(const py::buffer& x, int64_t samples, int64_t rows, int64_t width,
              const py::buffer& low, const py::buffer& high, const py::buffer& sum,
              const py::buffer& square) {
  const float* in = span<const float>(x, checked_mul(checked_mul(samples, rows), width), false);
  float* lo = span<float>(low, width, true);
  float* hi = span<float>(high, width, true);
  double* first = span<double>(sum, width, true);
  double* second = span<double>(square, width, true);
  const py::gil_scoped_release nogil;
  std::vector<double> scratch(static_cast<size_t>(2 * width));
  channel_moments(in, samples, rows, width, lo, hi, first, second, scratch.data());
}

}  // namespace

void bind_statistics(py::module_& m) {
  m.def("statistics_extremes", &extremes, py::arg("x"), py::arg("samples"), py::arg("n"),
        py::arg("low"), py::arg("high"),
        "Least and largest of each sample of n float32; False when one is NaN or infinite.");
  m.def("statistics_histogram", &histogram, py::arg("x"), py::arg("n"), py::arg("per_unit"),
        py::arg("counts"), "Adds n finite float32 to 8192 int64 counts; see base/statistics.h.");
  m.def("statistics_channels", &channels, py::arg("x"), py::arg("samples"), py::arg("rows"),
        py::arg("width"), py::arg("low"), py::arg("high"), py::arg("total"), py::arg("squares"),
        "Takes [samples, rows, width] float32 into extremes (float32) and sums (float64) per "
        "channel.");
}

}  // namespace octavo
