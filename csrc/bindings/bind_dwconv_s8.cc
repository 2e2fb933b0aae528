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
#include "kernels/dwconv_s8/dwconv_s8.h"
#include "kernels/dwconv_s8/pack.h"

namespace py = pybind11;

namespace octavo {
namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

constexpr int64_t kReadSlack = 63;  // DwconvS8Args::in_rows

py::list rows() {
  py::list result;
  int count;
  const DwconvS8Kernel* kernels = dwconv_s8_kernels(&count);
  for (int i = 0; i < count; ++i) {
    const DwconvS8Kernel& k = kernels[i];
    result.append(py::make_tuple(k.name, isa_name(k.isa), k.kh, k.kw, k.stride_x, k.dilated,
                                 k.weights.min, k.weights.max, isa_supported(k.isa)));
  }
  return result;
}

const DwconvS8Kernel& usable_kernel(const std::string& name) {
  const DwconvS8Kernel* kernel = find_dwconv_s8(name.c_str());
  if (kernel == nullptr || !isa_supported(kernel->isa)) {
    fail(ErrorCode::kIsa, "dwconv_s8: no usable kernel '%s'", name.c_str());
  }
  return *kernel;
}

// One packed layer, run row by row, for tests and benchmarks.
class DwconvS8 {
 public:
  DwconvS8(const std::string& kernel, const Array<int16_t>& weights, const Array<int32_t>& bias,
           const Array<float>& multiplier, int in_zero_point, int out_zero_point, int qmin,
           int qmax, int stride, int dilation)
      : kernel_(usable_kernel(kernel)) {
    if (weights.ndim() != 3 || weights.size() == 0 || bias.size() != weights.shape(2) ||
        multiplier.size() != weights.shape(2)) {
      fail(ErrorCode::kShape, "DwconvS8: weights [kh, kw, c], bias [c], multiplier [c], not empty");
    }
    if (stride < 1 || dilation < 1 || (kernel_.stride_x != 0 && kernel_.stride_x != stride) ||
        (dilation > 1 && !kernel_.dilated)) {
      fail(ErrorCode::kInvalidArgument, "%s: does not take stride %d, dilation %d", kernel_.name,
           stride, dilation);
    }
    DwconvS8Weights w;
    w.kh = checked_int32(weights.shape(0), "kh");
    w.kw = checked_int32(weights.shape(1), "kw");
    w.channels = checked_int32(weights.shape(2), "channels");
    w.weights = weights.data();
    w.bias = bias.data();
    w.multiplier = multiplier.data();
    w.in_zero_point = in_zero_point;
    packed_ = pack_dwconv_s8(kernel_, w);
    args_.channels = w.channels;
    args_.kh = w.kh;
    args_.kw = w.kw;
    args_.stride_x = stride;
    args_.dilation_x = dilation;
    args_.packed = packed_.packed;
    args_.requant = make_requant(RoundingMode::kFloatRne, out_zero_point, qmin, qmax);
  }

  void run(const py::buffer& in, const Array<int64_t>& row_offsets, int64_t pixel_stride,
           const py::buffer& out, int64_t out_offset, int64_t out_pixel_stride, int32_t out_w) {
    bind(in, row_offsets, pixel_stride, out, out_offset, out_pixel_stride, out_w);
    const StoredScope stored({&in, &out});
    py::gil_scoped_release nogil;
    kernel_.run(args_);
  }

  double time(const py::buffer& in, const Array<int64_t>& row_offsets, int64_t pixel_stride,
              const py::buffer& out, int64_t out_offset, int64_t out_pixel_stride, int32_t out_w,
              int repeats) {
    constexpr int kCalls = 16;  // a row of a small layer takes less than a reading of the clock
    bind(in, row_offsets, pixel_stride, out, out_offset, out_pixel_stride, out_w);
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
            const py::buffer& out, int64_t out_offset, int64_t out_pixel_stride, int32_t out_w) {
    if (row_offsets.size() != args_.kh || out_w < 1 || pixel_stride < args_.channels ||
        out_pixel_stride < args_.channels) {
      fail(ErrorCode::kShape,
           "DwconvS8: one row offset per kernel row, out_w >= 1, pixel strides >= channels");
    }
    const int64_t columns =
        int64_t{out_w - 1} * args_.stride_x + int64_t{args_.kw - 1} * args_.dilation_x;
    const int64_t in_bytes =
        checked_add(checked_mul(columns, pixel_stride), args_.channels + kReadSlack);
    rows_.clear();
    for (int i = 0; i < args_.kh; ++i) {
      rows_.push_back(byte_span(in, row_offsets.data()[i], in_bytes, false));
    }
    const int64_t out_bytes =
        checked_add(checked_mul(int64_t{out_w - 1}, out_pixel_stride), args_.channels);
    args_.in_rows = rows_.data();
    args_.in_pixel_stride = pixel_stride;
    args_.out = byte_span(out, out_offset, out_bytes, true);
    args_.out_pixel_stride = out_pixel_stride;
    args_.out_w = out_w;
  }

  const DwconvS8Kernel& kernel_;
  PackedDwconvS8 packed_;
  DwconvS8Args args_{};
  std::vector<const uint8_t*> rows_;
};

std::string select_name(const std::string& isa, int32_t channels, int32_t kh, int32_t kw,
                        int32_t stride, int32_t dilation, int16_t weight_min, int16_t weight_max) {
  Isa cap;
  if (!parse_isa(isa.c_str(), &cap)) {
    fail(ErrorCode::kIsa, "unknown ISA '%s'; octavo.cpu_info() lists the names", isa.c_str());
  }
  return select_dwconv_s8(cap, {channels, kh, kw, stride, dilation, {weight_min, weight_max}}).name;
}

// A chain of dependent additions runs one per cycle on every CPU in question. Runs of some 5 us, as
// short as those of DwconvS8::time, find an undisturbed moment on a busy machine; long ones do not.
double measure_clock_ghz() {
  constexpr int kAdditions = 1 << 14, kRepeats = 2000;
  py::gil_scoped_release nogil;
  double best = std::numeric_limits<double>::infinity();
  for (int r = 0; r < kRepeats; ++r) {
    const auto begin = std::chrono::steady_clock::now();
    uint64_t chain = 0;
    for (int i = 0; i < kAdditions; i += 64) {
#pragma GCC unroll 64  // a short loop would measure its branch
      for (int k = 0; k < 64; ++k) {
        ++chain;
        asm volatile("" : "+r"(chain));  // keeps the compiler from merging the additions
      }
    }
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    best = std::min(best, time.count());
  }
  return kAdditions / best * 1e-9;
}

}  // namespace

void bind_dwconv_s8(py::module_& m) {
  py::class_<DwconvS8>(m, "DwconvS8", "One packed layer of one kernel row, run row by row.")
      .def(py::init<const std::string&, const Array<int16_t>&, const Array<int32_t>&,
                    const Array<float>&, int, int, int, int, int, int>(),
           py::arg("kernel"), py::arg("weights"), py::arg("bias"), py::arg("multiplier"),
           py::arg("in_zero_point") = 0, py::arg("out_zero_point") = 0, py::arg("qmin") = 0,
           py::arg("qmax") = 255, py::arg("stride") = 1, py::arg("dilation") = 1)
      .def("run", &DwconvS8::run, py::arg("in_"), py::arg("row_offsets"), py::arg("pixel_stride"),
           py::arg("out"), py::arg("out_offset"), py::arg("out_pixel_stride"), py::arg("out_w"))
      .def("time", &DwconvS8::time, py::arg("in_"), py::arg("row_offsets"), py::arg("pixel_stride"),
           py::arg("out"), py::arg("out_offset"), py::arg("out_pixel_stride"), py::arg("out_w"),
           py::arg("repeats"), "Seconds per call, the fastest of `repeats` runs of 16.");
  m.def(
      "dwconv_s8_rows", &rows,
      "Every kernel: (name, isa, kh, kw, stride, dilated, weight_min, weight_max, supported); 0 is "
      "any.");
  m.def("dwconv_s8_select", &select_name, py::arg("isa"), py::arg("channels"), py::arg("kh"),
        py::arg("kw"), py::arg("stride"), py::arg("dilation"), py::arg("weight_min"),
        py::arg("weight_max"), "The kernel that a layer gets when restricted to `isa`.");
  m.def("measure_clock_ghz", &measure_clock_ghz, "Core clock, by dependent additions.");
}

}  // namespace octavo
