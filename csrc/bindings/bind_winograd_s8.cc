// SPDX-License-Identifier: Apache-2.0
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "base/error.h"
#include "bindings/byte_span.h"
#include "bindings/stored_scope.h"
#include "kernels/winograd_s8/pack.h"
#include "kernels/winograd_s8/winograd_s8.h"

namespace py = pybind11;

namespace octavo {
namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

py::list rows() {
  py::list result;
  int count;
  const WinogradS8Kernel* kernels = winograd_s8_kernels(&count);
  for (int i = 0; i < count; ++i) {
    const WinogradS8Kernel& k = kernels[i];
    result.append(py::make_tuple(k.name, isa_name(k.isa), k.nr, k.channels, isa_supported(k.isa)));
  }
  return result;
}

const WinogradS8Kernel& usable_kernel(const std::string& name) {
  const WinogradS8Kernel* kernel = find_winograd_s8(name.c_str());
  if (kernel == nullptr || !isa_supported(kernel->isa)) {
    fail(ErrorCode::kIsa, "winograd_s8: no usable kernel '%s'", name.c_str());
  }
  return *kernel;
}

WinogradS8Weights view(const Array<int16_t>& weights, const Array<int32_t>& bias,
                       const Array<float>& multiplier, int a_zero_point) {
  if (weights.ndim() != 4 || weights.size() == 0 || weights.shape(1) != 3 ||
      weights.shape(2) != 3 || bias.size() != weights.shape(0) ||
      multiplier.size() != weights.shape(0)) {
    fail(ErrorCode::kShape, "WinogradS8: weights [n, 3, 3, channels], bias [n], multiplier [n]");
  }
  return {checked_int32(weights.shape(0)),
          checked_int32(weights.shape(3)),
          weights.data(),
          bias.data(),
          multiplier.data(),
          a_zero_point};
}

// An NHWC image, padding included, of a buffer: row and pixel strides in bytes.
struct Image {
  int64_t offset, row_stride, pixel_stride;
};

// One packed layer, run over a whole image in panels of `panel` tiles, for tests and benchmarks.
class WinogradS8 {
 public:
  WinogradS8(const std::string& kernel, const Array<int16_t>& weights, const Array<int32_t>& bias,
             const Array<float>& multiplier, int a_zero_point, int out_zero_point, int qmin,
             int qmax, int panel)
      : kernel_(usable_kernel(kernel)), panel_(panel) {
    const WinogradS8Weights w = view(weights, bias, multiplier, a_zero_point);
    if (panel < 1) fail(ErrorCode::kInvalidArgument, "WinogradS8: panel is %d", panel);
    if (!winograd_s8_exact(w)) {
      fail(ErrorCode::kInvalidArgument, "WinogradS8: not exact for these weights");
    }
    packed_ = pack_winograd_s8(kernel_, w);
    const WinogradS8Panel sizes = winograd_s8_panel(kernel_, w.channels, panel);
    v_ = AlignedBuffer(static_cast<size_t>(sizes.v_bytes));
    m_ = AlignedBuffer(static_cast<size_t>(sizes.m_bytes));
    args_.in_channels = w.channels;
    args_.out_channels = w.n;
    args_.v = v_.as<int16_t>();
    args_.m = m_.as<int32_t>();
    args_.v_tile = sizes.v_tile;
    args_.v_plane = sizes.v_plane;
    args_.m_plane = sizes.m_plane;
    args_.packed = packed_.packed;
    args_.block_begin = 0;
    args_.block_end = winograd_s8_blocks(kernel_, w.n);
    args_.requant = make_requant(RoundingMode::kFloatRne, out_zero_point, qmin, qmax);
  }

  void run(const py::buffer& in, int64_t in_offset, int64_t in_row, int64_t in_pixel,
           const py::buffer& out, int64_t out_offset, int64_t out_row, int64_t out_pixel,
           int32_t out_h, int32_t out_w) {
    bind(in, {in_offset, in_row, in_pixel}, out, {out_offset, out_row, out_pixel}, out_h, out_w);
    const StoredScope stored({&in, &out});
    py::gil_scoped_release nogil;
    run_panels();
  }

  // Seconds of the fastest run: all, the input transform.
  std::pair<double, double> time(const py::buffer& in, int64_t in_offset, int64_t in_row,
                                 int64_t in_pixel, const py::buffer& out, int64_t out_offset,
                                 int64_t out_row, int64_t out_pixel, int32_t out_h, int32_t out_w,
                                 int repeats) {
    bind(in, {in_offset, in_row, in_pixel}, out, {out_offset, out_row, out_pixel}, out_h, out_w);
    py::gil_scoped_release nogil;
    double best = std::numeric_limits<double>::infinity(), best_input = best;
    for (int i = 0; i < repeats; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      const double input = run_panels();
      const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
      best = std::min(best, time.count());
      best_input = std::min(best_input, input);
    }
    return {best, best_input};
  }

 private:
  double run_panels() {
    const size_t panel = static_cast<size_t>(panel_);
    double input = 0;
    for (size_t t = 0; t < tiles_.size(); t += panel) {
      args_.tiles = tiles_.data() + t;
      args_.tile_count = static_cast<int32_t>(std::min(panel, tiles_.size() - t));
      const auto begin = std::chrono::steady_clock::now();
      kernel_.input(args_);
      input += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      kernel_.output(args_);
    }
    return input;
  }

  void bind(const py::buffer& in, const Image& from, const py::buffer& out, const Image& to,
            int32_t out_h, int32_t out_w) {
    if (out_h < 1 || out_w < 1 || from.pixel_stride < args_.in_channels ||
        to.pixel_stride < args_.out_channels || from.row_stride < 0 || to.row_stride < 0) {
      fail(ErrorCode::kShape, "WinogradS8: output of at least 1x1, pixel strides >= channels");
    }
    const int64_t last = int64_t{args_.in_channels} + kernel_.channels - 1;
    const uint8_t* x = span(in, from, int64_t{out_h} + 2, int64_t{out_w} + 2, last, false);
    uint8_t* y = span(out, to, out_h, out_w, args_.out_channels, true);
    args_.in_row_stride = from.row_stride;
    args_.in_pixel_stride = from.pixel_stride;
    args_.out_row_stride = to.row_stride;
    args_.out_pixel_stride = to.pixel_stride;
    tiles_.clear();
    for (int32_t i = 0; i < out_h; i += kWinogradTile) {
      for (int32_t j = 0; j < out_w; j += kWinogradTile) {
        tiles_.push_back({x + i * from.row_stride + j * from.pixel_stride,
                          y + i * to.row_stride + j * to.pixel_stride,
                          std::min(kWinogradTile, out_h - i), std::min(kWinogradTile, out_w - j)});
      }
    }
  }

  static uint8_t* span(const py::buffer& object, const Image& image, int64_t h, int64_t w,
                       int64_t last, bool writable) {
    const int64_t bytes = checked_add(
        checked_add(checked_mul(h - 1, image.row_stride), checked_mul(w - 1, image.pixel_stride)),
        last);
    return byte_span(object, image.offset, bytes, writable);
  }

  const WinogradS8Kernel& kernel_;
  int panel_;
  PackedWinogradS8 packed_;
  AlignedBuffer v_, m_;
  WinogradS8Args args_{};
  std::vector<WinogradS8Tile> tiles_;
};

}  // namespace

void bind_winograd_s8(py::module_& m) {
  py::class_<WinogradS8>(m, "WinogradS8",
                         "One packed 3x3 layer of one kernel row, for tests and benchmarks.")
      .def(py::init<const std::string&, const Array<int16_t>&, const Array<int32_t>&,
                    const Array<float>&, int, int, int, int, int>(),
           py::arg("kernel"), py::arg("weights"), py::arg("bias"), py::arg("multiplier"),
           py::arg("a_zero_point") = 0, py::arg("out_zero_point") = 0, py::arg("qmin") = 0,
           py::arg("qmax") = 255, py::arg("panel") = 16)
      .def("run", &WinogradS8::run, py::arg("in_"), py::arg("in_offset"), py::arg("in_row_stride"),
           py::arg("in_pixel_stride"), py::arg("out"), py::arg("out_offset"),
           py::arg("out_row_stride"), py::arg("out_pixel_stride"), py::arg("out_h"),
           py::arg("out_w"))
      .def("time", &WinogradS8::time, py::arg("in_"), py::arg("in_offset"),
           py::arg("in_row_stride"), py::arg("in_pixel_stride"), py::arg("out"),
           py::arg("out_offset"), py::arg("out_row_stride"), py::arg("out_pixel_stride"),
           py::arg("out_h"), py::arg("out_w"), py::arg("repeats"),
           "Seconds of the fastest run, and of its input transform.");
  m.def("winograd_s8_rows", &rows, "Every kernel: (name, isa, nr, channels, supported).");
  m.def(
      "winograd_s8_exact",
      [](const Array<int16_t>& weights, const Array<int32_t>& bias, int a_zero_point) {
        const Array<float> multiplier(bias.size());
        return winograd_s8_exact(view(weights, bias, multiplier, a_zero_point));
      },
      py::arg("weights"), py::arg("bias"), py::arg("a_zero_point"),
      "Whether Winograd gives the exact sums for these weights, whatever the input.");
}

}  // namespace octavo
