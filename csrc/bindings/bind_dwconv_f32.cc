// SPDX-License-Identifier: Apache-2.0
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/checked.h"
#include "base/error.h"
#include "bindings/byte_span.h"
#include "kernels/dwconv_f32/dwconv_f32.h"

namespace py = pybind11;

namespace octavo {
namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

constexpr int64_t kReadSlack = 60;  // DwconvF32Args::in_rows

py::list rows() {
  py::list result;
  int count;
  const DwconvF32Kernel* kernels = dwconv_f32_kernels(&count);
  for (int i = 0; i < count; ++i) {
    const DwconvF32Kernel& k = kernels[i];
    result.append(py::make_tuple(k.name, isa_name(k.isa), k.lanes, isa_supported(k.isa)));
  }
  return result;
}

const DwconvF32Kernel& usable_kernel(const std::string& name) {
  const DwconvF32Kernel* kernel = find_dwconv_f32(name.c_str());
  if (kernel == nullptr || !isa_supported(kernel->isa)) {
    fail(ErrorCode::kIsa, "dwconv_f32: no usable kernel '%s'", name.c_str());
  }
  return *kernel;
}

// One packed layer, run row by row, for tests and benchmarks.
class DwconvF32 {
 public:
  DwconvF32(const std::string& kernel, const Array<float>& weights, const Array<float>& bias,
            int stride, int dilation, float lo, float hi)
      : kernel_(usable_kernel(kernel)) {
    if (weights.ndim() != 3 || weights.size() == 0 || bias.size() != weights.shape(0) ||
        stride < 1 || dilation < 1) {
      fail(ErrorCode::kShape,
           "DwconvF32: weights [c, kh, kw], bias [c], not empty; stride and "
           "dilation >= 1");
    }
    args_.channels = checked_int32(weights.shape(0), "channels");
    args_.kh = checked_int32(weights.shape(1), "kh");
    args_.kw = checked_int32(weights.shape(2), "kw");
    args_.stride_x = stride;
    args_.dilation_x = dilation;
    args_.lo = lo;
    args_.hi = hi;
    const int64_t padded = checked_round_up(args_.channels, 16);
    const int64_t taps = int64_t{args_.kh} * args_.kw;
    storage_ = AlignedBuffer(static_cast<size_t>(checked_mul(padded * (taps + 1), 4)));
    pack_dwconv_f32(kernel_, weights.data(), args_.channels, taps, storage_.as<float>());
    std::copy_n(bias.data(), args_.channels, storage_.as<float>() + padded * taps);
    args_.weights = storage_.as<float>();
    args_.bias = storage_.as<float>() + padded * taps;
  }

  void run(const py::buffer& in, const Array<int64_t>& row_offsets, int64_t pixel_stride,
           const py::buffer& out, int64_t out_pixel_stride, int32_t out_w) {
    bind(in, row_offsets, pixel_stride, out, out_pixel_stride, out_w);
    py::gil_scoped_release nogil;
    kernel_.run(args_);
  }

  double time(const py::buffer& in, const Array<int64_t>& row_offsets, int64_t pixel_stride,
              const py::buffer& out, int64_t out_pixel_stride, int32_t out_w, int repeats) {
    constexpr int kCalls = 16;  // a row of a small layer takes less than a reading of the clock
    bind(in, row_offsets, pixel_stride, out, out_pixel_stride, out_w);
    py::gil_scoped_release nogil;
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i < repeats; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      for (int call = 0; call < kCalls; ++call) kernel_.run(args_);
      const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
      best = std::min(best, time.count() / kCalls);
    }
    return best;
  }

 private:
  void bind(const py::buffer& in, const Array<int64_t>& row_offsets, int64_t pixel_stride,
            const py::buffer& out, int64_t out_pixel_stride, int32_t out_w) {
    const int64_t pixel = args_.channels * int64_t{sizeof(float)};
    if (row_offsets.size() != args_.kh || out_w < 1 || pixel_stride < pixel ||
        out_pixel_stride < pixel) {
      fail(ErrorCode::kShape,
           "DwconvF32: one row offset per kernel row, out_w >= 1, pixel strides of at least the "
           "bytes of a pixel");
    }
    const int64_t columns =
        int64_t{out_w - 1} * args_.stride_x + int64_t{args_.kw - 1} * args_.dilation_x;
    const int64_t in_bytes = checked_add(checked_mul(columns, pixel_stride), pixel + kReadSlack);
    rows_.clear();
    for (int i = 0; i < args_.kh; ++i) {
      rows_.push_back(byte_span(in, row_offsets.data()[i], in_bytes, false));
    }
    const int64_t out_bytes = checked_add(checked_mul(int64_t{out_w - 1}, out_pixel_stride), pixel);
    args_.in_rows = rows_.data();
    args_.in_pixel_stride = pixel_stride;
    args_.out = byte_span(out, 0, out_bytes, true);
    args_.out_pixel_stride = out_pixel_stride;
    args_.out_w = out_w;
  }

  const DwconvF32Kernel& kernel_;
  DwconvF32Args args_{};
  AlignedBuffer storage_;
  std::vector<const uint8_t*> rows_;
};

}  // namespace

void bind_dwconv_f32(py::module_& m) {
  py::class_<DwconvF32>(m, "DwconvF32", "One packed layer of one kernel row, run row by row.")
      .def(py::init<const std::string&, const Array<float>&, const Array<float>&, int, int, float,
                    float>(),
           py::arg("kernel"), py::arg("weights"), py::arg("bias"), py::arg("stride"),
           py::arg("dilation"), py::arg("lo"), py::arg("hi"))
      .def("run", &DwconvF32::run, py::arg("in_"), py::arg("row_offsets"), py::arg("pixel_stride"),
           py::arg("out"), py::arg("out_pixel_stride"), py::arg("out_w"), "Strides in bytes.")
      .def("time", &DwconvF32::time, py::arg("in_"), py::arg("row_offsets"),
           py::arg("pixel_stride"), py::arg("out"), py::arg("out_pixel_stride"), py::arg("out_w"),
           py::arg("repeats"), "Seconds per call, the fastest of `repeats` runs of 16.");
  m.def("dwconv_f32_rows", &rows, "Every kernel: (name, isa, lanes, supported).");
}

}  // namespace octavo
